//! Who may create an Execution or Deployment with a template or a workloadRef: the shipped policy, with real users.

use ai_api_operator::api::{EngineKind, Kind};
use serde_json::{Value, json};
use support::{World, until};

use super::create_as;
use crate::alone;

/// Verbs on a resource of a group, for some names or for all.
struct Right<'a>(&'a str, &'a str, &'a str, &'a [&'a str]);

/// Grants a user the creation and change of Executions and Deployments, and these.
fn grant(world: &World, user: &str, rights: &[Right]) {
    let mut rules = vec![json!({"apiGroups": ["aiapi.dev"], "resources": ["executions", "deployments"],
        "verbs": ["create", "get", "update", "patch"]})];
    for Right(verbs, group, resource, names) in rights {
        let verbs: Vec<_> = verbs.split(' ').collect();
        rules.push(
            json!({"apiGroups": [group], "resources": [resource], "verbs": verbs, "resourceNames": names}),
        );
    }
    let rbac = "rbac.authorization.k8s.io";
    let role = json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": user}, "rules": rules});
    let binding = json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": user},
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": user},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": user}]});
    for manifest in [role, binding] {
        world.kubectl_ok(&["apply", "-f", "-"], &manifest.to_string());
    }
}

fn manifest(kind: Kind, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": kind.name(), "metadata": {"name": name}, "spec": spec})
}

fn template(engine: EngineKind, size: usize) -> Value {
    json!({"template": {"apiVersion": engine.api_version(), "kind": engine.kind(), "spec": {"size": size}}})
}

fn reference(engine: EngineKind, name: &str) -> Value {
    json!({"workloadRef": {"apiVersion": engine.api_version(), "kind": engine.kind(), "name": name, "uid": "u-1"}})
}

/// What is said to `user`, who may not do `verb`.
fn refusal(world: &World, user: &str, verb: &str, engine: EngineKind) -> String {
    let (resource, group) = (engine.plural(), engine.group());
    format!("{user} may not {verb} {resource}.{group} in namespace {}", world.namespace)
}

/// For each engine: who may create its objects, and no other's, may have the operator create one.
fn templates(world: &World) {
    for &engine in EngineKind::ALL {
        for (user, may) in
            [("creates-nothing", false), ("creates-all", true), (engine.plural(), true), ("elsewhere", false)]
        {
            let name = format!("{}-{user}", engine.plural());
            let (taken, said) = create_as(world, user, &manifest(engine.of(), &name, &template(engine, 1)));
            println!("{user:20} {:20} {}", engine.plural(), said.trim());
            assert_eq!(taken, may, "{user} {engine:?}: {said}");
            let why = refusal(world, user, "create", engine);
            assert!(taken || (said.contains(&why) && said.contains("Forbidden")), "{said}");
        }
    }
    let job = template(EngineKind::Job, 1);
    assert!(
        !create_as(world, "jobsets", &manifest(Kind::Execution, "not-of-jobsets", &job)).0,
        "another engine's right"
    );
    // A name of the kind that resourceNames list is not the right to create.
    let (taken, said) = create_as(world, "patches-one", &manifest(Kind::Execution, "named-create", &job));
    assert!(!taken && said.contains("may not create jobs.batch"), "{said}");
    // It runs nothing, so nothing but the right to create it is needed.
    assert!(create_as(world, "creates-nothing", &manifest(Kind::Execution, "without-work", &json!({}))).0);
    // Another controller runs it: the author needs the permission just the same.
    let mut dispatched = job;
    dispatched["managedBy"] = "example.com/runner".into();
    let (taken, said) =
        create_as(world, "creates-nothing", &manifest(Kind::Execution, "of-another", &dispatched));
    assert!(!taken && said.contains("may not create jobs.batch"), "{said}");
}

