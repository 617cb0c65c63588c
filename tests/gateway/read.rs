//! Reading: one object, lists, counts, and the capabilities.

use ai_api_operator::api::Kind;
use serde_json::json;
use support::{until, until_ok};

use crate::{all, bulk_updates, gateway};

#[tokio::test]
async fn objects_are_read_listed_filtered_and_counted() {
    let (world, _gateway, caller) = gateway("gw-read").await;
    for kind in Kind::ALL {
        let path = all(kind);
        for n in 0..5 {
            let spec = json!({"scenarioId": format!("scen-{}", n % 2), "configurationId": "conf-1",
                "configurationName": "a name", "executableId": format!("exe-{n}")});
            let state = if n < 3 { "RUNNING" } else { "DEAD" };
            let status = json!({"state": state, "startTime": "2026-01-02T03:04:05Z"});
            world.target(kind, &format!("item-{n}"), spec, status).await;
        }
        let one = caller.get(&format!("{path}/item-1")).await.ok(200);
        for (name, value) in [
            ("id", "item-1"),
            ("scenarioId", "scen-1"),
            ("configurationId", "conf-1"),
            ("configurationName", "a name"),
            ("executableId", "exe-1"),
            ("status", "RUNNING"),
            ("startTime", "2026-01-02T03:04:05.000000Z"),
        ] {
            assert_eq!(one[name], value, "{one:#}");
        }
        assert_eq!(one.get("deploymentUrl").is_some(), kind == Kind::Deployment);
        let part = caller.get(&format!("{path}/item-1?$select=status")).await.ok(200);
        let names: Vec<_> = part.as_object().unwrap().keys().collect();
        assert_eq!(names, ["configurationId", "createdAt", "id", "modifiedAt", "status"]);

        let whole = caller.get(&path).await.ok(200);
        assert_eq!(whole["count"], 5);
        assert_eq!(whole["resources"][1], one);
        for (query, ids) in [
            ("", "0 1 2 3 4"),
            ("?status=DEAD", "3 4"),
            ("?status=RUNNING&scenarioId=scen-0", "0 2"),
            ("?executableIds=exe-4,exe-0,exe-9", "0 4"),
            ("?configurationId=conf-2", ""),
            ("?$top=2", "0 1"),
            ("?top=2&skip=1", "1 2"),
            ("?$skip=4", "4"),
            ("?$skip=5", ""),
            ("?$top=0", ""),
            ("?status=RUNNING&%24skip=1&%24top=5", "1 2"),
        ] {
            let list = caller.get(&format!("{path}{query}")).await.ok(200);
            let found: Vec<_> =
                list["resources"].as_array().unwrap().iter().map(|r| r["id"].clone()).collect();
            let expected: Vec<_> = ids.split_whitespace().map(|n| format!("item-{n}")).collect();
            assert_eq!(found, expected, "{query}");
            assert_eq!(list["count"], expected.len(), "{query}");
        }
        for (query, count) in [("", "5"), ("?status=DEAD", "2"), ("?scenarioId=scen-9", "0")] {
            for name in ["$count", "%24count"] {
                let answer = caller.get(&format!("{path}/{name}{query}")).await;
                assert_eq!((answer.status, &*answer.text), (200, count), "{name}{query}");
                assert_eq!(answer.header("content-type"), "text/plain");
            }
        }
        let (code, _) = caller.get(&format!("{path}/not-there")).await.error(404);
        assert_eq!(code, if kind == Kind::Execution { "01010020" } else { "01010016" });
        caller.get(&format!("{path}/Upper_Case")).await.error(404);
    }
    // The API server selects; what has an empty status counts as UNKNOWN.
    world.target(Kind::Execution, "new-1", json!({}), json!({})).await;
    world.kubectl_ok(
        &[
            "patch",
            "aiexec",
            "new-1",
            "--subresource=status",
            "--type=json",
            "--patch",
            r#"[{"op": "replace", "path": "/status", "value": {}}]"#,
        ],
        "",
    );
    for (selector, names) in [
        ("status.state=DEAD", "execution.aiapi.dev/item-3\nexecution.aiapi.dev/item-4\n"),
        ("status.state=UNKNOWN", "execution.aiapi.dev/new-1\n"),
        ("spec.scenarioId=scen-1,status.state=RUNNING", "execution.aiapi.dev/item-1\n"),
    ] {
        let found = world.kubectl_ok(&["get", "aiexec", "--field-selector", selector, "-o", "name"], "");
        assert_eq!(found, names, "{selector}");
    }
    assert_eq!(caller.get(&format!("{}/$count?status=UNKNOWN", all(Kind::Execution))).await.text, "1");
    assert_eq!(caller.get(&format!("{}/$count?scenarioId=unknown", all(Kind::Execution))).await.text, "1");
    // Reading creates no BulkUpdate.
    assert_eq!(bulk_updates(&world).await, 0);
}

