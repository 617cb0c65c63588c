//! What the simulation has found, each as a story of the few events that it takes: seeds have other stories once more kinds
//! of events are drawn. Its comment says where each is also tested with a real API server, or why not. The last ones are of
//! mutations that no other test notices.

mod again;
mod turns;

use ai_api_operator::api::Kind;
use api_server::Kubernetes;
use serde_json::{Value, json};
use support::call::{Call, Resource};

use crate::{
    cluster::NAMESPACES,
    process::Clocks,
    run::live,
    story::{
        Admin, BulkAct, Calls, Event, Fault, GuardAct, Guarded, Made, Moment, Setup, Story, View, What, When,
        Who,
    },
};

/// The BulkUpdate of each story, and the execution that it names.
const BULK_UPDATE: &str = "nightly";
const RUN: &str = "training";

/// One replica, and one BulkUpdate that names one execution that runs.
fn story(spec: Value, events: Vec<Event>) -> Story {
    let [namespace, _] = NAMESPACES;
    let setup = Setup {
        calm: false,
        kubernetes: Kubernetes::V1_37,
        replicas: vec![Clocks::default()],
        gateways: Vec::new(),
        managed_fields: true,
        preflight: true,
        logs: false,
        loose: false,
        works: false,
        max_in_flight: 16,
        delete_completed: false,
        require_admission_policy: true,
        watch_namespaces: Vec::new(),
        latency: (5, 5),
        slack: 0,
    };
    let made = Made {
        namespace,
        kind: Kind::Execution,
        name: RUN.into(),
        status: json!({"state": "RUNNING"}),
        controller: None,
        kept: false,
        odd: None,
    };
    let name = BULK_UPDATE.into();
    let submitted = What::Submit { namespace, name, spec, user: Who::Editor, uids: false };
    let begin = [at(4_000, What::Create(made)), at(6_000, submitted)];
    Story { seed: 0, setup, events: begin.into_iter().chain(events).collect() }
}

fn stop_it() -> Value {
    json!({"executions": [{"id": RUN, "targetStatus": "STOPPED"}]})
}

/// A BulkUpdate that is submitted later, in a story with others.
fn another(time: u64, spec: Value) -> Event {
    let [namespace, _] = NAMESPACES;
    let what = What::Submit { namespace, name: "another".into(), spec, user: Who::Editor, uids: false };
    at(time, what)
}

fn at(time: u64, what: What) -> Event {
    Event { when: When::At(time), what }
}

fn has(log: &[String], parts: [&str; 2]) -> bool {
    log.iter().any(|line| parts.iter().all(|part| line.contains(part)))
}

/// When the status is written for the nth time.
fn at_record(nth: usize, what: What) -> Event {
    Event { when: When::On { slot: None, call: Call::Record, nth }, what }
}

/// The log of a story in which no promise is broken.
fn log_of(story: &Story) -> Vec<String> {
    let outcome = live(story, true);
    let (log, violations) = (outcome.log.join("\n"), outcome.violations.join("\n"));
    assert!(violations.is_empty(), "{log}\n{story}{violations}");
    outcome.log
}

/// The codes of the answers to the requests with this method whose path ends like this.
fn answers(log: &[String], method: &str, path: &str) -> Vec<String> {
    let number = |line: &String| {
        let (number, request) = line.split_once(" sends ")?.1.split_once(": ")?;
        let mut words = request.split(' ');
        let of_it = words.next() == Some(method) && words.next()?.split('?').next()?.ends_with(path);
        of_it.then(|| number.to_owned())
    };
    let answer = |number: String| {
        let answered = format!(" is answered {number}: ");
        let code = log.iter().find_map(|line| Some(line.split_once(&answered)?.1));
        code.and_then(|answer| answer.split(' ').next()).unwrap_or("none").to_owned()
    };
    log.iter().filter_map(number).map(answer).collect()
}

