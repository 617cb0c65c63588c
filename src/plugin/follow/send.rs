//! Creates one BulkUpdate, once.

use kube::Resource;
use tokio::time::Instant;

use super::seen::Seen;
use crate::{
    api::{BulkUpdate, BulkUpdateSpec, Kind},
    client::{Failure, requests},
    plugin::{
        problem::{Problem, failed},
        session::{LONG, Session, may_pass},
    },
};

/// Why nobody knows that one was created.
pub enum Unsent {
    /// It may be possible later, and may have been done already.
    Now(Failure),
    Never(Problem),
}

/// Creates it. Its name, which no other has, makes sure that it is created once, however often that is tried.
///
/// # Errors
/// If it was not created, or nobody knows. Absent if it was created, and is gone: somebody has called it off.
pub async fn send(session: &Session, bulk: BulkUpdate) -> Result<Option<Seen>, Unsent> {
    let name = bulk.metadata.name.as_deref().unwrap_or_default();
    let url = BulkUpdate::url_path(&(), bulk.metadata.namespace.as_deref());
    match session.create::<Seen>(&url, &bulk).await {
        Ok(created) => Ok(Some(created)),
        // An earlier attempt without an answer, or before an interruption.
        Err(failure) if failure.is_conflict() && failure.to_string().contains("already exists") => {
            match requests::get::<Seen>(&session.client, url, name).await {
                Ok(found) if is_same(&found, &bulk) => Ok(Some(found)),
                Ok(_) => Err(Unsent::Never(Problem::Failed(format!(
                    "somebody else has created another BulkUpdate with the name {name}: give the command of the run again, which then has \
                     another name"
                )))),
                Err(failure) if failure.is_not_found() => Ok(None),
                Err(failure) => Err(unsent(format_args!("BulkUpdate {name} cannot be read"), failure)),
            }
        }
        Err(failure) => Err(unsent(format_args!("BulkUpdate {name} cannot be created"), failure)),
    }
}

fn unsent(what: std::fmt::Arguments<'_>, failure: Failure) -> Unsent {
    if may_pass(&failure) { Unsent::Now(failure) } else { Unsent::Never(failed(what, &failure)) }
}

/// Whether both ask for the same. (The time until which one is valid changes when a run is resumed.)
pub fn is_same(seen: &Seen, bulk: &BulkUpdate) -> bool {
    let same = |a: &BulkUpdateSpec, b: &BulkUpdateSpec| {
        Kind::ALL.iter().all(|kind| a.items(*kind) == b.items(*kind)) && a.dry_run == b.dry_run
    };
    seen.spec.as_ref().is_some_and(|spec| same(spec, &bulk.spec))
}

/// How often the next one was tried to be sent, and when that is due again. Each attempt is one of its own, so that none begins after
/// an interruption or a call-off.
pub struct Attempts {
    made: u32,
    begun: Instant,
    pub due: Instant,
}

impl Attempts {
    pub fn none() -> Self {
        let now = Instant::now();
        Self { made: 0, begun: now, due: now }
    }

    /// Whether this is the first one, and it is not under way.
    pub const fn is_first(&self) -> bool {
        self.made == 0
    }

    /// One failed.
    ///
    /// # Errors
    /// If it has failed for too long.
    pub fn failed(&mut self, failure: &Failure) -> Result<(), Problem> {
        if self.made == 0 {
            self.begun = Instant::now();
        }
        self.made += 1;
        if self.begun.elapsed() > LONG {
            return Err(failed("a BulkUpdate cannot be created", failure));
        }
        self.due = Instant::now() + failure.wait(self.made);
        Ok(())
    }
}
