//! A fake API server: a real one cannot be made to fail like this for an hour.

use std::sync::Mutex;

use Reply::{Lines, Page, Refused, Silence};
use bytes::Bytes;
use futures::stream::BoxStream;
use http_body::Frame;
use http_body_util::StreamBody;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Client,
    client::{Body, DynBody},
};
use serde_json::{Value, json};
use tokio::time::timeout_at;
use tower::{BoxError, Layer, timeout::TimeoutLayer, util::BoxService};

use super::*;
use crate::{
    server::probes,
    telemetry::{health::LONGEST_SILENCE, watch_progress::WatchProgress},
};

/// How the API server answers.
enum Reply {
    /// With this status, and perhaps a time to wait.
    Refused(u16, Option<u64>),
    /// With a page of a list, the last one or not.
    Page { more: bool },
    /// With these lines of a watch, which ends at once or after a minute.
    Lines(Vec<Value>, bool),
    /// With nothing, ever.
    Silence,
}

/// An informer of a fake API server.
struct Fake {
    /// When each request was made, and its query.
    asked: Arc<Mutex<Vec<(Instant, String)>>>,
    /// What it has reported, except for lists.
    reported: Mutex<Vec<&'static str>>,
    health: Arc<Health>,
    metrics: Metrics,
    client: Client,
}

impl Fake {
    /// With a server that answers the n-th request by its query.
    fn by(reply: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        let (asked, health) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Health>::default());
        let log = Arc::clone(&asked);
        let answer = move |request: http::Request<Body>| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let mut log = log.lock().unwrap();
            let reply = reply(log.len(), &query);
            log.push((Instant::now(), query));
            async move {
                match reply {
                    Silence => std::future::pending().await,
                    Refused(code, retry_after) => {
                        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                            "reason": format!("Reason{code}"), "message": format!("after {:?}", Instant::now())});
                        let mut answer = http::Response::builder().status(code);
                        if let Some(seconds) = retry_after {
                            answer = answer.header("Retry-After", seconds);
                        }
                        answer.body(body(vec![status], false)).map_err(BoxError::from)
                    }
                    Page { more } => {
                        let next = more.then_some("abc");
                        let list = json!({"kind": "ConfigMapList", "apiVersion": "v1",
                            "metadata": {"resourceVersion": "7", "continue": next}, "items": [config_map("6")]});
                        Ok(http::Response::new(body(vec![list], false)))
                    }
                    Lines(lines, lasts) => Ok(http::Response::new(body(lines, lasts))),
                }
            }
        };
        let wire = WatchProgress(Arc::clone(&health)).layer(BoxService::new(tower::service_fn(answer)));
        let service = TimeoutLayer::new(Duration::from_secs(30)).layer(wire);
        Self {
            asked,
            reported: Mutex::default(),
            health,
            metrics: Metrics::default(),
            client: Client::new(service, "default"),
        }
    }

    /// Watches for so long of simulated time; returns the requests.
    async fn watch(&self, time: Duration) -> Vec<(Instant, String)> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), "default");
        let watched = watch(&self.health, &self.metrics, api, watcher::Config::default(), "configmaps");
        let mut news = std::pin::pin!(watched);
        let end = Instant::now() + time;
        while let Ok(Some(news)) = timeout_at(end, news.next()).await {
            let word = match news {
                News::Event(Event::Apply(_) | Event::Delete(_)) => "event",
                News::Event(_) => continue,
                News::Fails => "fails",
                News::Works => "works",
            };
            self.reported.lock().unwrap().push(word);
        }
        self.asked.lock().unwrap().clone()
    }

    fn failures(&self) -> usize {
        let mut registry = probes::registry();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = text.lines().find(|l| l.contains("watch_restarts_total{resource=\"configmaps\"")).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }
}

fn body(lines: Vec<Value>, lasts: bool) -> Box<DynBody> {
    let lines =
        stream::iter(lines).map(|line| Ok::<_, BoxError>(Frame::data(Bytes::from(format!("{line}\n")))));
    let end = stream::once(async move {
        sleep(if lasts { WATCH_LASTS } else { Duration::ZERO }).await;
    });
    let body: BoxStream<'static, _> = lines.chain(end.filter_map(async |()| None)).boxed();
    Box::new(StreamBody::new(body))
}

fn config_map(version: &str) -> Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", "resourceVersion": version}})
}

fn event(type_: &str, object: &Value) -> Value {
    json!({"type": type_, "object": object})
}

fn gone() -> Value {
    event("ERROR", &json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}))
}

fn is_watch(query: &str) -> bool {
    query.contains("watch=true")
}

const AN_HOUR: Duration = Duration::from_hours(1);

