use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::StatusCode;
use serde_json::json;

use super::*;
use crate::{
    client::{clock::Clock, slim::tests::for_the_gateway},
    gateway::problem::Invocation,
};

fn parsed(query: &[(&str, &str)]) -> Result<Selection, Problem> {
    let pairs = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Selection::parse(&Query::parse(pairs)?)
}

fn usual() -> Selection {
    Selection { filter: Vec::new(), status_only: false, skip: 0, top: DEFAULT_TOP }
}

#[test]
fn a_query_is_read_by_both_names_of_its_parameters() {
    assert_eq!(parsed(&[]), Ok(usual()));
    for [top, skip, select] in [["$top", "$skip", "$select"], ["top", "skip", "select"]] {
        let query = [(top, "100000"), (skip, "7"), (select, "status")];
        let wanted = Selection { status_only: true, skip: 7, top: 100_000, ..usual() };
        assert_eq!(parsed(&query), Ok(wanted));
    }
    let all = [
        ("executableIds", "exe-1,exe-2"),
        ("configurationId", "conf-1"),
        ("scenarioId", "scen-1"),
        ("executionScheduleId", "schedule-1"),
        ("status", "RUNNING"),
        ("more", "is not looked at"),
    ];
    let filter = vec![
        ("executableId", vec!["exe-1".into(), "exe-2".into()]),
        ("status", vec!["RUNNING".into()]),
        ("configurationId", vec!["conf-1".into()]),
        ("scenarioId", vec!["scen-1".into()]),
        ("executionScheduleId", vec!["schedule-1".into()]),
    ];
    assert_eq!(parsed(&all), Ok(Selection { filter, ..usual() }));
    for state in State::ALL {
        let filter = vec![("status", vec![state.word().into()])];
        assert_eq!(parsed(&[("status", state.word())]).unwrap().filter, filter);
    }
}

#[test]
fn a_query_that_can_not_be_meant_is_refused_and_the_sentence_says_why() {
    let id = |name: &str| format!("{name} is invalid: {AN_ID}");
    let number = |name: &str| {
        let max = if name == "top" { MAX_TOP } else { MAX_SKIP };
        format!("{name} must be a number from 0 to {max}")
    };
    let executables = format!("executableIds must be a list of 1 to 1000 ids, separated by commas: {AN_ID}");
    let too_many = vec!["exe-1"; 1001].join(",");
    let status = "status must be one of UNKNOWN, PENDING, RUNNING, COMPLETED, DEAD, STOPPING, STOPPED";
    for (query, expected) in [
        (vec![("$top", "-1")], number("top")),
        (vec![("top", "")], number("top")),
        (vec![("$top", "1.5")], number("top")),
        (vec![("$top", "100001")], number("top")),
        (vec![("$top", "99999999999999999999999")], number("top")),
        (vec![("$skip", "-1")], number("skip")),
        (vec![("$skip", "few")], number("skip")),
        (vec![("skip", "2147483648")], number("skip")),
        (vec![("$top", "1"), ("top", "1")], "top is repeated in the query: send it once".into()),
        (
            vec![("status", "DEAD"), ("status", "DEAD")],
            "status is repeated in the query: send it once".into(),
        ),
        (vec![("status", "")], status.into()),
        (vec![("status", "running")], status.into()),
        (vec![("status", "RUNNING,DEAD")], status.into()),
        (vec![("$select", "id")], "$select must be status".into()),
        (vec![("$select", "")], "$select must be status".into()),
        (vec![("executableIds", "")], executables.clone()),
        (vec![("executableIds", "exe-1,")], executables.clone()),
        (vec![("executableIds", "exe-1, exe-2")], executables.clone()),
        (vec![("executableIds", &too_many)], executables),
        (vec![("configurationId", "abc")], id("configurationId")),
        (vec![("scenarioId", "a/bc")], id("scenarioId")),
        (vec![("executionScheduleId", "")], id("executionScheduleId")),
    ] {
        let problem = parsed(&query).unwrap_err();
        assert_eq!(
            (problem.code.status(), &*problem.message),
            (StatusCode::BAD_REQUEST, &*expected),
            "{query:?}"
        );
    }
}

