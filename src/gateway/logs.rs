//! The logs of what an Execution or Deployment runs: those of its Pods' containers, read with the caller's token, and merged by
//! time.

mod kept;
mod lines;

use std::{
    iter,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{BoxError, body::Body};
use futures::{StreamExt, stream};
use http::StatusCode;
use http_body_util::BodyExt;
use k8s_openapi::{
    api::core::v1 as core,
    jiff::{SignedDuration, Timestamp},
};
use kube::{Resource, api::LogParams, core::Request};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use self::{
    kept::{Kept, Order},
    lines::{Line, Lines},
};
use crate::{
    api::{EngineKind, Kind, WorkloadInUse, time::whole_seconds},
    client::{Failure, requests},
    decode::{json::moment, text::cut},
    gateway::{
        caller::Caller,
        objects,
        problem::{DEFAULT_RETRY_AFTER, Problem, bad_request},
        query::Query,
    },
    tasks::lock,
    workload::pods,
};

/// The most lines of one answer, and how many without `$top`.
const MAX_TOP: usize = 5000;
const DEFAULT_TOP: usize = 1000;
/// How long ago the lines begin without `start`.
const DEFAULT_START: SignedDuration = SignedDuration::from_hours(1);
/// The most Pods whose logs are read.
const MOST_PODS: usize = 100;
/// How many logs are read at once.
const AT_ONCE: usize = 4;
/// How many bytes are read of one log.
const MOST_READ: usize = 16 << 20;
/// How long all of them may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The most warnings of one answer.
const MOST_WARNINGS: usize = 10;
/// The longest warning, in bytes.
const LONGEST_WARNING: usize = 512;

/// What the query of a request for logs says.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    top: usize,
    order: Order,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
}

impl Asked {
    pub fn parse(query: &Query) -> Result<Self, Problem> {
        query.only(|name| ["top", "order", "start", "end"].contains(&name))?;
        let top = query.number("top", DEFAULT_TOP, 1..=MAX_TOP)?;
        let order = match query.get("order") {
            None | Some("asc") => Order::EarliestFirst,
            Some("desc") => Order::LatestFirst,
            Some(_) => return bad_request("$order must be asc or desc"),
        };
        let time = |name: &str| match query.get(name).map(moment) {
            None => Ok(None),
            Some(Some(time)) => Ok(Some(time)),
            Some(None) => bad_request(format!(
                "{name} must be a time as in RFC 3339, such as 2026-01-02T03:04:05Z; a + in it is written %2B"
            )),
        };
        let (start, end) = (time("start")?, time("end")?);
        if start.zip(end).is_some_and(|(start, end)| start > end) {
            return bad_request("start is later than end");
        }
        Ok(Self { top, order, start, end })
    }
}

/// The log of one container.
struct Source {
    pod: Arc<str>,
    container: Arc<str>,
}

/// What has become of reading a log.
enum Read {
    Done,
    /// It is incomplete, or there is none, for this reason.
    Part(String),
    /// It could not be read.
    Failed(Failure),
}

/// Reads the lines that were asked for, as JSON.
pub async fn read(caller: Caller, kind: Kind, id: &str, asked: Asked) -> Result<Body, Problem> {
    let deadline = Instant::now() + TIME_LIMIT;
    let (sources, mut warnings) = sources(&caller, kind, id).await?;
    let reading = Reading {
        start: asked.start.unwrap_or(caller.clock.now().earliest - DEFAULT_START),
        kept: Mutex::new(Kept::new(asked.order, asked.top)),
        caller,
        asked,
        deadline,
    };
    let mut reads =
        stream::iter(0..sources.len()).map(|log| reading.log(log, &sources[log])).buffered(AT_ONCE);
    let (mut log, mut any, mut failure) = (0, false, None);
    while let Some(read) = reads.next().await {
        let Source { pod, container } = &sources[log];
        log += 1;
        any |= !matches!(read, Ok(Read::Failed(_)));
        match read? {
            Read::Done => {}
            Read::Part(why) => warnings.push(format!("container {container} of Pod {pod}: {why}")),
            Read::Failed(why) => {
                warnings.push(format!("container {container} of Pod {pod}: its log cannot be read: {why}"));
                failure = Some(why);
            }
        }
    }
    drop(reads);
    if let Some(failure) = failure.filter(|_| !any) {
        let message = format!("the logs cannot be read: {failure}");
        return Err(Problem::unavailable(message).retry_after(DEFAULT_RETRY_AFTER));
    }
    let Reading { caller, kept, .. } = reading;
    let kept = kept.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if kept.is_cut() {
        warnings.push(format!(
            "there are more lines than fit into {} bytes: ask for the others by start or end",
            kept::MOST_BYTES
        ));
    }
    Ok(body(caller, sources, kept, warnings))
}

fn body(caller: Caller, sources: Vec<Source>, kept: Kept, mut warnings: Vec<String>) -> Body {
    let more = warnings.len().saturating_sub(MOST_WARNINGS);
    warnings.truncate(MOST_WARNINGS);
    let mut warnings: Vec<_> = warnings.iter().map(|warning| cut(warning, LONGEST_WARNING)).collect();
    if more > 0 {
        warnings.push(format!("and {more} more"));
    }
    let end = if warnings.is_empty() {
        "]}}".to_owned()
    } else {
        format!("]}},\"warnings\":{}}}", json!(warnings))
    };
    let mut before = "{\"data\":{\"result\":[";
    let lines = kept.into_lines().map(move |(at, log, text)| {
        // The caller holds the place of the request.
        let _ = &caller;
        let Source { pod, container } = &sources[log];
        let at = Timestamp::from_microsecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
        let line =
            json!({"timestamp": objects::time(at), "msg": text, "pod": **pod, "container": **container});
        format!("{}{line}", std::mem::replace(&mut before, ","))
    });
    let mut lines = lines.peekable();
    let empty = lines.peek().is_none().then(|| "{\"data\":{\"result\":[".to_owned());
    let all = empty.into_iter().chain(lines).chain(iter::once(end));
    Body::from_stream(stream::iter(all.map(Ok::<_, BoxError>)))
}