/// A reference takes the rights to patch and to delete that very object.
fn references(world: &World) {
    let engine = EngineKind::Job;
    for (user, object, lacks) in [
        ("creates-all", "one", Some("patch")),
        ("patches-one", "one", Some("delete")),
        ("deletes-one", "one", Some("patch")),
        ("has-one", "one", None),
        ("has-one", "other", Some("patch")),
        ("has-jobs", "other", None),
        ("has-cron-jobs", "one", Some("patch")),
    ] {
        let name = format!("ref-{user}-{object}");
        let (taken, said) =
            create_as(world, user, &manifest(Kind::Execution, &name, &reference(engine, object)));
        println!("{user:20} {object:20} {}", said.trim());
        assert_eq!(taken, lacks.is_none(), "{user} {object}: {said}");
        if let Some(verb) = lacks {
            assert!(said.contains(&refusal(world, user, verb, engine)), "{said}");
        }
    }
}

/// A change of a Deployment's template takes the right to create; any other change takes none.
fn changes(world: &World) {
    let engine = EngineKind::Deployment;
    let change = |user: &str, patch: &Value| {
        let patch = ["patch", "aideploy", "served", "--type=merge", "-p", &patch.to_string(), "--as", user];
        world.kubectl(&patch, "")
    };
    assert!(create_as(world, "creates-all", &manifest(Kind::Deployment, "served", &template(engine, 1))).0);
    for (user, patch, may) in [
        (
            "creates-nothing",
            json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/a"]}}),
            true,
        ),
        ("creates-nothing", json!({"spec": {"scenarioId": "new"}}), true),
        // The same once more.
        ("creates-nothing", json!({"spec": template(engine, 1)}), true),
        ("creates-nothing", json!({"spec": template(engine, 2)}), false),
        // One field in place of another.
        ("creates-nothing", json!({"spec": {"template": {"spec": {"size": null, "other": 1}}}}), false),
        ("creates-nothing", json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}), false),
        ("deployments", json!({"spec": template(engine, 2)}), true),
        ("jobs", json!({"spec": template(engine, 3)}), false),
        ("creates-nothing", json!({"metadata": {"finalizers": null}}), true),
    ] {
        let (taken, said) = change(user, &patch);
        assert_eq!(taken, may, "{user} {patch}: {said}");
        assert!(taken || said.contains(&refusal(world, user, "create", engine)), "{said}");
    }
    // A status is not work.
    let status = [
        "patch",
        "aideploy",
        "served",
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status": {"state": "RUNNING"}}"#,
    ];
    assert!(world.kubectl(&status, "").0);
}

#[tokio::test]
async fn authors_need_the_rights_that_the_work_takes() {
    let _alone = alone().await;
    let world = World::new("work-admission").await;
    let all: Vec<_> = EngineKind::ALL.iter().map(|e| Right("create", e.group(), e.plural(), &[])).collect();
    grant(&world, "creates-nothing", &[]);
    grant(&world, "creates-all", &all);
    for &engine in EngineKind::ALL {
        grant(&world, engine.plural(), &[Right("create", engine.group(), engine.plural(), &[])]);
    }
    // The same resource of another group.
    grant(&world, "elsewhere", &[Right("create", "example.com", "*", &[])]);
    grant(&world, "patches-one", &[Right("create patch", "batch", "jobs", &["one"])]);
    grant(&world, "deletes-one", &[Right("delete", "batch", "jobs", &["one"])]);
    grant(&world, "has-one", &[Right("patch delete", "batch", "jobs", &["one"])]);
    grant(&world, "has-jobs", &[Right("patch delete", "batch", "jobs", &[])]);
    grant(&world, "has-cron-jobs", &[Right("patch delete", "batch", "cronjobs", &[])]);
    let can = ["auth", "can-i", "delete", "cronjobs.batch", "--as=has-cron-jobs"];
    until("the roles are known", || async { world.kubectl(&can, "").0 }).await;
    let trial = manifest(Kind::Execution, "trial", &template(EngineKind::Job, 1)).to_string();
    until("the policy is in force", || async {
        let (_, said) =
            world.kubectl(&["create", "--as=creates-nothing", "--dry-run=server", "-f", "-"], &trial);
        said.contains("may not create jobs.batch")
    })
    .await;
    templates(&world);
    references(&world);
    changes(&world);
}
