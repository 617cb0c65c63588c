//! What is still known when work starts again.

use ai_api_operator::api::Kind;
use serde_json::json;
use support::call::{Call, Resource};

use super::{BULK_UPDATE, RUN, another, answers, at, at_record, has, log_of, stop_it, story};
use crate::story::{Act, BulkAct, Calls, Event, Fault, Made, View, What, When, Who};

/// A target of the BulkUpdate's own second is read, which no watch shows. Somebody changes the status before the plan is stored, so that
/// the work starts again, and the target before it is read again. It was refused as `CreatedLater`, although the first read had shown
/// that it was older. Since when an object has been there is now known to the work that starts again.
///
/// On a real API server nothing can be timed like that: `lib
/// bulk_update::work::tests::entry::since_when_an_object_has_been_there_is_known_also_if_the_work_starts_again`.
#[test]
fn a_read_before_the_work_started_again_has_shown_that_the_target_is_older() {
    let (namespace, name) = ("team-a", RUN.to_owned());
    let mut story = story(stop_it(), Vec::new());
    (story.setup.latency, story.setup.require_admission_policy) = ((1, 2), false);
    let made = Made {
        namespace,
        kind: Kind::Execution,
        name: name.clone(),
        status: json!({"state": "RUNNING"}),
        controller: None,
        kept: false,
        odd: None,
    };
    let lost = What::View { slot: None, resource: Resource::Executions, view: View::Lose, lasts: 1000 };
    let refused = Fault::Answer { code: 503, retry_after: None, passed_on: false };
    let refused = What::Weather { slot: None, calls: Calls::Writes, fault: refused, lasts: 1000 };
    let submitted =
        What::Submit { namespace, name: BULK_UPDATE.into(), spec: stop_it(), user: Who::Editor, uids: false };
    let relabelled = What::Act { namespace, kind: Kind::Execution, name, act: Act::Relabel };
    let widened = What::Fault(Fault::BulkRace(BulkAct::Widen));
    story.events = vec![
        at(5_000, lost),
        at(5_216, What::Create(made)),
        at(5_416, submitted),
        at(5_416, refused),
        at(6_116, relabelled),
        Event { when: When::On { slot: None, call: Call::ReadTarget, nth: 1 }, what: widened },
    ];
    let log = log_of(&story);
    assert!(has(&log, ["bulkupdates/nightly/status", r#""result":"Planned""#]), "{}", log.join("\n"));
}

/// The API server asks to wait half a minute before the status of a BulkUpdate that cannot be read is written again, and then somebody
/// changes the BulkUpdate. It was written at once, by the next task. That waits now, too.
///
/// Not on a real API server: `lib
/// bulk_update::registry::tests::what_the_api_server_has_asked_one_task_to_wait_the_next_one_waits`.
#[test]
fn what_one_task_was_asked_to_wait_the_next_one_waits() {
    let spec = json!({"executions": [{"id": RUN, "targetStatus": "EXPLODED"}]});
    let busy = Fault::Answer { code: 429, retry_after: Some(30), passed_on: false };
    let (namespace, name) = ("team-a", BULK_UPDATE.to_owned());
    let changed = What::ActOnBulk { namespace, name, act: BulkAct::Relabel };
    let mut story = story(spec, vec![at_record(1, What::Fault(busy)), at(8_000, changed)]);
    story.setup.loose = true;
    let log = log_of(&story);
    // The life ends once the second one is stored.
    assert_eq!(answers(&log, "PATCH", "bulkupdates/nightly/status"), ["429", "none"]);
}

/// The same where somebody changes the record, and what was done until then is to be recorded.
#[test]
fn what_is_asked_to_wait_before_the_work_starts_again_is_waited_after_that() {
    let on = |call, what| Event { when: When::On { slot: None, call, nth: 1 }, what: What::Fault(what) };
    let busy = Fault::Answer { code: 429, retry_after: Some(30), passed_on: false };
    let unread = Fault::Answer { code: 413, retry_after: None, passed_on: false };
    let widened = on(Call::Stop, Fault::BulkRace(BulkAct::Widen));
    let events = vec![at_record(4, What::Fault(busy)), on(Call::ReadBulkUpdate, unread), widened];
    let log = log_of(&story(stop_it(), events));
    assert!(has(&log, ["is answered", ": 429"]), "{}", log.join("\n"));
}

/// A BulkUpdate cannot be read, and the API server asks to wait for half a minute before its conditions are written. A watch
/// that shows it again as it was created, and then as it is, made them be written at once. What is older is no news.
///
/// On a real API server: its watch shows nothing again; `lib
/// bulk_update::registry::tests::what_is_shown_as_it_was_before_is_not_reported_again` has the same events.
#[test]
fn what_is_shown_again_does_not_end_a_wait() {
    let busy = Fault::Answer { code: 503, retry_after: Some(30), passed_on: false };
    let act = |name: &str, act| What::ActOnBulk { namespace: "team-a", name: name.into(), act };
    let busy = What::Weather { slot: None, calls: Calls::Writes, fault: busy, lasts: 1000 };
    let again = What::View { slot: None, resource: Resource::BulkUpdates, view: View::Again, lasts: 1000 };
    let away = What::Weather { slot: None, calls: Calls::Writes, fault: Fault::Refuse, lasts: 60 };
    let events = vec![
        at(6_000, away),
        at(6_030, act(BULK_UPDATE, BulkAct::Spoil)),
        at(6_050, busy),
        at(12_000, again),
        another(12_300, stop_it()),
        at(12_600, act("another", BulkAct::Relabel)),
    ];
    let mut story = story(stop_it(), events);
    story.setup.loose = true;
    let log = log_of(&story);
    // Before the half minute is over, somebody corrects it.
    let last = answers(&log, "PATCH", "bulkupdates/nightly/status").pop();
    assert_eq!(last.as_deref(), Some("503"));
}
