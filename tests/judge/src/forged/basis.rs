//! What a plan may be based on: eligible until the process was shown otherwise, and no longer eligible when it started
//! its pass.

use ai_api_operator::api::Kind;
use serde_json::{Value, json};

use super::history::{History, shows};
use crate::{Case, Claim, truth::claim_is_true};

/// The versions of the target: eligible, and then not.
const ELIGIBLE: u64 = 10;
const DONE: u64 = 13;

/// A history in which the object has ended before the BulkUpdate was created, and the process was shown these versions of it.
fn shown(versions: &[(u64, i64)], read: Option<u64>) -> History {
    let mut history = History::new();
    history.changes(DONE, ELIGIBLE, 10_000, json!({"status": {"state": "COMPLETED"}}));
    history.facts.sights.retain(|sight| sight.name != "stop-me");
    for (revision, at) in versions {
        history.sees(*revision, *at, false);
    }
    if let Some(read) = read {
        let answer = shows("stop-me", read);
        history.sends("get", "executions", "stop-me", Value::Null, [20_031, 20_035], answer);
        history.in_order();
    }
    history
}

fn is_true(history: &History) -> bool {
    let case = Case::of(&history.facts);
    let bulk = &case.bulks[0];
    let record = bulk.plan().unwrap();
    let (kind, item) = (Kind::Execution, &record.status.items(Kind::Execution)[0]);
    claim_is_true(&case, Claim { bulk, record, kind, item })
}

#[test]
fn what_is_planned_rests_on_what_was_shown_last() {
    for (what, versions, read, wanted) in [
        ("a watch that is behind, or delayed", &[(ELIGIBLE, 105)][..], None, true),
        ("it had been shown otherwise", &[(ELIGIBLE, 105), (DONE, 10_010)], None, false),
        ("it was shown otherwise during the pass", &[(ELIGIBLE, 105), (DONE, 20_036)], None, true),
        ("a watch that goes back in time", &[(DONE, 10_010), (ELIGIBLE, 10_020)], None, true),
        ("an earlier live read", &[(DONE, 10_010)], Some(ELIGIBLE), true),
        ("it was never shown", &[], None, false),
    ] {
        assert_eq!(is_true(&shown(versions, read)), wanted, "{what}");
    }
}

#[test]
fn what_somebody_else_wrote_has_to_be_true_since_it_was_created() {
    for (created, wanted) in [(9, true), (30, false)] {
        let mut history = shown(&[(DONE, 10_010)], None);
        // No process has sent it.
        history.facts.exchanges.retain(|e| !e.is_record());
        for version in history.facts.versions.iter_mut().filter(|v| v.revision == 30) {
            version.revision = created;
        }
        history.facts.versions.sort_by_key(|v| v.revision);
        assert_eq!(is_true(&history), wanted, "created at {created}");
    }
}
