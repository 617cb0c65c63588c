//! Stopping and deleting: choose, show, ask, send, follow.

use std::collections::BTreeSet;

use super::{
    arguments::{DeleteArguments, DryRun, SendArguments, StopArguments},
    batches::{Making, Purpose, verb},
    choice::{Candidate, Choice},
    follow::{Following, Run},
    names::{bulk_updates, counted},
    preflight,
    problem::Problem,
    record::{Plan, Record},
    selection::{self, choose},
    session::Session,
    show,
};
use crate::api::{BulkUpdate, Kind, TargetStatus};

pub async fn stop(session: &Session, arguments: &StopArguments) -> Result<(), Problem> {
    let StopArguments { choice, send } = arguments;
    let chosen = choose(session, choice, TargetStatus::Stopped, false, send.verbose).await?;
    Modification { kind: choice.kind.into(), operation: TargetStatus::Stopped, stop_first: false }
        .carry_out(session, chosen, send)
        .await
}

pub async fn delete(session: &Session, arguments: &DeleteArguments) -> Result<(), Problem> {
    let DeleteArguments { choice, stop_first, send } = arguments;
    if *stop_first && !send.follow.wait {
        return Err(Problem::Usage("--stop-first has to wait: leave --wait=false out".into()));
    }
    let chosen = choose(session, choice, TargetStatus::Deleted, *stop_first, send.verbose).await?;
    Modification { kind: choice.kind.into(), operation: TargetStatus::Deleted, stop_first: *stop_first }
        .carry_out(session, chosen, send)
        .await
}

/// What is to be done to what was chosen.
#[derive(Clone, Copy, Debug)]
pub struct Modification {
    pub kind: Kind,
    pub operation: TargetStatus,
    pub stop_first: bool,
}

impl Modification {
    /// Shows what was chosen, asks, and carries it out.
    ///
    /// # Errors
    /// If not everything was done.
    pub async fn carry_out(
        self,
        session: &Session,
        chosen: Choice,
        send: &SendArguments,
    ) -> Result<(), Problem> {
        let console = &session.console;
        let now = session.clock.now().earliest;
        let text = show::choice(&chosen, self.kind, send.verbose, now, console.width);
        let not_all = if chosen.incomplete { Err(Problem::NotAllDone) } else { Ok(()) };
        if let Some(format) = send.output {
            console.note(text);
            let run = session.new_run();
            let made = self
                .making(&run, self.operation, Purpose::Printed, !send.no_pin)
                .bulk_updates(&chosen.candidates);
            show::manifests(console, &made, format)?;
            return not_all;
        }
        console.show(text, !send.yes && !send.dry_run.is_some_and(|dry_run| dry_run != DryRun::None))?;
        if chosen.candidates.is_empty() || send.dry_run == Some(DryRun::Client) {
            return not_all;
        }
        let (to_stop, rest): (Vec<_>, Vec<_>) =
            chosen.candidates.into_iter().partition(|candidate| self.stop_first && candidate.stops);
        self.preflight(session, &to_stop, &rest).await?;
        if send.dry_run == Some(DryRun::Server) {
            if !send.follow.wait {
                return Err(Problem::Usage(
                    "--dry-run=server waits for the operator: leave --wait=false out".into(),
                ));
            }
            return self.dry_run(session, &to_stop, &rest, send).await.and(not_all);
        }
        if !send.yes && !console.ask(&self.question(to_stop.len(), rest.len())).await? {
            console.note("Nothing was sent.");
            return Err(Problem::CalledOff);
        }
        let (run, follow) = (session.new_run(), Following::from(&send.follow));
        if self.stop_first {
            let ready = self.stop_first(session, &run, (to_stop, rest), follow).await?;
            let left = ready.left_out_count() > 0;
            if left {
                console.print(show::choice(
                    &ready,
                    self.kind,
                    true,
                    session.clock.now().earliest,
                    console.width,
                ))?;
            }
            self.send(session, &run, &ready.candidates, follow).await?;
            return if left { Err(Problem::NotAllDone) } else { not_all };
        }
        self.send(session, &run, &rest, follow).await.and(not_all)
    }

