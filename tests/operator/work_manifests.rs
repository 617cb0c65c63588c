//! What Executions and Deployments can say about what they run: what the API server refuses, each with a sentence, and what
//! it accepts.

use ai_api_operator::api::{EngineKind, Kind};
use serde_json::{Value, json};
use support::control_plane::ControlPlane;

fn manifest(kind: Kind, name: &str, spec: &Value) -> String {
    json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": kind.name(), "metadata": {"name": name}, "spec": spec})
        .to_string()
}

/// `kubectl apply` or `kubectl replace`.
fn kubectl(verb: &str, manifest: &str) -> (bool, String) {
    ControlPlane::get().kubectl(&[verb, "-f", "-"], manifest)
}

fn accepted(verb: &str, kind: Kind, name: &str, spec: &Value) {
    let (ok, message) = kubectl(verb, &manifest(kind, name, spec));
    assert!(ok, "{verb} {} {name}: {message}", kind.name());
}

fn refused(verb: &str, kind: Kind, name: &str, spec: &Value, sentence: &str) {
    let (ok, message) = kubectl(verb, &manifest(kind, name, spec));
    assert!(!ok, "{verb} {} {name} was accepted", kind.name());
    assert!(message.contains(sentence), "{verb} {} {name}: {message}", kind.name());
}

fn template(engine: EngineKind) -> Value {
    json!({"apiVersion": engine.api_version(), "kind": engine.kind(), "spec": {"suspend": false}})
}

fn reference(engine: EngineKind) -> Value {
    json!({"apiVersion": engine.api_version(), "kind": engine.kind(), "name": "work", "uid": "u-1"})
}

/// One engine of each kind.
const ONE_EACH: [EngineKind; 2] = [EngineKind::Job, EngineKind::Deployment];

/// The name of an object: no kind's plain name may be used twice.
fn named(engine: EngineKind, what: &str) -> String {
    format!("{}-{what}", engine.plural())
}

#[test]
fn each_engine_runs_its_own_kind_only() {
    for &engine in EngineKind::ALL {
        for kind in Kind::ALL {
            for (field, value) in [("template", template(engine)), ("workloadRef", reference(engine))] {
                let name = named(engine, &field.to_lowercase());
                let spec = json!({field: value});
                if engine.of() == kind {
                    accepted("apply", kind, &name, &spec);
                } else {
                    let sentence = format!("those of an engine that runs {}: ", kind.plural());
                    refused("apply", kind, &name, &spec, &sentence);
                }
            }
        }
    }
    // Of another controller as well: the admission policy knows no other kinds.
    let mut other = template(EngineKind::Job);
    other["kind"] = "CronJob".into();
    for spec in [json!({"template": other}), json!({"template": other, "managedBy": "example.com/runner"})] {
        let sentence = "batch/v1 Job, jobset.x-k8s.io/v1alpha2 JobSet, ray.io/v1 RayJob, argoproj.io/v1alpha1 Workflow; \
            for anything else, leave template and workloadRef out and set managedBy to the controller that runs it";
        refused("apply", Kind::Execution, "cron-job", &spec, sentence);
    }
    let spec = json!({"template": template(EngineKind::Job), "managedBy": "example.com/runner"});
    accepted("apply", Kind::Execution, "dispatched", &spec);
}

