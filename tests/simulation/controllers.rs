//! Other controllers, which run targets, and what is known of how far BulkUpdates are.

use std::collections::BTreeMap;

use api_server::{Answer, Server, User, Watch};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{Method, Request};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};

use crate::{
    story::Controller,
    world::{Due, World},
};

/// The longest time to live that is waited for, in seconds.
const LONGEST_LIFE: i64 = 100;

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
struct WatchEvent<'a> {
    #[serde(rename = "type")]
    type_: String,
    #[serde(borrow)]
    object: Watched<'a>,
}

#[derive(Deserialize)]
struct Watched<'a> {
    metadata: Metadata,
    #[serde(borrow, default)]
    spec: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
}

/// What can be read of a part.
fn part<T: Default + DeserializeOwned>(raw: Option<&RawValue>) -> T {
    let object = raw.filter(|raw| raw.get().starts_with('{'));
    object.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

#[derive(Deserialize)]
struct Metadata {
    namespace: String,
    name: String,
    uid: String,
    #[serde(default)]
    generation: i64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatchedSpec {
    managed_by: Value,
    ttl_seconds_after_finished: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatchedStatus {
    completion_time: Value,
    observed_generation: Value,
    target_status: Value,
    state: Value,
}

/// What is followed of BulkUpdates and of the targets of other controllers, by watches of their own.
pub struct Controllers {
    watches: Vec<(&'static str, Watch)>,
    /// Where BulkUpdates are carried out; nothing is everywhere.
    namespaces: Vec<String>,
    /// Whether nothing is left to do for each BulkUpdate, by namespace and name.
    bulk_updates: BTreeMap<(String, String), bool>,
    /// How the controllers of targets follow a request to stop, by plural, namespace and name.
    kinds: BTreeMap<(&'static str, &'static str, String), Controller>,
    /// The targets that were asked to stop.
    asked: Vec<Followed>,
}

impl Controllers {
    pub fn new(server: &Server, namespaces: &[String]) -> Self {
        let watch = |plural| {
            let request = Request::get(format!("/apis/aiapi.dev/v1alpha1/{plural}?watch=true"));
            match server.handle(&User::Admin, "controllers", request.body(Bytes::new()).unwrap()) {
                Answer::Watch(_, watch) => (plural, watch),
                Answer::Whole(answer) => panic!("{answer:?}"),
            }
        };
        let watches = ["bulkupdates", "executions", "deployments"].map(watch).into();
        let namespaces = namespaces.to_vec();
        Self { watches, namespaces, bulk_updates: BTreeMap::new(), kinds: BTreeMap::new(), asked: Vec::new() }
    }

    /// How the controller of a target follows a request to stop.
    pub fn follow_by(&mut self, target: (&'static str, &'static str, String), controller: Controller) {
        self.kinds.insert(target, controller);
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
        let Watched { metadata, spec, status } = object;
        let (spec, status) = (part::<WatchedSpec>(spec), part::<WatchedStatus>(status));
        let over = is_over(&metadata, &spec, &status);
        let Metadata { namespace, name, uid, .. } = metadata;
        if plural == "bulkupdates" {
            let is_watched = self.namespaces.is_empty() || self.namespaces.contains(&namespace);
            let key = (namespace, name);
            if deleted || !is_watched {
                self.bulk_updates.remove(&key);
            } else {
                self.bulk_updates.insert(key, over);
            }
            return None;
        }
        let asked = status.target_status == "STOPPED"
            && matches!(status.state.as_str(), Some("PENDING" | "RUNNING" | "STOPPING"));
        if deleted || !asked || spec.managed_by != OTHER {
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

/// Whether nothing is left to do for a BulkUpdate: it has ended, its generation was seen, and it need not be deleted soon.
fn is_over(metadata: &Metadata, spec: &WatchedSpec, status: &WatchedStatus) -> bool {
    let seen = status.observed_generation.as_i64().unwrap_or_default() >= metadata.generation;
    let expires = spec.ttl_seconds_after_finished.as_i64().is_some_and(|ttl| ttl <= LONGEST_LIFE);
    status.completion_time.is_string() && seen && !expires
}

impl World {
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
        let status = &object["status"];
        let is_over = matches!(status["state"].as_str(), Some("STOPPED" | "COMPLETED" | "DEAD"));
        if object["metadata"]["uid"] != **uid || status["targetStatus"] != "STOPPED" || is_over {
            return;
        }
        let completes = matches!(self.controllers.of(followed), Controller::Completes(_));
        let state = if completes { "COMPLETED" } else { "STOPPED" };
        let version = &object["metadata"]["resourceVersion"];
        let change = json!({"metadata": {"resourceVersion": version}, "status": {"state": state}});
        self.as_admin(Method::PATCH, &format!("{path}/status"), &change);
        self.spread();
    }

    /// Those that have not followed a request to stop do so now, and those whose object somebody has started since do it again.
    pub fn controllers_obey(&mut self) {
        for followed in self.controllers.asked.clone() {
            self.due(self.now + 1000, Due::Controller(followed));
        }
    }
}
