//! Who may create BulkUpdates, what the refusals say, and that nothing is planned without the check.

use ai_api_operator::api::Kind;
use serde_json::{Value, json};
use support::{World, conditions, outcome, until, until_ok};

use super::{BINDING, POLICY, accepted, bulk, create_as, grant, in_force, put};
use crate::alone;

/// What each of them may do, and the refusals.
async fn users_rights_and_requests(world: &World) {
    let verbs = "create get";
    grant(world, "creator", &[(verbs, "bulkupdates")]);
    grant(world, "stops-executions", &[(verbs, "bulkupdates"), ("stop", "executions")]);
    grant(world, "deletes-executions", &[(verbs, "bulkupdates"), ("delete", "executions")]);
    grant(world, "stops-deployments", &[(verbs, "bulkupdates"), ("stop", "deployments")]);
    grant(world, "deletes-deployments", &[(verbs, "bulkupdates"), ("delete", "deployments")]);
    grant(world, "does-all", &[(verbs, "bulkupdates"), ("stop delete", "executions deployments")]);
    let editor = ["create", "rolebinding", "editor", "--clusterrole=aiapi-editor", "--user=editor"];
    world.kubectl_ok(&editor, "");
    let viewer = ["create", "rolebinding", "viewer", "--clusterrole=aiapi-viewer", "--user=viewer"];
    world.kubectl_ok(&viewer, "");
    let can = ["auth", "can-i", "create", "bulkupdates.aiapi.dev", "--as=editor"];
    until("the roles are known", || async { world.kubectl(&can, "").0 }).await;

    let item = |target: &str| json!([{"id": "exec-1", "targetStatus": target}]);
    let requests = [
        ("stop", "executions", json!({"executions": item("STOPPED")})),
        ("delete", "executions", json!({"executions": item("DELETED")})),
        ("stop", "deployments", json!({"deployments": item("STOPPED")})),
        ("delete", "deployments", json!({"deployments": item("DELETED")})),
        // A dry run discloses states.
        ("stop", "executions", json!({"executions": item("STOPPED"), "dryRun": true})),
    ];
    let may = |user: &str, verb: &str, of: &str| match user {
        "does-all" | "editor" => true,
        _ => user == format!("{verb}s-{of}"),
    };
    let mut number = 0;
    for user in [
        "creator",
        "stops-executions",
        "deletes-executions",
        "stops-deployments",
        "deletes-deployments",
        "does-all",
        "editor",
    ] {
        for (verb, of, spec) in &requests {
            number += 1;
            let (taken, said) = create_as(world, user, &bulk(&format!("by-table-{number}"), spec));
            println!("{user:20} {verb:6} {of:11} {}", said.trim());
            assert_eq!(taken, may(user, verb, of), "{user} {verb} {of}: {said}");
            if !taken {
                let why = format!("{user} may not {verb} {of}.aiapi.dev in namespace {}", world.namespace);
                assert!(said.contains(&why) && said.contains("Forbidden"), "{said}");
            }
        }
    }
    // A mixed request needs each right.
    let mixed = json!({"executions": [{"id": "exec-1", "targetStatus": "STOPPED"},
        {"id": "exec-2", "targetStatus": "DELETED"}]});
    for (user, taken) in [("stops-executions", false), ("deletes-executions", false), ("does-all", true)] {
        assert_eq!(create_as(world, user, &bulk(&format!("mixed-{user}"), &mixed)).0, taken, "{user}");
    }
    let (taken, said) = create_as(world, "viewer", &bulk("by-viewer", &requests[0].2));
    assert!(!taken && said.contains("cannot create resource \"bulkupdates\""), "{said}");
}

/// The annotation with the requester can only be true.
fn the_requester(world: &World) {
    let mut forged = bulk("forged", &json!({"executions": [{"id": "exec-1", "targetStatus": "STOPPED"}]}));
    forged["metadata"]["annotations"] = json!({"aiapi.dev/requester": "somebody-else"});
    let (taken, said) = create_as(world, "does-all", &forged);
    assert!(!taken && said.contains("says who asked, which is does-all"), "{said}");
    forged["metadata"]["annotations"] = json!({"aiapi.dev/requester": "does-all"});
    assert!(create_as(world, "does-all", &forged).0, "the author's own name is allowed");
    for value in ["aiapi.dev/requester=other", "aiapi.dev/requester-"] {
        let (taken, said) = world.kubectl(&["annotate", "--overwrite", "bu/forged", value], "");
        assert!(!taken && said.contains("cannot be set, changed or removed later"), "{said}");
    }
}

