//! An API server that does what no real one can be made to do.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use kube::{Client, client::Body};
use serde_json::json;
use tower::BoxError;

use super::*;
use crate::api::TargetStatus;

const NAME: &str = "request-id-1";

/// What the gateway has asked for.
#[derive(Clone, Debug)]
struct Asked {
    /// create, get, watch or delete.
    verb: &'static str,
    /// Which one of this verb it is; the first is 1.
    nth: usize,
    uri: String,
    body: Value,
}

enum Reply {
    Answer(u16, Value),
    /// The connection breaks.
    Broken,
    /// No answer, ever.
    Hang,
    /// The events of a watch, which then ends.
    Events(Vec<Value>),
    /// The events of a watch, which then stands still.
    EventsAndNoMore(Vec<Value>),
}

/// The requests so far.
type Log = Arc<Mutex<Vec<Asked>>>;

/// A caller of an API server that answers as `script` says.
fn caller(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (Caller, Log) {
    let log = Log::default();
    let (script, asked) = (Arc::new(script), Arc::clone(&log));
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (script, log) = (Arc::clone(&script), Arc::clone(&asked));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let uri = head.uri.to_string();
            let verb = match head.method.as_str() {
                "POST" => "create",
                "DELETE" => "delete",
                _ if uri.contains("watch=true") => "watch",
                _ => "get",
            };
            let mut asked =
                Asked { verb, nth: 1, uri, body: serde_json::from_slice(&body).unwrap_or_default() };
            {
                let mut log = log.lock().unwrap();
                asked.nth += log.iter().filter(|a: &&Asked| a.verb == verb).count();
                log.push(asked.clone());
            }
            let (status, body) = match script(&asked) {
                Reply::Answer(status, body) => (status, whole(&body)),
                Reply::Broken => return Err(BoxError::from("connection reset")),
                Reply::Hang => std::future::pending().await,
                Reply::Events(events) => (200, events_of(events).boxed_unsync()),
                Reply::EventsAndNoMore(events) => {
                    let frames = events.into_iter().map(line).chain([]);
                    let frames = stream::iter(frames).chain(stream::pending());
                    (200, StreamBody::new(frames).boxed_unsync())
                }
            };
            Ok::<_, BoxError>(http::Response::builder().status(status).body(body).unwrap())
        }
    });
    let invocation = super::super::frame::Invocation { id: "id-1".into(), target: "/".into() };
    let namespace = "team-a".to_owned();
    (Caller { client: Client::new(service, "team-a"), namespace, invocation }, log)
}

fn line(event: Value) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(format!("{event}\n").into()))
}

fn events_of(events: Vec<Value>) -> StreamBody<impl futures::Stream<Item = Result<Frame<Bytes>, BoxError>>> {
    StreamBody::new(stream::iter(events.into_iter().map(line)))
}

fn whole(body: &Value) -> UnsyncBoxBody<Bytes, BoxError> {
    http_body_util::Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync()
}

/// The BulkUpdate in one of its versions.
fn bulk(version: u32, status: Value) -> Value {
    json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
        "metadata": {"name": NAME, "namespace": "team-a", "uid": "uid-1", "resourceVersion": version.to_string()},
        "spec": {"executions": [{"id": "item-0", "targetStatus": "STOPPED"}]}, "status": status})
}

fn made() -> Value {
    bulk(1, json!({"observedGeneration": -1}))
}

fn with(result: &str) -> Value {
    json!({"observedGeneration": 1, "startTime": "2026-01-02T03:04:05Z",
        "executions": [{"id": "item-0", "targetStatus": "STOPPED", "result": result}]})
}

fn planned() -> Value {
    bulk(2, with("Planned"))
}

fn told() -> Value {
    bulk(3, with("Scheduled"))
}