fn observed(object: &Value) -> Observed {
    serde_json::from_str(&for_the_gateway(object)).unwrap()
}

fn full() -> Observed {
    observed(&json!({
        "metadata": {
            "name": "exec-1", "uid": "u", "creationTimestamp": "2026-01-02T03:04:05Z",
            "managedFields": [{"time": "2026-01-02T03:04:06Z"}, {"time": "2026-01-02T04:04:06Z"}, {}],
        },
        "spec": {"scenarioId": "scen-1", "configurationId": "conf-1", "configurationName": "a name",
            "executableId": "exe-1"},
        "status": {"state": "RUNNING", "targetStatus": "STOPPED", "message": "it runs",
            "submissionTime": "2026-01-02T03:04:05.123456789Z", "startTime": "2026-01-02T04:04:05+01:00",
            "completionTime": "tomorrow"},
    }))
}

#[test]
fn an_object_that_says_all_is_shown_in_full() {
    let shown = Value::Object(show(Kind::Execution, &full()));
    let expected = json!({
        "id": "exec-1", "configurationId": "conf-1", "configurationName": "a name", "scenarioId": "scen-1",
        "executableId": "exe-1", "status": "RUNNING", "targetStatus": "STOPPED", "statusMessage": "it runs",
        "createdAt": "2026-01-02T03:04:05.000000Z", "modifiedAt": "2026-01-02T04:04:06.000000Z",
        "submissionTime": "2026-01-02T03:04:05.123456Z", "startTime": "2026-01-02T03:04:05.000000Z",
    });
    assert_eq!(shown, expected);
    assert_eq!(plain("Churn (2) [v3]\t~ `x` Größe"), "Churn (2) [v3]\t~ ?x? Gr??e");
    let mut deployment = expected;
    deployment["deploymentUrl"] = json!("");
    assert_eq!(Value::Object(show(Kind::Deployment, &full())), deployment);
}

#[test]
fn what_does_the_work_is_shown_beside_the_state() {
    let workload = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "model-1", "uid": "u-1"});
    let object = |url: &str| {
        observed(&json!({"metadata": {"name": "model-1", "uid": "u"}, "status": {
            "state": "RUNNING", "url": url, "workload": workload,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Running", "message": "x".repeat(9000),
                "lastTransitionTime": "2026-01-02T03:04:05Z"}, {"type": "Odd"}, 7]}}))
    };
    let served = object("http://model-1.team-a.example.com/v1?a=b&c");
    let shown = show(Kind::Deployment, &served);
    assert_eq!(shown["deploymentUrl"], "http://model-1.team-a.example.com/v1?a=b&c");
    assert_eq!(shown["details"], json!({"resources": {"backendDetails": workload}}));
    assert!(!show(Kind::Execution, &served).contains_key("details"));
    let condition = json!({"type": "Ready", "status": "True", "reason": "Running"});
    assert_eq!(status_details(&served), Some(json!({"workload": workload, "conditions": [condition]})));
    for odd in [
        "",
        "https://",
        "javascript:alert(1)",
        "http://a b",
        "http://\u{e4}.example.com",
        &format!("http://{}", "x".repeat(2048)),
    ] {
        assert_eq!(show(Kind::Deployment, &object(odd))["deploymentUrl"], "", "{odd}");
    }
    let odd = observed(&json!({"metadata": {"name": "model-1", "uid": "u"},
        "status": {"workload": {"kind": 7}, "conditions": {}}}));
    assert!(status_details(&odd).is_none() && !show(Kind::Deployment, &odd).contains_key("details"));
}

