//! What applies to every request, and what the gateway ships with.

use std::time::Duration;

use serde_json::{Value, json};
use support::{
    control_plane::{ControlPlane, PROJECT},
    gateway::apply_manifests,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::gateway;

#[tokio::test]
async fn metrics_and_probes_are_served() {
    let (_world, gateway, caller) = gateway("gw-metrics").await;
    caller.get("/v2/lm/executions/not-there").await.error(404);
    caller.get("/nowhere").await.error(404);
    for path in ["/livez", "/readyz"] {
        let answer = gateway.probe(path).await;
        assert_eq!((answer.status, &*answer.text), (200, "ok"));
    }
    let metrics = gateway.probe("/metrics").await.text;
    for line in [
        r#"aiapi_gateway_requests_total{method="GET",route="/v2/lm/executions/{id}",code="404"} 1"#,
        r#"aiapi_gateway_requests_total{method="GET",route="none",code="404"} 1"#,
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert!(!metrics.contains("not-there") && !metrics.contains("nowhere"), "{metrics}");
}

#[tokio::test]
async fn a_real_api_server_accepts_the_manifests() {
    let plane = ControlPlane::get();
    let (ok, message) = apply_manifests(plane, &format!("{PROJECT}/deploy/gateway"));
    assert!(ok, "{message}");
    let example = format!("{PROJECT}/deploy/gateway/ingress-example.yaml");
    let (ok, message) = plane.kubectl(&["apply", "--dry-run=server", "-f", &example], "");
    assert!(ok, "{message}");
    // The only rights of the gateway itself.
    let rules: Vec<_> = plane
        .manifests("gateway")
        .into_iter()
        .filter(|m| m["kind"].as_str().unwrap().ends_with("Role"))
        .flat_map(|m| m["rules"].as_array().unwrap().clone())
        .collect();
    let expected = [("", "configmaps", "ai-api-meta"), ("coordination.k8s.io", "leases", "ai-api-operator")];
    let expected = expected.map(|(group, resource, name)| {
        json!({"apiGroups": [group], "resources": [resource], "resourceNames": [name], "verbs": ["get"]})
    });
    assert_eq!(rules, expected);
}

/// No API server here has the Gateway API.
#[test]
fn the_example_of_a_route_leads_to_the_service() {
    let example =
        std::fs::read_to_string(format!("{PROJECT}/deploy/gateway/httproute-example.yaml")).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&example).unwrap();
    let [route, policy] = &*objects else { panic!("{objects:?}") };
    assert_eq!((&route["kind"], &policy["kind"]), (&json!("HTTPRoute"), &json!("BackendTLSPolicy")));
    let manifests = ControlPlane::get().manifests("gateway");
    let service =
        manifests.iter().find(|m| m["kind"] == "Service" && m["metadata"]["name"] == "ai-api-gateway");
    let (metadata, port) = (&service.unwrap()["metadata"], &service.unwrap()["spec"]["ports"][0]);
    for object in &objects {
        assert_eq!(object["metadata"]["namespace"], metadata["namespace"]);
    }
    let rule = &route["spec"]["rules"][0];
    assert_eq!(rule["backendRefs"], json!([{"name": metadata["name"], "port": port["port"]}]));
    assert_eq!(rule["matches"][0]["path"], json!({"type": "PathPrefix", "value": "/v2/lm"}));
    // As long as the gateway takes for one request.
    let timeout = rule["timeouts"]["request"].as_str().and_then(|text| text.strip_suffix('s')).unwrap();
    assert!(timeout.parse::<u64>().unwrap() > 85);
    let target =
        json!([{"group": "", "kind": "Service", "name": metadata["name"], "sectionName": port["name"]}]);
    assert_eq!(policy["spec"]["targetRefs"], target);
    let host =
        format!("{}.{}.svc", metadata["name"].as_str().unwrap(), metadata["namespace"].as_str().unwrap());
    assert_eq!(policy["spec"]["validation"]["hostname"], json!(host));
}

/// Sends these bytes over a new connection.
pub async fn written(address: &str, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

/// Everything that is received until the gateway closes the connection.
pub async fn all_of(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut answer));
    read.await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let (_world, _gateway, caller) = gateway("gw-head").await;
    for (path, status) in [
        ("/v2/lm/executions", 200),
        ("/v2/lm/executions/not-there", 404),
        ("/nowhere", 404),
        ("/openapi.yaml", 200),
    ] {
        let [head, get] = [caller.send("HEAD", path, &[], "").await, caller.get(path).await];
        assert_eq!((head.status, get.status, &*head.text), (status, status, ""), "{path}");
        for name in ["content-type", "content-length"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
        // The length of a list is only known at its end.
        assert_eq!(get.header("content-length").is_empty(), path == "/v2/lm/executions", "{path}");
    }
}

/// What is not an HTTP request gets no id, no log line and no body: only a status, and the connection is closed.
#[tokio::test]
async fn what_is_not_http_gets_only_a_status() {
    let (_world, gateway, caller) = gateway("gw-no-http").await;
    let long = "x".repeat(80_000);
    for (bytes, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET /v2/lm/meta HTTP/1.1\r\nHost: gateway\r\nbad header\r\n\r\n".to_owned(), 400),
        (format!("GET /v2/lm/meta HTTP/1.1\r\nHost: gateway\r\nX-Long: {long}\r\n\r\n"), 431),
    ] {
        let answer = all_of(written(&gateway.address, &bytes).await).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    }
    // An incomplete head is not waited for.
    let answer = all_of(written(&gateway.address, "GET /v2/lm/meta HTTP/1.1\r\nHost: gate").await).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    caller.get("/v2/lm/meta").await.ok(200);
}
