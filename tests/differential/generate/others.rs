//! Deletions, reads, lists, watches and access reviews.

use serde_json::{Value, json};

use super::{Generator, Step};
use crate::{
    edits::{Body, Chosen},
    place::Kind,
    sides::USERS,
};

impl Generator<'_> {
    pub(super) fn delete(&mut self, kind: Kind, chosen: &Chosen) -> Step {
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
        let is_empty = options.as_object().is_some_and(serde_json::Map::is_empty);
        let body = if is_empty { Body::None } else { Body::Text(own(&path, &options, chosen)) };
        let uri = if self.often(4) {
            let selector =
                *self.pick(&["", "?labelSelector=app%3Done", "?fieldSelector=metadata.name%3Drun-1"]);
            format!("{}{selector}", kind.path(self.namespace))
        } else {
            path
        };
        self.request("DELETE", uri, body)
    }

    pub(super) fn get(&mut self, kind: Kind) -> Step {
        let odd = ["/status", "/scale", "/status/more"];
        let end = if self.often(15) { *self.pick(&odd) } else { "" };
        let uri = format!("{}{end}", self.object(kind));
        self.request("GET", uri, Body::None)
    }

    /// A list or watch of the objects in the namespace: by its path, or by a selector.
    fn in_namespace(&mut self, kind: Kind, mut options: Vec<String>) -> String {
        let mut path = kind.path(self.namespace);
        let selects =
            options.iter().any(|option| ["limit", "continue", "field"].iter().any(|o| option.starts_with(o)));
        if !selects && self.often(15) {
            path = path.replace(&format!("/namespaces/{}", self.namespace), "");
            options.push(format!("fieldSelector=metadata.namespace%3D{}", self.namespace));
        }
        format!("{path}?{}", options.join("&"))
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

    pub(super) fn list(&mut self, kind: Kind, chosen: &Chosen) -> Step {
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
        let takes_any = options.iter().any(|option| option.starts_with("resourceVersion="));
        let cached = takes_any.then(|| kind.path(self.namespace));
        let uri = self.in_namespace(kind, options);
        Step { cached, ..self.request("GET", uri, Body::None) }
    }

    pub(super) fn watch(&mut self, kind: Kind, chosen: &Chosen) -> Step {
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
        let uri = self.in_namespace(kind, options);
        let cached = Some(kind.path(self.namespace));
        Step { watch: true, cached, ..self.request("GET", uri, Body::None) }
    }

    pub(super) fn review(&mut self) -> Step {
        let verbs = ["get", "list", "delete", "stop", "patch", "create", "watch"];
        let attributes = json!({"verb": self.pick(&verbs), "group": "aiapi.dev",
            "resource": self.pick(&["executions", "bulkupdates", "others"]), "namespace": self.namespace,
            "subresource": self.pick(&["", "", "status"]), "name": self.pick(&["", "run-1"])});
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes}});
        let uri = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned();
        let user = self.pick(&USERS).0;
        Step { user, ..self.request("POST", uri, Body::Text(review.to_string())) }
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