#[test]
fn what_an_object_does_not_say_is_filled_in_where_the_ai_api_wants_it() {
    for (kind, target) in [(Kind::Execution, "COMPLETED"), (Kind::Deployment, "RUNNING")] {
        for object in [
            json!({"metadata": {"name": "exec-1", "uid": "u"}}),
            json!({"metadata": {"name": "exec-1", "uid": "u"}, "spec": {}, "status": {}}),
            json!({"metadata": {"name": "exec-1", "uid": "u"}, "spec": null, "status": null}),
            json!({"metadata": {"name": "exec-1", "uid": "u"},
                "spec": {"scenarioId": "", "configurationId": "a b c d", "executableId": 7, "configurationName": {}},
                "status": {"startTime": 7, "message": []}}),
        ] {
            let mut expected = json!({
                "id": "exec-1", "configurationId": "unknown", "configurationName": "", "scenarioId": "unknown",
                "status": "UNKNOWN", "targetStatus": target, "createdAt": "1970-01-01T00:00:00.000000Z",
                "modifiedAt": "1970-01-01T00:00:00.000000Z",
            });
            if kind == Kind::Deployment {
                expected["deploymentUrl"] = json!("");
            }
            assert_eq!(Value::Object(show(kind, &observed(&object))), expected, "{object}");
        }
    }
}

#[test]
fn a_target_status_is_one_that_the_kind_has() {
    let shown = |kind, status: Value, deleted: bool| {
        let mut object =
            json!({"metadata": {"name": "exec-1", "uid": "u"}, "status": {"targetStatus": status}});
        if deleted {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
        }
        show(kind, &observed(&object))["targetStatus"].clone()
    };
    for word in ["COMPLETED", "RUNNING", "STOPPED", "DELETED"] {
        assert_eq!(shown(Kind::Execution, json!(word), false), word);
        let of_deployment = if word == "COMPLETED" { "RUNNING" } else { word };
        assert_eq!(shown(Kind::Deployment, json!(word), false), of_deployment);
        assert_eq!(shown(Kind::Execution, json!(word), true), "DELETED");
    }
}

#[test]
fn a_state_that_can_not_be_read_is_unknown_and_the_message_says_so() {
    let of_state = |state: Value| json!({"state": state, "message": "hidden"});
    let states = [json!("PAUSED"), json!(7), json!({}), json!("running")].map(of_state);
    for (spec, status) in
        states.map(|s| (json!({}), s)).into_iter().chain([(json!([]), of_state(json!("DEAD")))])
    {
        let object = json!({"metadata": {"name": "exec-1", "uid": "u"}, "spec": spec, "status": status});
        let shown = show(Kind::Execution, &observed(&object));
        assert_eq!(shown["status"], "UNKNOWN", "{spec} {status}");
        let message = shown["statusMessage"].as_str().unwrap();
        assert!(message.starts_with("unreadable: "), "{message}");
    }
    let long = json!({"metadata": {"name": "exec-1", "uid": "u"}, "status": {"state": "DEAD", "message": "ä".repeat(1000)}});
    let shown = show(Kind::Execution, &observed(&long));
    assert!(shown["statusMessage"].as_str().unwrap().len() <= LONGEST_MESSAGE);
}

#[test]
fn select_status_leaves_what_the_ai_api_names() {
    for kind in Kind::ALL {
        let status = part(show(kind, &full()), true);
        let names: Vec<_> = status.as_object().unwrap().keys().collect();
        assert_eq!(names, ["configurationId", "createdAt", "id", "modifiedAt", "status"]);
        assert_eq!(part(show(kind, &full()), false), Value::Object(show(kind, &full())));
    }
}

