//! What comes out of answers, whatever they hold and however they arrive.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use kube::{
    client::Body,
    core::{ObjectList, WatchEvent},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::{BoxError, util::BoxService};

use super::{
    Slim::{ForDecisions, ForTheAiApi},
    *,
};
use crate::{
    bulk_update::Stored,
    decode::json::tests::any_json,
    observed::target::{Observed, Target},
};

const BULK_UPDATES: &str = "/apis/aiapi.dev/v1alpha1/bulkupdates";
const EXECUTIONS: &str = "/apis/aiapi.dev/v1alpha1/executions";

/// What is kept of a text that arrives in pieces of these sizes, over and over.
fn kept(keep: &'static Keep, text: &str, sizes: &[usize]) -> String {
    let (mut machine, mut out, mut rest) = (Machine::new(keep), Vec::new(), text.as_bytes());
    for size in sizes.iter().copied().cycle() {
        let (piece, more) = rest.split_at(size.min(rest.len()));
        machine.push(piece, &mut out);
        rest = more;
        if rest.is_empty() {
            break;
        }
    }
    machine.end(&mut out);
    String::from_utf8(out).expect("it stays text")
}

/// An Execution as the gateway gets it.
pub(crate) fn for_the_gateway(object: &Value) -> String {
    kept(ForTheAiApi.keep(EXECUTIONS).unwrap(), &object.to_string(), &[7])
}

static SMALL: Keep = Keep::Object(&[
    (&["word"], Keep::Scalar(4)),
    (&["there"], Keep::Scalar(0)),
    (&["list"], Keep::List(2, &Keep::Scalar(64))),
    (&["part"], Keep::Object(&[(&["word"], Keep::Scalar(4))])),
]);

