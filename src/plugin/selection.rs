//! Lists what a command line chooses, as far as possible with the API server's own selectors.

use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use tokio::time::Instant;

use super::{
    arguments::ChoiceArguments,
    choice::{Candidate, Choice, Criteria, is_stopping},
    names::counted,
    problem::{Problem, failed},
    session::{BRIEFLY, LONG, Selectors, Session, retried},
    signals::Signals,
};
use crate::{
    api::{Kind, State, TargetStatus, is_dns_subdomain},
    client::requests,
    observed::{Observed, Target, target},
};

/// How many objects are read at once.
pub const READS: usize = 16;
/// How long to wait before what is stopping is read again.
const POLL: Duration = Duration::from_secs(2);

/// Chooses.
///
/// # Errors
/// If nothing says what is meant, or it cannot be listed.
pub async fn choose(
    session: &Session,
    arguments: &ChoiceArguments,
    operation: TargetStatus,
    stop_first: bool,
    verbose: bool,
) -> Result<Choice, Problem> {
    let kind = Kind::from(arguments.kind);
    let criteria = Criteria {
        states: arguments.states.clone(),
        older_than: arguments.older_than,
        created_before: arguments.created_before,
        stop_first,
        // Who names the state means it.
        delete_completed: arguments.states.contains(&State::Completed),
        ..Criteria::any(kind, operation)
    };
    let mut choice = Choice::new(verbose);
    if arguments.names.is_empty() {
        let fields = field_selectors(arguments)?;
        for fields in fields {
            list(session, &criteria, arguments.selector.as_deref(), &fields, &mut choice).await?;
        }
    } else {
        let namespace = session.one_namespace("names were given")?;
        for name in &arguments.names {
            by_name(session, &criteria, namespace, name, &mut choice).await?;
        }
    }
    choice.complete();
    Ok(choice)
}

/// The field selectors of the lists that together bring what is asked for.
fn field_selectors(arguments: &ChoiceArguments) -> Result<Vec<String>, Problem> {
    let ChoiceArguments {
        selector,
        field_selector,
        states,
        older_than,
        created_before,
        scenario,
        configuration,
        all,
        ..
    } = arguments;
    let narrows = selector.is_some()
        || field_selector.is_some()
        || !states.is_empty()
        || older_than.is_some()
        || created_before.is_some()
        || scenario.is_some()
        || configuration.is_some();
    if !narrows && !all {
        let why = "say which ones: names, or one of --selector, --field-selector, --state, --older-than, --created-before, \
                   --scenario, --configuration and --all";
        return Err(Problem::Usage(why.into()));
    }
    let value = |name: &str, value: &Option<String>| Some(format!("{name}={}", escaped(value.as_deref()?)));
    let parts = [
        field_selector.clone(),
        value("spec.scenarioId", scenario),
        value("spec.configurationId", configuration),
    ];
    let all_of = |state: Option<&State>| {
        let state = state.map(|state| format!("status.state={}", state.word()));
        parts.iter().flatten().cloned().chain(state).collect::<Vec<_>>().join(",")
    };
    if states.is_empty() {
        return Ok(vec![all_of(None)]);
    }
    let mut asked: Vec<_> = states.clone();
    asked.sort_by_key(|state| state.word());
    asked.dedup();
    Ok(asked.iter().map(|state| all_of(Some(state))).collect())
}

/// A value in a field selector, whose own characters have to be escaped.
fn escaped(value: &str) -> String {
    let escape = |c: char| if matches!(c, '\\' | ',' | '=') { vec!['\\', c] } else { vec![c] };
    value.chars().flat_map(escape).collect()
}

async fn list(
    session: &Session,
    criteria: &Criteria,
    labels: Option<&str>,
    fields: &str,
    choice: &mut Choice,
) -> Result<(), Problem> {
    let url =
        <Observed as kube::Resource>::url_path(&criteria.kind.api_resource(), session.namespace.as_deref());
    let selectors = Selectors { labels, fields: Some(fields), ..Selectors::default() };
    let listed = session.list(&url, selectors, |object: Observed| {
        let (namespace, id) = object.key();
        choice.add(criteria.assess(&object, session.clock.now().earliest), namespace, id);
    });
    listed.await.map_err(|failure| match failure {
        crate::client::Failure::Refused { code: 400, message, .. } => Problem::Usage(message),
        failure => failed(format_args!("{} cannot be listed", criteria.kind.plural()), &failure),
    })
}

async fn by_name(
    session: &Session,
    criteria: &Criteria,
    namespace: &str,
    name: &str,
    choice: &mut Choice,
) -> Result<(), Problem> {
    let found = object(session, BRIEFLY, criteria.kind, namespace, name).await?;
    if let Some(object) = found {
        choice.add_named(criteria, &object, session.clock.now().earliest);
    } else {
        choice.incomplete = true;
        choice.leave_out(format!("not found: {name}"), namespace, name);
    }
    Ok(())
}

