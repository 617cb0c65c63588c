mod fake;
mod follow;

use fake::{
    Asked, NAME, Reply, after_creation, ask, ask_one, ask_one_with, ask_promised, ask_with, bulk, created,
    modified, ok, planned, refusal, scheduled, status_with, waiting,
};
use serde_json::{Value, json};

use super::*;
use crate::gateway::load::{Promises, Request};

#[test]
fn how_far_it_has_come_is_read_from_its_status() {
    let parsed = |status: Value| serde_json::from_value::<BulkUpdate>(bulk(1, status)).unwrap();
    let both = |first: &str, second: &str| {
        let mut status = status_with(first);
        status["deployments"] = json!([{"id": "item-0", "targetStatus": "DELETED", "result": second}]);
        status
    };
    let rejected = json!({"observedGeneration": 1, "completionTime": "2026-01-02T03:04:05Z"});
    for (status, expected) in [
        (json!(null), Progress::Unplanned),
        (json!({}), Progress::Unplanned),
        (json!({"observedGeneration": -1}), Progress::Unplanned),
        (waiting()["status"].clone(), Progress::Unplanned),
        (rejected, Progress::Known),
        (status_with("Planned"), Progress::Planned),
        (both("Settled", "Planned"), Progress::Planned),
        (both("Planned", "Failed"), Progress::Planned),
        (status_with("Scheduled"), Progress::Known),
        (both("Settled", "Scheduled"), Progress::Known),
        (both("Refused", "Failed"), Progress::Known),
    ] {
        assert_eq!(progress(&parsed(status.clone())), expected, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_made_bounds_itself_and_names_the_request() {
    let begin = Timestamp::now();
    let outcome = after_creation(|asked| match asked.verb {
        "watch" => {
            Reply::EventsAndNoMore(vec![modified(waiting()), modified(planned()), modified(scheduled())])
        }
        verb => panic!("{verb}"),
    })
    .await;
    outcome.is_scheduled();
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
    assert!((45..=50).contains(&seconds), "{seconds}");
    for part in ["fieldSelector=metadata.name%3Drequest-id-1", "resourceVersion=1"] {
        assert!(watch.uri.contains(part), "{}", watch.uri);
    }
}

#[tokio::test(start_paused = true)]
async fn an_only_item_whose_outcome_is_not_known_names_the_bulk_update() {
    for (reason, code) in [("OutcomeUnknown", 504), ("NotSettledInTime", 504), ("Gone", 412)] {
        let problem = ask_one(move |asked| {
            let mut failed = status_with("Failed");
            failed["executions"][0]["reason"] = reason.into();
            match asked.verb {
                "create" => Reply::Answer(201, created()),
                _ => Reply::EventsAndNoMore(vec![modified(bulk(2, failed))]),
            }
        })
        .await
        .unwrap_err();
        assert_eq!(problem.code.status().as_u16(), code, "{problem:?}");
        let names =
            problem.message.starts_with("the outcome of BulkUpdate team-a/request-id-1 is not known: ");
        assert_eq!(names, code == 504, "{problem:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_turned_down_as_a_whole_is_a_problem() {
    let accepted = json!({"type": "Accepted", "status": "False", "reason": "BulkUpdatesDisabled",
        "message": "executions is not true", "lastTransitionTime": "2026-01-02T03:04:05Z"});
    let status = json!({"observedGeneration": 1, "completionTime": "2026-01-02T03:04:05Z",
        "conditions": [accepted]});
    let outcome =
        after_creation(move |_| Reply::EventsAndNoMore(vec![modified(bulk(2, status.clone()))])).await;
    let problem = outcome.answer.unwrap_err();
    assert_eq!((problem.code.status().as_u16(), &*problem.code.to_string()), (400, "BulkUpdatesDisabled"));
}

#[tokio::test(start_paused = true)]
async fn a_creation_without_an_answer_is_asked_for_again_under_the_same_name() {
    for code in [0, 500, 504] {
        let outcome = ask(move |asked| match (asked.verb, asked.nth) {
            ("create", 1 | 2) if code == 0 => Reply::Broken,
            ("create", 1 | 2) => refusal(code, "etcd is away"),
            ("create", _) => Reply::Answer(201, created()),
            _ => Reply::EventsAndNoMore(vec![modified(scheduled())]),
        })
        .await;
        outcome.is_scheduled();
        assert_eq!(outcome.verbs(), ["create", "create", "create", "watch"]);
        let bodies = outcome.of("create");
        assert!(bodies.iter().all(|create| create.body == bodies[0].body));
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_by_then_is_that_of_the_first_creation() {
    let outcome = ask(|asked| match (asked.verb, asked.nth) {
        ("create", 1) => Reply::Hang,
        (verb, nth) => panic!("{verb} {nth}"),
    })
    .await;
    // A time-out leaves no time for another attempt.
    outcome.not_known();

    let outcome = ask(|asked| match (asked.verb, asked.nth) {
        ("create" | "get", 1) => Reply::Broken,
        ("create", _) => refusal(409, "it exists"),
        ("get", _) => ok(planned()),
        _ => Reply::EventsAndNoMore(vec![modified(scheduled())]),
    })
    .await;
    outcome.is_scheduled();
    assert_eq!(outcome.verbs(), ["create", "create", "get", "create", "get", "watch"]);
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_is_refused_at_once_was_none() {
    for (code, status) in [(400, 400), (401, 401), (403, 403), (404, 404), (422, 400), (429, 429)] {
        let outcome = ask(move |_| refusal(code, "its words")).await;
        let problem = outcome.answer.clone().unwrap_err();
        assert_eq!(problem.code.status().as_u16(), status, "{code}");
        assert_eq!(problem.message == "its words; nothing was done", code != 401, "{}", problem.message);
        assert!(problem.message.ends_with("; nothing was done"), "{}", problem.message);
        assert_eq!(problem.retry_after, (code == 429).then_some(Duration::from_secs(7)));
        assert_eq!(outcome.verbs(), ["create"], "{code}");
    }
    // A webhook that cannot be called.
    let words = "Internal error occurred: failed calling webhook \"policy.example.com\": connection refused";
    let outcome = ask(move |_| refusal(500, words)).await;
    let problem = outcome.answer.clone().unwrap_err();
    assert_eq!(problem.code.status().as_u16(), 503);
    assert!(problem.message.ends_with("connection refused; nothing was done"), "{}", problem.message);
    assert_eq!(outcome.verbs(), ["create"]);
    // The kind is not served.
    let outcome = ask(|_| Reply::Answer(404, json!("404 page not found"))).await;
    let problem = outcome.answer.unwrap_err();
    assert_eq!(problem.code.status().as_u16(), 503);
    assert!(
        problem.message.ends_with("(is the operator installed?); nothing was done"),
        "{}",
        problem.message
    );
}

#[tokio::test(start_paused = true)]
async fn a_conflict_at_once_is_looked_into() {
    // Somebody on the way has sent the request twice.
    let outcome = ask(|asked| match asked.verb {
        "create" => refusal(409, "it exists"),
        "get" => ok(planned()),
        _ => Reply::EventsAndNoMore(vec![modified(scheduled())]),
    })
    .await;
    outcome.is_scheduled();
    assert_eq!(outcome.verbs(), ["create", "get", "watch"]);
    // It is a conflict about something else, such as a quota.
    let outcome = ask(|asked| match (asked.verb, asked.nth) {
        ("create", 1) => refusal(409, "the quota has changed"),
        ("create", _) => Reply::Answer(201, created()),
        ("get", _) => refusal(404, "none"),
        _ => Reply::EventsAndNoMore(vec![modified(scheduled())]),
    })
    .await;
    outcome.is_scheduled();
    assert_eq!(outcome.verbs(), ["create", "get", "create", "watch"]);
    let outcome = ask(|asked| match asked.verb {
        "create" => refusal(409, "the quota has changed"),
        _ => refusal(404, "none"),
    })
    .await;
    let problem = outcome.answer.unwrap_err();
    assert_eq!(problem.code.status().as_u16(), 503);
    assert_eq!(problem.message, "cannot create the BulkUpdate: 409: the quota has changed; nothing was done");
    // Which of the two it is cannot be read.
    let outcome = ask(|asked| match asked.verb {
        "create" => refusal(409, "it exists"),
        _ => refusal(403, "no"),
    })
    .await;
    outcome.not_known();
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
        assert!(why.contains("it may have been created"), "{why}");
        assert!(outcome.took <= CREATE_LIMIT, "{:?}", outcome.took);
        assert!(outcome.verbs().iter().all(|verb| *verb == "create"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_want_to_wait_is_answered_when_it_is_planned() {
    let how = Preferences { respond_async: true, key: None };
    let begin = Timestamp::now();
    let outcome = ask_with(how, |asked| match asked.verb {
        "create" => Reply::Answer(201, created()),
        _ => Reply::EventsAndNoMore(vec![modified(waiting()), modified(planned())]),
    })
    .await;
    let status = outcome.answer.as_ref().unwrap();
    assert_eq!(status.items(Kind::Execution)[0].result, ItemResult::Planned);
    let not_after: Timestamp =
        outcome.of("create")[0].body["spec"]["notAfter"].as_str().unwrap().parse().unwrap();
    let seconds = not_after.as_second() - begin.as_second();
    assert!((600..=605).contains(&seconds), "{seconds}");
    // What is not planned is withdrawn as ever.
    let outcome = ask_with(how, |asked| match asked.verb {
        "create" => Reply::Answer(201, created()),
        "delete" => fake::deleted(),
        _ => Reply::EventsAndNoMore(vec![]),
    })
    .await;
    outcome.nothing_done();
}

#[tokio::test(start_paused = true)]
async fn who_is_answered_when_it_is_planned_counts_until_it_is_in_the_lease() {
    let promises = Arc::new(Promises::default());
    let request = |hash| Request { hash, namespace: "team-a".into() };
    // Only one that is alone is taken.
    let is_alone = || promises.promise(request(2), 1000).is_ok();
    for (version, status, waits) in [("1", planned(), true), ("2", scheduled(), false)] {
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "ai-api-operator",
            "resourceVersion": version, "annotations": {"aiapi.dev/backlog": "0", "aiapi.dev/rate": "1"}}});
        promises.seen(&serde_json::from_value(lease).unwrap());
        let promise = promises.promise(request(1), 1).ok().map(Arc::new);
        assert!(!is_alone());
        let how = Preferences { respond_async: true, key: None };
        ask_promised(promise, how, move |asked| match asked.verb {
            "create" => Reply::Answer(201, created()),
            _ => Reply::EventsAndNoMore(vec![modified(status.clone())]),
        })
        .await;
        assert_eq!(is_alone(), !waits);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(is_alone(), !waits);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(is_alone());
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_status_turns_down_says_how_long_the_key_holds() {
    let disabled = json!({"type": "Accepted", "status": "False", "reason": "BulkUpdatesDisabled", "message": "off",
        "lastTransitionTime": "2026-01-02T03:04:05Z"});
    let rejected = json!({"observedGeneration": 1, "conditions": [disabled]});
    let failed = |reason: &str| {
        let mut status = status_with("Failed");
        status["executions"][0]["reason"] = reason.into();
        status
    };
    for (mut status, code) in
        [(failed("Gone"), 412), (failed("NotFound"), 404), (failed("DeadlineExceeded"), 503), (rejected, 400)]
    {
        status["completionTime"] = "2026-01-02T03:04:06Z".into();
        for key in [None, Some(uuid::Uuid::from_u128(7))] {
            let status = status.clone();
            let how = Preferences { respond_async: false, key };
            let problem = ask_one_with(how, move |asked| match asked.verb {
                "create" => Reply::Answer(201, created()),
                _ => Reply::EventsAndNoMore(vec![modified(bulk(2, status.clone()))]),
            })
            .await
            .unwrap_err();
            assert_eq!(problem.code.status().as_u16(), code, "{problem:?}");
            let until = "2026-01-02T03:14:06Z".parse().unwrap();
            assert_eq!(problem.key_until, key.map(|_| until), "{problem:?}");
        }
    }
    // It was not created.
    let how = Preferences { respond_async: false, key: Some(uuid::Uuid::from_u128(7)) };
    assert_eq!(ask_one_with(how, |_| refusal(403, "no")).await.unwrap_err().key_until, None);
}

#[tokio::test(start_paused = true)]
async fn a_key_stands_for_one_request() {
    let key = uuid::Uuid::from_u128(7);
    let how = Preferences { respond_async: false, key: Some(key) };
    let outcome = ask_with(how, |asked| match asked.verb {
        "create" => refusal(409, "it exists"),
        _ => ok(scheduled()),
    })
    .await;
    outcome.is_scheduled();
    assert_eq!(outcome.verbs(), ["create", "get"]);
    assert_eq!(outcome.asked[0].body["metadata"]["name"], format!("request-{key}"));
    for (field, value) in [
        ("executions", json!([{"id": "item-0", "targetStatus": "DELETED"}])),
        ("deployments", json!([{"id": "item-0", "targetStatus": "STOPPED"}])),
        ("dryRun", json!(true)),
    ] {
        let outcome = ask_with(how, move |asked| {
            if asked.verb == "create" {
                return refusal(409, "it exists");
            }
            let mut other = scheduled();
            other["spec"][field] = value.clone();
            ok(other)
        })
        .await;
        let problem = outcome.answer.unwrap_err();
        assert_eq!((problem.code.status(), &*problem.code.to_string()), (StatusCode::CONFLICT, "Conflict"));
        assert!(problem.message.contains("was used for another request"), "{}", problem.message);
    }
}