#[test]
fn a_filter_takes_what_all_its_parts_take() {
    let takes = |kind, query: &[(&str, &str)]| parsed(query).unwrap().takes(&show(kind, &full()));
    for kind in Kind::ALL {
        for query in [
            [].as_slice(),
            &[("status", "RUNNING")],
            &[("scenarioId", "scen-1")],
            &[("configurationId", "conf-1")],
            &[("executableIds", "exe-1")],
            &[("executableIds", "exe-2,exe-1")],
            &[("status", "RUNNING"), ("scenarioId", "scen-1"), ("executableIds", "exe-1")],
        ] {
            assert!(takes(kind, query), "{query:?}");
        }
        for query in [
            [("status", "DEAD")],
            [("scenarioId", "scen-2")],
            [("configurationId", "conf-2")],
            [("executableIds", "exe-2,exe-3")],
        ] {
            assert!(!takes(kind, &query), "{query:?}");
            let with_another = [query[0], ("more", "x")];
            assert!(!takes(kind, &with_another), "{query:?}");
        }
        assert!(!takes(kind, &[("status", "RUNNING"), ("scenarioId", "scen-2")]));
    }
    let schedule = [("executionScheduleId", "schedule-1")];
    assert!(!takes(Kind::Execution, &schedule));
    // An object without an executable is of none.
    let bare = show(Kind::Execution, &observed(&json!({"metadata": {"name": "exec-1", "uid": "u"}})));
    assert!(!parsed(&[("executableIds", "exe-1")]).unwrap().takes(&bare));
    assert!(!parsed(&[("executableIds", "unknown")]).unwrap().takes(&bare));
}

/// A caller of an API server that has this many pages of one object each, of which the last one cannot be read; and how many
/// were asked for.
fn caller_of_pages(pages: usize) -> (Caller, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
        let page = count.fetch_add(1, Ordering::Relaxed);
        let object = json!({"metadata": {"name": format!("exec-{page}"), "uid": "u"}});
        let (status, body) = match page + 1 {
            last if last == pages => {
                (StatusCode::GONE, json!({"kind": "Status", "code": 410, "message": "too old"}))
            }
            _ => (StatusCode::OK, json!({"metadata": {"continue": "more"}, "items": [object]})),
        };
        let body = kube::client::Body::from(body.to_string().into_bytes());
        std::future::ready(Ok::<_, BoxError>(http::Response::builder().status(status).body(body).unwrap()))
    });
    let client = kube::Client::new(service, "team-a");
    let (namespace, invocation) = ("team-a".to_owned(), Invocation::default());
    (Caller { client, namespace, clock: Clock::default(), invocation, promise: None }, asked)
}