/// Reads these again until none of them is stopping any more, and returns which can be deleted.
///
/// # Errors
/// If they cannot be read, or are still stopping at the deadline.
pub async fn until_stopped(
    session: &Session,
    kind: Kind,
    candidates: Vec<Candidate>,
    deadline: Option<Instant>,
) -> Result<Choice, Problem> {
    // What has become COMPLETED meanwhile was not chosen as that.
    let criteria = Criteria::any(kind, TargetStatus::Deleted);
    let mut signals = Signals::new()?;
    let mut said = false;
    let (mut left, mut choice) = (candidates, Choice::new(true));
    loop {
        let read =
            objects(session, LONG, kind, left, |candidate| (&candidate.namespace, &candidate.id)).await?;
        let mut stopping = Vec::new();
        for (candidate, object) in read {
            let Candidate { namespace, id, uid, .. } = &candidate;
            match object {
                Some(object) if object.metadata.uid.as_deref() != Some(uid) => {
                    choice.leave_out("another object has the name now".into(), namespace, id);
                }
                Some(object) if is_stopping(&Target::from(&object)) => stopping.push(candidate),
                Some(object) => {
                    choice.add(criteria.assess(&object, session.clock.now().earliest), namespace, id);
                }
                // It is gone, as was asked for.
                None => {}
            }
        }
        if stopping.is_empty() {
            // The deletion cannot be undone: an interruption in this moment counts.
            if signals.recv().now_or_never().is_some() {
                return Err(interrupted(session));
            }
            choice.complete();
            return Ok(choice);
        }
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            session.console.note(format_args!(
                "{} still stopping; nothing was deleted. To go on, give the same command again",
                counted(stopping.len(), kind)
            ));
            return Err(Problem::TimedOut);
        }
        if !said {
            session.console.note(format_args!("Waiting for {} to stop", counted(stopping.len(), kind)));
            said = true;
        }
        left = stopping;
        tokio::select! {
            () = signals.recv() => return Err(interrupted(session)),
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

fn interrupted(session: &Session) -> Problem {
    session.console.note("Interrupted; nothing was deleted. To go on, give the same command again");
    Problem::CalledOff
}

/// The objects of these, each with what it belongs to; `key` says namespace and name. A read is tried for as long as `patience`.
pub async fn objects<T>(
    session: &Session,
    patience: Duration,
    kind: Kind,
    of: Vec<T>,
    key: impl Fn(&T) -> (&str, &str),
) -> Result<Vec<(T, Option<Observed>)>, Problem> {
    let key = &key;
    let read = stream::iter(of).map(async |of| {
        let (namespace, name) = key(&of);
        let found = object(session, patience, kind, namespace, name).await;
        found.map(|found| (of, found))
    });
    // All of them before the first failure counts: none is dropped half-way.
    read.buffered(READS).collect::<Vec<_>>().await.into_iter().collect()
}

/// One object, if there is one with this name.
pub async fn object(
    session: &Session,
    patience: Duration,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<Option<Observed>, Problem> {
    // A name with a slash or a question mark would be another path.
    if !is_dns_subdomain(name) {
        return Ok(None);
    }
    let url = target::url(kind, namespace);
    let get = async || requests::get::<Observed>(&session.client, url.clone(), name).await;
    let read = retried(patience, get).await;
    requests::if_any(read)
        .map_err(|failure| failed(format_args!("{} {name} cannot be read", kind.name()), &failure))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::plugin::arguments::{Arguments, Command};

    fn selectors(line: &str) -> Result<Vec<String>, String> {
        let words = format!("kubectl-aiapi stop execution {line}");
        let Command::Stop(stop) = Arguments::try_parse_from(words.split_whitespace()).unwrap().command else {
            unreachable!()
        };
        field_selectors(&stop.choice).map_err(|problem| problem.to_string())
    }

    #[test]
    fn the_api_server_chooses_by_what_it_can_select() {
        assert_eq!(selectors("--all"), Ok(vec![String::new()]));
        assert_eq!(selectors("-l a=b"), Ok(vec![String::new()]));
        assert_eq!(selectors("--state RUNNING"), Ok(vec!["status.state=RUNNING".into()]));
        assert_eq!(
            selectors("--state RUNNING,PENDING,RUNNING --scenario churn --configuration a,b=c\\d"),
            Ok(["PENDING", "RUNNING"]
                .map(|state| format!(
                    r"spec.scenarioId=churn,spec.configurationId=a\,b\=c\\d,status.state={state}"
                ))
                .to_vec())
        );
        let both = "--field-selector spec.executableId=x --state DEAD";
        assert_eq!(selectors(both), Ok(vec!["spec.executableId=x,status.state=DEAD".into()]));
    }

    #[test]
    fn nothing_is_chosen_unless_something_says_what() {
        assert!(selectors("").unwrap_err().contains("--all"));
    }
}