#[tokio::test]
async fn a_long_list_is_read_page_by_page() {
    let (world, _gateway, caller) = gateway("gw-pages").await;
    let manifests: Vec<_> = (0..501)
        .map(|n| {
            json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution", "metadata": {"name": format!("exec-{n:03}")},
                "spec": {}})
        })
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests}).to_string();
    world.kubectl_ok(&["create", "-f", "-"], &list);
    let path = all(Kind::Execution);
    assert_eq!(caller.get(&format!("{path}/$count")).await.text, "501");
    let list = caller.get(&format!("{path}?$skip=499")).await.ok(200);
    let ids: Vec<_> = list["resources"].as_array().unwrap().iter().map(|r| r["id"].clone()).collect();
    assert_eq!(ids, ["exec-499", "exec-500"]);
    let pages = world.plane.requests(&caller.user);
    let pages: Vec<_> = pages.iter().filter(|r| r.verb == "list" && r.resource == "executions").collect();
    // Three for the list. For the number one object is enough: the API server says how many follow.
    assert_eq!(pages.len(), 4);
}

#[tokio::test]
async fn meta_matches_the_flag() {
    let (world, _gateway, caller) = gateway("gw-meta").await;
    for (text, executions, deployments) in [
        (r#"{"executions": true, "deployments": true}"#, true, true),
        (r#"{"executions": false, "deployments": true}"#, false, true),
        ("executions: true", true, false),
        ("execution: true\ndeployments: true", false, false),
        ("{", false, false),
        ("{}", false, false),
    ] {
        world.flag(Some(text)).await;
        let expected = json!({"executions": executions, "deployments": deployments});
        until_ok("meta", || async {
            let meta = caller.get("/v2/lm/meta").await.ok(200);
            let flags = &meta["aiApi"]["capabilities"]["bulkUpdates"];
            if *flags == expected { Ok(()) } else { Err(format!("{text}: {flags}")) }
        })
        .await;
    }
    world.flag(Some(support::ON)).await;
    until("on again", || async {
        let meta = caller.get("/v2/lm/meta").await.ok(200);
        meta["aiApi"]["capabilities"]["bulkUpdates"]["executions"] == true
    })
    .await;
    world.flag(None).await;
    until("a missing flag is off", || async {
        let meta = caller.get("/v2/lm/meta").await.ok(200);
        meta["aiApi"]["capabilities"]["bulkUpdates"]["executions"] == false
    })
    .await;
    // It names no resource group.
    let token = format!("Bearer {}", caller.token);
    let meta = caller.raw("GET", "/v2/lm/meta", &[("Authorization", &token)], "").await.unwrap().ok(200);
    assert_eq!(meta["runtimeIdentifier"], "ai-api-operator");
    let versions = caller.get("/v2/lm/meta/versions").await.ok(200);
    assert_eq!(versions["versions"][0]["versionId"], "v2");
    let health = caller.raw("GET", "/v2/lm/healthz", &[], "").await.unwrap().ok(200);
    assert_eq!(health["status"], "READY");
    // If the gateway may not read the flag, it does not guess.
    world.kubectl_ok(&["delete", "rolebinding", "ai-api-gateway"], "");
    until("no right to read the flag", || async { caller.get("/v2/lm/meta").await.status == 503 }).await;
    let (code, message) = caller.get("/v2/lm/meta").await.error(503);
    assert!(
        code == "ServiceUnavailable" && message.starts_with("cannot read the capability flag: 403"),
        "{message}"
    );
    assert_eq!(caller.get("/v2/lm/healthz").await.error(503).1, message);
}
