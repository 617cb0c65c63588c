//! What is made from the table of engines: the admission policy for work, a component with permissions for each engine, and
//! their list in docs/security.md.

use std::{fmt::Write as _, fs};

use ai_api_operator::api::{EngineKind, Kind};
use serde_json::Value;

use crate::{is_generated, path, read};

const POLICY: &str = "deploy/cluster/work-admission.yaml";

/// The admission policy, and its binding.
fn policy() -> String {
    let mut engines = String::new();
    for (n, engine) in EngineKind::ALL.iter().enumerate() {
        let comma = if n + 1 < EngineKind::ALL.len() { "," } else { "" };
        let [api_version, kind, group, plural] =
            [&*engine.api_version(), engine.kind(), engine.group(), engine.plural()];
        writeln!(
            engines,
            "        '{api_version} {kind}': {{'group': '{group}', 'resource': '{plural}'}}{comma}"
        )
        .unwrap();
    }
    include_str!("work-admission.yaml").replace("      ENGINES\n", &engines)
}

/// Whether a file is what is made for it; with `UPDATE_DOCS=1` it is written.
fn is_made(name: &str, wanted: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        fs::write(path(name), wanted).unwrap();
    }
    let there = fs::read_to_string(path(name)).unwrap_or_default();
    assert_eq!(there, wanted, "{name} is outdated: UPDATE_DOCS=1 cargo test --test docs, and make chart");
}

/// One rule of a role.
struct Rule {
    why: &'static str,
    group: &'static str,
    resource: String,
    verbs: &'static str,
}

impl Rule {
    fn new(why: &'static str, group: &'static str, resource: impl Into<String>, verbs: &'static str) -> Self {
        Self { why, group, resource: resource.into(), verbs }
    }
}

/// The last part of the name of an engine's component.
fn short(engine: EngineKind) -> String {
    engine.kind().to_lowercase()
}

/// What the operator may do with an engine's objects: what it uses and no more.
fn rights_of_the_operator(engine: EngineKind) -> Vec<Rule> {
    let mut rules = vec![Rule::new(
        "list and watch follow what runs; get reads one again before a write that depends on it; create makes one from a template;\n\
         # patch stops or adopts one; update gives a Deployment's a changed template. It is never deleted: Kubernetes does that when its owner is deleted.",
        engine.group(),
        engine.plural(),
        if engine.of() == Kind::Deployment {
            "get, list, watch, create, update, patch"
        } else {
            "get, list, watch, create, patch"
        },
    )];
    if engine == EngineKind::Deployment {
        rules.push(Rule::new("A stop.", engine.group(), "deployments/scale", "patch"));
    }
    let why = "Whether a Pod is left of one that was stopped: metadata only, by labels.";
    rules.push(Rule::new(why, "", "pods", "list"));
    let finalizers = format!("{}/finalizers", engine.of().plural());
    let why = "Some clusters, such as OpenShift, require it for an ownerReference with blockOwnerDeletion.";
    rules.push(Rule::new(why, "aiapi.dev", finalizers, "update"));
    rules
}

/// The components with permissions, each with its title and its rules.
fn components() -> Vec<(String, String, Vec<Rule>)> {
    let engines = EngineKind::ALL.iter().map(|engine| {
        let of = engine.of().plural();
        let title =
            format!("Permissions to run {of}.aiapi.dev on {} {}", engine.api_version(), engine.kind());
        (short(*engine), title, rights_of_the_operator(*engine))
    });
    let queue = vec![Rule::new(
        "list finds the Workload of what is to stop; patch deactivates it, because Kueue undoes any other stop.",
        "kueue.x-k8s.io",
        "workloads",
        "list, patch",
    )];
    let kueue =
        ("kueue".to_owned(), "Permissions to stop what Kueue has queued or admitted".to_owned(), queue);
    engines.chain([kueue]).collect()
}

/// The `ClusterRole` of a component, and its binding in all namespaces.
fn role(name: &str, title: &str, rules: &[Rule]) -> String {
    let mut text = format!(
        "# Made from the table of engines (tests/docs/engines.rs).\n#\n# {title}.\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
         metadata:\n  name: ai-api-operator-engine-{name}\n  labels:\n    app.kubernetes.io/name: ai-api-operator\nrules:\n"
    );
    for Rule { why, group, resource, verbs } in rules {
        let group = if group.is_empty() { "\"\"" } else { group };
        writeln!(text, "# {why}\n- apiGroups: [{group}]\n  resources: [{resource}]\n  verbs: [{verbs}]")
            .unwrap();
    }
    text + &include_str!("engine-binding.yaml").replace("NAME", name)
}

#[test]
fn each_engine_has_a_component_with_the_permissions_that_the_operator_needs() {
    for (name, title, rules) in components() {
        let folder = format!("deploy/components/engine-{name}");
        is_made(&format!("{folder}/rbac.yaml"), &role(&name, &title, &rules));
        let kustomization =
            include_str!("engine-kustomization.yaml").replace("NAME", &name).replace("TITLE", &title);
        is_made(&format!("{folder}/kustomization.yaml"), &kustomization);
    }
}

/// What each component permits.
fn rights_of_components() -> String {
    let mut table = "| component | value of `engines` | permissions |\n|---|---|---|\n".to_owned();
    for (name, _, rules) in components() {
        let permissions = rules.iter().map(|Rule { group, resource, verbs, .. }| {
            let (resource, subresource) = match resource.split_once('/') {
                Some((resource, subresource)) => (resource, format!("/{subresource}")),
                None => (&**resource, String::new()),
            };
            let dot = if group.is_empty() { "" } else { "." };
            format!("{verbs} `{resource}{dot}{group}{subresource}`")
        });
        let permissions = permissions.collect::<Vec<_>>().join("; ");
        writeln!(table, "| `engine-{name}` | `{name}` | {permissions} |").unwrap();
    }
    table
}

#[test]
fn the_permissions_of_each_component_are_documented() {
    let marks = (
        "<!-- Components. To update it: UPDATE_DOCS=1 cargo test --test docs -->\n",
        "<!-- End of the components. -->\n",
    );
    is_generated("docs/security.md", &read("docs/security.md"), marks, &rights_of_components());
}

#[test]
fn the_chart_knows_each_component() {
    let schema: Value =
        serde_json::from_str(&read("deploy/helm/ai-api-operator/values.schema.json")).unwrap();
    let names: Vec<_> = components().into_iter().map(|(name, ..)| Value::from(name)).collect();
    assert_eq!(schema["properties"]["engines"]["items"]["enum"], Value::from(names));
}

/// What the author of a template or a workloadRef needs.
fn rights_of_authors() -> String {
    let mut table = "| the work is a | it runs | for a `template` its author needs | for a `workloadRef` |\n|---|---|---|---|\n".to_owned();
    for engine in EngineKind::ALL {
        writeln!(
            table,
            "| `{api_version}` {kind} | {of} | `create` on `{plural}.{group}` | `patch` and `delete` on that one of `{plural}.{group}` |",
            api_version = engine.api_version(),
            kind = engine.kind(),
            of = engine.of().plural(),
            plural = engine.plural(),
            group = engine.group(),
        )
        .unwrap();
    }
    table
}

#[test]
fn the_rights_of_authors_are_documented_for_every_engine() {
    let marks = (
        "<!-- Engines. To update it: UPDATE_DOCS=1 cargo test --test docs -->\n",
        "<!-- End of the engines. -->\n",
    );
    is_generated("docs/security.md", &read("docs/security.md"), marks, &rights_of_authors());
}

#[test]
fn the_policy_for_work_knows_every_engine() {
    is_made(POLICY, &policy());
}