#[test]
fn what_is_named_is_kept_and_all_else_left_out() {
    for (text, expected) in [
        ("{}", "{}"),
        (r#" { "word" : "abc" , "other" : [ 1 , {"word": 2} ] } "#, r#"{"word":"abc"}"#),
        (
            r#"{"other":{"a":[1,"}]\"",{}]},"word":1,"more":"\\","part":{"x":1,"word":true}}"#,
            r#"{"word":1,"part":{"word":true}}"#,
        ),
        (r#"{"word":"abcdef","there":"abc"}"#, r#"{"word":"abcd","there":""}"#),
        (r#"{"word":{"a":1},"there":[1,2]}"#, r#"{"word":{},"there":[]}"#),
        (r#"{"list":[1,"b",[3],4],"word":null}"#, r#"{"list":[1,"b"],"word":null}"#),
        (r#"{"list":[],"part":[]}"#, r#"{"list":[],"part":[]}"#),
        (r#"{"list":{"0":1},"part":"text"}"#, r#"{"list":{},"part":"text"}"#),
        (r#"{"list":[[1],{"a":1},-0.5e3]}"#, r#"{"list":[[],{}]}"#),
        (r#"{"w\u006frd":1}"#, r#"{"w\u006frd":1}"#),
        (r#"{"word":12345678901234567890123456789012345678901}"#, r#"{"word":1e999}"#),
        ("[1,2]", "[]"),
        ("5", "5"),
        ("{}\n{\"word\":1}\n\n{\"other\":\n1}\n", "{}\n{\"word\":1}\n\n{}\n"),
        // An umlaut has two bytes; what is cut stays whole characters.
        (r#"{"word":"abcä"}"#, r#"{"word":"abcä"}"#),
        (r#"{"word":"äöü"}"#, r#"{"word":"äö"}"#),
        (r#"{"word":"abc\n\n"}"#, r#"{"word":"abc\n"}"#),
        (r#"{"word":"abc\u00e4\u00e4"}"#, r#"{"word":"abc\u00e4"}"#),
        (r#"{"word":"abc\ud83d\ude00\ud83d\ude00"}"#, r#"{"word":"abc\ud83d\ude00"}"#),
        (r#"{"word":"a\"b\\c\"d"}"#, r#"{"word":"a\"b"}"#),
    ] {
        for sizes in [&[1][..], &[2], &[3, 1], &[1000]] {
            assert_eq!(kept(&SMALL, text, sizes), expected, "{sizes:?}: {text}");
        }
    }
}

#[test]
fn what_is_no_json_or_breaks_off_does_not_become_json() {
    for text in [
        "{\"word\":\"a",
        "{\"word\":",
        "{\"word\"",
        "{\"wo",
        "{",
        "{\"other\":[[",
        "{\"list\":[1",
        "{\"list\":[1,",
    ] {
        let out = kept(&SMALL, text, &[2]);
        assert!(serde_json::from_str::<Value>(&out).is_err(), "{text}: {out}");
    }
    // And nothing makes it fail.
    for text in
        ["]]]}", "}{", "{]", "[}", "{,,}", "<html>", "{\"word\" \"x\"}", "\"", ":::", "{\"word\":]", "{1:2}"]
    {
        kept(&SMALL, text, &[1]);
    }
}

/// The same, done with the whole document at hand.
fn reference(keep: &Keep, value: &Value) -> Value {
    match (keep, value) {
        (Keep::Object(members), Value::Object(object)) => {
            let each = members.iter().flat_map(|(names, keep)| names.iter().map(move |name| (*name, keep)));
            let kept =
                each.filter_map(|(name, keep)| Some((name.to_owned(), reference(keep, object.get(name)?))));
            Value::Object(kept.collect())
        }
        (Keep::List(most, of), Value::Array(list)) => {
            list.iter().take(*most).map(|element| reference(of, element)).collect()
        }
        // Only that it is there.
        (Keep::Scalar(0), Value::String(_)) => json!(""),
        (_, Value::Object(_)) => json!({}),
        (_, Value::Array(_)) => json!([]),
        (_, other) => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn it_keeps_what_one_who_has_the_whole_document_would_keep(
        value in any_json(),
        sizes in proptest::collection::vec(1..20_usize, 1..6),
        pretty in any::<bool>(),
    ) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        for keep in [ForDecisions.keep(BULK_UPDATES), ForDecisions.keep(EXECUTIONS), ForTheAiApi.keep(EXECUTIONS)] {
            let keep = keep.unwrap();
            let out = kept(keep, &text, &sizes);
            let found: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {text}: {out}"));
            // The texts are short; numbers may be written otherwise, and mean the same.
            let expected = reference(keep, &value);
            let expected: Value = serde_json::from_str(&expected.to_string()).unwrap();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200), size in 1..10_usize) {
        let (mut machine, mut out) = (Machine::new(&SMALL), Vec::new());
        for piece in bytes.chunks(size) {
            machine.push(piece, &mut out);
        }
        machine.end(&mut out);
        prop_assert!(out.len() <= bytes.len() + 100);
    }

    #[test]
    fn what_is_read_of_an_object_is_the_same_without_what_was_left_out(value in any_json()) {
        let text = value.to_string();
        let slim = |path| kept(ForDecisions.keep(path).unwrap(), &text, &[7]);
        let target = |text: &str| Target::from(&serde_json::from_str::<Observed>(text).unwrap());
        let (whole, part) = (target(&text), target(&slim(EXECUTIONS)));
        // What is unreadable stays it. (A list where an object should be is emptied; serde would take its elements for fields.)
        prop_assert!(whole.state.is_ok() || part.state.is_err());
        if part.state.is_ok() {
            prop_assert_eq!(whole, part);
        }
        let stored = |text: &str| serde_json::from_str::<Stored>(text).unwrap();
        let (whole, part) = (stored(&text), stored(&slim(BULK_UPDATES)));
        prop_assert!(whole.flaw.is_none() || part.flaw.is_some());
        prop_assert_eq!(whole.bulk.metadata, part.bulk.metadata);
        prop_assert_eq!(whole.bulk.status, part.bulk.status);
    }
}

/// An object that somebody has filled up.
fn fat(name: &str) -> Value {
    let items: Vec<_> =
        (0..100).map(|n| json!({"id": format!("exec-{n}"), "targetStatus": "STOPPED"})).collect();
    json!({
        "apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
        "metadata": {
            "name": name, "namespace": "team-a", "uid": "u", "resourceVersion": "7", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"note": "x".repeat(250_000), "aiapi.dev/requester": "alice"},
            "labels": {"a": "b"},
            "managedFields": vec![json!({"time": "9999-12-31T23:59:59Z", "fieldsV1": {"f:spec": {"x".repeat(100): {}}}}); 1000],
        },
        "spec": {"executions": items, "template": {"x": "y".repeat(100_000)}},
        "status": {"observedGeneration": -1},
    })
}

#[test]
fn what_a_page_and_an_event_come_to_does_not_depend_on_what_users_have_written() {
    let page = json!({"kind": "BulkUpdateList", "metadata": {"resourceVersion": "9", "continue": "token"},
        "items": (0..20).map(|n| fat(&format!("bulk-{n}"))).collect::<Vec<_>>()});
    let out = kept(ForDecisions.keep(BULK_UPDATES).unwrap(), &page.to_string(), &[65_536]);
    assert!(out.len() < 20 * 8_000, "{}", out.len());
    let list: ObjectList<Stored> = serde_json::from_str(&out).unwrap();
    assert_eq!((list.items.len(), list.metadata.continue_.as_deref()), (20, Some("token")));
    for stored in &list.items {
        assert_eq!(stored.flaw, None);
        assert_eq!(stored.bulk.spec.executions.as_ref().unwrap().len(), 100);
        assert_eq!(stored.bulk.metadata.annotations.as_ref().unwrap()["aiapi.dev/requester"], "alice");
        assert!(stored.bulk.metadata.labels.is_some());
    }
    let event = |object: Value| format!("{{\"type\":\"ADDED\",\"object\":{object}}}\n");
    let events = event(fat("a")) + &event(fat("b"));
    let out = kept(ForDecisions.keep(BULK_UPDATES).unwrap(), &events, &[1000, 17]);
    assert!(out.len() < 2 * 8_000, "{}", out.len());
    let names = out.lines().map(|line| match serde_json::from_str(line).unwrap() {
        WatchEvent::<Stored>::Added(stored) => stored.bulk.metadata.name.unwrap(),
        other => panic!("{other:?}"),
    });
    assert_eq!(names.collect::<Vec<_>>(), ["a", "b"]);
    // And one that nothing but a limit on its size has refused.
    let mut fat = fat("execution");
    fat["status"] =
        json!({"state": "RUNNING", "message": "x".repeat(500_000), "conditions": vec!["c"; 10_000]});
    let out = kept(ForDecisions.keep(EXECUTIONS).unwrap(), &fat.to_string(), &[8192]);
    assert!(out.len() < 500, "{out}");
    fat["status"]["url"] = "x".repeat(500_000).into();
    fat["spec"] = json!({"configurationName": "x".repeat(500_000), "scenarioId": "x".repeat(100_000)});
    let out = for_the_gateway(&fat);
    assert!(out.len() < 22_000, "{}", out.len());
}

#[test]
fn bookmarks_failures_and_what_says_that_something_is_gone_are_understood() {
    let keep = ForDecisions.keep(EXECUTIONS).unwrap();
    let event = |text: &str| serde_json::from_str::<WatchEvent<Observed>>(&kept(keep, text, &[3])).unwrap();
    let bookmark = r#"{"type":"BOOKMARK","object":{"kind":"Execution","apiVersion":"aiapi.dev/v1alpha1",
        "metadata":{"resourceVersion":"12746","creationTimestamp":null},"spec":{}}}"#;
    assert!(matches!(event(bookmark), WatchEvent::Bookmark(b) if b.metadata.resource_version == "12746"));
    let gone = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",
        "message":"too old resource version","reason":"Expired","code":410}}"#;
    match event(gone) {
        WatchEvent::Error(status) => {
            assert_eq!(
                (status.code, &*status.reason, &*status.message),
                (410, "Expired", "too old resource version")
            );
        }
        other => panic!("{other:?}"),
    }
    let deleted =
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","details":{"name":"x"}}"#;
    assert!(serde_json::from_str::<Observed>(&kept(keep, deleted, &[3])).unwrap().is_status());
}

#[test]
fn only_paths_of_the_three_kinds_are_looked_at() {
    for (path, ours) in [
        ("/apis/aiapi.dev/v1alpha1/executions", true),
        ("/apis/aiapi.dev/v1alpha1/deployments", true),
        ("/apis/aiapi.dev/v1alpha1/namespaces/executions/bulkupdates/deployments/status", true),
        ("/apis/aiapi.dev/v1alpha1/namespaces/a/executions/b", true),
        ("/apis/aiapi.dev/v1alpha1", false),
        ("/apis/aiapi.dev/v1alpha1/namespaces", false),
        ("/apis/aiapi.dev/v1alpha1/namespaces/executions", false),
        ("/apis/apps/v1/deployments", false),
        ("/api/v1/namespaces/a/configmaps/ai-api-meta", false),
    ] {
        assert_eq!(ForDecisions.keep(path).is_some(), ours, "{path}");
    }
    // The gateway also lists Pods; their logs are not JSON.
    for (path, slim) in [
        ("/api/v1/namespaces/a/pods", true),
        ("/api/v1/namespaces/a/pods/b", false),
        ("/api/v1/namespaces/a/pods/b/log", false),
        ("/api/v1/namespaces/a/configmaps/pods", false),
        ("/api/v1/pods", false),
    ] {
        assert_eq!(ForTheAiApi.keep(path).is_some(), slim, "{path}");
        assert!(ForDecisions.keep(path).is_none(), "{path}");
    }
}

/// The layer over a server that answers so.
async fn through(status: u16, headers: &[(&str, &str)], body: Box<DynBody>) -> (http::HeaderMap, Vec<u8>) {
    let mut answer = http::Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    let mut answer = Some(answer.body(body).unwrap());
    let wire = tower::service_fn(move |_: http::Request<Body>| {
        std::future::ready(Ok::<_, BoxError>(answer.take().expect("one request")))
    });
    let request = http::Request::get(EXECUTIONS).body(Body::empty()).unwrap();
    let answer = ForDecisions.layer(BoxService::new(wire)).call(request).await.unwrap();
    let headers = answer.headers().clone();
    (headers, answer.into_body().collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn only_successful_answers_in_plain_json_are_changed() {
    let text = r#"{"kind":"Execution","extra":1}"#;
    let json = ("content-type", "application/json; charset=utf-8");
    for (status, headers, slim) in [
        (200, &[json][..], true),
        (201, &[json, ("content-encoding", "identity")], true),
        (404, &[json], false),
        (500, &[json], false),
        (200, &[("content-type", "text/html")], false),
        (200, &[], false),
        (200, &[json, ("content-encoding", "gzip")], false),
    ] {
        let length = text.len().to_string();
        let headers = [headers, &[("content-length", &*length)]].concat();
        let body = Full::from(text).map_err(BoxError::from);
        let (after, body) = through(status, &headers, Box::new(body)).await;
        assert_eq!(body == br#"{"kind":"Execution"}"#, slim, "{status} {headers:?}");
        assert_eq!(after.contains_key("content-length"), !slim);
        assert!(slim || body == text.as_bytes());
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_fails_as_it_would_without() {
    let frames: [Result<Frame<Bytes>, BoxError>; 3] = [
        Ok(Frame::data(Bytes::from_static(b"{\"kind\":\"Exec"))),
        Ok(Frame::data(Bytes::from_static(b"ution\",\"extra\":1"))),
        Err("reset".into()),
    ];
    let body: Box<DynBody> = Box::new(StreamBody::new(futures::stream::iter(frames)));
    let mut body = slimmed(http::Response::new(body), ForDecisions.keep(EXECUTIONS).unwrap()).into_body();
    let mut seen = Vec::new();
    let failed = loop {
        match body.frame().await {
            Some(Ok(frame)) => seen.extend_from_slice(&frame.into_data().unwrap()),
            Some(Err(error)) => break error.to_string(),
            None => panic!("it ended as if it were whole"),
        }
    };
    assert_eq!((&*seen, &*failed), (&b"{\"kind\":\"Execution\""[..], "reset"));
}