#[tokio::test]
async fn a_list_is_read_as_its_answer_is_and_breaks_off_where_it_can_not_be_read() {
    let (caller, asked) = caller_of_pages(4);
    let mut body = list(caller, Kind::Execution, usual()).await.unwrap().into_data_stream();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    for (n, begins) in [(1, r#"{"resources":[{"#), (2, ",{"), (3, ",{")] {
        let piece = body.next().await.unwrap().unwrap();
        let text = std::str::from_utf8(&piece).unwrap();
        assert!(text.starts_with(begins) && text.contains(&format!("exec-{}", n - 1)), "{text}");
        assert_eq!(asked.load(Ordering::Relaxed), n);
    }
    assert!(body.next().await.unwrap().is_err());
    assert!(body.next().await.is_none());
    // Where the first page cannot be read, the answer says so.
    let (caller, _) = caller_of_pages(1);
    let problem = list(caller, Kind::Execution, usual()).await.unwrap_err();
    assert_eq!((problem.code.status(), &*problem.message), (StatusCode::BAD_REQUEST, "too old"));
    // What has enough asks for no more.
    let (caller, asked) = caller_of_pages(4);
    let enough = Selection { top: 2, ..usual() };
    let body = list(caller, Kind::Execution, enough).await.unwrap();
    let text = axum::body::to_bytes(body, 10_000).await.unwrap();
    let text: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((&text["count"], text["resources"].as_array().unwrap().len()), (&json!(2), 2));
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn a_parameter_that_is_not_known_is_refused_for_a_wider_list_is_not_what_was_meant() {
    let of = |part, kind, name: &str| {
        let value = if name.ends_with("top") || name.ends_with("skip") { "1" } else { "status" };
        let value = if name == "status" { "DEAD" } else { value };
        Selection::of(&Query::parse(vec![(name.to_owned(), value.to_owned())])?, part, kind)
    };
    let refused = |part, kind, name: &str| {
        let problem = of(part, kind, name).unwrap_err();
        assert_eq!(problem.code.status(), StatusCode::BAD_REQUEST);
        assert!(problem.message.starts_with("the query parameter ") && problem.message.len() < 200);
    };
    for kind in Kind::ALL {
        for name in FILTERS {
            assert!(of(Part::List, kind, name).is_ok() && of(Part::Count, kind, name).is_ok(), "{name}");
            refused(Part::One, kind, name);
        }
        for name in ["$top", "skip", "$select", "select"] {
            assert!(of(Part::List, kind, name).is_ok(), "{name}");
            refused(Part::Count, kind, name);
        }
        assert!(of(Part::One, kind, "$select").is_ok());
        let odd =
            ["executableIds[]", "executableId", "$filter", "Status", "state", "", "a\nb", &"x".repeat(9000)];
        for name in odd {
            for part in [Part::One, Part::List, Part::Count] {
                refused(part, kind, name);
            }
        }
    }
    assert!(of(Part::List, Kind::Execution, SCHEDULE).is_ok());
    refused(Part::List, Kind::Deployment, SCHEDULE);
    for twice in [["status", "status"], ["status", "$status"], ["note", "note"]] {
        let pairs = twice.map(|name| (name.to_owned(), "DEAD".to_owned()));
        let problem = Query::parse(pairs.into()).unwrap_err();
        assert!(problem.message.ends_with(" is repeated in the query: send it once"), "{}", problem.message);
    }
}

#[test]
fn what_the_api_server_can_select_it_is_asked_for() {
    for (query, expected, all) in [
        (vec![], None, true),
        (vec![("status", "DEAD")], Some("status.state=DEAD"), true),
        (
            vec![("executableIds", "exe-1"), ("status", "DEAD"), ("configurationId", "conf-1")],
            Some("spec.executableId=exe-1,status.state=DEAD,spec.configurationId=conf-1"),
            true,
        ),
        (vec![("scenarioId", "scen-1")], Some("spec.scenarioId=scen-1"), true),
        // Of several no selector takes any; and what has no scenario is shown as unknown.
        (vec![("executableIds", "exe-1,exe-2"), ("status", "DEAD")], Some("status.state=DEAD"), false),
        (vec![("scenarioId", "unknown")], None, false),
        (vec![("executionScheduleId", "schedule-1")], None, false),
    ] {
        let selection = parsed(&query).unwrap();
        assert_eq!(selection.field_selector(), (expected.map(ToOwned::to_owned), all), "{query:?}");
    }
}

#[tokio::test]
async fn no_more_objects_are_asked_for_than_are_shown() {
    let limit = |query: &[(&str, &str)], skipped, count| {
        let (caller, _) = caller_of_pages(1);
        let pages = Pages { skipped, count, ..Pages::new(caller, Kind::Execution, parsed(query).unwrap()) };
        pages.limit()
    };
    assert_eq!(limit(&[("top", "5")], 0, 0), 5);
    assert_eq!(limit(&[("top", "5"), ("skip", "2"), ("status", "DEAD")], 0, 0), 7);
    assert_eq!(limit(&[("top", "5"), ("skip", "2")], 2, 4), 1);
    assert_eq!(limit(&[("top", "0")], 0, 0), 1);
    assert_eq!(limit(&[], 0, 0), PAGE);
    assert_eq!(limit(&[("top", "5"), ("executableIds", "exe-1,exe-2")], 0, 0), PAGE);
}
