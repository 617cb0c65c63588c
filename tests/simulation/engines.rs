//! The controllers of what runs, as far as anybody sees them: the Pods of Jobs and of Deployments come and go, and the statuses
//! follow. As the real ones do, they look at what a watch has shown, act, and tell later, with the resourceVersion that they
//! have looked at: what changes meanwhile they see the next time. The kubelet starts and ends Pods.

mod deployment;
mod job;

use std::collections::{BTreeMap, BTreeSet};

use api_server::{Answer, Server, User, Watch};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::{
    story::{Course, End},
    world::{Due, World},
};

/// What the controllers look after: its resource in paths, namespace and name.
pub type Key = (&'static str, String, String);

pub const JOBS: &str = "/apis/batch/v1";
pub const APPS: &str = "/apis/apps/v1";

/// What is due for a controller.
pub enum Turn {
    Look(Key),
    /// It acts on the object as it was.
    Act(Key, Value),
    /// It tells what it has done.
    Tell(Key, Value),
    Kubelet(Pod, Phase),
}

/// A Pod, by which the kubelet knows it.
#[derive(Clone, Debug)]
pub struct Pod {
    path: String,
    uid: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Running,
    Succeeded,
    Failed,
    Gone,
}

/// What the controllers and the kubelet have seen.
pub struct Engines {
    watches: Vec<(&'static str, Watch)>,
    /// Its own, so that what runs changes nothing in lives without it.
    random: fastrand::Rng,
    /// What a controller is working on, and whether it has to look again after that.
    busy: BTreeMap<Key, bool>,
    /// The Pods that were seen, and those that were seen to end, by uid.
    pods: BTreeSet<String>,
    ending: BTreeSet<String>,
}

impl Engines {
    pub fn new(server: &Server, seed: u64) -> Self {
        let watch = |path: &'static str| {
            let request = Request::get(format!("{path}?watch=true"));
            match server.handle(&User::Admin, "controllers", request.body(Bytes::new()).unwrap()) {
                Answer::Watch(_, watch) => (path, watch),
                Answer::Whole(answer) => panic!("{answer:?}"),
            }
        };
        let watches = ["/apis/batch/v1/jobs", "/apis/apps/v1/deployments", "/api/v1/pods"].map(watch).into();
        let random = fastrand::Rng::with_seed(seed ^ 0xe9_91e5);
        let (busy, pods, ending) = Default::default();
        Self { watches, random, busy, pods, ending }
    }

    fn one(&mut self, of: &[u64]) -> u64 {
        of[self.random.usize(..of.len())]
    }
}

/// The path of an object that a controller looks after.
fn path((resource, namespace, name): &Key) -> String {
    let group = if *resource == "jobs" { JOBS } else { APPS };
    format!("{group}/namespaces/{namespace}/{resource}/{name}")
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Its controller among its owners.
pub fn controller_of(object: &Value) -> Option<&Value> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)
}