#[test]
fn what_is_not_a_manifest_of_one_object_is_refused() {
    let job = EngineKind::Job;
    let with = |field: &str, part: &str, value: Value| {
        let mut part_of = if field == "template" { template(job) } else { reference(job) };
        part_of[part] = value;
        json!({field: part_of})
    };
    let labels = |labels: Value| with("template", "metadata", json!({"labels": labels}));
    let many: Value =
        (0..65).map(|n| (format!("label-{n}"), json!("x"))).collect::<serde_json::Map<_, _>>().into();
    for (name, spec, sentence) in [
        (
            "both",
            json!({"template": template(job), "workloadRef": reference(job)}),
            "template and workloadRef exclude each other",
        ),
        ("no-spec", with("template", "spec", Value::Null), "spec.template.spec: Required value"),
        ("spec-list", with("template", "spec", json!([])), "must be of type object"),
        ("no-kind", with("template", "kind", Value::Null), "spec.template.kind: Required value"),
        ("status", with("template", "status", json!({})), "unknown field \"spec.template.status\""),
        (
            "own-name",
            with("template", "metadata", json!({"name": "mine"})),
            "unknown field \"spec.template.metadata.name\"",
        ),
        (
            "owners",
            with("template", "metadata", json!({"ownerReferences": []})),
            "unknown field \"spec.template.metadata.ownerReferences\"",
        ),
        ("label", labels(json!({"a": "x".repeat(64)})), "may not be more than 63"),
        ("labels", labels(many), "must have at most 64 items"),
        ("odd-label", labels(json!({"a": "x y"})), "a label can have at most 63 letters"),
        (
            "odd-name",
            with("workloadRef", "name", json!("Nightly")),
            "workloadRef.name must be the name of an object",
        ),
        (
            "path",
            with("workloadRef", "name", json!("a/status")),
            "workloadRef.name must be the name of an object",
        ),
        ("dots", with("workloadRef", "name", json!("..")), "workloadRef.name must be the name of an object"),
        ("odd-uid", with("workloadRef", "uid", json!("$(UID)")), "workloadRef.uid must be the metadata.uid"),
        ("no-uid", with("workloadRef", "uid", Value::Null), "spec.workloadRef.uid: Required value"),
        ("empty-uid", with("workloadRef", "uid", json!("")), "at least 1 chars long"),
        (
            "namespace",
            with("workloadRef", "namespace", json!("x")),
            "unknown field \"spec.workloadRef.namespace\"",
        ),
    ] {
        refused("apply", Kind::Execution, &format!("not-{name}"), &spec, sentence);
    }
}

#[test]
fn what_runs_can_be_neither_set_nor_unset_later() {
    for engine in ONE_EACH {
        let kind = engine.of();
        let [template, reference] =
            [json!({"template": template(engine)}), json!({"workloadRef": reference(engine)})];
        let none = json!({"scenarioId": "another"});
        for (what, spec, field) in
            [("has-template", &template, "template"), ("has-ref", &reference, "workloadRef")]
        {
            let sentence = format!(
                "{field} cannot be set or unset after creation: delete the object and create it again"
            );
            accepted("apply", kind, &named(engine, what), spec);
            refused("replace", kind, &named(engine, what), &none, &sentence);
            let without = named(engine, &format!("without-{}", field.to_lowercase()));
            accepted("apply", kind, &without, &none);
            refused("replace", kind, &without, spec, &sentence);
        }
        let sentence = "template cannot be set or unset";
        refused("replace", kind, &named(engine, "has-template"), &reference, sentence);
    }
}

