use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use http_body_util::{BodyExt, StreamBody};
use k8s_openapi::jiff::Timestamp;
use kube::client::{Body, DynBody};
use tokio::time::{advance, timeout};
use tower::{BoxError, Layer, ServiceExt, util::BoxService};

use super::*;
use crate::telemetry::watch_progress::{LONGEST_PAGE, SHORTEST_WATCH, WatchProgress};

const EXECUTIONS: &str = "/apis/aiapi.dev/v1alpha1/executions";
const LIST: &str = "limit=100";
const NEXT_PAGE: &str = "limit=100&continue=abc";
const WATCH: &str = "watch=true&timeoutSeconds=60";

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_reported_and_one_that_is_active_is_not() {
    let health = Health::default();
    assert_eq!(health.check(), Ok(()));
    for path in [EXECUTIONS, "/apis/aiapi.dev/v1alpha1/namespaces/a/bulkupdates"] {
        health.expect(path);
    }
    health.failed(EXECUTIONS, None);
    health.watch_event("/apis/aiapi.dev/v1alpha1/namespaces/a/bulkupdates");
    advance(LONGEST_SILENCE).await;
    assert_eq!(health.check(), Ok(()));
    health.watch_event(EXECUTIONS);
    advance(Duration::from_millis(1)).await;
    let why = health.check().unwrap_err().to_string();
    assert!(why.contains("namespaces/a/bulkupdates"), "{why}");
    health.failed("/apis/aiapi.dev/v1alpha1/namespaces/a/bulkupdates", None);
    assert_eq!(health.check(), Ok(()));
    let mut resources: Vec<_> = health.last_events(Timestamp::UNIX_EPOCH).into_keys().collect();
    resources.sort();
    assert_eq!(resources, ["bulkupdates", "executions"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_never_answered_is_reported() {
    let health = Health::default();
    // While it waits for the Lease, nothing is expected.
    advance(10 * LONGEST_SILENCE).await;
    assert_eq!(health.check(), Ok(()));
    health.expect(EXECUTIONS);
    advance(LONGEST_SILENCE).await;
    assert_eq!(health.check(), Ok(()));
    advance(Duration::from_millis(1)).await;
    let why = health.check().unwrap_err().to_string();
    assert!(why.contains(&format!("the watch of {EXECUTIONS} has made no progress for")), "{why}");
    assert!(health.last_events(Timestamp::UNIX_EPOCH).is_empty(), "there was no event, so there is no time");
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_does_not_end_is_reported() {
    let health = Arc::new(Health::default());
    let [stuck, other] = [health.pulse(), health.pulse()];
    assert_eq!(health.underway(), 2);
    advance(LONGEST_RECONCILE).await;
    assert_eq!(health.check(), Ok(()));
    other.beat();
    advance(Duration::from_millis(1)).await;
    assert!(health.check().is_err());
    stuck.beat();
    assert_eq!(health.check(), Ok(()));
    advance(LONGEST_RECONCILE + Duration::from_millis(1)).await;
    drop([stuck, other]);
    assert_eq!((health.check(), health.underway()), (Ok(()), 0));
}

#[tokio::test(start_paused = true)]
async fn a_pass_may_stand_in_line_for_long_while_the_line_moves() {
    let health = Arc::new(Health::default());
    let [waits, other] = [health.pulse(), health.pulse()];
    let mut place = Box::pin(waits.in_line(std::future::pending::<()>()));
    for _ in 0..5 {
        assert!(futures::poll!(&mut place).is_pending());
        advance(LONGEST_RECONCILE).await;
        assert_eq!(health.check(), Ok(()));
        // Another one gets a slot.
        other.in_line(std::future::ready(())).await;
    }
    drop(other);
    advance(LONGEST_RECONCILE + Duration::from_millis(1)).await;
    assert!(health.check().is_err(), "nobody gets a slot");
    drop(place);
    waits.in_line(std::future::ready(())).await;
    assert_eq!(health.check(), Ok(()));
    // With the slot, its time counts again.
    advance(LONGEST_RECONCILE + Duration::from_millis(1)).await;
    assert!(health.check().is_err());
}

/// The pieces that a server sends, each after some time, and whether it ends after them or hangs.
struct Sends(Vec<(Duration, &'static str)>, bool);

/// Sends a request with this query to a fake server that answers like this; returns what was received, or why it was cut off. A
/// real API server cannot be made to answer like that.
async fn ask(health: &Arc<Health>, query: &str, status: u16, sends: Sends) -> Result<String, String> {
    let answer = move |_: http::Request<Body>| {
        let Sends(pieces, ends) = &sends;
        let pieces = stream::iter(pieces.clone()).then(async |(after, piece)| {
            tokio::time::sleep(after).await;
            Ok::<_, BoxError>(http_body::Frame::data(bytes::Bytes::from_static(piece.as_bytes())))
        });
        let rest = if *ends { stream::empty().boxed() } else { stream::pending().boxed() };
        let body: BoxStream<'static, _> = pieces.chain(rest).boxed();
        let body: Box<DynBody> = Box::new(StreamBody::new(body));
        std::future::ready(http::Response::builder().status(status).body(body).map_err(BoxError::from))
    };
    let wire = BoxService::new(tower::service_fn(answer));
    let request = http::Request::get(format!("{EXECUTIONS}?{query}")).body(Body::empty()).unwrap();
    let response = WatchProgress(Arc::clone(health)).layer(wire).oneshot(request).await.unwrap();
    // As kube does, which gives up on a watch without a whole event.
    let received = timeout(WATCH_LASTS + Duration::from_secs(5), response.into_body().collect()).await;
    match received {
        Err(_) => Err("kube has given up on it".into()),
        Ok(Ok(received)) => Ok(String::from_utf8(received.to_bytes().to_vec()).unwrap()),
        Ok(Err(error)) => Err(error.to_string()),
    }
}

const AT_ONCE: Duration = Duration::ZERO;
const A_MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn what_trickles_or_hangs_is_no_sign_of_life_and_a_page_is_cut_off() {
    let a_byte_a_minute = || Sends(vec![(A_MINUTE / 2, "{"); 1000], false);
    for (query, status, sends) in [
        (LIST, 200, Sends(vec![], false)),
        (LIST, 200, Sends(vec![(AT_ONCE, "{\"items\": [")], false)),
        (NEXT_PAGE, 200, a_byte_a_minute()),
        (WATCH, 200, Sends(vec![], false)),
        (WATCH, 200, a_byte_a_minute()),
    ] {
        let health = Arc::new(Health::default());
        health.expect(EXECUTIONS);
        let started = Instant::now();
        let received = ask(&health, query, status, sends).await;
        let why = received.unwrap_err();
        let cut_off = query != WATCH;
        assert_eq!(cut_off, why.contains("did not arrive completely"), "{query}: {why}");
        assert!(!cut_off || started.elapsed() <= LONGEST_PAGE + Duration::from_millis(10));
        advance(LONGEST_SILENCE.saturating_sub(started.elapsed()) + Duration::from_millis(1)).await;
        assert!(health.check().is_err(), "{query}: it counts as progress");
    }
    // A refusal is not silence, but its body is cut off as well.
    let health = Arc::new(Health::default());
    let why = ask(&health, LIST, 500, Sends(vec![(AT_ONCE, "{")], false)).await.unwrap_err();
    assert!(why.contains("did not arrive completely"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn what_arrives_in_whole_is_a_sign_of_life() {
    for (query, sends) in [
        (LIST, Sends(vec![(A_MINUTE / 4, "{"), (A_MINUTE / 4, "}")], true)),
        (WATCH, Sends(vec![(A_MINUTE / 2, "{\"type\": \"BOOKMARK\"}"), (AT_ONCE, "\n")], false)),
        // It ends regularly.
        (WATCH, Sends(vec![(A_MINUTE / 2, "")], true)),
    ] {
        let health = Arc::new(Health::default());
        health.expect(EXECUTIONS);
        let started = Instant::now();
        let _ = ask(&health, query, 200, sends).await;
        advance(LONGEST_SILENCE.saturating_sub(started.elapsed()) + A_MINUTE / 4).await;
        assert_eq!(health.check(), Ok(()), "{query}");
        assert_eq!(health.watched_since(EXECUTIONS, started), query == WATCH);
        assert_eq!(health.last_events(Timestamp::UNIX_EPOCH).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_never_gets_further_is_silent_and_one_that_does_is_not() {
    let health = Arc::new(Health::default());
    health.expect(EXECUTIONS);
    let page = || Sends(vec![(AT_ONCE, "{}")], true);
    // A long list, each page of which takes long.
    for number in 0..10 {
        let query = if number == 0 { LIST } else { NEXT_PAGE };
        ask(&health, query, 200, page()).await.unwrap();
        advance(LONGEST_SILENCE).await;
        assert_eq!(health.check(), Ok(()), "page {number}");
    }
    // It is restarted again and again, and hangs at its third page, which had arrived before.
    ask(&health, WATCH, 200, Sends(vec![(AT_ONCE, "{}\n")], false)).await.unwrap_err();
    for attempt in 0..4 {
        for query in [LIST, NEXT_PAGE] {
            ask(&health, query, 200, page()).await.unwrap();
        }
        ask(&health, NEXT_PAGE, 200, Sends(vec![], false)).await.unwrap_err();
        assert_eq!(health.check().is_ok(), attempt < 2, "{attempt}: {:?}", health.check());
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_watches_of_one_path_only_the_one_that_is_silent_is_reported() {
    let health = Arc::new(Health::default());
    let started = Instant::now();
    let [silent, active] = ["metadata.name=a", "metadata.name=b"].map(|name| {
        let stream = Health::stream(EXECUTIONS, [Some(name), None]);
        health.expect(&stream);
        stream
    });
    let query = format!("{WATCH}&fieldSelector=metadata.name%3Db&allowWatchBookmarks=true");
    ask(&health, &query, 200, Sends(vec![(A_MINUTE, "{}\n")], false)).await.unwrap_err();
    advance(LONGEST_SILENCE.saturating_sub(started.elapsed()) + Duration::from_millis(1)).await;
    assert!(health.watched_since(&active, started));
    assert!(!health.watched_since(&silent, started));
    let why = health.check().unwrap_err().to_string();
    assert!(why.contains("metadata.name=a"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_nothing_follows_is_not_expected_to_go_on() {
    let health = Arc::new(Health::default());
    ask(&health, LIST, 200, Sends(vec![(AT_ONCE, "{}")], true)).await.unwrap();
    advance(10 * LONGEST_SILENCE).await;
    assert_eq!(health.check(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_at_once_has_failed() {
    for (after, fails) in [(AT_ONCE, true), (SHORTEST_WATCH, false)] {
        let health = Arc::new(Health::default());
        let received = ask(&health, WATCH, 200, Sends(vec![(after, "")], true)).await;
        assert_eq!(received.is_err(), fails, "{received:?}");
    }
    let health = Arc::new(Health::default());
    assert!(
        ask(&health, WATCH, 200, Sends(vec![(AT_ONCE, "{}\n")], true)).await.is_ok(),
        "it has sent an event"
    );
    assert!(ask(&health, LIST, 200, Sends(vec![], true)).await.is_ok(), "it is a list");
}
