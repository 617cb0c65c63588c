//! What the simulation has found, each as a story of the few events that it takes: seeds have other stories once more kinds
//! of events are drawn. Its comment says where each is also tested with a real API server, or why not. The last ones are of
//! mutations that no other test notices.

use ai_api_operator::api::Kind;
use api_server::Kubernetes;
use serde_json::{Value, json};
use support::call::{Call, Resource};

use crate::{
    cluster::NAMESPACES,
    process::Clocks,
    run::live,
    story::{
        Admin, BulkAct, Calls, Event, Fault, GuardAct, Guarded, Made, Setup, Story, View, What, When, Who,
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
    let begin = [(4_000, What::Create(made)), (6_000, submitted)]
        .map(|(time, what)| Event { when: When::At(time), what });
    Story { seed: 0, setup, events: begin.into_iter().chain(events).collect() }
}

fn stop_it() -> Value {
    json!({"executions": [{"id": RUN, "targetStatus": "STOPPED"}]})
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
    let [namespace, _] = NAMESPACES;
    let another =
        What::Submit { namespace, name: "another".into(), spec: stop_it(), user: Who::Editor, uids: false };
    let deleted = What::Admin(Admin::Policy(Guarded::Policy, GuardAct::Delete));
    let slow = at_record(1, What::Fault(Fault::Slow(1000)));
    let later = [(6_200, another), (6_600, deleted)].map(|(time, what)| Event { when: When::At(time), what });
    let mut story = story(stop_it(), [vec![slow], later.into()].concat());
    story.setup.max_in_flight = 1;
    let log = log_of(&story);
    let plans =
        |line: &String| line.contains("bulkupdates/another/status") && line.contains(r#""result":"Planned""#);
    assert!(!log.iter().any(plans), "{}", log.join("\n"));
    let at = |part: &str| log.iter().position(|line| line.contains(part)).unwrap();
    let is_gone = at(r#"is shown {"type":"DELETED""#);
    assert!(is_gone < at(r#""reason":"NotAuthorized""#), "{}", log.join("\n"));
}

/// A mutation that no other test notices: a write that has waited for the flag is sent without another look at the deadlines.
#[test]
fn what_waits_for_the_flag_is_not_sent_after_the_end() {
    let mut spec = stop_it();
    spec["notAfter"] = "2026-01-05T12:00:12Z".into();
    // The reading that the decision to write rests on is over by then, and the write waits for the next one.
    let slow = What::Weather { slot: None, calls: Calls::Reads, fault: Fault::Slow(2190), lasts: 8000 };
    let log = log_of(&story(spec, vec![Event { when: When::At(6_010), what: slow }]));
    assert_eq!(answers(&log, "PUT", "bulkupdates/nightly/status"), ["200", "200"]);
    assert_eq!(answers(&log, "PATCH", "executions/training/status"), [""; 0]);
}

/// The same: the leadership counts from the answer to a renewal.
#[test]
fn a_renewal_counts_from_its_start() {
    let [namespace, _] = NAMESPACES;
    let leases = |fault, lasts| What::Weather { slot: None, calls: Calls::Leases, fault, lasts };
    let another =
        What::Submit { namespace, name: "another".into(), spec: stop_it(), user: Who::Editor, uids: false };
    let events = [
        (7_000, leases(Fault::Slow(4500), 2500)),
        (9_500, leases(Fault::Refuse, 25_000)),
        // More than ten seconds after the start of the last renewal, and less than that after its answer.
        (20_000, another),
    ];
    let events = events.map(|(time, what)| Event { when: When::At(time), what });
    let log = log_of(&story(stop_it(), events.into()));
    assert!(log.iter().any(|line| line.contains("life-0 ends")), "{}", log.join("\n"));
}