/// A user who may only patch BulkUpdates cannot have any deleted by its TTL, and may change all else that is mutable.
async fn the_time_to_live(world: &World) {
    grant(world, "patches", &[("get patch", "bulkupdates")]);
    grant(world, "patches-and-deletes", &[("get patch delete", "bulkupdates")]);
    let can = ["auth", "can-i", "delete", "bulkupdates.aiapi.dev", "--as=patches-and-deletes"];
    until("the roles are known", || async { world.kubectl(&can, "").0 }).await;
    let spec =
        json!({"executions": [{"id": "exec-1", "targetStatus": "STOPPED"}], "ttlSecondsAfterFinished": 100});
    assert!(create_as(world, "does-all", &bulk("with-ttl", &spec)).0, "the author sets it");
    let without = json!({"executions": [{"id": "exec-1", "targetStatus": "STOPPED"}]});
    assert!(create_as(world, "does-all", &bulk("without-ttl", &without)).0);
    let patch = |user: &str, name: &str, seconds: Value| {
        let patch = json!({"spec": {"ttlSecondsAfterFinished": seconds}}).to_string();
        world.kubectl(&["patch", "bu", name, "--type=merge", "-p", &patch, "--as", user], "")
    };
    for (name, seconds, admitted) in [
        ("without-ttl", json!(0), false),
        ("without-ttl", json!(i32::MAX), false),
        ("with-ttl", json!(99), false),
        ("with-ttl", json!(100), true),
        ("with-ttl", json!(101), true),
        ("with-ttl", Value::Null, true),
    ] {
        let (taken, said) = patch("patches", name, seconds.clone());
        assert_eq!(taken, admitted, "{name} {seconds}: {said}");
        let why = format!("patches may not delete bulkupdates.aiapi.dev in namespace {}", world.namespace);
        assert!(taken || (said.contains(&why) && said.contains("ttlSecondsAfterFinished")), "{said}");
    }
    let label = ["label", "bu/without-ttl", "a=b", "--as=patches"];
    assert!(world.kubectl(&label, "").0, "a label says nothing about the TTL");
    assert!(patch("patches-and-deletes", "with-ttl", json!(50)).0);
}

/// With the component that stamps the requester, which needs Kubernetes 1.36, nobody can claim to be another user, or
/// hide.
async fn the_stamp(world: &World) {
    let (_, version) = world.kubectl(&["version", "-o", "json"], "");
    let version: Value = serde_json::from_str(&version).unwrap();
    let minor: u32 = version["serverVersion"]["minor"].as_str().unwrap().parse().unwrap();
    if minor < 36 {
        println!("Kubernetes 1.{minor} has no MutatingAdmissionPolicy: nothing is stamped");
        return;
    }
    let mut stamps = world.plane.manifests("overlays/requester");
    stamps.retain(|manifest| manifest["kind"].as_str().unwrap().starts_with("MutatingAdmissionPolicy"));
    assert_eq!(stamps.len(), 2);
    for stamp in &stamps {
        world.kubectl_ok(&["apply", "--server-side", "-f", "-"], &stamp.to_string());
    }
    let mut forged = bulk("stamped", &json!({"executions": [{"id": "exec-1", "targetStatus": "STOPPED"}]}));
    forged["metadata"]["annotations"] = json!({"aiapi.dev/requester": "somebody-else"});
    until("the stamp is in force", || async {
        let trial = ["create", "--as=does-all", "--dry-run=server", "-o", "name", "-f", "-"];
        world.kubectl(&trial, &forged.to_string()).0
    })
    .await;
    assert!(create_as(world, "does-all", &forged).0);
    let who = || {
        world.kubectl_ok(
            &["get", "bu/stamped", "-o", r"jsonpath={.metadata.annotations.aiapi\.dev/requester}"],
            "",
        )
    };
    assert_eq!(who(), "does-all", "what the author has claimed is overwritten");
    for value in ["aiapi.dev/requester=other", "aiapi.dev/requester-"] {
        world.kubectl(&["annotate", "--overwrite", "bu/stamped", value], "");
        assert_eq!(who(), "does-all", "{value}");
    }
    for stamp in &stamps {
        world.kubectl_ok(&["delete", "-f", "-"], &stamp.to_string());
    }
}

