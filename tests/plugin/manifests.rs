//! `-o yaml` and `-o json`: manifests that apply cleanly.

use ai_api_operator::api::Kind;
use support::World;

use crate::plugin::{Plugin, sent, states};

#[tokio::test]
async fn what_is_printed_does_the_same_as_sending_when_it_is_applied() {
    let world = World::running("plugin-prints").await;
    let plugin = Plugin::of_editor(&world).await;
    for name in ["run-1", "run-2"] {
        world.own(Kind::Execution, name, "RUNNING").await;
    }
    for (line, pinned) in [("-o yaml", true), ("-o json --no-pin", false)] {
        let printed = plugin.ok(&format!("stop execution --all {line}"));
        assert!(
            printed.err.contains("2 Executions eligible"),
            "the table is not among the manifests: {printed:?}"
        );
        assert!(sent(&world).await.is_empty());
        assert_eq!(printed.out.contains("uid:") || printed.out.contains("\"uid\""), pinned, "{printed:?}");
        // A repository keeps it: nothing may make it expire, or be created and carried out again.
        assert!(!printed.out.contains("ttl") && !printed.out.contains("notAfter"), "{printed:?}");
        world.kubectl_ok(&["apply", "--dry-run=server", "-f", "-"], &printed.out);
    }
    let printed = plugin.ok("stop execution --all -o yaml");
    world.next_second().await;
    world.kubectl_ok(&["apply", "-f", "-"], &printed.out);
    let name = sent(&world).await[0].metadata.name.clone().unwrap();
    world.finished(&name).await;
    assert_eq!(states(&world, &["run-1", "run-2"]).await, [Some("STOPPED".into()), Some("STOPPED".into())]);
    // Applied again, as GitOps does, nothing changes.
    let (_, again) = world.kubectl(&["apply", "-f", "-"], &printed.out);
    assert!(again.contains("unchanged"), "{again}");
    // Several BulkUpdates are one list.
    let dead = plugin.ok("delete execution --all -o json");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&dead.out).unwrap()["kind"], "BulkUpdate");
}
