//! What is said at the end of a run, and how it ends.

use std::collections::BTreeMap;

use super::seen::{Followed, Key};
use crate::plugin::{
    console::Tone, names::bulk_updates, problem::Problem, progress::Counts, session::Session, table::Table,
};

/// How many rows of what was not done are shown.
const ROWS: usize = 100;

/// Why a run is not followed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Over,
    /// All is sent, and its user does not wait.
    Sent,
    Interrupted,
    TimedOut,
}

/// Where a run stands when it is not followed any more.
pub struct Standing<'a> {
    pub session: &'a Session,
    pub name: &'a str,
    pub followed: &'a BTreeMap<Key, Followed>,
    /// How many BulkUpdates were not sent.
    pub unsent: usize,
    /// Whether these are on record.
    pub is_recorded: bool,
    pub is_first_step: bool,
    /// How many were deleted before their ends.
    pub called_off: usize,
    pub counts: Counts,
}

impl Standing<'_> {
    /// Says what was not done, and how to go on.
    ///
    /// # Errors
    /// If not everything was done.
    pub fn report(&self, ended: Result<Ended, Problem>) -> Result<(), Problem> {
        let Self { session, name, counts, .. } = self;
        let not_done = counts.refused + counts.failed > 0;
        if not_done {
            self.print_not_done()?;
        }
        let is_stopped = self.called_off > 0 || self.unsent > 0;
        let tone = if not_done || is_stopped { Tone::Bad } else { Tone::Good };
        let line = format!("Run {name}: {} of {}", counts.text(), counts.total);
        session.console.print(session.console.toned(line, tone))?;
        let sent = self.followed.values().filter(|followed| followed.is_confirmed()).count();
        match ended {
            Ok(Ended::Over) if is_stopped => {
                session.console.note(format_args!(
                    "Called off: {} deleted before the end, {} not sent",
                    bulk_updates(self.called_off),
                    self.unsent
                ));
                Err(Problem::CalledOff)
            }
            Ok(Ended::Over | Ended::Sent) if not_done => Err(Problem::NotAllDone),
            Ok(Ended::Over) => Ok(()),
            Ok(Ended::Sent) => {
                let (sent, flags) = (bulk_updates(sent), &session.flags);
                session.console.note(format_args!(
                    "{sent} sent; kubectl aiapi status {name}{flags} shows what becomes of them"
                ));
                Ok(())
            }
            Ok(Ended::Interrupted) => {
                self.say_how_to_go_on("Interrupted", sent);
                Err(Problem::CalledOff)
            }
            Ok(Ended::TimedOut) => {
                self.say_how_to_go_on("Timed out", sent);
                Err(Problem::TimedOut)
            }
            Err(problem) => {
                self.say_how_to_go_on("Failed", sent);
                Err(problem)
            }
        }
    }

    fn print_not_done(&self) -> Result<(), Problem> {
        let Self { session, name, .. } = self;
        let mut rows = self.followed.iter().flat_map(|((namespace, _), followed)| {
            followed.problems.iter().map(move |problem| (namespace, problem))
        });
        let mut table = Table::new(["NAMESPACE", "ITEM", "RESULT", "REASON", "MESSAGE"]);
        for (namespace, problem) in rows.by_ref().take(ROWS) {
            let (item, message) = (problem.id.clone(), problem.message.clone());
            table.row([namespace.clone(), item, problem.result.into(), problem.reason.clone(), message]);
        }
        session.console.print(table.text(session.console.width))?;
        let more = rows.count();
        if more > 0 {
            session
                .console
                .print(format_args!("… and {more} more (kubectl aiapi status {name}{})", session.flags))?;
        }
        Ok(())
    }

    fn say_how_to_go_on(&self, what: &str, sent: usize) {
        let (run, flags, all) = (self.name, &self.session.flags, sent + self.unsent);
        let rest = if self.is_first_step {
            "To go on, give the same command again".to_owned()
        } else if self.is_recorded || self.unsent == 0 {
            format!("To go on: kubectl aiapi resume {run}{flags}")
        } else {
            "The rest is not on record on this machine: to go on, give the same command again".to_owned()
        };
        self.session.console.note(format_args!(
            "{what}: {sent} of {} sent, which the operator carries out; nothing more is sent.\n{rest}\nTo call off what is not \
             over: kubectl aiapi cancel {run}{flags}",
            bulk_updates(all)
        ));
    }
}