/// One that waits, and says for what.
fn waiting() -> Value {
    let ready = json!({"type": "Ready", "status": "False", "reason": "Waiting", "message": "the flag can't be read",
        "lastTransitionTime": "2026-01-02T03:04:05Z"});
    bulk(2, json!({"observedGeneration": 1, "conditions": [ready]}))
}

fn event(type_: &str, object: Value) -> Value {
    json!({"type": type_, "object": object})
}

fn modified(object: Value) -> Value {
    event("MODIFIED", object)
}

fn refusal(code: u16, message: &str) -> Reply {
    let details = json!({"name": NAME, "retryAfterSeconds": if code == 429 { 7 } else { 0 }});
    Reply::Answer(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": "", "code": code, "details": details}),
    )
}

fn ok(object: Value) -> Reply {
    Reply::Answer(200, object)
}

fn deleted() -> Reply {
    ok(json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
}

/// Asks for the one item to be stopped.
async fn ask(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Outcome {
    let (caller, log) = caller(script);
    let began = Instant::now();
    let item = BulkUpdateItem { id: "item-0".into(), target_status: TargetStatus::Stopped, uid: None };
    let answer = carry_out(&caller, Kind::Execution, vec![item]).await;
    let asked = log.lock().unwrap().clone();
    Outcome { answer, asked, took: began.elapsed() }
}

struct Outcome {
    answer: Result<BulkUpdateStatus, Problem>,
    asked: Vec<Asked>,
    took: Duration,
}

impl Outcome {
    fn verbs(&self) -> Vec<&'static str> {
        self.asked.iter().map(|asked| asked.verb).collect()
    }

    fn of(&self, verb: &str) -> Vec<&Asked> {
        self.asked.iter().filter(|asked| asked.verb == verb).collect()
    }

    #[track_caller]
    fn is_told(&self) {
        let status = self.answer.as_ref().unwrap();
        assert_eq!(status.items(Kind::Execution)[0].result, ItemResult::Scheduled);
    }

    /// Whether nothing was done, which is 503; gives back the sentence.
    #[track_caller]
    fn nothing_done(&self) -> &str {
        let problem = self.answer.as_ref().unwrap_err();
        assert_eq!(problem.status.as_u16(), 503, "{problem:?}");
        assert!(problem.message.contains("nothing was done"), "{}", problem.message);
        &problem.message
    }

    /// Whether the outcome is not known, which is 504 and names the BulkUpdate; gives back the sentence.
    #[track_caller]
    fn not_known(&self) -> &str {
        let problem = self.answer.as_ref().unwrap_err();
        assert_eq!((problem.status.as_u16(), &*problem.code), (504, "OutcomeUnknown"), "{problem:?}");
        let begins = "the outcome of BulkUpdate team-a/request-id-1 is not known: ";
        assert!(problem.message.starts_with(begins), "{}", problem.message);
        &problem.message
    }
}

#[test]
fn how_far_it_has_come_is_read_from_its_status() {
    let parsed = |status: Value| serde_json::from_value::<BulkUpdate>(bulk(1, status)).unwrap();
    let both = |first: &str, second: &str| {
        let mut status = with(first);
        status["deployments"] = json!([{"id": "item-0", "targetStatus": "DELETED", "result": second}]);
        status
    };
    let rejected = json!({"observedGeneration": 1, "completionTime": "2026-01-02T03:04:05Z"});
    for (status, expected) in [
        (json!(null), Progress::Unplanned),
        (json!({}), Progress::Unplanned),
        (json!({"observedGeneration": -1}), Progress::Unplanned),
        (waiting()["status"].clone(), Progress::Unplanned),
        (rejected, Progress::Told),
        (with("Planned"), Progress::Planned),
        (both("Settled", "Planned"), Progress::Planned),
        (both("Planned", "Failed"), Progress::Planned),
        (with("Scheduled"), Progress::Told),
        (both("Settled", "Scheduled"), Progress::Told),
        (both("Refused", "Failed"), Progress::Told),
    ] {
        assert_eq!(progress(&parsed(status.clone())), expected, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_made_bounds_itself_and_names_the_request() {
    let begin = Timestamp::now();
    let outcome = ask(|asked| match asked.verb {
        "create" => Reply::Answer(201, made()),
        "watch" => Reply::EventsAndNoMore(vec![modified(waiting()), modified(planned()), modified(told())]),
        verb => panic!("{verb}"),
    })
    .await;
    outcome.is_told();
    assert_eq!(outcome.verbs(), ["create", "watch"]);
    let [create, watch] = &outcome.asked[..] else { panic!() };
    assert!(
        create.uri.starts_with("/apis/aiapi.dev/v1alpha1/namespaces/team-a/bulkupdates?"),
        "{}",
        create.uri
    );
    let mut body = create.body.clone();
    let not_after: Timestamp = body["spec"]["notAfter"].take().as_str().unwrap().parse().unwrap();
    let expected = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
        "metadata": {"name": NAME, "namespace": "team-a", "annotations": {"aiapi.dev/request-id": "id-1"},
            "labels": {"app.kubernetes.io/created-by": "ai-api-gateway"}},
        "spec": {"executions": [{"id": "item-0", "targetStatus": "STOPPED"}], "notAfter": null,
            "startingDeadlineSeconds": 30, "ttlSecondsAfterFinished": 600}});
    assert_eq!(body, expected);
    let seconds = not_after.as_second() - begin.as_second();
    assert!((60..=65).contains(&seconds), "{seconds}");
    for part in ["fieldSelector=metadata.name%3Drequest-id-1", "resourceVersion=1"] {
        assert!(watch.uri.contains(part), "{}", watch.uri);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_turned_down_as_a_whole_is_a_problem() {
    let outcome = ask(|asked| match asked.verb {
        "create" => Reply::Answer(201, made()),
        _ => {
            let accepted = json!({"type": "Accepted", "status": "False", "reason": "BulkUpdatesDisabled",
                "message": "executions is not true", "lastTransitionTime": "2026-01-02T03:04:05Z"});
            let status = json!({"observedGeneration": 1, "completionTime": "2026-01-02T03:04:05Z",
                "conditions": [accepted]});
            Reply::EventsAndNoMore(vec![modified(bulk(2, status))])
        }
    })
    .await;
    let problem = outcome.answer.unwrap_err();
    assert_eq!((problem.status.as_u16(), &*problem.code), (400, "BulkUpdatesDisabled"));
}

#[tokio::test(start_paused = true)]
async fn a_creation_without_an_answer_is_asked_for_again_under_the_same_name() {
    for code in [0, 500, 504] {
        let outcome = ask(move |asked| match (asked.verb, asked.nth) {
            ("create", 1 | 2) if code == 0 => Reply::Broken,
            ("create", 1 | 2) => refusal(code, "etcd is away"),
            ("create", _) => Reply::Answer(201, made()),
            _ => Reply::EventsAndNoMore(vec![modified(told())]),
        })
        .await;
        outcome.is_told();
        assert_eq!(outcome.verbs(), ["create", "create", "create", "watch"]);
        let bodies = outcome.of("create");
        assert!(bodies.iter().all(|create| create.body == bodies[0].body));
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_by_then_is_that_of_the_first_creation() {
    let outcome = ask(|asked| match (asked.verb, asked.nth) {
        ("create", 1) => Reply::Hang,
        ("create", _) => refusal(409, "it exists"),
        ("get", 1) => Reply::Broken,
        ("get", _) => ok(planned()),
        _ => Reply::EventsAndNoMore(vec![modified(told())]),
    })
    .await;
    // A time-out leaves no time for another attempt.
    outcome.not_known();

    let outcome = ask(|asked| match (asked.verb, asked.nth) {
        ("create", 1) => Reply::Broken,
        ("create", _) => refusal(409, "it exists"),
        ("get", 1) => Reply::Broken,
        ("get", _) => ok(planned()),
        _ => Reply::EventsAndNoMore(vec![modified(told())]),
    })
    .await;
    outcome.is_told();
    assert_eq!(outcome.verbs(), ["create", "create", "get", "create", "get", "watch"]);
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_is_refused_at_once_was_none() {
    for (code, status) in [(400, 400), (401, 401), (403, 403), (404, 404), (409, 400), (422, 400), (429, 429)]
    {
        let outcome = ask(move |_| refusal(code, "its words")).await;
        let problem = outcome.answer.clone().unwrap_err();
        assert_eq!(problem.status.as_u16(), status, "{code}");
        assert_eq!(problem.message == "its words", code != 401, "{}", problem.message);
        assert_eq!(problem.retry_after, (code == 429).then_some(Duration::from_secs(7)));
        assert_eq!(outcome.verbs(), ["create"], "{code}");
    }
    // The kind is not served.
    let outcome = ask(|_| Reply::Answer(404, json!("404 page not found"))).await;
    let problem = outcome.answer.unwrap_err();
    assert_eq!(problem.status.as_u16(), 503);
    assert!(problem.message.ends_with("is the operator installed?"), "{}", problem.message);
}

#[tokio::test(start_paused = true)]
async fn whether_it_was_made_is_not_known_if_no_attempt_got_an_answer() {
    let scripts: [fn(&Asked) -> Reply; 4] = [
        |_| Reply::Broken,
        |_| Reply::Hang,
        |_| refusal(500, "etcd is away"),
        // The second was refused; what became of the first it does not say.
        |asked| if asked.nth == 1 { Reply::Broken } else { refusal(403, "no more") },
    ];
    for script in scripts {
        let outcome = ask(script).await;
        let why = outcome.not_known();
        assert!(why.contains("it may have been made"), "{why}");
        assert!(outcome.took <= MAKE_LIMIT, "{:?}", outcome.took);
        assert!(outcome.verbs().iter().all(|verb| *verb == "create"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_plans_is_taken_back_and_nothing_was_done() {
    for waits in [false, true] {
        let outcome = ask(move |asked| match asked.verb {
            "create" => Reply::Answer(201, made()),
            "watch" if waits => Reply::EventsAndNoMore(vec![modified(waiting())]),
            "watch" => Reply::EventsAndNoMore(vec![]),
            _ => deleted(),
        })
        .await;
        let why = outcome.nothing_done();
        let expected = if waits { "(it says: the flag can't be read)" } else { "(is it running?)" };
        assert!(why.contains(expected) && why.ends_with("nothing will be"), "{why}");
        assert_eq!(outcome.verbs(), ["create", "watch", "delete"]);
        assert_eq!(outcome.took, PLAN_LIMIT);
        // Only if it still is what was seen.
        let guard = json!({"uid": "uid-1", "resourceVersion": if waits { "2" } else { "1" }});
        assert_eq!(outcome.asked[2].body["preconditions"], guard);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_planned_while_it_was_taken_back_is_followed() {
    let outcome = ask(|asked| match (asked.verb, asked.nth) {
        ("create", _) => Reply::Answer(201, made()),
        ("watch", 1) => Reply::EventsAndNoMore(vec![]),
        ("delete", _) => refusal(409, "it has changed"),
        ("get", _) => ok(planned()),
        _ => Reply::EventsAndNoMore(vec![modified(told())]),
    })
    .await;
    outcome.is_told();
    assert_eq!(outcome.verbs(), ["create", "watch", "delete", "get", "watch"]);
    // From where it was read.
    assert!(outcome.asked[4].uri.contains("resourceVersion=2"), "{}", outcome.asked[4].uri);
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_and_still_is_not_planned_is_taken_back_once_more() {
    let outcome = ask(|asked| match (asked.verb, asked.nth) {
        ("create", _) => Reply::Answer(201, made()),
        ("watch", _) => Reply::EventsAndNoMore(vec![]),
        ("delete", 1) => refusal(409, "it has changed"),
        ("get", _) => ok(waiting()),
        _ => deleted(),
    })
    .await;
    outcome.nothing_done();
    assert_eq!(outcome.verbs(), ["create", "watch", "delete", "get", "delete"]);
    assert_eq!(outcome.asked[4].body["preconditions"]["resourceVersion"], "2");
}

#[tokio::test(start_paused = true)]
async fn where_it_can_not_be_taken_back_the_answer_names_it() {
    let scripts: [fn(&Asked) -> Reply; 8] = [
        |_| refusal(403, "not you"),
        |_| refusal(404, "there is none"),
        |_| refusal(500, "etcd is away"),
        |_| Reply::Broken,
        |_| Reply::Hang,
        // It has changed, and then it can't be read; or it is another one.
        |asked| if asked.verb == "get" { Reply::Broken } else { refusal(409, "it has changed") },
        |asked| if asked.verb == "get" { refusal(404, "gone") } else { refusal(409, "it has changed") },
        |asked| {
            let mut another = made();
            another["metadata"]["uid"] = json!("uid-2");
            if asked.verb == "get" { ok(another) } else { refusal(409, "it has changed") }
        },
    ];
    for script in scripts {
        let outcome = ask(move |asked| match asked.verb {
            "create" => Reply::Answer(201, made()),
            "watch" => Reply::EventsAndNoMore(vec![]),
            _ => script(asked),
        })
        .await;
        let why = outcome.not_known();
        assert!(why.contains("it could not be taken back ("), "{why}");
        assert_eq!(outcome.of("delete").len(), 1, "its outcome is not known");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_watch_it_is_read_again_and_again() {
    let scripts: [fn() -> Reply; 5] = [
        || refusal(403, "not you"),
        || Reply::Broken,
        || Reply::Events(vec![]),
        || Reply::Events(vec![event("ERROR", json!({"kind": "Status", "code": 410, "message": "too old"}))]),
        || Reply::Events(vec![json!("no event")]),
    ];
    for script in scripts {
        let outcome = ask(move |asked| match (asked.verb, asked.nth) {
            ("create", _) => Reply::Answer(201, made()),
            ("watch", _) => script(),
            ("get", 1 | 2) => ok(made()),
            ("get", 3) => Reply::Broken,
            ("get", 4) => ok(planned()),
            ("get", 5) => ok(told()),
            (verb, nth) => panic!("{verb} {nth}"),
        })
        .await;
        outcome.is_told();
        assert_eq!(outcome.of("get").len(), 5);
        assert!(outcome.took < Duration::from_secs(2), "{:?}", outcome.took);
    }
}

#[tokio::test(start_paused = true)]
async fn reading_that_is_refused_is_not_hammered() {
    let outcome = ask(|asked| match asked.verb {
        "create" => Reply::Answer(201, made()),
        "delete" => deleted(),
        _ => refusal(403, "not you"),
    })
    .await;
    outcome.nothing_done();
    assert!(outcome.of("get").len() <= 10, "{:?}", outcome.verbs());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_is_begun_anew_where_it_was() {
    let outcome = ask(|asked| match (asked.verb, asked.nth) {
        ("create", _) => Reply::Answer(201, made()),
        ("watch", 1) => Reply::Events(vec![modified(planned())]),
        ("get", _) => ok(planned()),
        _ => Reply::EventsAndNoMore(vec![modified(told())]),
    })
    .await;
    outcome.is_told();
    let last = outcome.of("watch").last().unwrap().uri.clone();
    assert!(last.contains("resourceVersion=2"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn somebody_who_deletes_it_before_it_is_planned_has_kept_it_from_everything() {
    let outcome = ask(|asked| match asked.verb {
        "create" => Reply::Answer(201, made()),
        _ => Reply::EventsAndNoMore(vec![event("DELETED", waiting())]),
    })
    .await;
    assert!(outcome.nothing_done().contains("somebody has deleted BulkUpdate team-a/request-id-1"));
}

#[tokio::test(start_paused = true)]
async fn somebody_who_deletes_it_later_leaves_it_unknown_unless_it_has_told() {
    let outcome = ask(|asked| match asked.verb {
        "create" => Reply::Answer(201, made()),
        _ => Reply::EventsAndNoMore(vec![modified(planned()), event("DELETED", planned())]),
    })
    .await;
    assert!(outcome.not_known().contains("somebody has deleted it"));
    let outcome = ask(|asked| match asked.verb {
        "create" => Reply::Answer(201, made()),
        _ => Reply::EventsAndNoMore(vec![modified(planned()), event("DELETED", told())]),
    })
    .await;
    outcome.is_told();
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_was_not_seen_leaves_it_unknown() {
    let another = || {
        let mut another = told();
        another["metadata"]["uid"] = json!("uid-2");
        another
    };
    let outcomes = [
        ask(|asked| match asked.verb {
            "create" => Reply::Answer(201, made()),
            "watch" => Reply::Events(vec![]),
            _ => refusal(404, "gone"),
        })
        .await,
        ask(move |asked| match asked.verb {
            "create" => Reply::Answer(201, made()),
            "watch" => Reply::Events(vec![]),
            _ => ok(another()),
        })
        .await,
        ask(move |asked| match asked.verb {
            "create" => Reply::Answer(201, made()),
            _ => Reply::EventsAndNoMore(vec![event("ADDED", another())]),
        })
        .await,
    ];
    for outcome in outcomes {
        assert!(outcome.not_known().contains("somebody has deleted it"));
        assert!(outcome.of("delete").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_planned_is_followed_to_the_second_limit_and_never_taken_back() {
    let outcome = ask(|asked| match asked.verb {
        "create" => Reply::Answer(201, made()),
        "watch" => Reply::EventsAndNoMore(vec![modified(planned())]),
        "get" => ok(planned()),
        verb => panic!("{verb}"),
    })
    .await;
    assert!(outcome.not_known().contains("it is still being carried out"));
    assert_eq!(outcome.took, FOLLOW_LIMIT);
    // By then it can't be carried out any more.
    assert!(FOLLOW_LIMIT > WRITE_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_stands_still_hides_no_outcome() {
    let outcome = ask(|asked| match asked.verb {
        "create" => Reply::Answer(201, made()),
        "watch" => Reply::EventsAndNoMore(vec![modified(planned())]),
        _ => ok(told()),
    })
    .await;
    outcome.is_told();
    assert!(outcome.of("delete").is_empty());
}

/// A request is made to be answered: its deadlines fit into each other.
#[test]
fn the_limits_fit_into_each_other() {
    let starting = Duration::from_secs(u64::try_from(STARTING_DEADLINE).unwrap());
    assert!(
        MAKE_LIMIT < PLAN_LIMIT
            && PLAN_LIMIT < starting
            && starting < WRITE_LIMIT
            && WRITE_LIMIT < FOLLOW_LIMIT
    );
}

/// The gateway asks for nothing that its callers' role does not have.
#[tokio::test(start_paused = true)]
async fn all_requests_are_about_that_one_bulk_update() {
    let outcome = ask(|asked| match asked.verb {
        "create" => Reply::Answer(201, made()),
        "watch" => Reply::Broken,
        "get" => ok(made()),
        _ => deleted(),
    })
    .await;
    let mut paths: HashMap<&str, &str> = HashMap::new();
    for asked in &outcome.asked {
        paths.insert(asked.verb, asked.uri.split('?').next().unwrap());
    }
    let all = "/apis/aiapi.dev/v1alpha1/namespaces/team-a/bulkupdates";
    let one = "/apis/aiapi.dev/v1alpha1/namespaces/team-a/bulkupdates/request-id-1";
    assert_eq!(paths, [("create", all), ("watch", all), ("get", one), ("delete", one)].into());
}
