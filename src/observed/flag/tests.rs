//! What is read of the flag, and which of its two sources counts.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use kube::client::Body;
use tokio::time::sleep;

use super::*;

/// An API server that looks at the flag at once, and answers after `delay`.
struct Slow {
    on: AtomicBool,
    asked: AtomicUsize,
    delay: Duration,
}

impl Slow {
    fn server(delay: Duration) -> (Arc<Self>, CapabilityFlag) {
        let server = Arc::new(Self { on: true.into(), asked: 0.into(), delay });
        let asked = Arc::clone(&server);
        let service = tower::service_fn(move |_: http::Request<Body>| {
            let server = Arc::clone(&asked);
            async move {
                server.asked.fetch_add(1, Ordering::Relaxed);
                let text = format!("executions: {}", server.on.load(Ordering::Relaxed));
                sleep(server.delay).await;
                let map = serde_json::json!({"data": {KEY: text}, "metadata": {"resourceVersion": "1"}});
                Ok::<_, tower::BoxError>(http::Response::new(Body::from(map.to_string().into_bytes())))
            }
        });
        (
            server,
            CapabilityFlag::new(
                Client::new(service, "default"),
                "ai-api-system".into(),
                "ai-api-meta".into(),
            ),
        )
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reading_is_not_shared_with_who_came_later_but_serves_who_has_asked_for_it() {
    for (millis, shared) in [(900, true), (9000, false)] {
        let (server, meta) = Slow::server(Duration::from_millis(millis));
        let begin = Instant::now();
        let later = async {
            sleep(Duration::from_millis(200)).await;
            server.on.store(false, Ordering::Relaxed);
            sleep(Duration::from_millis(200)).await;
            tokio::join!(meta.read_since(begin), meta.read_since(begin))
        };
        let (first, (second, third)) = tokio::join!(meta.read_since(begin), later);
        assert_eq!(first, Ok(valid(true, false)), "{millis} ms");
        assert_eq!((&second, &third), (&Ok(valid(shared, false)), &second), "{millis} ms");
        assert_eq!(server.asked.load(Ordering::Relaxed), if shared { 1 } else { 2 }, "{millis} ms");
    }
}

fn valid(executions: bool, deployments: bool) -> Flags {
    Flags::Valid { executions, deployments }
}

#[test]
fn json_and_yaml_are_read() {
    assert_eq!(Flags::parse(r#"{"executions": true, "deployments": false}"#), valid(true, false));
    assert_eq!(Flags::parse("executions: true\ndeployments: true\n"), valid(true, true));
    assert_eq!(Flags::parse("{}"), valid(false, false));
    assert_eq!(Flags::parse("deployments: true"), valid(false, true));
}

#[test]
fn anything_else_is_off_for_both_and_says_why() {
    for text in [
        "",
        "  \n",
        "true",
        "[]",
        "executions",
        "{",
        "executions: yes",
        "executions: \"true\"",
        "executions: 1",
        "execution: true",
        "executions: true\nexecutions: true",
        "executions: null",
        r#"{"executions": true, "more": 1}"#,
        "[true, true]",
        "executions: true\n---\nexecutions: true",
    ] {
        match Flags::parse(text) {
            Flags::Invalid(why) => {
                let why = why.to_string();
                assert!(!why.is_empty() && why.len() <= LONGEST_COMPLAINT, "{text}: {why}");
            }
            valid @ Flags::Valid { .. } => panic!("{text:?} was read as {valid:?}"),
        }
    }
}

#[test]
fn aliases_of_aliases_are_not_followed_for_long() {
    let line = |(of, name): (char, char)| format!("{name}: &{name} [{}]\n", format!("*{of},").repeat(9));
    let lines: String = "abcdefghi".chars().zip("bcdefghij".chars()).map(line).collect();
    let text = format!("a: &a [x,x,x,x,x,x,x,x,x]\n{lines}");
    let Flags::Invalid(why) = Flags::parse(&text) else { panic!("it was read") };
    assert!(why.to_string().contains("101 > 100"), "{why}");
    assert_eq!(Flags::parse("executions: &on true\ndeployments: *on"), valid(true, true));
}

#[test]
fn while_its_config_map_is_being_deleted_it_is_off() {
    let read = |deleted: serde_json::Value| {
        let metadata = serde_json::json!({"name": "ai-api-meta", "deletionTimestamp": deleted});
        let map = serde_json::json!({"metadata": metadata, "data": {KEY: "executions: true"}});
        serde_json::from_value::<FlagMap>(map).unwrap().flags
    };
    assert_eq!(read(serde_json::Value::Null), valid(true, false));
    for deleted in ["2026-01-02T03:04:05Z", "9999-12-31T23:59:59Z", "soon"] {
        assert_eq!(read(deleted.into()), Flags::OFF, "{deleted}");
    }
}

#[test]
fn the_watch_only_ever_closes_the_gate() {
    let mut sources = Sources { live: None, not_before: None, newest: (String::new(), Flags::OFF) };
    sources.take_in("5".into(), valid(true, true));
    assert_eq!(sources.gate(), Ok(Flags::OFF), "nothing was read live");
    sources.live = Some((Instant::now(), Ok(valid(true, false))));
    assert_eq!(sources.gate(), Ok(valid(true, false)));
    sources.take_in("4".into(), Flags::OFF);
    assert_eq!(sources.gate(), Ok(valid(true, false)), "an older word does not count");
    sources.take_in("6".into(), Flags::Invalid(InvalidFlag::Empty));
    assert_eq!(sources.gate(), Ok(Flags::Invalid(InvalidFlag::Empty)));
    // It is not there any more, which the watch does not know yet.
    sources.live = Some((Instant::now(), Ok(Flags::OFF)));
    assert_eq!(sources.gate(), Ok(Flags::OFF));
}
