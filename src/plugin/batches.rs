//! The BulkUpdates of a run: at most a hundred items each, in one namespace, with names that sort and say to which run they belong.

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt;

use super::choice::Candidate;
use crate::api::{BulkUpdate, BulkUpdateItem, BulkUpdateSpec, Kind, MAX_ITEMS, TargetStatus, time::later};

/// The label with the name of the run.
pub const RUN: &str = "aiapi.dev/run";
/// How long a BulkUpdate that was sent is kept after it finished: long enough to look into a nightly run after a long weekend.
const KEPT: Duration = Duration::from_hours(7 * 24);
/// The same for a dry run, which is over when its user has read it.
const DRY_RUN_KEPT: Duration = Duration::from_mins(5);
/// After this, what was sent strikes nothing any more: its user has stopped to look long ago.
const VALID: Duration = Duration::from_hours(1);

/// How the BulkUpdates of a run are made.
#[derive(Clone, Copy, Debug)]
pub struct Making<'a> {
    pub run: &'a str,
    pub kind: Kind,
    pub operation: TargetStatus,
    pub purpose: Purpose,
    /// Whether each item has the uid of the object that was seen.
    pub pinned: bool,
}

/// What the BulkUpdates are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be carried out from now on.
    Sent { now: Timestamp },
    /// The operator is only to decide.
    DryRun,
    /// To be printed, and applied by somebody else, at any time.
    Printed,
}

impl Making<'_> {
    /// The BulkUpdates for these candidates, which are sorted by namespace.
    pub fn bulk_updates(&self, candidates: &[Candidate]) -> Vec<BulkUpdate> {
        let of_namespace = candidates.chunk_by(|a, b| a.namespace == b.namespace);
        let chunks: Vec<_> = of_namespace.flat_map(|candidates| candidates.chunks(MAX_ITEMS)).collect();
        let digits = chunks.len().to_string().len().max(3);
        let numbered = chunks.iter().enumerate();
        numbered.map(|(index, chunk)| self.bulk_update(chunk, &format!("{:0digits$}", index + 1))).collect()
    }

    fn bulk_update(&self, candidates: &[Candidate], number: &str) -> BulkUpdate {
        let item = |candidate: &Candidate| BulkUpdateItem {
            id: candidate.id.to_string(),
            target_status: self.operation,
            uid: self.pinned.then(|| candidate.uid.to_string()),
        };
        let items = candidates.iter().map(item).collect();
        let mut spec = BulkUpdateSpec::default();
        *self.kind.pick(&mut spec.executions, &mut spec.deployments) = Some(items);
        let seconds = |duration: Duration| i32::try_from(duration.as_secs()).ok();
        match self.purpose {
            Purpose::Sent { now } => {
                spec.not_after = Some(Time(later(now, VALID.as_secs().cast_signed())));
                spec.ttl_seconds_after_finished = seconds(KEPT);
            }
            Purpose::DryRun => {
                spec.dry_run = Some(true);
                spec.ttl_seconds_after_finished = seconds(DRY_RUN_KEPT);
            }
            // In a repository, a BulkUpdate that deletes itself would be created and carried out again.
            Purpose::Printed => {}
        }
        let verb = if self.purpose == Purpose::DryRun { "dry-run" } else { verb(self.operation) };
        let mut bulk = BulkUpdate::new(&format!("{verb}-{}-{number}", self.run), spec);
        bulk.metadata.namespace = candidates.first().map(|candidate| candidate.namespace.to_string());
        bulk.labels_mut().insert(RUN.into(), self.run.into());
        bulk
    }
}

/// One that is sent now may be carried out from now on; what is printed, or only to be decided on, has no such time.
pub fn valid_from(mut bulk: BulkUpdate, now: Timestamp) -> BulkUpdate {
    if bulk.spec.not_after.is_some() {
        bulk.spec.not_after = Some(Time(later(now, VALID.as_secs().cast_signed())));
    }
    bulk
}

/// The word for an operation, in names and sentences.
pub const fn verb(operation: TargetStatus) -> &'static str {
    match operation {
        TargetStatus::Stopped => "stop",
        TargetStatus::Deleted => "delete",
    }
}

/// The name of a new run: when it began, and four characters that no other has that began in the same second.
pub fn new_run(now: Timestamp, random: u32) -> String {
    format!("{}-{:04x}", now.strftime("%Y%m%d-%H%M%S"), random & 0xffff)
}

/// Whether it looks like the name of a run, and not like that of a BulkUpdate.
pub fn is_run(name: &str) -> bool {
    let mut parts = name.split('-');
    let is = |part: Option<&str>, length, digit: fn(&char) -> bool| {
        part.is_some_and(|part| part.len() == length && part.chars().all(|c| digit(&c)))
    };
    is(parts.next(), 8, char::is_ascii_digit)
        && is(parts.next(), 6, char::is_ascii_digit)
        && is(parts.next(), 4, char::is_ascii_hexdigit)
        && parts.next().is_none()
}