#[tokio::test(start_paused = true)]
async fn what_fails_for_an_hour_is_tried_again_every_minute_at_the_most() {
    type Server = fn(usize, &str) -> Reply;
    let servers: [(&str, Server); 8] =
        [
            ("each list is refused", |_, _| Refused(500, None)),
            ("each list hangs", |_, _| Silence),
            ("each second page is refused", |_, query| {
                if query.contains("continue=") { Refused(503, None) } else { Page { more: true } }
            }),
            ("each second page hangs", |_, query| {
                if query.contains("continue=") { Silence } else { Page { more: true } }
            }),
            ("each watch is refused", |_, query| {
                if is_watch(query) { Refused(403, None) } else { Page { more: false } }
            }),
            ("each watch is refused as too old, with a status", |_, query| {
                if is_watch(query) { Refused(410, None) } else { Page { more: false } }
            }),
            ("each watch says that it is too old", |_, query| {
                if is_watch(query) { Lines(vec![gone()], true) } else { Page { more: false } }
            }),
            ("each watch ends at once", |_, query| {
                if is_watch(query) { Lines(vec![], false) } else { Page { more: false } }
            }),
        ];
    for (what, server) in servers {
        let fake = Fake::by(server);
        let asked = fake.watch(AN_HOUR).await;
        let attempts = fake.failures();
        // In the end there is one every 30 to 60 s, and one that hangs takes 30 s more.
        assert!((35..=130).contains(&attempts), "{what}: {attempts} attempts in an hour");
        assert!(asked.len() <= 2 * attempts + 2, "{what}: {} requests for {attempts} attempts", asked.len());
        let last = asked.last().unwrap().0.elapsed();
        assert!(last <= Duration::from_secs(95), "{what}: none for {last:?}");
        let silent = what.contains("hangs");
        assert_eq!(fake.health.check().is_err(), silent, "{what}: {:?}", fake.health.check());
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_hangs_from_the_start_makes_it_not_live() {
    let fake = Fake::by(|_, _| Silence);
    fake.watch(LONGEST_SILENCE).await;
    assert_eq!(fake.health.check(), Ok(()));
    fake.watch(Duration::from_millis(1)).await;
    let why = fake.health.check().unwrap_err().to_string();
    assert!(why.contains("/api/v1/namespaces/default/configmaps"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn where_the_place_is_refused_it_begins_with_another_list() {
    for (code, lists) in [(410, true), (400, true), (403, false), (429, false), (500, false)] {
        let fake = Fake::by(
            move |_, query| if is_watch(query) { Refused(code, None) } else { Page { more: false } },
        );
        let asked = fake.watch(Duration::from_mins(10)).await;
        let of_watch = asked.iter().filter(|(_, query)| is_watch(query)).count();
        assert!(of_watch > 5);
        assert_eq!(asked.len() - of_watch, if lists { of_watch } else { 1 }, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_not_asked_again_before_the_time_that_the_server_has_asked_for() {
    let fake = Fake::by(|_, _| Refused(429, Some(20)));
    let asked = fake.watch(Duration::from_mins(3)).await;
    for pair in asked.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= Duration::from_secs(20), "{asked:?}");
    }
    // But not for any length of time.
    let fake = Fake::by(|_, _| Refused(429, Some(86400)));
    assert!(fake.watch(Duration::from_mins(10)).await.len() > 5);
}

/// The log of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The levels and reasons of its lines about watches.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().filter(|line| line.contains("watch"));
        let reason = |line: &str| {
            ["works again", "Reason500", "Reason503"]
                .into_iter()
                .find(|what| line.contains(what))
                .unwrap_or("?")
                .to_owned()
        };
        lines.map(reason).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn each_change_of_the_reason_is_logged_once_and_the_recovery_as_well() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _until_the_end = tracing::subscriber::set_default(lines);
    let fake = Fake::by(|number, query| match number {
        0..4 | 8..12 => Refused(500, None),
        4..8 => Refused(503, None),
        // Only a bookmark, which kube does not pass on, shows that it works.
        _ if is_watch(query) => Lines(vec![event("BOOKMARK", &config_map("9"))], true),
        _ => Page { more: false },
    });
    fake.watch(AN_HOUR).await;
    assert_eq!(log.lines(), ["Reason500", "Reason503", "Reason500", "works again"]);
    assert_eq!(fake.failures(), 12);
    assert_eq!(fake.health.check(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn once_it_has_worked_it_is_tried_again_at_once() {
    for worked in
        [vec![event("MODIFIED", &config_map("9"))], vec![event("BOOKMARK", &config_map("9"))], vec![]]
    {
        let fake = Fake::by(move |number, query| match (number, is_watch(query)) {
            (0..8 | 10, _) => Refused(500, None),
            (_, true) => Lines(worked.clone(), true),
            (_, false) => Page { more: false },
        });
        let asked = fake.watch(AN_HOUR).await;
        let waited = |number: usize| asked[number].0 - asked[number - 1].0;
        assert!(waited(8) > Duration::from_secs(25), "{:?}", waited(8));
        // The watch lasts a minute, and the next one is refused, which is the first failure again.
        assert!(is_watch(&asked[9].1) && is_watch(&asked[10].1) && is_watch(&asked[11].1));
        assert!(waited(11) <= SHORTEST_WAIT, "{:?}", waited(11));
    }
}

#[test]
fn waits_double_from_a_second_up_to_a_minute_and_differ() {
    for (failures, longest) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (u32::MAX, 60)] {
        let longest = Duration::from_secs(longest);
        assert_eq!(wait(failures, 1.0), longest);
        assert_eq!(wait(failures, 0.0), longest / 2);
    }
}

#[tokio::test(start_paused = true)]
async fn whether_it_works_is_reported() {
    let refused_twice = |then: Vec<Value>| {
        Fake::by(move |n, query| match n {
            _ if !is_watch(query) => Page { more: false },
            1 | 2 => Refused(403, None),
            _ => Lines(then.clone(), true),
        })
    };
    // By its first event, which is reported after that; or, without events, by its regular end.
    let events = vec![event("ADDED", &config_map("8"))];
    for (lines, seconds, then) in [(events, 30, vec!["event"]), (vec![], 70, vec![])] {
        let fake = refused_twice(lines);
        fake.watch(Duration::from_secs(seconds)).await;
        let reports = [vec!["fails", "fails", "works"], then].concat();
        assert_eq!(*fake.reported.lock().unwrap(), reports);
    }
}