/// Somebody raises the TTL from 0 to an hour just before the end is recorded. That meets a conflict, and is recorded after
/// all, for the spec as it is now. Before a watch showed that, the BulkUpdate was deleted: its TTL was the one first seen,
/// although the generation was the last. The TTL is now taken from what was read after the conflict.
///
/// On a real API server: the plan `view/ttl/hold-bulkupdates-then-raise-ttl-at-record-2` of `faults`.
#[test]
fn a_ttl_that_is_raised_while_the_end_is_recorded_counts() {
    let mut spec = stop_it();
    spec["ttlSecondsAfterFinished"] = 0.into();
    let raised = What::Fault(Fault::BulkRace(BulkAct::TimeToLive(3600)));
    let late =
        What::View { slot: None, resource: Resource::BulkUpdates, view: View::Slow(1000), lasts: 1000 };
    let log = log_of(&story(spec, vec![at_record(2, raised), at_record(3, late)]));
    assert_eq!(answers(&log, "PUT", "bulkupdates/nightly/status"), ["200", "409", "200"]);
    assert_eq!(answers(&log, "DELETE", "bulkupdates/nightly"), [""; 0]);
}

/// A webhook refuses the conditions of a BulkUpdate that cannot be read. They were never tried again, so that nothing but an
/// event reported that it cannot be read. They are now tried ever more rarely.
///
/// On a real API server: `exclusive unreadable::its_conditions_are_tried_until_they_are_accepted`.
#[test]
fn refused_conditions_of_an_unreadable_one_are_tried_again() {
    let spec = json!({"executions": [{"id": RUN, "targetStatus": "EXPLODED"}]});
    let refused = Fault::Answer { code: 422, retry_after: None, passed_on: false };
    let mut story = story(spec, vec![at_record(1, What::Fault(refused))]);
    story.setup.loose = true;
    let log = log_of(&story);
    assert_eq!(answers(&log, "PATCH", "bulkupdates/nightly/status"), ["422", "200"]);
}

