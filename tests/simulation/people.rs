//! What everybody else does: users, admins, other controllers.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use ai_api_operator::api::Kind;
use api_server::{Answer, Server, User, Watch};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use support::call::Call;

use crate::{
    cluster::{HOME, META},
    story::{Act, BulkAct, Controller, Made, Odd, What, When},
    world::{Due, World},
};

/// A finalizer of somebody else.
pub const FINALIZER: &str = "example.com/keep";

/// The value of `managedBy` of what another controller runs.
pub const OTHER: &str = "example.com/controller";

/// A target, by which a controller knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    pub plural: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// What the controllers read of an event of a watch. Where the CRDs take anything, a field may be anything.
#[derive(Deserialize)]
struct WatchEvent {
    #[serde(rename = "type")]
    type_: String,
    object: Watched,
}

#[derive(Deserialize)]
struct Watched {
    metadata: Metadata,
    spec: Option<WatchedSpec>,
    status: Option<WatchedStatus>,
}

#[derive(Deserialize)]
struct Metadata {
    namespace: String,
    name: String,
    uid: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatchedSpec {
    managed_by: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatchedStatus {
    completion_time: Value,
    target_status: Value,
    state: Value,
}

/// What is followed of BulkUpdates and of the targets of other controllers, by watches of their own.
pub struct Controllers {
    watches: Vec<(&'static str, Watch)>,
    /// Whether each BulkUpdate has ended, by namespace and name.
    bulk_updates: BTreeMap<(String, String), bool>,
    /// How the controllers of targets follow a request to stop, by plural, namespace and name.
    kinds: BTreeMap<(&'static str, &'static str, String), Controller>,
    /// The targets that were asked to stop.
    asked: Vec<Followed>,
}

impl Controllers {
    pub fn new(server: &Server) -> Self {
        let watch = |plural| {
            let request = Request::get(format!("/apis/aiapi.dev/v1alpha1/{plural}?watch=true"));
            match server.handle(&User::Admin, "controllers", request.body(Bytes::new()).unwrap()) {
                Answer::Watch(_, watch) => (plural, watch),
                Answer::Whole(answer) => panic!("{answer:?}"),
            }
        };
        let watches = ["bulkupdates", "executions", "deployments"].map(watch).into();
        Self { watches, bulk_updates: BTreeMap::new(), kinds: BTreeMap::new(), asked: Vec::new() }
    }

    pub fn all_have_ended(&self) -> bool {
        self.bulk_updates.values().all(|ended| *ended)
    }

    pub fn not_ended(&self) -> String {
        let not = self.bulk_updates.iter().filter(|(_, ended)| !**ended);
        not.map(|((namespace, name), _)| format!("{namespace}/{name}")).collect::<Vec<_>>().join(", ")
    }

    /// Takes in an event of a watch; returns the target that a controller was just asked to stop.
    fn take_in(&mut self, plural: &'static str, line: &[u8]) -> Option<Followed> {
        let WatchEvent { type_, object } = serde_json::from_slice(line).unwrap();
        let deleted = type_ == "DELETED";
        let Metadata { namespace, name, uid } = object.metadata;
        let status = object.status.unwrap_or_default();
        if plural == "bulkupdates" {
            let ended = status.completion_time.is_string();
            let key = (namespace, name);
            if deleted {
                self.bulk_updates.remove(&key);
            } else {
                self.bulk_updates.insert(key, ended);
            }
            return None;
        }
        let asked = status.target_status == "STOPPED"
            && matches!(status.state.as_str(), Some("PENDING" | "RUNNING" | "STOPPING"));
        if deleted || !asked || object.spec.unwrap_or_default().managed_by != OTHER {
            return None;
        }
        let followed = Followed { plural: plural.into(), namespace, name, uid };
        let is_new = !self.asked.contains(&followed);
        if is_new {
            self.asked.push(followed.clone());
        }
        is_new.then_some(followed)
    }

    fn of(&self, followed: &Followed) -> Controller {
        let key = self.kinds.iter().find(|((plural, namespace, name), _)| {
            *plural == followed.plural && *namespace == followed.namespace && *name == followed.name
        });
        key.map_or(Controller::Stops(1000), |(_, controller)| *controller)
    }
}

impl World {
    /// Sends a request as somebody; returns the object if it reads one.
    pub fn ask(&mut self, user: &User, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let reads = method == Method::GET;
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        self.recorded.handled_for_others();
        let answer = self.server.handle(user, "people", request.body(body).unwrap());
        let Answer::Whole(answer) = answer else { panic!("it is no watch: {path}") };
        let status = answer.status();
        self.recorded.note(|| format!("{} somebody asks {path}: {status}", self.now));
        self.recorded.acts.entry(status.as_u16()).and_modify(|n| *n += 1).or_insert(1_usize);
        let object =
            if reads { serde_json::from_slice(answer.body()).unwrap_or_default() } else { Value::Null };
        (status, object)
    }

    pub fn as_admin(&mut self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        self.ask(&User::Admin, method, path, body)
    }

    /// Lets other controllers see what has happened.
    pub fn follow(&mut self) {
        for number in 0..self.controllers.watches.len() {
            while let Some(Some(line)) = self.controllers.watches[number].1.next().now_or_never() {
                let plural = self.controllers.watches[number].0;
                if let Some(followed) = self.controllers.take_in(plural, &line) {
                    let after = match self.controllers.of(&followed) {
                        Controller::Stops(after) | Controller::Completes(after) => after,
                        Controller::Refuses if self.is_calm => 1000,
                        Controller::Refuses => continue,
                    };
                    self.due(self.now + after, Due::Controller(followed));
                }
            }
        }
    }

    pub fn controller_acts(&mut self, followed: &Followed) {
        let Followed { plural, namespace, name, uid } = followed;
        let path = format!("/apis/aiapi.dev/v1alpha1/namespaces/{namespace}/{plural}/{name}");
        let (_, object) = self.as_admin(Method::GET, &path, &Value::Null);
        if object["metadata"]["uid"] != **uid || object["status"]["targetStatus"] != "STOPPED" {
            return;
        }
        let completes = matches!(self.controllers.of(followed), Controller::Completes(_));
        let state = if completes { "COMPLETED" } else { "STOPPED" };
        let version = &object["metadata"]["resourceVersion"];
        let change = json!({"metadata": {"resourceVersion": version}, "status": {"state": state}});
        self.as_admin(Method::PATCH, &format!("{path}/status"), &change);
        self.spread();
    }

    /// What the story has for this moment.
    pub fn tell(&mut self, number: usize) {
        let event = self.story.events[number].clone();
        if self.is_calm && event.what.is_fault() {
            return;
        }
        self.recorded.note(|| format!("{} {event}", self.now));
        self.recorded.events_of_faults += usize::from(event.what.is_fault());
        match event.what {
            What::Create(made) => self.create(&made),
            What::Submit { namespace, name, mut spec, user, uids } => {
                if uids {
                    self.fill_in_uids(namespace, &mut spec);
                }
                let bulk = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
                    "metadata": {"name": name}, "spec": spec});
                let path = format!("/apis/aiapi.dev/v1alpha1/namespaces/{namespace}/bulkupdates");
                self.ask(&user.user(), Method::POST, &path, &bulk);
            }
            What::Act { namespace, kind, name, act } => self.act(namespace, kind.plural(), &name, act),
            What::ActOnBulk { namespace, name, act } => self.act_on_bulk(namespace, &name, act),
            What::Admin(admin) => self.administer(&admin),
            What::Fault(_) => {}
            What::Weather { lasts, .. } => {
                self.weather.push(number);
                self.due(self.now + lasts, Due::EndWeather(number));
            }
            What::View { lasts, .. } => {
                self.views.push((number, self.server.revision()));
                self.due(self.now + lasts, Due::EndView(number));
            }
            What::Kill { slot, back_after } => {
                self.due(self.now, Due::Kill { slot, life: self.slots[slot].life, back_after });
            }
            What::Terminate { slot, back_after } => {
                self.due(self.now, Due::Terminate { slot, life: self.slots[slot].life, back_after });
            }
            What::Suspend { slot, lasts } => {
                self.due(self.now, Due::Suspend { slot, life: self.slots[slot].life, lasts });
            }
            What::SetClock { slot, by } => {
                self.slots[slot].host.set.fetch_add(by, Ordering::Relaxed);
            }
            What::Compact => self.server.compact(self.server.revision()),
            What::Call(called) => self.call_gateway(&called),
        }
        self.spread();
    }

    fn create(&mut self, made: &Made) {
        let plural = made.kind.plural();
        let mut metadata = json!({"name": made.name});
        if made.kept {
            metadata["finalizers"] = json!([FINALIZER]);
        }
        match made.odd {
            Some(Odd::ManyLabels) => {
                metadata["labels"] = (0..30).map(|n| (format!("label-{n}"), json!("x".repeat(60)))).collect();
            }
            Some(Odd::LongAnnotation) => metadata["annotations"] = json!({"note": "ä".repeat(20_000)}),
            Some(Odd::Owner) => {
                let path = format!("/api/v1/namespaces/{HOME}/configmaps/{META}");
                let (_, owner) = self.as_admin(Method::GET, &path, &Value::Null);
                metadata["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "absent",
                    "uid": owner["metadata"]["uid"]}]);
            }
            None => {}
        }
        let mut spec = json!({});
        if let Some(controller) = made.controller {
            spec["managedBy"] = OTHER.into();
            self.controllers.kinds.insert((plural, made.namespace, made.name.clone()), controller);
        }
        let object = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": made.kind.name(), "metadata": metadata, "spec": spec});
        let path = format!("/apis/aiapi.dev/v1alpha1/namespaces/{}/{plural}", made.namespace);
        self.as_admin(Method::POST, &path, &object);
        if made.status.is_object() {
            self.patch_status(made.namespace, plural, &made.name, &made.status);
        }
    }

    /// Gives the items with the uid `its` the uid of the object of their name.
    fn fill_in_uids(&mut self, namespace: &str, spec: &mut Value) {
        for kind in Kind::ALL {
            let plural = kind.plural();
            for at in 0..spec[plural].as_array().map_or(0, Vec::len) {
                if spec[plural][at]["uid"] == "its" {
                    let path = target_path(namespace, plural, spec[plural][at]["id"].as_str().unwrap());
                    let (_, object) = self.as_admin(Method::GET, &path, &Value::Null);
                    let uid = &object["metadata"]["uid"];
                    spec[plural][at]["uid"] = if uid.is_string() { uid.clone() } else { "gone".into() };
                }
            }
        }
    }

    fn patch_status(&mut self, namespace: &str, plural: &str, name: &str, status: &Value) {
        let path = format!("{}/status", target_path(namespace, plural, name));
        self.as_admin(Method::PATCH, &path, &json!({"status": status}));
    }

    /// Does something to the target of a request, before it is carried out; to any target, if the request is about none.
    pub fn race(&mut self, call: Call, path: &str, act: Act) {
        let segments: Vec<_> = path.split('/').collect();
        if let [
            "",
            "apis",
            "aiapi.dev",
            _,
            "namespaces",
            namespace,
            plural @ ("executions" | "deployments"),
            name,
            ..,
        ] = segments.as_slice()
        {
            let (namespace, plural, name) =
                ((*namespace).to_owned(), (*plural).to_owned(), (*name).to_owned());
            self.act(&namespace, &plural, &name, act);
        } else if !call.is_about_the_lease() {
            let made = self.story.events.iter().find_map(|event| match &event.what {
                What::Create(made) => Some((made.namespace, made.kind.plural(), made.name.clone())),
                _ => None,
            });
            if let Some((namespace, plural, name)) = made {
                self.act(namespace, plural, &name, act);
            }
        }
    }

    pub fn race_about_bulk_updates(&mut self, act: BulkAct) {
        let mut submitted = self.story.events.iter().filter_map(|event| match (&event.what, event.when) {
            (What::Submit { namespace, name, .. }, When::At(time)) if time <= self.now => {
                Some((*namespace, name.clone()))
            }
            _ => None,
        });
        if let Some((namespace, name)) = submitted.next_back() {
            self.act_on_bulk(namespace, &name, act);
        }
    }

    pub fn act(&mut self, namespace: &str, plural: &str, name: &str, act: Act) {
        let path = target_path(namespace, plural, name);
        let status = |world: &mut Self, status: Value| world.patch_status(namespace, plural, name, &status);
        let kept = json!({"metadata": {"finalizers": [FINALIZER]}});
        match act {
            Act::Relabel => {
                let label = json!({"metadata": {"labels": {"changed": self.now.to_string()}}});
                self.as_admin(Method::PATCH, &path, &label);
            }
            Act::State(state) => status(self, json!({"state": state})),
            Act::AskToStop => status(self, json!({"targetStatus": "STOPPED"})),
            Act::AskToStopForAnother => {
                let of = json!({"bulkUpdate": "another", "uid": "another", "time": "2026-01-05T12:00:00Z"});
                status(self, json!({"targetStatus": "STOPPED", "state": "STOPPED", "stopRequest": of}));
            }
            Act::TakeBack => {
                status(self, json!({"targetStatus": "RUNNING", "state": "RUNNING", "stopRequest": null}));
            }
            Act::Garbage => status(self, json!({"state": "GARBAGE"})),
            Act::Delete => drop(self.as_admin(Method::DELETE, &path, &Value::Null)),
            Act::Recreate(state) => {
                self.as_admin(Method::DELETE, &path, &Value::Null);
                let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == plural).unwrap();
                let object = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": kind.name(),
                    "metadata": {"name": name}, "spec": {}});
                let all = path.rsplit_once('/').unwrap().0;
                self.as_admin(Method::POST, all, &object);
                status(self, json!({"state": state}));
            }
            Act::Finalize => drop(self.as_admin(Method::PATCH, &path, &kept)),
            Act::Terminate => {
                self.as_admin(Method::PATCH, &path, &kept);
                self.as_admin(Method::DELETE, &path, &Value::Null);
            }
            Act::Free => {
                drop(self.as_admin(Method::PATCH, &path, &json!({"metadata": {"finalizers": null}})));
            }
        }
    }
}

pub fn target_path(namespace: &str, plural: &str, name: &str) -> String {
    format!("/apis/aiapi.dev/v1alpha1/namespaces/{namespace}/{plural}/{name}")
}

impl World {
    /// Those that have not followed a request to stop do so now.
    pub fn controllers_obey(&mut self) {
        for followed in self.controllers.asked.clone() {
            if self.controllers.of(&followed) == Controller::Refuses {
                self.due(self.now + 1000, Due::Controller(followed));
            }
        }
    }
}
