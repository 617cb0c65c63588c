//! Random metadata.

use serde_json::{Value, json};

use super::Generator;
use crate::edits::Chosen;

fn labels() -> [Value; 9] {
    [
        json!({"app": "one"}),
        json!({"app": "two", "b/c": ""}),
        json!({"bad key": "x"}),
        json!({"app": "-bad-"}),
        json!({"app": 1}),
        json!({"app": null}),
        json!({}),
        json!("text"),
        Value::Null,
    ]
}

fn annotations() -> [Value; 5] {
    [
        json!({"aiapi.dev/requester": "admin"}),
        json!({"aiapi.dev/requester": "somebody"}),
        json!({"a": "b"}),
        json!({"-": "b"}),
        json!({"a": ["b"]}),
    ]
}

fn finalizers() -> [Value; 11] {
    [
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
    ]
}

impl Generator<'_> {
    /// Metadata fields besides the name.
    pub(super) fn metadata(&mut self, chosen: &Chosen) -> Vec<(&'static str, Value)> {
        let mut fields = Vec::new();
        if self.often(25) {
            fields.push(("labels", self.pick(&labels()).clone()));
        }
        if self.often(15) {
            fields.push(("annotations", self.pick(&annotations()).clone()));
        }
        if self.often(20) {
            fields.push(("finalizers", self.pick(&finalizers()).clone()));
        }
        if self.often(5) {
            let owner = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution", "name": "run-1",
                "uid": self.uid(chosen)});
            fields.push(("ownerReferences", json!([owner])));
        }
        if self.often(5) {
            let time = *self.pick(&["creationTimestamp", "deletionTimestamp"]);
            fields.push((time, "2026-01-01T00:00:00Z".into()));
        }
        if self.often(4) {
            let odd = [
                ("generation", json!(7)),
                ("generation", json!("x")),
                ("unknown", json!("x")),
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
}