#[test]
fn what_runs_is_immutable_except_for_the_manifest_of_a_deployment() {
    let again = "cannot be changed after creation: delete the object and create it again";
    for (engine, other) in
        [(EngineKind::Job, EngineKind::JobSet), (EngineKind::Deployment, EngineKind::InferenceService)]
    {
        let kind = engine.of();
        let spec = json!({"parallelism": 1, "template": {"spec": {"containers": [{"image": "a"}]}}});
        let whole = json!({"apiVersion": engine.api_version(), "kind": engine.kind(), "spec": spec,
            "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}});
        let name = named(engine, "fixed");
        accepted("apply", kind, &name, &json!({"template": whole}));
        // An edit of anything else, and the same written once more.
        accepted("replace", kind, &name, &json!({"template": whole, "scenarioId": "new"}));

        let mut edits = Vec::new();
        for (place, value) in [
            ("/spec/parallelism", json!(2)),
            ("/spec/template/spec/containers/0/image", json!("b")),
            ("/metadata/labels/a", json!("c")),
            ("/metadata/annotations", json!({"e": "d"})),
            ("/metadata", Value::Null),
            // One field in place of another, at each depth.
            ("/spec", json!({"completions": 1, "template": whole["spec"]["template"]})),
            ("/spec/template/spec", json!({"volumes": [{"image": "a"}]})),
        ] {
            let mut edited = whole.clone();
            *edited.pointer_mut(place).unwrap() = value;
            edits.push((place, edited));
        }
        for (place, edited) in &edits {
            let spec = json!({"template": edited});
            match kind {
                Kind::Execution => refused("replace", kind, &name, &spec, &format!("template {again}")),
                Kind::Deployment => accepted("replace", kind, &name, &spec),
            }
            println!("{} {place}", kind.name());
        }
        let mut moved = whole.clone();
        moved["apiVersion"] = other.api_version().into();
        refused("replace", kind, &name, &json!({"template": moved}), &format!("template.apiVersion {again}"));
        moved["kind"] = other.kind().into();
        refused("replace", kind, &name, &json!({"template": moved}), &format!("template.kind {again}"));

        let name = named(engine, "fixed-ref");
        let fixed = reference(engine);
        accepted("apply", kind, &name, &json!({"workloadRef": fixed}));
        for (part, value) in [("name", "other"), ("uid", "u-2")] {
            let mut edited = fixed.clone();
            edited[part] = value.into();
            refused("replace", kind, &name, &json!({"workloadRef": edited}), &format!("workloadRef {again}"));
        }
        refused(
            "replace",
            kind,
            &name,
            &json!({"workloadRef": reference(other)}),
            &format!("workloadRef {again}"),
        );
    }
}

#[test]
fn a_manifest_is_kept_as_it_is() {
    // 0.2 and 10^15: what a spec has is for its own API to understand.
    let spec = json!({"a": {"b": [{"c": null}, 1, "x", {"d": {}}]}, "n": 1_000_000_000_000_000_i64, "r": 0.25, "t": true});
    let whole = json!({"template": {"apiVersion": "batch/v1", "kind": "Job", "spec": spec,
        "metadata": {"labels": {"example.com/a": ""}, "annotations": {"b": "{}"}}}});
    accepted("create", Kind::Execution, "kept-as-is", &whole);
    let (_, kept) =
        ControlPlane::get().kubectl(&["get", "aiexec", "kept-as-is", "-o", "jsonpath={.spec}"], "");
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), whole);
}

#[test]
fn what_runs_is_shown() {
    let plane = ControlPlane::get();
    accepted("apply", Kind::Execution, "shown-engine", &json!({"template": template(EngineKind::Job)}));
    let status = json!({"status": {"state": "RUNNING", "stateTime": "2026-01-01T00:00:00Z", "workload": reference(EngineKind::Job),
        "url": "https://example.com/v2"}});
    let patch = [
        "patch",
        "aiexec",
        "shown-engine",
        "--subresource=status",
        "--type=merge",
        "-p",
        &status.to_string(),
    ];
    let (ok, message) = plane.kubectl(&patch, "");
    assert!(ok, "{message}");
    let (_, columns) = plane.kubectl(&["get", "aiexec", "shown-engine", "-o", "wide"], "");
    let lines: Vec<Vec<_>> = columns.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines[0],
        ["NAME", "STATE", "TARGET", "ENGINE", "MANAGED", "BY", "SCENARIO", "MESSAGE", "AGE"]
    );
    assert_eq!(lines[1][..3], ["shown-engine", "RUNNING", "Job"]);
    for field in [
        "aiexec.spec.template.spec",
        "aideploy.spec.template",
        "aiexec.spec.workloadRef.uid",
        "aideploy.status.url",
    ] {
        let (ok, text) = plane.kubectl(&["explain", field], "");
        assert!(ok && text.contains("DESCRIPTION:") && !text.contains("<empty>"), "{text}");
    }
}