    const fn making(self, run: &str, operation: TargetStatus, purpose: Purpose, pinned: bool) -> Making<'_> {
        Making { run, kind: self.kind, operation, purpose, pinned }
    }

    async fn preflight(
        self,
        session: &Session,
        to_stop: &[Candidate],
        rest: &[Candidate],
    ) -> Result<(), Problem> {
        let both = || to_stop.iter().chain(rest);
        let namespaces: BTreeSet<_> = both().map(|candidate| &*candidate.namespace).collect();
        let stops = (!to_stop.is_empty()).then_some(TargetStatus::Stopped);
        let operations: Vec<_> = stops.into_iter().chain([self.operation]).collect();
        preflight::check(session, self.kind, &operations, &namespaces).await?;
        if self.stop_first {
            // To see whether they have stopped.
            preflight::permitted(session, "get", self.kind.plural(), &namespaces).await?;
        }
        Ok(())
    }

    fn question(self, stops: usize, rest: usize) -> String {
        let all = counted(stops + rest, self.kind);
        match self.operation {
            TargetStatus::Stopped => format!("Stop {all}?"),
            TargetStatus::Deleted if stops > 0 => {
                format!("Stop {stops} of them, and delete {all}? This cannot be undone.")
            }
            TargetStatus::Deleted => format!("Delete {all}? This cannot be undone."),
        }
    }

    /// The operator's own verdict.
    async fn dry_run(
        self,
        session: &Session,
        to_stop: &[Candidate],
        rest: &[Candidate],
        send: &SendArguments,
    ) -> Result<(), Problem> {
        let (mut outcome, follow) = (Ok(()), Following::from(&send.follow));
        for (operation, candidates) in [(TargetStatus::Stopped, to_stop), (self.operation, rest)] {
            if candidates.is_empty() {
                continue;
            }
            let run = session.new_run();
            let made = self.making(&run, operation, Purpose::DryRun, true).bulk_updates(candidates);
            session.console.note(format_args!("Asking the operator with {}", bulk_updates(made.len())));
            outcome = outcome.and(Run::new(session, &run, made, None).carry_out(follow).await);
        }
        outcome
    }

    async fn send(
        self,
        session: &Session,
        run: &str,
        candidates: &[Candidate],
        follow: Following,
    ) -> Result<(), Problem> {
        if candidates.is_empty() {
            return Ok(());
        }
        let made = self.sent(session, run, self.operation, candidates);
        let (made, record) = Self::record(session, run, made).await;
        Run::new(session, run, made, record).carry_out(follow).await
    }

    /// The BulkUpdates, and says to their user which run it is.
    fn sent(
        self,
        session: &Session,
        run: &str,
        operation: TargetStatus,
        candidates: &[Candidate],
    ) -> Vec<BulkUpdate> {
        let now = session.clock.now().earliest;
        let made = self.making(run, operation, Purpose::Sent { now }, true).bulk_updates(candidates);
        let what = counted(candidates.len(), self.kind);
        session.console.note(format_args!(
            "Run {run}: {} {what} with {}",
            verb(operation),
            bulk_updates(made.len())
        ));
        made
    }

    /// What a run that is interrupted needs to go on. One BulkUpdate is sent or not: there is nothing to go on with.
    async fn record(
        session: &Session,
        run: &str,
        made: Vec<BulkUpdate>,
    ) -> (Vec<BulkUpdate>, Option<Record>) {
        // Without it the run cannot be resumed, which is said where that matters.
        if made.len() < 2 {
            return (made, None);
        }
        let (Some(mut record), Ok(user)) = (Record::of(run), session.user().await) else {
            return (made, None);
        };
        let plan = Plan { server: session.server.clone(), user, bulk_updates: made };
        let written = record.write(&plan).is_ok();
        (plan.bulk_updates, written.then_some(record))
    }

    /// Stops what runs, waits until all of it has stopped, and returns what can be deleted now.
    async fn stop_first(
        self,
        session: &Session,
        run: &str,
        (to_stop, rest): (Vec<Candidate>, Vec<Candidate>),
        follow: Following,
    ) -> Result<Choice, Problem> {
        if !to_stop.is_empty() {
            let made = self.sent(session, run, TargetStatus::Stopped, &to_stop);
            // Whatever it could not stop is found out below.
            match Run::new(session, run, made, None).first_step().carry_out(follow).await {
                Ok(()) | Err(Problem::NotAllDone) => {}
                Err(problem) => return Err(problem),
            }
        }
        selection::until_stopped(session, self.kind, [to_stop, rest].concat(), follow.deadline).await
    }
}
