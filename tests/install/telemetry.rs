//! What an admin's tools see of the operator: metrics, probes, traces.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ai_api_operator::{api::Kind, telemetry::LONGEST_SILENCE};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    trace::v1::Span,
};
use prost::Message;
use serde_json::json;
use support::{
    World,
    operator::{LONG_LEASE, samples},
    until, within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[tokio::test]
async fn metrics_count_what_was_done() {
    let mut world = World::running("metrics").await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    world.own(Kind::Execution, "stopped-1", "STOPPED").await;
    world.own(Kind::Deployment, "running-1", "RUNNING").await;
    world.own(Kind::Deployment, "stopped-1", "STOPPED").await;
    let spec = json!({
        "executions": [{"id": "running-1", "targetStatus": "STOPPED"}, {"id": "stopped-1", "targetStatus": "DELETED"}],
        "deployments": [{"id": "running-1", "targetStatus": "DELETED"}],
    });
    world.carry_out("some", spec.clone()).await;
    world.flag(None).await;
    world.carry_out("rejected", spec).await;
    let all = json!({"executions": [{"id": "no-such-name", "targetStatus": "STOPPED"}]});
    world.flag(Some(support::ON)).await;
    world.carry_out("missing", all).await;
    world.operator.until_ready().await;
    assert_eq!(world.operator.probe("/livez").await, (200, "ok".to_owned()));

    // An end is visible in the status before it is counted.
    let last = r#"aiapi_bulkupdates_finished_total{outcome="ItemsRefused"} 2"#;
    until("the last one is counted", || async { world.operator.probe("/metrics").await.1.contains(last) })
        .await;
    let (code, text) = world.operator.probe("/metrics").await;
    assert_eq!(code, 200);
    // dev/check/metrics gives it to Prometheus' own parser.
    std::fs::write(world.plane.folder.join("metrics.txt"), &text).unwrap();
    assert!(text.ends_with("# EOF\n"), "OpenMetrics ends so");
    for name in ["running-1", "stopped-1", "no-such-name", "missing\"", "namespace=", "metrics\""] {
        assert!(!text.contains(name), "{name} names an object");
    }
    let samples = samples(&text);
    let expected = [
        (r#"aiapi_bulkupdates_finished_total{outcome="ItemsRefused"}"#, 2.0),
        (r#"aiapi_bulkupdates_finished_total{outcome="BulkUpdatesDisabled"}"#, 1.0),
        (r#"aiapi_bulkupdate_items_total{kind="Execution",verb="stop",result="Settled"}"#, 1.0),
        (r#"aiapi_bulkupdate_items_total{kind="Execution",verb="delete",result="Settled"}"#, 1.0),
        (r#"aiapi_bulkupdate_items_total{kind="Deployment",verb="delete",result="Refused"}"#, 1.0),
        (r#"aiapi_bulkupdate_items_total{kind="Execution",verb="stop",result="Refused"}"#, 1.0),
        (r#"aiapi_writes_total{kind="Execution",verb="stop",outcome="accepted"}"#, 1.0),
        (r#"aiapi_writes_total{kind="Execution",verb="delete",outcome="accepted"}"#, 1.0),
        ("aiapi_bulkupdate_plan_duration_seconds_count", 2.0),
        ("aiapi_bulkupdate_apply_duration_seconds_count", 1.0),
        ("aiapi_bulkupdate_duration_seconds_count", 3.0),
        ("aiapi_bulkupdates_underway", 0.0),
        ("aiapi_writes_in_flight", 0.0),
        (r#"aiapi_index_targets{kind="Execution"}"#, 1.0),
        (r#"aiapi_index_targets{kind="Deployment"}"#, 2.0),
        (r#"leader_election_master_status{name="ai-api-operator"}"#, 1.0),
        (concat!(r#"aiapi_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""}"#), 1.0),
    ];
    for (name, value) in expected {
        assert_eq!(samples.get(name), Some(&value), "{name}");
    }
    for resource in ["executions", "deployments", "bulkupdates", "configmaps"] {
        let name = format!(r#"aiapi_watch_last_event_timestamp_seconds{{resource="{resource}"}}"#);
        assert!(samples[&name] > 1.7e9, "{name}");
    }
    assert!(world.operator.stop().success());
}

/// A connection to the API server that can be made to drop everything from there: middleboxes between a cluster and its
/// API server do so at times, and the API server itself cannot be made to do it.
struct Blackhole {
    dropping: Arc<AtomicBool>,
    address: String,
}

impl Blackhole {
    async fn new(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let dropping = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&dropping);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&server).await.unwrap();
                let flag = Arc::clone(&flag);
                tokio::spawn(async move {
                    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) =
                        (near.into_split(), far.into_split());
                    let forth =
                        tokio::spawn(async move { tokio::io::copy(&mut near_in, &mut far_out).await });
                    let mut buffer = vec![0; 16 * 1024];
                    while let Ok(length @ 1..) = far_in.read(&mut buffer).await {
                        if !flag.load(Ordering::Relaxed)
                            && near_out.write_all(&buffer[..length]).await.is_err()
                        {
                            break;
                        }
                    }
                    forth.abort();
                });
            }
        });
        Self { dropping, address }
    }
}

#[tokio::test]
async fn a_silent_watch_fails_liveness() {
    let mut world = World::new("swallowed").await;
    let kubeconfig = world.operator.kubeconfig();
    let text = std::fs::read_to_string(&kubeconfig).unwrap();
    let server = text.split("https://").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let blackhole = Blackhole::new(server.clone()).await;
    // The certificate is for 127.0.0.1, whatever the port.
    std::fs::write(&kubeconfig, text.replace(&server, &blackhole.address)).unwrap();
    // From then on the renewals of the Lease get no answers either, and that would end the process first.
    world.operator.start(&LONG_LEASE);
    world.operator.until_ready().await;
    blackhole.dropping.store(true, Ordering::Relaxed);
    let since = std::time::Instant::now();
    let dead = || async { world.operator.probe("/livez").await.0 == 503 };
    assert!(
        within(LONGEST_SILENCE + Duration::from_mins(1), Duration::from_millis(200), dead).await,
        "it lives"
    );
    let (_, why) = world.operator.probe("/livez").await;
    println!("/livez after {:.0?}: {why}", since.elapsed());
    assert!(why.contains("the watch of") && why.contains("has made no progress for"), "{why}");
    assert!(
        since.elapsed() + Duration::from_mins(1) > LONGEST_SILENCE,
        "it was early: a bookmark comes once a minute"
    );
    world.operator.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_update_is_a_trace_of_its_steps() {
    let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = Arc::clone(&spans);
    let receive = axum::routing::post(async move |body: axum::body::Bytes| {
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        received.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        let answer = ExportTraceServiceResponse::default().encode_to_vec();
        ([("content-type", "application/x-protobuf")], answer)
    });
    tokio::spawn(
        async move { axum::serve(listener, axum::Router::new().route("/v1/traces", receive)).await },
    );

    let mut world = World::new("traces").await;
    world.operator.start_with(&[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"))]);
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    let spec = json!({"executions": [{"id": "running-1", "targetStatus": "STOPPED"},
        {"id": "no-such-name", "targetStatus": "DELETED"}]});
    world.carry_out("traced", spec).await;
    assert!(world.operator.stop().success(), "the remaining traces are sent at the end");

    let spans = spans.lock().unwrap();
    let root = spans.iter().find(|span| span.name == "bulk_update").unwrap();
    assert!(root.parent_span_id.is_empty());
    let attribute = |span: &Span, key: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key == key);
        found.map(|attribute| format!("{:?}", attribute.value)).unwrap_or_default()
    };
    assert!(attribute(root, "bulk_update").contains("\"traced\""), "{root:?}");
    assert!(attribute(root, "k8s.namespace.name").contains("\"traces\""), "{root:?}");
    let mut lines = Vec::new();
    tree(&spans, root, 0, &mut lines);
    println!("{}", lines.join("\n"));
    let names: Vec<_> = lines.iter().map(|line| line.trim()).collect();
    for step in ["observe", "decide", "read", "record", "apply", "write", "report"] {
        assert!(names.contains(&step), "{step} is not in {lines:?}");
    }
    assert!(spans.iter().all(|span| span.trace_id == root.trace_id), "nothing but the BulkUpdate is traced");
}

/// The names of a span and of those below it, in the order in which they began.
fn tree(spans: &[Span], of: &Span, depth: usize, lines: &mut Vec<String>) {
    lines.push(format!("{}{}", "  ".repeat(depth), of.name));
    let mut below: Vec<_> = spans.iter().filter(|span| span.parent_span_id == of.span_id).collect();
    below.sort_by_key(|span| span.start_time_unix_nano);
    for span in below {
        tree(spans, span, depth + 1, lines);
    }
}
