//! Tests of the judge: handmade histories with one lie each, and what the judge has to say about it.

use ai_api_operator::api::{ItemResult, Kind, TargetStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use support::audit::Request;

use crate::{
    authors,
    basis::{Bases, Observed},
    fault::{Guard, Resource},
    guards,
    history::Version,
    judge::Case,
    leases,
    operator::TIMING,
    plan::Plan,
    scenario::SCENARIOS,
    truth,
};

/// The problems found.
type Judgement = fn() -> Result<(), Failed>;

const JUDGEMENTS: [(&str, Judgement); 4] = [
    ("judge/what-is-planned-rests-on-what-was-shown-last", plans_rest_on_what_was_shown),
    ("judge/only-the-one-that-leads-writes", only_the_leader_writes),
    ("judge/what-nobody-had-checked-is-not-planned", nothing_is_planned_unchecked),
    ("judge/what-the-audit-log-lacks-is-noticed", the_accounts_agree),
];

pub fn trials() -> impl Iterator<Item = Trial> {
    JUDGEMENTS.into_iter().map(|(name, judged)| Trial::test(name, judged).with_kind("judge"))
}

fn expect(what: &str, is: bool, wanted: bool) -> Result<(), Failed> {
    if is == wanted { Ok(()) } else { Err(format!("{what}: {is}").into()) }
}

/// A plan of the shipped setup without faults.
fn plan() -> Plan {
    Plan { shipped: true, ..Plan::without_faults(&SCENARIOS[0]) }
}

/// A time, in milliseconds from an hour ago.
fn at(millis: i64) -> Timestamp {
    let begin = Timestamp::from_second(1_900_000_000).unwrap();
    begin + SignedDuration::from_millis(millis)
}

fn version(plural: &str, name: &str, revision: u64, millis: i64, rest: Value) -> Version {
    let uid = format!("uid-of-{name}");
    let mut object = json!({"metadata": {"name": name, "uid": uid, "resourceVersion": revision.to_string(),
        "generation": 1, "creationTimestamp": at(0).to_string()}});
    if !rest.is_null() {
        merge(&mut object, rest);
    }
    let (plural, name) = (plural.to_owned(), name.to_owned());
    let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
    Version { revision, plural, name, uid, deleted: false, object, seen: at(millis) }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn in_state(revision: u64, state: &str) -> Version {
    version("executions", "stop-me", revision, 0, json!({"status": {"state": state}}))
}

/// A BulkUpdate as it was created, and with a status.
#[allow(clippy::needless_pass_by_value, reason = "created in place")]
fn bulk(revision: u64, millis: i64, status: Value) -> Version {
    let spec = json!({"executions": [{"id": "stop-me", "targetStatus": "STOPPED"}], "dryRun": true});
    let object = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate", "spec": spec, "status": status,
        "metadata": {"creationTimestamp": at(20_000).to_string()}});
    version("bulkupdates", "bulk", revision, millis, object)
}

fn says(result: &str) -> Value {
    let item = json!({"id": "stop-me", "targetStatus": "STOPPED", "result": result, "uid": "uid-of-stop-me"});
    json!({"executions": [item], "conditions": [], "observedGeneration": 1,
        "summary": {"total": 1, "planned": 0, "eligible": 1, "scheduled": 0, "settled": 0, "refused": 0, "failed": 0}})
}

/// Eligible until the operator was shown otherwise, and no longer eligible when it started its pass.
fn plans_rest_on_what_was_shown() -> Result<(), Failed> {
    let plan = plan();
    for (result, word) in [(ItemResult::Planned, "Planned"), (ItemResult::Eligible, "Eligible")] {
        let (eligible, done) = (in_state(10, "RUNNING"), in_state(11, "COMPLETED"));
        let status = bulk(20, 0, says(word));
        for (shown, live, wanted) in [
            // A watch that is behind, or delayed.
            (vec![&eligible], None, true),
            // It had been shown otherwise.
            (vec![&eligible, &done], None, false),
            // A watch that goes back in time.
            (vec![&done, &eligible], None, true),
            // An earlier live read.
            (vec![&done], Some(&eligible), true),
            // It was never shown.
            (vec![], None, false),
        ] {
            let mut observed = Observed::default();
            for version in &shown {
                observed.shows(&version.object);
            }
            if let Some(version) = &live {
                observed.has_read(&version.object);
            }
            observed.begins_a_pass();
            let bases = Bases::new(true);
            bases.take_in(&status.object, &observed);
            let mut case = Case::of(&plan, &bases, None);
            case.versions = vec![eligible.clone(), done.clone(), bulk(15, 0, Value::Null), status.clone()];
            let bulks = case.bulk_updates();
            let item = status.bulk().status.unwrap().items(Kind::Execution)[0].clone();
            assert_eq!((item.result, item.target_status), (result, TargetStatus::Stopped));
            let revisions: Vec<_> = shown.iter().map(|version| version.revision).collect();
            let is = truth::claim_is_true(&case, &bulks[0], Kind::Execution, &item, status.revision);
            expect(&format!("{word} after {revisions:?}"), is, wanted)?;
        }
        // If it was not the operator that wrote it, it has to be true since the BulkUpdate was created.
        let bases = Bases::new(true);
        for (made, wanted) in [(10, true), (15, false)] {
            let mut case = Case::of(&plan, &bases, None);
            case.versions = vec![eligible.clone(), done.clone(), bulk(made, 0, Value::Null), status.clone()];
            case.versions.sort_by_key(|version| version.revision);
            let bulks = case.bulk_updates();
            let item = status.bulk().status.unwrap().items(Kind::Execution)[0].clone();
            let is = truth::claim_is_true(&case, &bulks[0], Kind::Execution, &item, status.revision);
            expect(&format!("{word}, written by somebody else, created at {made}"), is, wanted)?;
        }
    }
    Ok(())
}

