//! What everybody else does: users, and who changes targets.

use std::sync::atomic::Ordering;

use ai_api_operator::api::Kind;
use api_server::{Answer, User};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use support::call::Call;

use crate::{
    cluster::{HOME, META},
    controllers::OTHER,
    coverage::{LOST_RIGHTS, NO_RIGHTS},
    occurred::Place,
    story::{Act, BulkAct, Made, Odd, What, When, Who},
    world::{Due, World},
};

/// A finalizer of somebody else.
pub const FINALIZER: &str = "example.com/keep";

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

    /// The objects of a collection.
    pub fn objects(&mut self, path: &str) -> Vec<Value> {
        let (_, mut list) = self.as_admin(Method::GET, path, &Value::Null);
        list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What the story has for this moment.
    pub fn tell(&mut self, number: usize) {
        let event = self.story.events[number].clone();
        if self.is_calm && event.what.is_fault() {
            return;
        }
        self.recorded.note(|| format!("{} {event}", self.now));
        self.recorded.events_of_faults += usize::from(event.what.is_fault());
        let before = self.server.revision();
        let server_alone =
            matches!(event.what, What::Compact | What::Restart { .. } | What::StepClock { .. });
        match event.what {
            What::Create(made) => self.create(&made),
            What::Run(run) => self.create_run(&run),
            What::Work { namespace, kind, name, act } => self.act_on_work(namespace, kind, &name, act),
            What::Submit { namespace, name, mut spec, user, uids } => {
                if uids {
                    self.fill_in_uids(namespace, &mut spec);
                }
                let bulk = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
                    "metadata": {"name": name}, "spec": spec});
                let path = format!("/apis/aiapi.dev/v1alpha1/namespaces/{namespace}/bulkupdates");
                let (status, _) = self.ask(&user.user(), Method::POST, &path, &bulk);
                if status.is_success() {
                    self.created_at = Some(self.server.revision());
                } else if status == StatusCode::FORBIDDEN {
                    let had_rights = matches!(user, Who::Editor | Who::Trainer);
                    self.occurred.situations.insert(if had_rights { LOST_RIGHTS } else { NO_RIGHTS });
                }
            }
            What::Act { namespace, kind, name, act } => self.act(namespace, kind.plural(), &name, act),
            What::ActOnBulk { namespace, name, act } => self.act_on_bulk(namespace, &name, act),
            What::Admin(admin) => self.administer(&admin),
            What::Fault(_) => {}
            What::Weather { lasts, .. } => {
                self.weather.push(number);
                self.due(self.now + lasts, Due::EndWeather(number));
            }
            What::View { lasts, .. } => self.begin_view(number, lasts),
            What::Compact => self.server.compact(self.server.revision()),
            What::Restart { lasts } => self.restart_server(lasts),
            What::StepClock { by } => self.step_clock(by),
            What::Call(called) => self.call_gateway(&called),
            What::Kill { slot, .. }
            | What::Terminate { slot, .. }
            | What::Suspend { slot, .. }
            | What::SetClock { slot, .. } => self.disturb(slot, number),
        }
        if server_alone {
            self.occurred.note(number, Place::Anywhere);
        }
        self.note_if_changed(number, before, Place::Anywhere);
        self.spread();
    }

    /// What happens to a process, if there is one, and to its machine.
    fn disturb(&mut self, slot: usize, event: usize) {
        if slot >= self.slots.len() {
            return;
        }
        let life = self.slots[slot].life;
        if self.slots[slot].process.is_some() {
            self.occurred.note(event, Place::Anywhere);
        }
        match self.story.events[event].what {
            What::Kill { back_after, .. } => self.due(self.now, Due::Kill { slot, life, back_after }),
            What::Terminate { back_after, .. } => {
                self.due(self.now, Due::Terminate { slot, life, back_after });
            }
            What::Suspend { lasts, .. } => self.due(self.now, Due::Suspend { slot, life, lasts }),
            What::SetClock { by, .. } => {
                self.slots[slot].host.set.fetch_add(by, Ordering::Relaxed);
            }
            _ => {}
        }
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
            self.controllers.follow_by((plural, made.namespace, made.name.clone()), controller);
        }
        let object = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": made.kind.name(), "metadata": metadata, "spec": spec});
        let path = format!("/apis/aiapi.dev/v1alpha1/namespaces/{}/{plural}", made.namespace);
        self.as_admin(Method::POST, &path, &object);
        if !made.status.is_null() {
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