/// Whether a Pod has ended.
pub fn has_ended(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

impl World {
    /// Lets the controllers of what runs see what has happened.
    pub fn follow_engines(&mut self) {
        let Some(engines) = &mut self.engines else { return };
        let mut events = Vec::new();
        for (resource, watch) in &mut engines.watches {
            while let Some(Some(line)) = watch.next().now_or_never() {
                let event: Value = serde_json::from_slice(&line).unwrap();
                events.push((*resource, event));
            }
        }
        for (resource, event) in events {
            let object = &event["object"];
            let own = |field: &str| text(object, &format!("/metadata/{field}")).to_owned();
            match resource {
                "/apis/batch/v1/jobs" => self.wake(("jobs", own("namespace"), own("name"))),
                "/apis/apps/v1/deployments" => self.wake(("deployments", own("namespace"), own("name"))),
                _ => self.pod_changes(&event),
            }
        }
    }

    fn wake(&mut self, key: Key) {
        let Some(engines) = &mut self.engines else { return };
        if let Some(again) = engines.busy.get_mut(&key) {
            *again = true;
            return;
        }
        engines.busy.insert(key.clone(), false);
        let after = engines.one(&[1, 1, 5, 20, 100, 1000]);
        self.due(self.now + after, Due::Engine(Turn::Look(key)));
    }

    fn pod_changes(&mut self, event: &Value) {
        let pod = &event["object"];
        let (namespace, uid) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/uid").to_owned());
        if let Some(owner) = controller_of(pod) {
            let name = text(owner, "/name");
            let key = if text(owner, "/kind") == "Job" {
                ("jobs", namespace.to_owned(), name.to_owned())
            } else {
                let of = name.rsplit_once('-').map_or(name, |(name, _)| name);
                ("deployments", namespace.to_owned(), of.to_owned())
            };
            self.wake(key);
        }
        if event["type"] == "DELETED" {
            return;
        }
        let Some(engines) = &mut self.engines else { return };
        let course = Course::of(pod);
        let known = Pod {
            path: format!("/api/v1/namespaces/{namespace}/pods/{}", text(pod, "/metadata/name")),
            uid: uid.clone(),
        };
        let mut turns = Vec::new();
        if engines.pods.insert(uid.clone()) && course.end != End::Unstarted {
            let starts = self.now + engines.one(&[5, 50, 300, 2000]);
            turns.push((starts, Phase::Running));
            match course.end {
                End::Completes(after) => turns.push((starts + after, Phase::Succeeded)),
                End::Fails(after) => turns.push((starts + after, Phase::Failed)),
                End::Never | End::Unstarted => {}
            }
        }
        if is_terminating(pod) && engines.ending.insert(uid) {
            turns.push((self.now + course.grace, Phase::Gone));
        }
        for (at, phase) in turns {
            self.due(at, Due::Engine(Turn::Kubelet(known.clone(), phase)));
        }
    }

    /// A controller does what is due.
    pub fn engine_acts(&mut self, turn: Turn) {
        match turn {
            Turn::Look(key) => {
                let (found, object) = self.as_admin(Method::GET, &path(&key), &Value::Null);
                if !found.is_success() {
                    return self.rest(&key);
                }
                let after = self.engines.as_mut().map_or(0, |engines| engines.one(&[0, 1, 5, 30]));
                self.due(self.now + after, Due::Engine(Turn::Act(key, object)));
            }
            Turn::Act(key, object) => {
                let status = match key.0 {
                    "jobs" => self.run_job(&key, &object),
                    _ => self.run_deployment(&key, &object),
                };
                if status == object["status"] {
                    self.rest(&key);
                } else {
                    let patch = json!({"metadata": {"resourceVersion": object["metadata"]["resourceVersion"]},
                        "status": replacing(&object["status"], &status)});
                    let after = self.engines.as_mut().map_or(0, |engines| engines.one(&[1, 2, 10, 50, 300]));
                    self.due(self.now + after, Due::Engine(Turn::Tell(key, patch)));
                }
            }
            Turn::Tell(key, patch) => {
                let (code, _) = self.as_admin(Method::PATCH, &format!("{}/status", path(&key)), &patch);
                if code == StatusCode::CONFLICT
                    && let Some(again) = self.engines.as_mut().and_then(|engines| engines.busy.get_mut(&key))
                {
                    *again = true;
                }
                self.rest(&key);
            }
            Turn::Kubelet(pod, phase) => self.kubelet_acts(&pod, phase),
        }
        self.spread();
    }

    /// It is done, unless something has changed meanwhile.
    fn rest(&mut self, key: &Key) {
        let Some(engines) = &mut self.engines else { return };
        if engines.busy.remove(key) == Some(true) {
            self.wake(key.clone());
        }
    }

    fn kubelet_acts(&mut self, pod: &Pod, phase: Phase) {
        if phase == Phase::Gone {
            let now = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}});
            self.as_admin(Method::DELETE, &pod.path, &now);
            return;
        }
        let (_, found) = self.as_admin(Method::GET, &pod.path, &Value::Null);
        if text(&found, "/metadata/uid") != pod.uid || has_ended(&found) {
            return;
        }
        let word = format!("{phase:?}");
        let version = &found["metadata"]["resourceVersion"];
        let patch = json!({"metadata": {"resourceVersion": version}, "status": {"phase": word}});
        self.as_admin(Method::PATCH, &format!("{}/status", pod.path), &patch);
    }

    /// The Pods of a controller, by its uid.
    fn pods_of(&mut self, namespace: &str, uid: &str) -> Vec<Value> {
        self.controlled_by(uid, &format!("/api/v1/namespaces/{namespace}/pods"))
    }

    /// The objects of a collection that the object with this uid controls.
    fn controlled_by(&mut self, uid: &str, path: &str) -> Vec<Value> {
        let mut objects = self.objects(path);
        objects.retain(|object| controller_of(object).is_some_and(|owner| owner["uid"] == uid));
        objects
    }

    fn create_pod(&mut self, namespace: &str, owner: &Value, template: &Value) {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
        pod["metadata"]["generateName"] = format!("{}-", text(owner, "/name")).into();
        pod["metadata"]["ownerReferences"] = json!([owner]);
        pod["spec"]["nodeName"] = "node".into();
        self.as_admin(Method::POST, &format!("/api/v1/namespaces/{namespace}/pods"), &pod);
    }

    fn delete_pod(&mut self, namespace: &str, pod: &Value) {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{}", text(pod, "/metadata/name"));
        let this = json!({"preconditions": {"uid": pod["metadata"]["uid"]}});
        self.as_admin(Method::DELETE, &path, &this);
    }

    /// The API server's time, in whole seconds.
    fn second(&self) -> Value {
        self.server_time().strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
    }
}

/// The merge patch that makes one status of another: what is not there any more is null.
fn replacing(old: &Value, new: &Value) -> Value {
    let mut patch = new.clone();
    for (field, _) in old.as_object().into_iter().flatten() {
        if new[field].is_null() {
            patch[field] = Value::Null;
        }
    }
    patch
}

/// The annotation that says how the work goes.
const COURSE: &str = "example.com/course";

impl Course {
    /// As it stands in an annotation.
    pub fn annotations(self) -> Value {
        let end = match self.end {
            End::Never => "never 0".to_owned(),
            End::Unstarted => "unstarted 0".to_owned(),
            End::Completes(after) => format!("completes {after}"),
            End::Fails(after) => format!("fails {after}"),
        };
        json!({COURSE: format!("{} {end} {}", self.replicas, self.grace)})
    }

    fn of(pod: &Value) -> Self {
        let words: Vec<_> = text(&pod["metadata"]["annotations"][COURSE], "").split(' ').collect();
        let [replicas, end, after, grace] = words.as_slice() else {
            return Self { replicas: 1, end: End::Never, grace: 1000 };
        };
        let number = |word: &str| word.parse().unwrap_or_default();
        let end = match *end {
            "completes" => End::Completes(number(after)),
            "fails" => End::Fails(number(after)),
            "unstarted" => End::Unstarted,
            _ => End::Never,
        };
        Self { replicas: replicas.parse().unwrap_or(1), end, grace: number(grace) }
    }
}