/// The run to which a BulkUpdate of this name belongs. Its label says the same, but anybody who may change it can change that.
pub fn run_of(name: &str) -> Option<&str> {
    let rest = ["stop-", "delete-", "dry-run-"].iter().find_map(|verb| name.strip_prefix(verb))?;
    let (run, number) = rest.rsplit_once('-')?;
    let numbered = number.len() >= 3 && number.bytes().all(|digit| digit.is_ascii_digit());
    (numbered && is_run(run)).then_some(run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::State;

    fn candidates(namespace: &str, count: usize) -> Vec<Candidate> {
        let candidate = |n| {
            let (id, uid) = (format!("run-{n:04}").into(), format!("uid-{n}").into());
            Candidate {
                namespace: namespace.into(),
                id,
                uid,
                state: State::Running,
                since: None,
                stops: true,
            }
        };
        (0..count).map(candidate).collect()
    }

    const NOW: &str = "2026-11-30T08:15:00Z";

    fn making(purpose: Purpose) -> Making<'static> {
        let (kind, operation) = (Kind::Execution, TargetStatus::Stopped);
        Making { run: "20261130-081500-0a1b", kind, operation, purpose, pinned: true }
    }

    #[test]
    fn a_run_is_split_by_namespace_and_by_a_hundred_with_names_that_sort() {
        let all = [candidates("team-a", 201), candidates("team-b", 1)].concat();
        let made = making(Purpose::Sent { now: NOW.parse().unwrap() }).bulk_updates(&all);
        let sizes: Vec<_> = made.iter().map(|bulk| bulk.spec.items(Kind::Execution).len()).collect();
        assert_eq!(sizes, [100, 100, 1, 1]);
        let names: Vec<_> = made.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names[0], "stop-20261130-081500-0a1b-001");
        assert!(names.is_sorted());
        assert_eq!(made[3].namespace().as_deref(), Some("team-b"));
        let spec = serde_json::to_value(&made[2].spec).unwrap();
        let item = serde_json::json!({"id": "run-0200", "targetStatus": "STOPPED", "uid": "uid-200"});
        let wanted = serde_json::json!({"executions": [item], "notAfter": "2026-11-30T09:15:00Z", "ttlSecondsAfterFinished": 604_800});
        assert_eq!(spec, wanted);
        assert!(made.iter().all(|bulk| bulk.labels()[RUN] == "20261130-081500-0a1b"));
    }

    #[test]
    fn the_hour_begins_when_one_is_sent() {
        let made = making(Purpose::Sent { now: NOW.parse().unwrap() }).bulk_updates(&candidates("team-a", 1));
        let sent = valid_from(made[0].clone(), "2026-11-30T10:00:00Z".parse().unwrap());
        assert_eq!(sent.spec.not_after.unwrap().0.to_string(), "2026-11-30T11:00:00Z");
        let dry = making(Purpose::DryRun).bulk_updates(&candidates("team-a", 1));
        assert!(valid_from(dry[0].clone(), NOW.parse().unwrap()).spec.not_after.is_none());
    }

    #[test]
    fn more_than_999_still_sort() {
        let made = making(Purpose::DryRun).bulk_updates(&candidates("team-a", 100_001));
        let names: Vec<_> = made.iter().map(ResourceExt::name_any).collect();
        assert_eq!((names.len(), &*names[1000]), (1001, "dry-run-20261130-081500-0a1b-1001"));
        assert!(names.is_sorted());
        assert!(made.iter().all(|bulk| bulk.spec.dry_run == Some(true)));
    }

    #[test]
    fn what_is_printed_for_a_repository_does_not_delete_itself_or_expire() {
        let made = making(Purpose::Printed).bulk_updates(&candidates("team-a", 1));
        let spec = serde_json::to_value(&made[0].spec).unwrap();
        assert_eq!(spec.as_object().unwrap().keys().collect::<Vec<_>>(), ["executions"]);
    }

    #[test]
    fn runs_and_bulk_updates_have_different_names() {
        let run = new_run(NOW.parse().unwrap(), 0xfeed_0a1b);
        assert_eq!(run, "20261130-081500-0a1b");
        assert!(is_run(&run));
        for name in
            ["stop-20261130-081500-0a1b-001", "20261130-081500", "nightly", "20261130-081500-0a1b-x", ""]
        {
            assert!(!is_run(name), "{name}");
        }
    }

    #[test]
    fn the_name_says_to_which_run_one_belongs() {
        for name in ["stop-20261130-081500-0a1b-001", "delete-20261130-081500-0a1b-1001"] {
            assert_eq!(run_of(name), Some("20261130-081500-0a1b"));
        }
        for name in [
            "nightly",
            "stop-20261130-081500-0a1b",
            "stop-20261130-081500-0a1b-01",
            "start-20261130-081500-0a1b-001",
            "delete-20261130-081500-0a1b-x01",
        ] {
            assert_eq!(run_of(name), None, "{name}");
        }
    }
}
