//! docs/workloads.md has the engines as they are.

use std::collections::BTreeSet;

use ai_api_operator::workload::{
    engine::{Engine, Names, Parts, Stop, StopPatch},
    engines::ENGINES,
};
use serde_json::{json, value::to_raw_value};

use crate::{first_cells, read, table};

/// How `engine` stops what runs.
fn stop(engine: &Engine) -> &'static StopPatch {
    let spec = to_raw_value(&json!({"selector": {"matchLabels": {"app": "model"}}})).unwrap();
    let status = to_raw_value(&json!({"phase": "Running"})).unwrap();
    let parts = Parts { name: "work", uid: "uid", metadata: None, spec: Some(&spec), status: Some(&status) };
    match (engine.observe)(&parts).unwrap().stop {
        Stop::By(patch) => patch,
        other => panic!("{}: {other:?}", engine.kind),
    }
}

#[test]
fn the_table_of_engines_is_what_they_are() {
    let text = read("docs/workloads.md");
    let rows = table(&text, "## How each is stopped");
    let documented: Vec<_> =
        rows.iter().map(|row| [&row[0], &row[1], &row[2], &row[4]].map(Clone::clone)).collect();
    let wanted: Vec<_> = ENGINES
        .iter()
        .map(|engine| {
            let StopPatch { subresource, merge } = stop(engine);
            let stopped_by = subresource.map_or(String::from(*merge), |of| format!("{merge} of its {of}"));
            let Names { longest, letter_first } = engine.names;
            let names =
                format!("at most {longest} characters{}", if letter_first { ", a letter first" } else { "" });
            [
                format!("{} {}", engine.kind.api_version(), engine.kind),
                engine.kind.of().name().to_owned(),
                stopped_by,
                names,
            ]
        })
        .collect();
    assert_eq!(documented, wanted);

    let all: BTreeSet<_> = wanted.into_iter().map(|[kind, ..]| kind).collect();
    assert_eq!(first_cells(&table(&text, "## What its state comes from")), all);

    let queued: Vec<_> =
        ENGINES.iter().filter(|engine| engine.queued_by_kueue).map(|engine| engine.kind.kind()).collect();
    let (last, others) = queued.split_last().unwrap();
    let sentence = format!(
        "A {} or {last} that [Kueue](https://kueue.sigs.k8s.io) manages is stopped by",
        others.join(", ")
    );
    assert!(text.contains(&sentence), "{sentence}");
}