/// The logs that there are, and what is to be said about that.
async fn sources(caller: &Caller, kind: Kind, id: &str) -> Result<(Vec<Source>, Vec<String>), Problem> {
    let object = objects::read(caller, kind, id).await?;
    let none = |why: String| {
        let message = format!("{} {id} has no logs: {why}", kind.name());
        Err(Problem::new(StatusCode::NOT_FOUND, message))
    };
    let Some(WorkloadInUse { api_version, kind: of, name, uid: Some(uid) }) = objects::workload(&object)
    else {
        return none("its status names nothing that runs for it".into());
    };
    let Some(engine) = EngineKind::find(&api_version, &of) else {
        return none(format!("which Pods belong to {api_version} {of} {name} is not known here"));
    };
    let found = pods::of_work(&caller.client, &caller.namespace, engine, (&name, &uid), MOST_PODS).await?;
    let Some((pods, more)) = found else {
        return none(format!("{of} {name} is gone, and its Pods with it"));
    };
    let sources: Vec<_> = pods
        .iter()
        .flat_map(|pod| {
            let name: Arc<str> = pod.name().into();
            pod.containers()
                .map(move |container| Source { pod: Arc::clone(&name), container: container.into() })
        })
        .collect();
    if sources.is_empty() {
        return none(format!(
            "{of} {name} has no Pods, not yet or not any more; a log is kept only as long as its Pod"
        ));
    }
    let warning =
        more.then(|| format!("there are more Pods: only the logs of the first {MOST_PODS} are read"));
    Ok((sources, warning.into_iter().collect()))
}

/// What all logs of an answer have in common.
struct Reading {
    caller: Caller,
    asked: Asked,
    start: Timestamp,
    deadline: Instant,
    kept: Mutex<Kept>,
}

impl Reading {
    /// Reads one of them.
    ///
    /// # Errors
    /// If the caller may not, or not now.
    async fn log(&self, log: usize, Source { pod, container }: &Source) -> Result<Read, Problem> {
        let from_the_end = self.asked.order == Order::LatestFirst && self.asked.end.is_none();
        let params = LogParams {
            container: Some((**container).to_owned()),
            timestamps: true,
            since_time: Some(whole_seconds(self.start)),
            tail_lines: if from_the_end { i64::try_from(self.asked.top).ok() } else { None },
            ..LogParams::default()
        };
        let url = core::Pod::url_path(&(), Some(&self.caller.namespace));
        let request = Request::new(url).logs(pod, &params);
        let opened = timeout_at(self.deadline, requests::open(&self.caller.client, request)).await;
        let mut body = match opened {
            Err(_) => return Ok(Read::Part(late())),
            Ok(Ok(body)) => body,
            Ok(Err(failure)) => {
                return match failure {
                    Failure::Refused { code: 401 | 403 | 429, .. } => Err(failure.into()),
                    // It has not started.
                    Failure::Refused { code: 400, message, .. } => Ok(Read::Part(message)),
                    failure => Ok(Read::Failed(failure)),
                };
            }
        };
        let (mut lines, mut taken, mut read) = (Lines::default(), Taken::default(), 0);
        loop {
            let piece = match timeout_at(self.deadline, body.frame()).await {
                Err(_) => return Ok(Read::Part(late())),
                Ok(None) => break,
                Ok(Some(Err(error))) => return Ok(Read::Part(format!("its log breaks off: {error}"))),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            read += piece.len();
            lines.push(&piece, |line| self.take(log, line, &mut taken));
            if taken.enough {
                return Ok(Read::Done);
            }
            if read > MOST_READ {
                return bad_request(format!(
                    "the log of container {container} of Pod {pod} has more than {MOST_READ} bytes in this time: ask for a \
                     shorter one by start and end"
                ));
            }
        }
        lines.end(|line| self.take(log, line, &mut taken));
        Ok(taken.odd.map_or(Read::Done, Read::Part))
    }

    fn take(&self, log: usize, line: Result<Line, String>, taken: &mut Taken) {
        taken.number += 1;
        match line {
            Err(odd) => taken.odd = Some(odd),
            Ok(line) if line.at < self.start.as_microsecond() => {}
            // The times of a log go up.
            Ok(line) if self.asked.end.is_some_and(|end| line.at > end.as_microsecond()) => {
                taken.enough = true;
            }
            Ok(line) => taken.enough |= !lock(&self.kept).push((log, taken.number), line),
        }
    }
}

fn late() -> String {
    format!("it was not read to its end, as all logs together took longer than {TIME_LIMIT:?}")
}

/// What was taken of a log.
#[derive(Default)]
struct Taken {
    /// How many lines.
    number: usize,
    /// Whether no more are needed.
    enough: bool,
    /// A line without a time, with which the kubelet says why it has no log.
    odd: Option<String>,
}

#[cfg(test)]
mod tests;
