//! Random requests about a few objects, so that they meet.

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

    fn new(&mut self, method: &'static str, uri: String, body: Body) -> Step {
        let agent = *self.pick(&["differential/1", "differential/1", "other/2 (linux)"]);
        let content_type =
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        Step { user: "admin", method, uri, body, content_type, agent, watch: false }
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

    /// Metadata fields besides the name.
    fn metadata(&mut self, chosen: &Chosen) -> Vec<(&'static str, Value)> {
        let mut fields = Vec::new();
        if self.often(25) {
            let labels = [
                json!({"app": "one"}),
                json!({"app": "two", "b/c": ""}),
                json!({"bad key": "x"}),
                json!({"app": "-bad-"}),
                json!({"app": 1}),
                json!({"app": null}),
                json!({}),
                json!("text"),
                Value::Null,
            ];
            fields.push(("labels", self.pick(&labels).clone()));
        }
        if self.often(15) {
            let annotations = [
                json!({"aiapi.dev/requester": "admin"}),
                json!({"a": "b"}),
                json!({"-": "b"}),
                json!({"aiapi.dev/requester": "somebody"}),
                json!({"a": ["b"]}),
            ];
            fields.push(("annotations", self.pick(&annotations).clone()));
        }
        if self.often(20) {
            let finalizers = [
                json!(["example.com/a"]),
                json!(["example.com/a", "example.com/b"]),
                json!(["orphan"]),
                json!(["foregroundDeletion"]),
                json!([]),
                json!(["example.com/a", "orphan"]),
                json!(["simple"]),
                json!(["bad name/a"]),
                json!([5]),
                json!("text"),
                Value::Null,
            ];
            fields.push(("finalizers", self.pick(&finalizers).clone()));
        }
        if self.often(5) {
            let owner = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution", "name": "run-1",
                "uid": self.uid(chosen)});
            fields.push(("ownerReferences", json!([owner])));
        }
        if self.often(5) {
            fields.push((
                *self.pick(&["creationTimestamp", "deletionTimestamp"]),
                "2026-01-01T00:00:00Z".into(),
            ));
        }
        if self.often(4) {
            let odd = [
                ("generation", json!(7)),
                ("unknown", json!("x")),
                ("generation", json!("x")),
                ("selfLink", json!("x")),
                ("namespace", json!("elsewhere")),
                ("namespace", json!(self.namespace)),
                ("managedFields", json!([])),
                ("deletionGracePeriodSeconds", json!(30)),
            ];
            fields.push(self.pick(&odd).clone());
        }
        fields
    }

    fn create(&mut self, kind: Kind, chosen: &Chosen) -> Step {
        let mut object = kind.example(self.namespace);
        if kind == Kind::Event {
            object["metadata"]["name"] = self.name();
            let uri = format!("{}{}", kind.path(self.namespace), self.options());
            return self.new("POST", uri, Body::Text(object.to_string()));
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
            text = (*self.pick(&["", "{", "[]", "5", "{}", "null", "text"])).to_owned();
        }
        let uri = format!("{}{}", kind.path(self.namespace), self.options());
        self.new("POST", uri, Body::Text(text))
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
        self.new("PUT", uri, body)
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
        self.new("PATCH", uri, Body::Text(patch.to_string()))
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
            text = (*self.pick(&["", "{", "[]", "5", "{}", "null"])).to_owned();
        }
        let uri = format!("{}{}", self.object(kind), self.options());
        self.new("PATCH", uri, Body::Text(text))
    }

    fn delete(&mut self, kind: Kind, chosen: &Chosen) -> Step {
        let kind = if kind == Kind::Event { Kind::Execution } else { kind };
        let mut options = json!({});
        let path = self.object(kind);
        if self.often(50) {
            let known = chosen.objects.get(&path).filter(|_| self.rng.u32(0..100) < 70);
            let preconditions = known.map_or_else(
                || json!({"uid": self.uid(chosen), "resourceVersion": self.version(chosen)}),
                |_| json!({"uid": "{own}", "resourceVersion": "{own}"}),
            );
            options["preconditions"] = preconditions;
        }
        for field in ["uid", "resourceVersion"] {
            if self.often(20)
                && let Some(preconditions) = options["preconditions"].as_object_mut()
            {
                preconditions.remove(field);
            }
        }
        if self.often(25) {
            let policies = ["Background", "Foreground", "Orphan", "Sideways"];
            options["propagationPolicy"] = (*self.pick(&policies)).into();
        }
        if self.often(4) {
            options["orphanDependents"] = self.rng.bool().into();
        }
        if self.often(8) {
            options["dryRun"] = self.pick(&[json!(["All"]), json!(["Some"])]).clone();
        }
        let body = match options.as_object().is_some_and(serde_json::Map::is_empty) {
            true => Body::None,
            false => Body::Text(own(&path, &options, chosen)),
        };
        let uri = if self.often(4) {
            let selector =
                *self.pick(&["", "?labelSelector=app%3Done", "?fieldSelector=metadata.name%3Drun-1"]);
            format!("{}{selector}", kind.path(self.namespace))
        } else {
            path
        };
        self.new("DELETE", uri, body)
    }

    fn get(&mut self, kind: Kind) -> Step {
        let odd = ["/status", "/scale", "/status/more"];
        let end = if self.often(15) { *self.pick(&odd) } else { "" };
        let uri = format!("{}{end}", self.object(kind));
        self.new("GET", uri, Body::None)
    }

    fn selectors(&mut self, options: &mut Vec<String>) {
        if self.often(20) {
            let selectors = [
                "metadata.name%3Drun-1",
                "metadata.name!%3Drun-1",
                "metadata.name%3D%3Drun-2",
                "spec.x%3Dy",
                "metadata.name%3Dabcd%2Cmetadata.namespace%3Dx",
            ];
            options.push(format!("fieldSelector={}", self.pick(&selectors)));
        }
        if self.often(20) {
            let selectors = [
                "app%3Done",
                "app",
                "!app",
                "app+in+(one%2Ctwo)",
                "app+notin+(one)",
                "app!%3Done",
                "app%3D%3Dtwo",
            ];
            options.push(format!("labelSelector={}", self.pick(&selectors)));
        }
    }

    fn list(&mut self, kind: Kind, chosen: &Chosen) -> Step {
        let mut options = Vec::new();
        self.selectors(&mut options);
        if self.often(50) {
            options.push(format!("limit={}", self.rng.u32(0..3)));
        }
        if self.often(30)
            && let Some(token) = self.one_of("token", chosen.tokens.len())
        {
            options.push(format!("continue={token}"));
        } else if self.often(30) {
            let version = match self.rng.u32(0..3) {
                0 => "0".to_owned(),
                1 => self.one_of("version", chosen.versions.len()).unwrap_or_default(),
                _ => self.one_of("list", chosen.lists.len()).unwrap_or_default(),
            };
            options.push(format!("resourceVersion={version}"));
        }
        if self.often(15) {
            let matches = ["Exact", "NotOlderThan", "Best"];
            options.push(format!("resourceVersionMatch={}", self.pick(&matches)));
        }
        if self.often(3) {
            options.push("sendInitialEvents=true".to_owned());
        }
        let uri = format!("{}?{}", kind.path(self.namespace), options.join("&"));
        self.new("GET", uri, Body::None)
    }

    fn watch(&mut self, kind: Kind, chosen: &Chosen) -> Step {
        let mut options = vec!["watch=true".to_owned(), "timeoutSeconds=120".to_owned()];
        self.selectors(&mut options);
        let version = match self.rng.u32(0..6) {
            0 => None,
            1 => Some("0".to_owned()),
            2 if kind.is_custom() => Some("1".to_owned()),
            3 => self.one_of("list", chosen.lists.len()),
            _ => self.one_of("version", chosen.versions.len()),
        };
        options.extend(version.map(|version| format!("resourceVersion={version}")));
        if self.often(40) {
            options.push("allowWatchBookmarks=true".to_owned());
        }
        if self.often(20) {
            options.push(format!("sendInitialEvents={}", self.pick(&["true", "true", "false"])));
            if self.often(90) {
                options.push("resourceVersionMatch=NotOlderThan".to_owned());
            }
        } else if self.often(3) {
            options.push("resourceVersionMatch=NotOlderThan".to_owned());
        }
        let uri = format!("{}?{}", kind.path(self.namespace), options.join("&"));
        Step { watch: true, ..self.new("GET", uri, Body::None) }
    }

    fn review(&mut self) -> Step {
        let verbs = ["get", "list", "delete", "stop", "patch", "create", "watch"];
        let attributes = json!({"verb": self.pick(&verbs), "group": "aiapi.dev",
            "resource": self.pick(&["executions", "bulkupdates", "others"]), "namespace": self.namespace,
            "subresource": self.pick(&["", "", "status"]), "name": self.pick(&["", "run-1"])});
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes}});
        let uri = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned();
        let user = self.pick(&USERS).0;
        Step { user, ..self.new("POST", uri, Body::Text(review.to_string())) }
    }
}

/// The options of a deletion with placeholders for the uid and the version of the object that was last seen.
fn own(path: &str, options: &Value, chosen: &Chosen) -> String {
    let text = options.to_string();
    let Some([seen, _]) = chosen.objects.get(path) else { return text };
    let mut filled = text;
    for (field, of, pairs) in [("uid", "uid", &chosen.uids), ("resourceVersion", "version", &chosen.versions)]
    {
        let value = seen["metadata"][field].as_str().unwrap_or_default();
        // A dry run may have shown what was never stored.
        let placeholder = match pairs.iter().position(|pair| pair[0] == value) {
            Some(at) => format!("\"{field}\":\"{{${of}:{at}$}}\""),
            None => format!("\"{field}\":\"none\""),
        };
        filled = filled.replace(&format!("\"{field}\":\"{{own}}\""), &placeholder);
    }
    filled
}
