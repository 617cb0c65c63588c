//! From the creation to the outcome.

use std::collections::HashMap;

use serde_json::json;

use super::{
    super::*,
    fake::{
        Asked, Reply, after_creation, created, deleted, event, modified, ok, planned, refusal, scheduled,
        waiting,
    },
};

#[tokio::test(start_paused = true)]
async fn what_nobody_plans_is_taken_back_and_nothing_was_done() {
    for waits in [false, true] {
        let outcome = after_creation(move |asked| match asked.verb {
            "watch" if waits => Reply::EventsAndNoMore(vec![modified(waiting())]),
            "watch" => Reply::EventsAndNoMore(vec![]),
            _ => deleted(),
        })
        .await;
        let why = outcome.nothing_done();
        let expected = if waits { "(it says: the flag cannot be read)" } else { "(is it running?)" };
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
    let outcome = after_creation(|asked| match (asked.verb, asked.nth) {
        ("watch", 1) => Reply::EventsAndNoMore(vec![]),
        ("delete", _) => refusal(409, "it has changed"),
        ("get", _) => ok(planned()),
        _ => Reply::EventsAndNoMore(vec![modified(scheduled())]),
    })
    .await;
    outcome.is_scheduled();
    assert_eq!(outcome.verbs(), ["create", "watch", "delete", "get", "watch"]);
    // From where it was read.
    assert!(outcome.asked[4].uri.contains("resourceVersion=2"), "{}", outcome.asked[4].uri);
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_and_still_is_not_planned_is_taken_back_once_more() {
    let outcome = after_creation(|asked| match (asked.verb, asked.nth) {
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
async fn what_is_refused_for_now_is_taken_back_a_moment_later() {
    let outcome = after_creation(|asked| match (asked.verb, asked.nth) {
        ("watch", _) => Reply::EventsAndNoMore(vec![]),
        ("delete", 1) => refusal(401, "its token is not known yet"),
        _ => ok(created()),
    })
    .await;
    assert_eq!(outcome.verbs(), ["create", "watch", "delete", "delete"]);
    let problem = outcome.answer.unwrap_err();
    assert_eq!(problem.code.status(), 503);
    assert!(problem.message.ends_with("nothing was done, and nothing will be"), "{}", problem.message);
}

#[tokio::test(start_paused = true)]
async fn where_it_can_not_be_taken_back_the_answer_names_it() {
    let scripts: [fn(&Asked) -> Reply; 9] = [
        |_| refusal(403, "not you"),
        // For longer than it is tried.
        |_| refusal(429, "too many requests"),
        |_| refusal(404, "there is none"),
        |_| refusal(500, "etcd is away"),
        |_| Reply::Broken,
        |_| Reply::Hang,
        // It has changed, and then it cannot be read; or it is another one.
        |asked| if asked.verb == "get" { Reply::Broken } else { refusal(409, "it has changed") },
        |asked| if asked.verb == "get" { refusal(404, "gone") } else { refusal(409, "it has changed") },
        |asked| {
            let mut another = created();
            another["metadata"]["uid"] = json!("uid-2");
            if asked.verb == "get" { ok(another) } else { refusal(409, "it has changed") }
        },
    ];
    for script in scripts {
        let outcome = after_creation(move |asked| match asked.verb {
            "watch" => Reply::EventsAndNoMore(vec![]),
            _ => script(asked),
        })
        .await;
        let why = outcome.not_known();
        assert!(why.contains("it could not be withdrawn ("), "{why}");
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
        let outcome = after_creation(move |asked| match (asked.verb, asked.nth) {
            ("watch", _) => script(),
            ("get", 1 | 2) => ok(created()),
            ("get", 3) => Reply::Broken,
            ("get", 4) => ok(planned()),
            ("get", 5) => ok(scheduled()),
            (verb, nth) => panic!("{verb} {nth}"),
        })
        .await;
        outcome.is_scheduled();
        assert_eq!(outcome.of("get").len(), 5);
        assert!(outcome.took < Duration::from_secs(2), "{:?}", outcome.took);
    }
}

#[tokio::test(start_paused = true)]
async fn reading_that_is_refused_is_not_hammered() {
    let outcome = after_creation(|asked| match asked.verb {
        "delete" => deleted(),
        _ => refusal(403, "not you"),
    })
    .await;
    outcome.nothing_done();
    assert!(outcome.of("get").len() <= 10, "{:?}", outcome.verbs());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_is_resumed_where_it_was() {
    let outcome = after_creation(|asked| match (asked.verb, asked.nth) {
        ("watch", 1) => Reply::Events(vec![modified(planned())]),
        ("get", _) => ok(planned()),
        _ => Reply::EventsAndNoMore(vec![modified(scheduled())]),
    })
    .await;
    outcome.is_scheduled();
    let last = outcome.of("watch").last().unwrap().uri.clone();
    assert!(last.contains("resourceVersion=2"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn somebody_who_deletes_it_before_it_is_planned_has_kept_it_from_everything() {
    let outcome = after_creation(|_| Reply::EventsAndNoMore(vec![event("DELETED", waiting())])).await;
    assert!(outcome.nothing_done().contains("somebody deleted BulkUpdate team-a/request-id-1"));
}

#[tokio::test(start_paused = true)]
async fn somebody_who_deletes_it_later_leaves_it_unknown_unless_it_was_reported() {
    let outcome =
        after_creation(|_| Reply::EventsAndNoMore(vec![modified(planned()), event("DELETED", planned())]))
            .await;
    assert!(outcome.item_is_not_known().contains("somebody deleted it"));
    let outcome =
        after_creation(|_| Reply::EventsAndNoMore(vec![modified(planned()), event("DELETED", scheduled())]))
            .await;
    outcome.is_scheduled();
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_was_not_seen_leaves_it_unknown() {
    let another = || {
        let mut another = scheduled();
        another["metadata"]["uid"] = json!("uid-2");
        another
    };
    let outcomes = [
        after_creation(|asked| match asked.verb {
            "watch" => Reply::Events(vec![]),
            _ => refusal(404, "gone"),
        })
        .await,
        after_creation(move |asked| match asked.verb {
            "watch" => Reply::Events(vec![]),
            _ => ok(another()),
        })
        .await,
        after_creation(move |_| Reply::EventsAndNoMore(vec![event("ADDED", another())])).await,
    ];
    for outcome in outcomes {
        assert!(outcome.not_known().contains("somebody deleted it"));
        assert!(outcome.of("delete").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_planned_is_followed_to_the_second_limit_and_never_taken_back() {
    let outcome = after_creation(|asked| match asked.verb {
        "watch" => Reply::EventsAndNoMore(vec![modified(planned())]),
        "get" => ok(planned()),
        verb => panic!("{verb}"),
    })
    .await;
    assert!(outcome.item_is_not_known().contains("it is still being carried out"));
    assert_eq!(outcome.took, FOLLOW_LIMIT);
    // By then it cannot be carried out any more.
    assert!(FOLLOW_LIMIT > WRITE_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_stalls_hides_no_outcome() {
    let outcome = after_creation(|asked| match asked.verb {
        "watch" => Reply::EventsAndNoMore(vec![modified(planned())]),
        _ => ok(scheduled()),
    })
    .await;
    outcome.is_scheduled();
    assert!(outcome.of("delete").is_empty());
}

/// A request is made to be answered: its deadlines fit into each other.
#[test]
fn the_limits_fit_into_each_other() {
    let starting = Duration::from_secs(u64::try_from(STARTING_DEADLINE).unwrap());
    assert!(
        CREATE_LIMIT < PLAN_LIMIT
            && PLAN_LIMIT < starting
            && starting < WRITE_LIMIT
            && WRITE_LIMIT < FOLLOW_LIMIT
    );
}

/// The gateway asks for nothing that its callers' role does not have.
#[tokio::test(start_paused = true)]
async fn all_requests_are_about_that_one_bulk_update() {
    let outcome = after_creation(|asked| match asked.verb {
        "watch" => Reply::Broken,
        "get" => ok(created()),
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
