//! Random requests about a few objects, so that they meet.

mod metadata;
mod others;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::{
    edits::{Body, Chosen},
    place::Kind,
    sides::USERS,
    values,
};

const NAMES: [&str; 3] = ["run-1", "run-2", "run-3"];

/// One request.
#[derive(Clone, Debug)]
pub struct Step {
    pub user: &'static str,
    pub method: &'static str,
    pub uri: String,
    pub body: Body,
    pub content_type: &'static str,
    pub agent: &'static str,
    pub watch: bool,
    /// The list with which the real server's cache is brought up to date first: the request takes what is in the cache.
    pub cached: Option<String>,
}

/// Draws requests.
pub struct Generator<'a> {
    pub rng: Rng,
    pub namespace: &'a str,
}

impl Generator<'_> {
    pub fn step(&mut self, chosen: &Chosen) -> Step {
        let kind = *self.pick(&Kind::DRAWN);
        let mut step = match self.rng.u32(0..100) {
            0..25 => self.create(kind, chosen),
            25..33 => self.replace(kind, chosen),
            33..47 => self.patch_status(kind, chosen),
            47..57 => self.patch(kind, chosen),
            57..70 => self.delete(kind, chosen),
            70..76 => self.get(kind),
            76..87 => self.list(kind, chosen),
            87..97 => self.watch(kind, chosen),
            _ => self.review(),
        };
        if self.often(15) {
            step.user = self.pick(&USERS).0;
        }
        step
    }

    fn pick<'b, T>(&mut self, from: &'b [T]) -> &'b T {
        &from[self.rng.usize(0..from.len())]
    }

    /// Whether something happens that does so many times in a hundred.
    fn often(&mut self, percent: u32) -> bool {
        self.rng.u32(0..100) < percent
    }

    fn request(&mut self, method: &'static str, uri: String, body: Body) -> Step {
        let agent = *self.pick(&["differential/1", "differential/1", "other/2 (linux)"]);
        let content_type =
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        Step { user: "admin", method, uri, body, content_type, agent, watch: false, cached: None }
    }

    fn object(&mut self, kind: Kind) -> String {
        format!("{}/{}", kind.path(self.namespace), self.pick(&NAMES))
    }

    fn name(&mut self) -> Value {
        if self.often(88) {
            return (*self.pick(&NAMES)).into();
        }
        let long = ["a".repeat(64), "a".repeat(65), "a".repeat(254)];
        let odd = ["abc", "Upper-1", "under_score", "a..b", "-abc", "abcd-", "", "a/bc", "abcd.e"];
        match self.rng.u32(0..4) {
            0 => self.pick(&long).clone().into(),
            1 => values::any(&mut self.rng),
            _ => (*self.pick(&odd)).into(),
        }
    }

    /// A placeholder for one of these, if there is any.
    fn one_of(&mut self, of: &str, count: usize) -> Option<String> {
        (count > 0).then(|| format!("{{${of}:{}$}}", self.rng.usize(0..count)))
    }

    /// A resource version: of an object, or something else.
    fn version(&mut self, chosen: &Chosen) -> Value {
        match self.rng.u32(0..10) {
            0 => "1".into(),
            1 => (*self.pick(&["", "0", "abc", "-1", "99999999999999999999"])).into(),
            2 => Value::Null,
            _ => self.one_of("version", chosen.versions.len()).map_or(Value::Null, Into::into),
        }
    }

    fn uid(&mut self, chosen: &Chosen) -> Value {
        match self.rng.u32(0..6) {
            0 => "00000000-0000-4000-8000-000000000000".into(),
            1 => "".into(),
            _ => self.one_of("uid", chosen.uids.len()).map_or(Value::Null, Into::into),
        }
    }

    /// Options of a write, in the query.
    fn options(&mut self) -> String {
        let mut options = Vec::new();
        if self.often(12) {
            options.push(*self.pick(&["dryRun=All", "dryRun=All", "dryRun=Some"]));
        }
        if self.often(30) {
            options.push(*self.pick(&[
                "fieldManager=one",
                "fieldManager=two",
                "fieldManager=ai-api-operator",
            ]));
        }
        if self.often(12) {
            options.push(*self.pick(&[
                "fieldValidation=Strict",
                "fieldValidation=Ignore",
                "fieldValidation=Most",
            ]));
        }
        if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) }
    }

    /// A spec or status, mostly valid.
    fn part(&mut self, kind: Kind, part: &str) -> Value {
        let wild = *self.pick(&[0, 0, 10, 50]);
        values::value(&mut self.rng, &values::schema(kind)["properties"][part], wild)
    }

    fn create(&mut self, kind: Kind, chosen: &Chosen) -> Step {
        let mut object = kind.example(self.namespace);
        if kind == Kind::Event {
            object["metadata"]["name"] = self.name();
            let uri = format!("{}{}", kind.path(self.namespace), self.options());
            return self.request("POST", uri, Body::Text(object.to_string()));
        }
        if kind.is_custom() && self.often(70) {
            object["spec"] = self.part(kind, "spec");
            if self.often(20) {
                object["status"] = self.part(kind, "status");
            }
        }
        for (field, value) in self.metadata(chosen) {
            object["metadata"][field] = value;
        }
        object["metadata"]["name"] = self.name();
        if self.often(3) {
            object["metadata"]["resourceVersion"] = self.version(chosen);
        }
        if self.often(3) {
            object["metadata"]["uid"] = self.uid(chosen);
        }
        if self.often(4) {
            let odd = [
                ("apiVersion", json!("v1")),
                ("kind", json!("Other")),
                ("apiVersion", Value::Null),
                ("kind", Value::Null),
                ("metadata", Value::Null),
                ("metadata", json!([])),
                ("extra", json!(1)),
                ("spec", Value::Null),
                ("kind", json!(5)),
                ("apiVersion", json!("aiapi.dev/v2")),
            ];
            let (field, value) = self.pick(&odd).clone();
            object[field] = value;
        }
        let mut text = object.to_string();
        if self.often(1) {
            (*self.pick(&["", "{", "[]", "5", "{}", "null", "text"])).clone_into(&mut text);
        }
        let uri = format!("{}{}", kind.path(self.namespace), self.options());
        self.request("POST", uri, Body::Text(text))
    }

    /// The body of a replacement: the last seen version with some changes.
    fn replace(&mut self, kind: Kind, chosen: &Chosen) -> Step {
        let kind = if kind == Kind::Event { Kind::Lease } else { kind };
        let path = self.object(kind);
        let status = self.often(30) && kind.is_custom();
        if !chosen.objects.contains_key(&path) {
            let mut object = kind.example(self.namespace);
            object["metadata"]["name"] = path.rsplit('/').next().into();
            for field in ["resourceVersion", "uid"] {
                if self.often(40) {
                    object["metadata"][field] =
                        if field == "uid" { self.uid(chosen) } else { self.version(chosen) };
                }
            }
            return self.put(&path, status, Body::Text(object.to_string()));
        }
        let mut edits = Vec::new();
        for (field, value) in self.metadata(chosen) {
            edits.push((format!("/metadata/{field}"), Some(value)));
        }
        if self.often(20) {
            edits.push(("/metadata/resourceVersion".to_owned(), Some(self.version(chosen))));
        }
        if self.often(15) {
            edits.push(("/metadata/uid".to_owned(), Some(self.uid(chosen))));
        }
        if self.often(15) {
            edits.push(("/metadata/managedFields".to_owned(), None));
        }
        if self.often(3) {
            edits.push(("/metadata/name".to_owned(), Some(self.name())));
        }
        if kind.is_custom() {
            for part in ["spec", "status"] {
                if self.often(if (part == "status") == status { 80 } else { 20 }) {
                    let value = if self.often(90) { Some(self.part(kind, part)) } else { None };
                    edits.push((format!("/{part}"), value));
                }
            }
        } else {
            edits.extend(self.small_edit(kind).map(|(pointer, value)| (pointer.to_owned(), Some(value))));
        }
        self.put(&path, status, Body::Edited(path.clone(), edits))
    }

    fn put(&mut self, path: &str, status: bool, body: Body) -> Step {
        let uri = format!("{path}{}{}", if status { "/status" } else { "" }, self.options());
        self.request("PUT", uri, body)
    }

    /// A change of a built-in kind.
    fn small_edit(&mut self, kind: Kind) -> Option<(&'static str, Value)> {
        let edits = match kind {
            Kind::Lease => vec![
                ("/spec/holderIdentity", json!("two")),
                ("/spec/holderIdentity", Value::Null),
                ("/spec/leaseDurationSeconds", json!(0)),
                ("/spec/leaseDurationSeconds", json!(30)),
                ("/spec/leaseDurationSeconds", json!("30")),
                ("/spec/leaseTransitions", json!(-1)),
                ("/spec/renewTime", json!("2026-02-02T00:00:00Z")),
                ("/spec/renewTime", json!("now")),
                ("/spec/unknown", json!(1)),
            ],
            Kind::ConfigMap => vec![
                ("/data/bulkUpdates", json!("{\"executions\": true}")),
                ("/data/bulkUpdates", Value::Null),
                ("/data/bulkUpdates", json!(true)),
                ("/data/bad key", json!("x")),
                ("/immutable", json!(true)),
            ],
            _ => return None,
        };
        Some(self.pick(&edits).clone())
    }

    fn patch_status(&mut self, kind: Kind, chosen: &Chosen) -> Step {
        let kind = if kind.is_custom() { kind } else { Kind::Execution };
        let mut patch = json!({"status": self.part(kind, "status")});
        if self.often(60) {
            patch["metadata"] = json!({"resourceVersion": self.version(chosen)});
        }
        if self.often(8) {
            patch["metadata"]["uid"] = self.uid(chosen);
        }
        if self.often(10) {
            patch["spec"] = self.part(kind, "spec");
        }
        if self.often(5) {
            patch["status"] = Value::Null;
        }
        if self.often(10)
            && let Some((field, value)) = self.metadata(chosen).pop()
        {
            patch["metadata"][field] = value;
        }
        let uri = format!("{}/status{}", self.object(kind), self.options());
        self.request("PATCH", uri, Body::Text(patch.to_string()))
    }

    fn patch(&mut self, kind: Kind, chosen: &Chosen) -> Step {
        let kind = if kind == Kind::Event { Kind::ConfigMap } else { kind };
        let mut patch = json!({});
        for (field, value) in self.metadata(chosen) {
            patch["metadata"][field] = value;
        }
        if self.often(30) {
            patch["metadata"]["resourceVersion"] = self.version(chosen);
        }
        if self.often(6) {
            patch["metadata"]["uid"] = self.uid(chosen);
        }
        if self.often(3) {
            patch["metadata"]["name"] = self.name();
        }
        if kind.is_custom() && self.often(50) {
            patch["spec"] = self.part(kind, "spec");
        }
        if kind.is_custom() && self.often(15) {
            patch["status"] = self.part(kind, "status");
        }
        if let Some((pointer, value)) = self.small_edit(kind) {
            let (parent, field) = pointer[1..].split_once('/').unwrap_or(("immutable", ""));
            patch[parent] = if field.is_empty() { value } else { json!({field: value}) };
        }
        if self.often(3) {
            patch["kind"] = json!("Other");
        }
        let mut text = patch.to_string();
        if self.often(2) {
            (*self.pick(&["", "{", "[]", "5", "{}", "null"])).clone_into(&mut text);
        }
        let uri = format!("{}{}", self.object(kind), self.options());
        self.request("PATCH", uri, Body::Text(text))
    }
}
