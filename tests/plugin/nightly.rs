//! The example of a nightly clean-up: its command, as its ServiceAccount with its Role.

use ai_api_operator::api::Kind;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use support::World;

use crate::plugin::{Plugin, states};

#[tokio::test]
async fn the_nightly_clean_up_deletes_what_has_been_over_for_a_week_with_the_rights_of_its_role() {
    let world = World::running("plugin-nightly").await;
    let manifests = include_str!("../../examples/nightly-cleanup.yaml");
    world.kubectl_ok(&["apply", "-f", "-"], manifests);
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifests).unwrap();
    let cron = documents.iter().find(|document| document["kind"] == "CronJob").unwrap();
    let pod = &cron["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let old =
        |days: i64| (Timestamp::now() - SignedDuration::from_hours(24 * days)).strftime("%FT%TZ").to_string();
    for (name, state, days) in [
        ("dead-old", "DEAD", 8),
        ("stopped-old", "STOPPED", 8),
        ("dead-new", "DEAD", 1),
        ("busy-old", "RUNNING", 8),
    ] {
        world.target(Kind::Execution, name, json!({}), json!({"state": state, "stateTime": old(days)})).await;
    }
    let plugin = Plugin::of(&world, pod["serviceAccountName"].as_str().unwrap()).await;
    let words = |field: &str| -> Vec<String> { serde_json::from_value(container[field].clone()).unwrap() };
    assert_eq!(words("command"), ["/kubectl-aiapi"]);
    let ended = plugin.ok(&words("args").join(" "));
    assert!(ended.out.contains("2 settled of 2"), "{ended:?}");
    let left: Vec<_> = states(&world, &["dead-old", "stopped-old", "dead-new", "busy-old"])
        .await
        .iter()
        .map(Option::is_some)
        .collect();
    assert_eq!(left, [false, false, true, true]);
}