fn request(agent: &str, verb: &str, resource: &str, millis: i64) -> Request {
    Request {
        verb: verb.into(),
        resource: resource.into(),
        subresource: String::new(),
        namespace: "plan".into(),
        name: "name".into(),
        code: 200,
        body: Value::Null,
        dry_run: false,
        token: String::new(),
        agent: agent.into(),
        received: at(millis).to_string(),
        answered: at(millis + 1).to_string(),
    }
}

/// Writes by a leader, by a replica that never led, by one whose last renewal is old, and by one whose Lease was taken.
fn only_the_leader_writes() -> Result<(), Failed> {
    let plan = plan();
    let bases = Bases::new(true);
    let deadline = i64::try_from(TIMING.renew_deadline.as_millis()).unwrap();
    let judged = |write: Request, other: Option<i64>, held: bool| {
        let mut case = Case::of(&plan, &bases, None);
        case.requests =
            vec![request("life-0", "create", "leases", 0), request("life-0", "update", "leases", 200)];
        case.requests.extend(other.map(|millis| request("life-1", "update", "leases", millis)));
        if held {
            case.held.push((write.agent.clone(), format!("/of/{}/{}", write.resource, write.name)));
        }
        case.requests.push(write);
        leases::of(&case).is_empty()
    };
    let write = |agent, millis| request(agent, "patch", "executions", millis);
    expect("it leads", judged(write("life-0", 300), None, false), true)?;
    expect("it never led", judged(write("life-1", 300), None, false), false)?;
    expect("it leads still", judged(write("life-0", 200 + deadline), None, false), true)?;
    expect("its renewal is old", judged(write("life-0", deadline + 1_000), None, false), false)?;
    expect("it was held", judged(write("life-0", deadline + 1_000), None, true), true)?;
    expect("another leads", judged(write("life-0", 1_500), Some(300), false), false)?;
    let bulk = request("life-1", "update", "bulkupdates", 300);
    expect("a status is a write", judged(bulk, None, false), false)?;
    let read = request("life-1", "get", "executions", 300);
    expect("a read is not a write", judged(read, None, false), true)?;
    let case = Case::of(&plan, &bases, None);
    expect("nobody leads", leases::of(&case).is_empty(), false)
}

/// A policy that was always in force, and one that was weak, missing, young or changed when the BulkUpdate was created.
fn nothing_is_planned_unchecked() -> Result<(), Failed> {
    let bases = Bases::new(true);
    let guard = |resource: Resource, revision, millis, rest| {
        version(resource.plural(), guards::POLICY, revision, millis, rest)
    };
    let binding = guard(Resource::Bindings, 2, 0, json!({"spec": {"validationActions": ["Deny"]}}));
    let policy = |revision, millis, rest| guard(Resource::Policies, revision, millis, rest);
    let exempts = json!({"metadata": {"generation": 2}, "spec": {"matchConditions": [{"name": "exempt"}]}});
    let back = json!({"metadata": {"generation": 3}});
    let young = json!({"metadata": {"uid": "another", "creationTimestamp": at(12_000).to_string()}});
    let gone = Version { deleted: true, ..policy(10, 5_000, Value::Null) };
    let always = policy(1, 0, Value::Null);
    for (what, policies, covers) in [
        ("it was there", vec![always.clone()], true),
        ("it was never there", vec![], false),
        ("it was gone", vec![always.clone(), gone.clone()], false),
        ("it was young", vec![always.clone(), gone, policy(11, 12_000, young)], false),
        ("it was weak", vec![always.clone(), policy(10, 19_000, exempts.clone())], false),
        (
            "it was weak until now",
            vec![always.clone(), policy(10, 5_000, exempts.clone()), policy(11, 15_000, back.clone())],
            false,
        ),
        (
            "it was weak long ago",
            vec![always.clone(), policy(10, 2_000, exempts.clone()), policy(11, 5_000, back.clone())],
            true,
        ),
        (
            "it was restored afterwards",
            vec![always, policy(10, 19_000, exempts), policy(16, 21_000, back)],
            false,
        ),
    ] {
        let plan = Plan { guard: (!covers).then_some(Guard::Gone(Resource::Policies)), ..plan() };
        let mut case = Case::of(&plan, &bases, None);
        case.shipped = policies.into_iter().chain([binding.clone()]).collect();
        case.versions = vec![bulk(15, 20_000, Value::Null), bulk(20, 22_000, says("Eligible"))];
        let violations = authors::of(&case, &case.bulk_updates());
        let planned_unchecked = violations.iter().any(|problem| problem.contains("nobody had checked"));
        expect(&format!("{what}: {violations:?}"), planned_unchecked, !covers)?;
    }
    Ok(())
}

/// A stop that is missing from the audit log: then what is based on that log shows nothing.
fn the_accounts_agree() -> Result<(), Failed> {
    let plan = plan();
    let bases = Bases::new(true);
    let stopped = json!({"status": {"state": "STOPPED", "stopRequest": {"uid": "uid-of-bulk"}}});
    let judged = |requests: Vec<Request>| {
        let mut case = Case::of(&plan, &bases, None);
        case.versions =
            vec![in_state(10, "RUNNING"), version("executions", "stop-me", 11, 0, stopped.clone())];
        case.requests = requests;
        !case.accounts_agree().is_empty()
    };
    let sent = Request { name: "stop-me".into(), ..request("life-0", "patch", "executions", 0) };
    expect("it is logged", judged(vec![sent]), false)?;
    expect("it is not logged", judged(Vec::new()), true)
}