/// The plan meets a conflict with a label, and the operator sees that the admission policy was deleted before it has read the
/// BulkUpdate again. The plan was repeated although its author was not checked any more. It is now decided again, waits for
/// the policy, and is rejected when that has come back.
///
/// On a real API server: the plan `shipped/three-items/relabel-unguarded-policies-at-record-1` of `faults`.
#[test]
fn a_plan_that_met_a_conflict_is_not_repeated_without_the_policy() {
    let deleted = What::Admin(Admin::Policy(Guarded::Policy, GuardAct::Delete));
    let labelled = What::Fault(Fault::BulkRace(BulkAct::Relabel));
    let log = log_of(&story(stop_it(), vec![at_record(1, deleted), at_record(1, labelled)]));
    assert_eq!(answers(&log, "PUT", "bulkupdates/nightly/status"), ["409"]);
    assert_eq!(answers(&log, "PATCH", "executions/training/status"), [""; 0]);
    let at = |part: &str| log.iter().position(|line| line.contains(part)).unwrap();
    let [is_gone, is_read] =
        [r#"is shown {"type":"DELETED""#, "GET /apis/aiapi.dev/v1alpha1/namespaces/team-a/bulkupdates/"]
            .map(at);
    assert!(is_gone < is_read && is_read < at(r#""reason":"NotAuthorized""#), "{}", log.join("\n"));
}

/// With one slot, a plan waits behind a request that takes a second, and meanwhile the operator sees that the admission policy
/// was deleted. The plan was written all the same. It is now looked at right before each attempt.
///
/// Not on a real API server: there the order in which two BulkUpdates get the slot is not known.
#[test]
fn a_plan_that_has_waited_for_its_slot_is_not_written_without_the_policy() {
    let deleted = What::Admin(Admin::Policy(Guarded::Policy, GuardAct::Delete));
    let slow = at_record(1, What::Fault(Fault::Slow(1000)));
    let mut story = story(stop_it(), vec![slow, another(6_200, stop_it()), at(6_600, deleted)]);
    story.setup.max_in_flight = 1;
    let log = log_of(&story);
    let plans =
        |line: &String| line.contains("bulkupdates/another/status") && line.contains(r#""result":"Planned""#);
    assert!(!log.iter().any(plans), "{}", log.join("\n"));
    let at = |part: &str| log.iter().position(|line| line.contains(part)).unwrap();
    let is_gone = at(r#"is shown {"type":"DELETED""#);
    assert!(is_gone < at(r#""reason":"NotAuthorized""#), "{}", log.join("\n"));
}

/// The admission policy is deleted, which the operator sees; then an API server that lags behind shows it again for half a
/// minute. After ten seconds it counted, and a BulkUpdate whose author nobody had checked was planned. What was seen to be
/// gone does not come back any more.
///
/// Not on a real API server: a single one does not lag behind itself. `lib
/// observed::admission::tests::a_view_of_the_past_makes_nothing_older` has the same events.
#[test]
fn a_deleted_policy_that_is_shown_again_covers_nothing() {
    let deleted = What::Admin(Admin::Policy(Guarded::Policy, GuardAct::Delete));
    let resource = Resource::Policies;
    let past = What::View { slot: None, resource, view: View::Forget, lasts: 25_000 };
    let delete_it = json!({"executions": [{"id": RUN, "targetStatus": "DELETED"}]});
    let log =
        log_of(&story(stop_it(), vec![at(7_000, deleted), at(7_500, past), another(20_000, delete_it)]));
    assert!(!has(&log, ["bulkupdates/another/status", r#""result":"Planned""#]), "{}", log.join("\n"));
    assert!(has(&log, ["bulkupdates/another/status", "is shown as it was before"]), "{}", log.join("\n"));
}

/// The policy is created again while its watch is late, and deleted soon after; then an API server that lags behind shows for
/// half a minute the first one, of which the operator had not heard that it was deleted. After ten seconds that one counted,
/// and a BulkUpdate whose author nobody had checked was planned. Whatever has a lower resourceVersion than what was seen does
/// not count any more.
///
/// Not on a real API server, as above, with the same test.
#[test]
fn an_earlier_policy_that_is_shown_again_covers_nothing() {
    let policy = |act| What::Admin(Admin::Policy(Guarded::Policy, act));
    let view = |view, lasts| What::View { slot: None, resource: Resource::Policies, view, lasts };
    let delete_it = json!({"executions": [{"id": RUN, "targetStatus": "DELETED"}]});
    let events = vec![
        at(500, policy(GuardAct::Recreate)),
        at(7_000, policy(GuardAct::Delete)),
        at(7_500, view(View::Forget, 25_000)),
        another(20_000, delete_it),
    ];
    let log = log_of(&story(stop_it(), events));
    assert!(!has(&log, ["bulkupdates/another/status", r#""result":"Planned""#]), "{}", log.join("\n"));
    assert!(has(&log, ["bulkupdates/another/status", "is shown as it was before"]), "{}", log.join("\n"));
}

/// A proxy sends the plan twice: it is stored, and the answer is a conflict. Then the BulkUpdate cannot be read, and the flag
/// is switched off. The plan was taken for that of another process, and the item, to which nothing was ever sent, reported as
/// `OutcomeUnknown`. Now it is known that it may have been stored.
///
/// Not on a real API server, which sends nothing twice: `lib
/// bulk_update::record::tests::a_plan_that_met_a_conflict_may_be_stored_while_nobody_can_look` has a made-up one.
#[test]
fn a_plan_that_was_sent_twice_is_the_own_one() {
    let twice = What::Fault(Fault::Repeat(2000));
    let away = What::Fault(Fault::Answer { code: 503, retry_after: None, passed_on: false });
    let off = What::Admin(Admin::Flag(Some(r#"{"executions": false}"#)));
    let unread = Event { when: When::On { slot: None, call: Call::ReadBulkUpdate, nth: 1 }, what: away };
    let log = log_of(&story(stop_it(), vec![at_record(1, twice), unread, at_record(2, off)]));
    assert!(has(&log, ["nightly/status", r#""reason":"BulkUpdatesDisabled""#]), "{}", log.join("\n"));
    assert!(!has(&log, ["nightly/status", "OutcomeUnknown"]), "{}", log.join("\n"));
}

/// The plan is answered with 504 and stored two seconds later; meanwhile the flag is switched off, and what the status should
/// say then gets no answers either. Only the last one counted as possibly stored, so that the plan looked like that of
/// another process, and the item as if something had been sent to it. Each of them counts now.
///
/// On a real API server: `faults` has plans with late answers, but none with so many.
#[test]
fn each_status_without_an_answer_may_be_the_stored_one() {
    let late = at_record(1, What::Fault(Fault::Late(2000)));
    let off = at_record(1, What::Admin(Admin::Flag(Some(r#"{"executions": false}"#))));
    let lost = |nth| {
        let away = Fault::Answer { code: 504, retry_after: None, passed_on: false };
        at_record(nth, What::Fault(away))
    };
    let log = log_of(&story(stop_it(), [vec![late, off], (2..6).map(lost).collect()].concat()));
    assert!(has(&log, ["nightly/status", r#""reason":"BulkUpdatesDisabled""#]), "{}", log.join("\n"));
    assert!(!has(&log, ["nightly/status", "OutcomeUnknown"]), "{}", log.join("\n"));
}

/// The flag is invalid, and then its ConfigMap is deleted, which its watch has not brought yet. A BulkUpdate was rejected as
/// `MetaInvalid`, with the text that was gone. What a read has not found says nothing any more.
///
/// On a real API server: `lib observed::flag::tests::the_watch_only_ever_closes_the_gate` has the same events.
#[test]
fn a_flag_that_is_gone_is_not_invalid() {
    let invalid = What::Admin(Admin::Flag(Some("{{{")));
    let late = What::View { slot: None, resource: Resource::ConfigMaps, view: View::Hold, lasts: 10_000 };
    let gone = What::Admin(Admin::Flag(None));
    let log = log_of(&story(stop_it(), vec![at(5_000, invalid), at(5_500, late), at(5_800, gone)]));
    assert!(has(&log, ["nightly/status", r#""reason":"BulkUpdatesDisabled""#]), "{}", log.join("\n"));
    assert!(!has(&log, ["nightly/status", "MetaInvalid"]), "{}", log.join("\n"));
}

/// A proxy answers the conditions of a BulkUpdate that cannot be read with a conflict. That counted as somebody's change, of
/// which a watch would tell: nothing ever said that it cannot be read. They are now tried again.
///
/// Not on a real API server: it makes up no conflicts.
#[test]
fn a_conflict_about_an_unreadable_one_is_tried_again() {
    let spec = json!({"executions": [{"id": RUN, "targetStatus": "EXPLODED"}]});
    let conflict = Fault::Answer { code: 409, retry_after: None, passed_on: false };
    let mut story = story(spec, vec![at_record(1, What::Fault(conflict))]);
    story.setup.loose = true;
    let log = log_of(&story);
    assert_eq!(answers(&log, "PATCH", "bulkupdates/nightly/status"), ["409", "200"]);
}

/// A BulkUpdate that cannot be read is created, in the same second as the object that it names, and then corrected. That the
/// object is older was known, and it was refused as `CreatedLater`: what was unreadable at first counted as seen only later.
///
/// On a real API server: `lib bulk_update::registry::tests::when_a_bulk_update_was_created_only_the_running_watch_tells_and_only_of_what_is_new`
/// has the same events.
#[test]
fn one_that_was_created_unreadable_was_created_then() {
    let [namespace, _] = NAMESPACES;
    let spec = json!({"executions": [{"id": "young", "targetStatus": "STOPPED"}]});
    let act = |act| What::ActOnBulk { namespace, name: BULK_UPDATE.into(), act };
    let young = What::Create(Made {
        namespace,
        kind: Kind::Execution,
        name: "young".into(),
        status: json!({"state": "RUNNING"}),
        controller: None,
        kept: false,
        odd: None,
    });
    let slow = What::Weather { slot: None, calls: Calls::Reads, fault: Fault::Slow(3000), lasts: 100 };
    let refused = What::Weather { slot: None, calls: Calls::Writes, fault: Fault::Refuse, lasts: 1849 };
    let events = vec![
        at(6_000, slow),
        at(6_050, act(BulkAct::Spoil)),
        at(7_100, young),
        // With an end on record it would be over.
        at(7_150, refused),
        at(7_200, act(BulkAct::Recreate)),
        at(9_000, act(BulkAct::Spoil)),
    ];
    let mut story = story(spec, events);
    story.setup.loose = true;
    let log = log_of(&story);
    assert!(has(&log, ["bulkupdates/nightly/status", r#""result":"Planned""#]), "{}", log.join("\n"));
}

/// A process is killed right after it has sent a write, which is still on its way. The next one is shown the BulkUpdate as it was
/// before the plan, decides the same in the same second, and meets a conflict with a status that is just like its own. It took
/// that for its own, and wrote without reading what the other one had done. It reads first now.
///
/// Not on a real API server, which shows no list of before; `lib
/// bulk_update::work::tests::plan::an_unanswered_plan_that_was_stored_is_carried_out_as_recorded` looks at what is adopted.
#[test]
fn a_plan_that_is_just_like_that_of_another_process_is_read_first() {
    let crash = What::Fault(Fault::Crash { moment: Moment::Overtaken, back_after: 20 });
    let crash = Event { when: When::On { slot: None, call: Call::Stop, nth: 1 }, what: crash };
    let past = What::View { slot: None, resource: Resource::BulkUpdates, view: View::Before, lasts: 3000 };
    let free = Event {
        when: When::On { slot: None, call: Call::Stop, nth: 1 },
        what: What::Admin(Admin::FreeLease),
    };
    let log = log_of(&story(stop_it(), vec![at(6_001, past), crash, free]));
    let reads = answers(&log, "GET", "executions/training");
    assert!(!reads.is_empty(), "{}", log.join("\n"));
}

/// The API server's clock is set five seconds ahead, and right after that the policy is created again. Its creation was in the
/// operator's future, did not count, and a BulkUpdate nine seconds later was planned. It counts now.
///
/// Not on a real API server, whose clock is the machine's.
#[test]
fn a_policy_that_was_created_ahead_of_the_operators_clock_counts_since_then() {
    let again = What::Admin(Admin::Policy(Guarded::Policy, GuardAct::Recreate));
    let delete_it = json!({"executions": [{"id": RUN, "targetStatus": "DELETED"}]});
    let events = vec![at(7_000, What::StepClock { by: 5_000 }), at(7_010, again), another(16_000, delete_it)];
    let log = log_of(&story(stop_it(), events));
    assert!(has(&log, ["bulkupdates/another/status", "NotAuthorized"]), "{}", log.join("\n"));
    assert!(!has(&log, ["bulkupdates/another/status", r#""result":"Planned""#]), "{}", log.join("\n"));
}

/// A mutation that no other test notices: a write that has waited for the flag is sent without another look at the deadlines.
#[test]
fn what_waits_for_the_flag_is_not_sent_after_the_end() {
    let mut spec = stop_it();
    spec["notAfter"] = "2026-01-05T12:00:12Z".into();
    // The reading that the decision to write rests on is over by then, and the write waits for the next one.
    let slow = What::Weather { slot: None, calls: Calls::Reads, fault: Fault::Slow(2190), lasts: 8000 };
    let log = log_of(&story(spec, vec![at(6_010, slow)]));
    assert_eq!(answers(&log, "PUT", "bulkupdates/nightly/status"), ["200", "200"]);
    assert_eq!(answers(&log, "PATCH", "executions/training/status"), [""; 0]);
}

/// The same: the leadership counts from the answer to a renewal.
#[test]
fn a_renewal_counts_from_its_start() {
    let leases = |fault, lasts| What::Weather { slot: None, calls: Calls::Leases, fault, lasts };
    let events = vec![
        at(7_000, leases(Fault::Slow(4500), 2500)),
        at(9_500, leases(Fault::Refuse, 25_000)),
        // More than ten seconds after the start of the last renewal, and less than that after its answer.
        another(20_000, stop_it()),
    ];
    let log = log_of(&story(stop_it(), events));
    assert!(log.iter().any(|line| line.contains("life-0 ends")), "{}", log.join("\n"));
}
