//! What is made from the table of engines: the admission policy for work, a component with permissions for each engine, and
//! their list in docs/security.md.

use std::{fmt::Write as _, fs};

use ai_api_operator::api::EngineKind;

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