#[tokio::test]
async fn authors_are_checked_and_without_the_check_nothing_is_planned() {
    let _alone = alone().await;
    let mut world = World::new("admission").await;
    in_force(&world, true).await;
    users_rights_and_requests(&world).await;
    the_requester(&world);
    the_time_to_live(&world).await;
    the_stamp(&world).await;

    // Without the binding nobody is checked; the user with only the right to create shows this.
    world.kubectl_ok(&["delete", BINDING], "");
    in_force(&world, false).await;
    world.own(Kind::Execution, "exec-9", "STOPPED").await;
    let delete = json!({"executions": [{"id": "exec-9", "targetStatus": "DELETED"}]});
    let (taken, said) = create_as(&world, "creator", &bulk("unchecked", &delete));
    assert!(taken, "{said}");
    world.operator.start(&["--require-admission-policy"]);
    let status = world.ready_reason("unchecked", "Waiting").await;
    let expected = ["Accepted Unknown Waiting", "Ready False Waiting", "Reconciling True Waiting"];
    assert_eq!(conditions(&status), expected);
    let message = &status.condition("Ready").unwrap().message;
    assert!(
        message.starts_with("the ValidatingAdmissionPolicyBinding bulkupdates.aiapi.dev is missing"),
        "{message}"
    );

    // A binding that only warns is no better.
    let warns = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "bulkupdates.aiapi.dev"},
        "spec": {"policyName": "bulkupdates.aiapi.dev", "validationActions": ["Warn"]}});
    world.kubectl_ok(&["create", "-f", "-"], &warns.to_string());
    until_ok("the message says that it only warns", || async {
        let now = world.bulk_updates().get("unchecked").await.unwrap();
        let message = now.status.unwrap().condition("Ready").unwrap().message.clone();
        if message.contains("its validationActions lack Deny") { Ok(()) } else { Err(message) }
    })
    .await;
    // Nor does its creation count: until it denies, it has checked nobody.
    world.kubectl_ok(
        &["patch", BINDING, "--type=merge", "-p", r#"{"spec": {"validationActions": ["Deny"]}}"#],
        "",
    );

    // What was created before is rejected, although the policy is in force now.
    let status = world.finished("unchecked").await;
    let expected =
        ["Accepted False NotAuthorized", "Ready False NotAuthorized", "Stalled True NotAuthorized"];
    assert_eq!(conditions(&status), expected);
    assert!(world.find(Kind::Execution, "exec-9").await.is_some(), "nothing is done for it");

    // So is what is created in the first ten seconds; the Lease shows when they have passed.
    world.kubectl_ok(&["delete", BINDING], "");
    put(&world);
    in_force(&world, true).await;
    let early = create_as(&world, "does-all", &bulk("early", &delete));
    assert!(early.0, "{}", early.1);
    assert_eq!(
        world.finished("early").await.condition("Ready").map(|c| c.reason.clone()).as_deref(),
        Some("NotAuthorized")
    );
    accepted(&world).await;
    let mut named = bulk("in-time", &delete);
    named["metadata"]["annotations"] = json!({"aiapi.dev/requester": "does-all"});
    let (taken, said) = create_as(&world, "does-all", &named);
    assert!(taken, "{said}");
    let status = world.finished("in-time").await;
    assert_eq!(outcome(&status, Kind::Execution, "exec-9"), "Settled");
    let log = world.operator.log();
    let wrote = log.lines().find(|line| line.contains("wrote to a target")).unwrap();
    assert!(wrote.contains("requester=\"does-all\""), "{wrote}");
    until("an event names who asked", || async {
        world.kubectl_ok(&["events", "--for", "bu/in-time"], "").contains("requested by does-all")
    })
    .await;

    // Without the policy, planned work continues, and nothing more is planned. The replica stays ready.
    world.own(Kind::Execution, "exec-8", "STOPPED").await;
    world.kubectl_ok(&["delete", POLICY], "");
    until("the Lease says so", || async { super::says_accepted(&world).is_empty() }).await;
    assert_eq!(world.operator.probe("/readyz").await.0, 200);
    world.submit("without", json!({"executions": [{"id": "exec-8", "targetStatus": "DELETED"}]})).await;
    world.ready_reason("without", "Waiting").await;
    assert!(world.find(Kind::Execution, "exec-8").await.is_some());
    put(&world);
    let status = world.finished("without").await;
    assert_eq!(conditions(&status)[1], "Ready False NotAuthorized");

    // Clusters with another way of authorization do without.
    world.kubectl_ok(&["delete", POLICY, BINDING], "");
    assert!(world.operator.stop().success());
    world.operator.start(&["--require-admission-policy=false"]);
    let status = world
        .carry_out("otherwise", json!({"executions": [{"id": "exec-8", "targetStatus": "DELETED"}]}))
        .await;
    assert_eq!(outcome(&status, Kind::Execution, "exec-8"), "Settled");
    put(&world);
}
