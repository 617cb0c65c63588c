//! A history by hand: one process carries out one BulkUpdate with a stop, a delete and an item that is refused, without
//! any fault.

mod edit;
mod runs;
mod words;

use ai_api_operator::api::{Kind, TargetStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{Answer, Call, Calm, Exchange, Facts, Life, Moment, Others, Request, Sight, Version, Whole};

pub use runs::{JOB, RUN, owner};
pub use words::{status, unplanned};

pub const BULK: &str = "request-abc";
pub const LOG: &str =
    "INFO wrote to a target bulk_update=team/request-abc bulk_update_uid=uid-of-request-abc";

pub struct History {
    pub facts: Facts,
    /// Makes moments unique.
    count: u64,
}

/// A time, in milliseconds from the start.
pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_second(1_900_000_000).unwrap() + SignedDuration::from_millis(millis)
}

/// The same as text in whole seconds.
pub fn second(millis: i64) -> String {
    at(millis.div_euclid(1000) * 1000).to_string()
}

/// An answer of the API server itself.
pub fn code(code: u16) -> Answer {
    Answer::Whole(Whole { code, names_object: code == 404, ..Whole::default() })
}

/// An answer with an object.
pub fn shows(name: &str, revision: u64) -> Answer {
    let object = Some((format!("uid-of-{name}"), revision));
    Answer::Whole(Whole { code: 200, object, ..Whole::default() })
}

pub fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

impl History {
    pub fn new() -> Self {
        let mut history = Self { facts: Facts::default(), count: 0 };
        history.before();
        history.bulk_update();
        history.work();
        history.afterwards();
        history
    }

    fn before(&mut self) {
        let life = Life { name: "life-0".into(), started: self.moment(0), ..Life::default() };
        self.facts.lives.push(life);
        let policies = "validatingadmissionpolicies";
        let old = json!({"metadata": {"creationTimestamp": second(-100_000)}});
        let mut policy = json!({"spec": {"validations": ["stop", "delete"]}});
        merge(&mut policy, old.clone());
        self.version(1, policies, "policy", -100_000, policy);
        let mut binding = json!({"spec": {"validationActions": ["Deny"]}});
        merge(&mut binding, old);
        self.version(2, "validatingadmissionpolicybindings", "policy", -100_000, binding);
        let on = json!({"data": {"bulkUpdates": r#"{"executions": true, "deployments": true}"#}});
        self.version(3, "configmaps", "ai-api-meta", -90_000, on);
        for (revision, name, state) in
            [(10, "stop-me", "RUNNING"), (11, "delete-me", "STOPPED"), (12, "refuse-me", "RUNNING")]
        {
            let object =
                json!({"metadata": {"creationTimestamp": second(-50_000)}, "status": {"state": state}});
            self.version(revision, "executions", name, -50_000, object);
        }
        self.renewals(0..9, 20);
        for resource in [
            "executions",
            "deployments",
            "bulkupdates",
            "configmaps",
            policies,
            "validatingadmissionpolicybindings",
        ] {
            self.sends("list", resource, "", Value::Null, [100, 110], code(200));
            self.sends("watch", resource, "", Value::Null, [111, 112], code(200));
        }
        for revision in [1, 2, 3, 10, 11, 12] {
            self.sees(revision, 105, true);
        }
    }

    /// One each two seconds.
    fn renewals(&mut self, times: std::ops::Range<i64>, revision: u64) {
        for n in times.clone() {
            let (sent, verb) = (10 + n * 2000, if n == 0 { "create" } else { "update" });
            let revision = revision + u64::try_from(n - times.start).unwrap();
            let guard = json!({"metadata": {"name": "ai-api-operator", "resourceVersion": (revision - 1).to_string()},
                "spec": {"holderIdentity": "life-0"}});
            self.sends(verb, "leases", "ai-api-operator", guard, [sent, sent + 5], shows("lease", revision));
            self.made(revision);
            self.version(
                revision,
                "leases",
                "ai-api-operator",
                sent + 2,
                json!({"spec": {"holderIdentity": "life-0"}}),
            );
        }
    }

    fn bulk_update(&mut self) {
        let item = |id: &str, verb: &str| json!({"id": id, "targetStatus": verb});
        let items = [item("stop-me", "STOPPED"), item("delete-me", "DELETED"), item("refuse-me", "DELETED")];
        let object = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
            "metadata": {"creationTimestamp": second(20_000), "annotations": {"aiapi.dev/request-id": "abc"}},
            "spec": {"executions": items}, "status": {"observedGeneration": -1}});
        self.version(30, "bulkupdates", BULK, 20_000, object);
        self.sees(30, 20_020, false);
    }

    fn work(&mut self) {
        let flag = || shows("ai-api-meta", 3);
        self.sends("get", "configmaps", "ai-api-meta", Value::Null, [20_030, 20_040], flag());
        self.sends("get", "executions", "refuse-me", Value::Null, [20_050, 20_060], shows("refuse-me", 12));
        self.records(31, [20_070, 20_090], status(["Planned", "Planned", "Refused WrongState"], false));
        self.sends("get", "configmaps", "ai-api-meta", Value::Null, [20_072, 20_085], flag());
        self.event("Accepted", "3 items: 2 planned, 0 eligible, 1 refused", 20_095);
        let stop = json!({"metadata": {"resourceVersion": "10"}, "status": {"targetStatus": "STOPPED",
            "state": "STOPPED", "stopRequest": {"uid": format!("uid-of-{BULK}"), "bulkUpdate": BULK}}});
        self.sends(
            "patch",
            "executions/status",
            "stop-me",
            stop.clone(),
            [20_100, 20_110],
            shows("stop-me", 32),
        );
        self.made(32);
        let mut stopped = stop;
        stopped["metadata"] = json!({"creationTimestamp": second(-50_000)});
        self.version(32, "executions", "stop-me", 20_105, stopped);
        let delete = json!({"preconditions": {"uid": "uid-of-delete-me", "resourceVersion": "11"}});
        self.sends("delete", "executions", "delete-me", delete, [20_101, 20_111], code(200));
        self.made(33);
        let gone =
            json!({"metadata": {"creationTimestamp": second(-50_000)}, "status": {"state": "STOPPED"}});
        self.version(33, "executions", "delete-me", 20_106, gone);
        self.latest().deleted = true;
        self.sees(32, 20_107, false);
        self.sees(33, 20_108, false);
        self.records(34, [20_120, 20_140], status(["Settled", "Settled", "Refused WrongState"], true));
        self.event("Finished", "it is ItemsRefused", 20_150);
    }

    fn afterwards(&mut self) {
        self.renewals(11..15, 40);
        let line = |target: &str, verb: &str| {
            format!("{LOG} target=Execution/{target} target_uid=uid-of-{target} verb={verb} outcome=accepted")
        };
        self.facts.lives[0].log = Some(vec![line("stop-me", "STOP"), line("delete-me", "DELETE")]);
        let item = |id: &str, verb| (Kind::Execution, id.to_owned(), verb);
        self.facts.calls.push(Call {
            namespace: "team".into(),
            bulk: true,
            request_id: "abc".into(),
            items: vec![
                item("stop-me", TargetStatus::Stopped),
                item("delete-me", TargetStatus::Deleted),
                item("refuse-me", TargetStatus::Deleted),
            ],
            code: 202,
            body: json!({"executions": [{"id": "stop-me", "message": "Execution modification scheduled"},
                {"id": "delete-me", "message": "Execution modification scheduled"},
                {"id": "refuse-me", "error": {"code": "1", "message": "Current status RUNNING"}}]}),
            ..Call::default()
        });
        self.facts.quiet_since = Some(at(30_000));
        self.facts.end = Some(at(600_000));
        self.facts.others = Others::of(&self.facts);
        self.facts.calm = Calm::expected(&self.facts).map(|calm| Calm { undisturbed: true, ..calm });
        assert!(self.facts.calm.is_some(), "without this, two rules judge nothing");
    }

    pub fn moment(&mut self, millis: i64) -> Moment {
        self.count += 1;
        let nth = u64::try_from(millis + 1_000_000).unwrap() * 1000 + self.count;
        Moment { nth, at: at(millis) }
    }

    /// A new version; its metadata are added.
    #[allow(clippy::too_many_arguments, reason = "a version has many parts")]
    pub fn version(&mut self, revision: u64, plural: &str, name: &str, millis: i64, rest: Value) {
        let uid = format!("uid-of-{name}");
        let namespace = match plural {
            "configmaps" | "leases" => "ai-api-system",
            "validatingadmissionpolicies" | "validatingadmissionpolicybindings" => "",
            _ => "team",
        };
        let mut object = json!({"metadata": {"name": name, "namespace": namespace, "uid": uid, "generation": 1,
            "resourceVersion": revision.to_string()}});
        merge(&mut object, rest);
        let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
        let version = Version {
            revision,
            plural: plural.into(),
            namespace: namespace.into(),
            name: name.into(),
            uid,
            deleted: false,
            object: object.into(),
            at: at(millis),
        };
        let place = self.facts.versions.partition_point(|v| v.revision < revision);
        self.facts.versions.insert(place, version);
    }

    /// The version with the highest revision.
    pub fn latest(&mut self) -> &mut Version {
        self.facts.versions.last_mut().unwrap()
    }

    pub fn at_revision(&mut self, revision: u64) -> &mut Version {
        self.facts.versions.iter_mut().find(|v| v.revision == revision).unwrap()
    }

    /// A change of an object by somebody else.
    pub fn changes(&mut self, revision: u64, of: u64, millis: i64, change: Value) {
        let before = self.at_revision(of).clone();
        let mut object = (*before.object).clone();
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        merge(&mut object, change);
        self.version(revision, &before.plural, &before.name, millis, object);
    }

    /// A request, sent and answered at these times, and received in between.
    #[allow(clippy::too_many_arguments, reason = "a request has many parts")]
    pub fn sends(
        &mut self,
        verb: &str,
        resource: &str,
        name: &str,
        body: Value,
        [sent, ended]: [i64; 2],
        answer: Answer,
    ) -> usize {
        self.sends_by(0, verb, resource, name, body, [sent, ended], answer)
    }

    #[allow(clippy::too_many_arguments, reason = "a request has many parts")]
    pub fn sends_by(
        &mut self,
        life: usize,
        verb: &str,
        resource: &str,
        name: &str,
        body: Value,
        [sent, ended]: [i64; 2],
        answer: Answer,
    ) -> usize {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let namespace = match resource {
            "configmaps" | "leases" => "ai-api-system",
            "executions" | "deployments" | "bulkupdates" | "events" | "jobs" | "work-executions" => "team",
            _ => "",
        };
        let number = self.facts.exchanges.len();
        let code = if let Answer::Whole(whole) = &answer { whole.code } else { 0 };
        let exchange = Exchange {
            life,
            verb: verb.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            body: body.clone().into(),
            dry_run: false,
            sent: self.moment(sent),
            ended: Some((self.moment(ended), answer)),
        };
        self.facts.exchanges.push(exchange);
        self.facts.requests.push(Request {
            life: Some(life),
            exchange: Some(number),
            user: "operator".into(),
            agent: format!("life-{life}"),
            verb: verb.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            body: body.into(),
            code,
            received: at(sent + 1),
            answered: at(ended - 1),
            ..Request::default()
        });
        // The exchanges are in the order in which they were sent.
        number
    }

    /// The last request has made this revision.
    pub fn made(&mut self, revision: u64) {
        self.facts.requests.last_mut().unwrap().revision = Some(revision);
    }

    /// The process writes a status.
    pub fn records(&mut self, revision: u64, [sent, ended]: [i64; 2], status: Value) {
        let before = self.facts.versions.iter().rfind(|v| v.name == BULK).unwrap().revision;
        let body = json!({"metadata": {"name": BULK, "uid": format!("uid-of-{BULK}"),
            "resourceVersion": before.to_string()}, "status": status});
        self.sends("update", "bulkupdates/status", BULK, body, [sent, ended], shows(BULK, revision));
        self.made(revision);
        self.changes(revision, before, sent + 10, json!({}));
        self.at_revision(revision).object["status"] = status;
    }

    pub fn event(&mut self, reason: &str, note: &str, sent: i64) {
        let body = json!({"reason": reason, "note": note, "regarding": {"uid": format!("uid-of-{BULK}")}});
        self.sends("create", "events", reason, body, [sent, sent + 5], code(201));
    }

    /// A list or a watch shows the process a version.
    pub fn sees(&mut self, revision: u64, millis: i64, listed: bool) {
        let v = self.at_revision(revision).clone();
        let when = self.moment(millis);
        let Version { plural: resource, namespace, name, uid, deleted, .. } = v;
        self.facts.sights.push(Sight {
            life: 0,
            when,
            resource,
            namespace,
            name,
            uid,
            revision,
            deleted,
            listed,
        });
        self.facts.sights.sort_by_key(|sight| sight.when);
    }
}
