use http::StatusCode;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::*;
use crate::api::{ItemStatus, State};

mod narrow;
mod planned;

const REASONS: [Reason; 14] = [
    Reason::NotFound,
    Reason::Replaced,
    Reason::CreatedLater,
    Reason::Terminating,
    Reason::Unreadable,
    Reason::StopPending,
    Reason::WrongState,
    Reason::Gone,
    Reason::BulkUpdatesDisabled,
    Reason::DeadlineExceeded,
    Reason::WriteFailed,
    Reason::Forbidden,
    Reason::NotSettledInTime,
    Reason::OutcomeUnknown,
];

fn invocation() -> Invocation {
    Invocation { id: "id-1".into(), target: "/v2/lm/executions".into(), ..Invocation::default() }
}

fn items(count: usize) -> Value {
    (0..count).map(|n| json!({"id": format!("item-{n}"), "targetStatus": "STOPPED"})).collect()
}

/// The sentence about a body that is refused.
fn refused(kind: Kind, body: impl AsRef<[u8]>) -> String {
    let body = body.as_ref();
    let shown = String::from_utf8_lossy(body).into_owned();
    let problem = bulk(kind, body).expect_err(&shown);
    assert_eq!(
        (problem.code.status(), &*problem.code.to_string()),
        (StatusCode::BAD_REQUEST, "BadRequest"),
        "{shown}"
    );
    problem.message
}

#[test]
fn a_body_is_read_in_the_order_in_which_it_came() {
    for kind in Kind::ALL {
        let list = json!([
            {"id": "b-22", "targetStatus": "DELETED"},
            {"id": "A_1.", "targetStatus": "STOPPED", "more": {"id": "x"}},
            {"id": "x".repeat(64), "targetStatus": "STOPPED"},
        ]);
        let body = json!({kind.plural(): list, "more": [1]}).to_string();
        let read = bulk(kind, body.as_bytes()).unwrap();
        let read: Vec<_> = read.items.iter().map(|item| (&*item.id, item.target_status, &item.uid)).collect();
        let long = "x".repeat(64);
        let expected = [
            ("b-22", TargetStatus::Deleted, &None),
            ("A_1.", TargetStatus::Stopped, &None),
            (&long, TargetStatus::Stopped, &None),
        ];
        assert_eq!(read, expected);
    }
    // A null is as good as nothing.
    let body = json!({"executions": items(100), "deployments": null}).to_string();
    assert_eq!(bulk(Kind::Execution, body.as_bytes()).unwrap().items.len(), 100);
}

#[test]
fn a_body_that_is_no_request_is_refused_and_the_sentence_says_where() {
    let one = |item: Value| json!({"executions": [{"id": "item-0", "targetStatus": "STOPPED"}, item]});
    let list = "executions is missing: send a list of objects with id and targetStatus";
    let cannot = |why: &str| format!("the body is invalid: {why}");
    let bad_id = format!("executions[1].id is invalid: {AN_ID}");
    let twice = "executions[1].id: item-0 is repeated; send each id once";
    let other = "deployments cannot be modified here: send them to /v2/lm/deployments; nothing was done";
    for (body, expected) in [
        (json!({}), list.to_owned()),
        (json!({"executions": null}), list.to_owned()),
        (
            json!({"Executions": items(1)}),
            "Executions is unknown: did you mean executions? Nothing was done".into(),
        ),
        (json!({"executions": []}), "executions has 0 items: send 1 to 100".into()),
        (json!({"executions": items(101)}), "executions has 101 items: send 1 to 100".into()),
        (json!({"deployments": items(1)}), other.into()),
        (json!({"executions": items(1), "deployments": []}), other.into()),
        (json!({"executions": {}}), cannot("executions: invalid type: map, expected a sequence")),
        (
            json!({"executions": "item-0"}),
            cannot(r#"executions: invalid type: string "item-0", expected a sequence"#),
        ),
        (one(json!({"targetStatus": "STOPPED"})), cannot("executions[1]: missing field `id`")),
        (one(json!({"id": "item-1"})), cannot("executions[1]: missing field `targetStatus`")),
        (
            one(json!({"id": "item-1", "targetstatus": "STOPPED"})),
            cannot("executions[1]: missing field `targetStatus`"),
        ),
        (
            one(json!({"id": "item-1", "targetStatus": "RUNNING"})),
            cannot("executions[1].targetStatus: unknown variant `RUNNING`, expected `STOPPED` or `DELETED`"),
        ),
        (
            one(json!({"id": "item-1", "targetStatus": {"DELETED": null}})),
            cannot("executions[1].targetStatus: invalid type: map, expected a string"),
        ),
        (
            one(json!({"id": "item-1", "targetStatus": "stopped"})),
            cannot("executions[1].targetStatus: unknown variant `stopped`, expected `STOPPED` or `DELETED`"),
        ),
        (one(json!({"id": "abc", "targetStatus": "STOPPED"})), bad_id.clone()),
        (one(json!({"id": "x".repeat(65), "targetStatus": "STOPPED"})), bad_id.clone()),
        (one(json!({"id": "", "targetStatus": "STOPPED"})), bad_id.clone()),
        (one(json!({"id": "a/../b", "targetStatus": "STOPPED"})), bad_id.clone()),
        (one(json!({"id": "a b c", "targetStatus": "STOPPED"})), bad_id.clone()),
        (one(json!({"id": "item\n", "targetStatus": "STOPPED"})), bad_id.clone()),
        (one(json!({"id": "äöüß", "targetStatus": "STOPPED"})), bad_id),
        (one(json!({"id": "item-0", "targetStatus": "STOPPED"})), twice.into()),
        (one(json!({"id": "item-0", "targetStatus": "DELETED"})), twice.into()),
    ] {
        let message = refused(Kind::Execution, body.to_string());
        let what = message.split(" at line 1 column ").next().unwrap();
        assert_eq!(
            (what, what != message && message.ends_with("; nothing was done")),
            (&*expected, expected.starts_with("the body is invalid")),
            "{body}"
        );
    }
    let here = "executions cannot be modified here: send them to /v2/lm/executions; nothing was done";
    assert_eq!(refused(Kind::Deployment, json!({"executions": items(1)}).to_string()), here);
    // What the library says about the others is not ours to pin; that it points somewhere is.
    for body in [
        &b""[..],
        b"{",
        b"[]",
        b"null",
        b"\"executions\"",
        b"executions: []",
        b"{\"executions\":[1]}",
        b"{\"executions\":[null]}",
        b"{\"executions\":[{\"id\":1,\"targetStatus\":\"STOPPED\"}]}",
        b"{\"executions\":[{\"id\":\"item-0\",\"targetStatus\":null}]}",
        b"{\"executions\":[{\"id\":\"item-0\",\"id\":\"item-1\",\"targetStatus\":\"STOPPED\"}]}",
        b"{\"executions\":[{\"id\":\"item-0\",\"targetStatus\":\"STOPPED\"}],\"executions\":[]}",
        b"{\"executions\":[{\"id\":\"item-0\",\"targetStatus\":\"STOPPED\"}]} {}",
        b"{\"executions\":[{\"id\":\"item-0\",\"targetStatus\":\"STOPPED\"},]}",
        b"{\"executions\":[{\"id\":\"item-\xff\",\"targetStatus\":\"STOPPED\"}]}",
        b"\xef\xbb\xbf{}",
    ] {
        let why = refused(Kind::Execution, body);
        assert!(why.starts_with("the body is invalid: ") && why.contains("line 1 column"), "{why}");
    }
    let deep = format!("{{\"executions\":{}", "[".repeat(60_000));
    assert!(refused(Kind::Execution, &deep).starts_with("the body is invalid: "), "no stack overflow");
    let deep = format!("{{\"more\":{}", "[".repeat(60_000));
    assert!(refused(Kind::Execution, &deep).starts_with("the body is invalid: "), "no stack overflow");
    let long = json!({"executions": [{"id": "item-0", "targetStatus": "x".repeat(60_000)}]}).to_string();
    assert!(refused(Kind::Execution, long).len() < 300);
}

/// The request to stop one object.
fn stopped() -> Asked {
    let item = BulkUpdateItem { id: "item-0".into(), target_status: TargetStatus::Stopped, uid: None };
    Asked { items: vec![item], dry_run: false, how: Preferences::default() }
}

#[test]
fn one_object_can_only_be_asked_to_stop() {
    for kind in Kind::ALL {
        for body in [r#"{"targetStatus":"STOPPED"}"#, r#"{"more":1,"targetStatus":"STOPPED"}"#] {
            assert_eq!(stop(kind, "item-0".into(), body.as_bytes()), Ok(stopped()), "{body}");
        }
        let missing = "targetStatus is missing: send STOPPED";
        for (body, expected) in [
            ("{}", missing),
            (r#"{"targetStatus":null}"#, missing),
            (
                r#"{"targetstatus":"STOPPED"}"#,
                "targetstatus is unknown: did you mean targetStatus? Nothing was done",
            ),
            (
                r#"{"targetStatus":"DELETED"}"#,
                "the body is invalid: targetStatus: unknown variant `DELETED`, expected `STOPPED`",
            ),
            ("", "the body is invalid: EOF while parsing a value"),
        ] {
            let problem = stop(kind, "item-0".into(), body.as_bytes()).unwrap_err();
            assert_eq!(problem.code.status(), StatusCode::BAD_REQUEST, "{body}");
            assert_eq!(problem.message.split(" at line 1 column ").next(), Some(expected), "{body}");
        }
        for body in
            ["[]", "null", "1", "{", r#"{"targetStatus":["STOPPED"]}"#, r#"{"targetStatus":"STOPPED"}x"#]
        {
            let problem = stop(kind, "item-0".into(), body.as_bytes()).unwrap_err();
            assert!(problem.message.starts_with("the body is invalid: "), "{}", problem.message);
        }
    }
    // The AI API lets a deployment be given another configuration so; an execution has no such thing.
    let body = br#"{"targetStatus":"STOPPED","configurationId":"conf-1"}"#;
    assert!(stop(Kind::Execution, "item-0".into(), body).is_ok());
    let refused = stop(Kind::Deployment, "item-0".into(), body).unwrap_err();
    assert_eq!(refused.code.status(), StatusCode::BAD_REQUEST);
    assert!(refused.message.starts_with("configurationId: "), "{}", refused.message);
}

#[test]
fn ids_in_a_path_are_checked() {
    let long = "x".repeat(64);
    for id in ["abcd", "....", "A-b_c.9", &long] {
        assert_eq!(check_id("the id", id), Ok(()));
    }
    let longer = "x".repeat(65);
    for id in ["", "abc", "a/bc", "../secrets", "a%2fb", "abcd\n", "äöüß", "a b c", "abcd?", &longer] {
        assert_eq!(check_id("the id", id).unwrap_err().code.status(), StatusCode::BAD_REQUEST, "{id}");
    }
}

fn entry(id: &str, target_status: TargetStatus, result: ItemResult, reason: Option<Reason>) -> ItemStatus {
    ItemStatus {
        id: id.into(),
        target_status,
        result,
        reason,
        message: None,
        uid: None,
        observed_state: None,
    }
}

fn status_of(kind: Kind, entries: Vec<ItemStatus>) -> BulkUpdateStatus {
    let mut status = BulkUpdateStatus::default();
    match kind {
        Kind::Execution => status.executions = Some(entries),
        Kind::Deployment => status.deployments = Some(entries),
    }
    status
}

#[test]
fn what_was_accepted_is_answered_in_the_words_of_the_ai_api() {
    for (kind, words) in [
        (Kind::Execution, "Execution modification scheduled"),
        (Kind::Deployment, "Deployment modification scheduled"),
    ] {
        for target in [TargetStatus::Stopped, TargetStatus::Deleted] {
            for (result, reason) in [
                (ItemResult::Scheduled, None),
                (ItemResult::Settled, None),
                (ItemResult::Settled, Some(Reason::Gone)),
            ] {
                let status = status_of(kind, vec![entry("item-0", target, result, reason)]);
                let answer = answer(kind, &stopped(), &status, &invocation());
                assert_eq!(answer, json!({kind.plural(): [{"id": "item-0", "message": words}]}));
                assert_eq!(outcome(kind, "item-0", &status), Ok(()));
            }
        }
    }
}

/// Status and code, and what the sentence says by itself.
fn expected(reason: Reason, kind: Kind) -> (u16, &'static str, &'static str) {
    match (reason, kind) {
        (Reason::NotFound, Kind::Execution) => (404, "01010020", "Execution item-0 does not exist"),
        (Reason::NotFound, Kind::Deployment) => (404, "01010016", "Deployment item-0 does not exist"),
        (Reason::WrongState, _) => (412, "01010076", "Current status COMPLETED cannot be changed to STOPPED"),
        (Reason::Replaced, _) => (412, "Replaced", "another object has the id now"),
        (Reason::CreatedLater, _) => (412, "CreatedLater", "it is not known to be older than the request"),
        (Reason::Terminating, _) => (412, "Terminating", "it is being deleted"),
        (Reason::Unreadable, _) => (412, "Unreadable", ""),
        (Reason::StopPending, _) => (412, "StopPending", "a stop was requested before"),
        (Reason::Gone, _) => (412, "Gone", "somebody else deleted it"),
        (Reason::BulkUpdatesDisabled, _) => (400, "BulkUpdatesDisabled", ""),
        (Reason::DeadlineExceeded, _) => (503, "DeadlineExceeded", ""),
        (Reason::WriteFailed, _) => (503, "WriteFailed", ""),
        (Reason::Forbidden, _) => (503, "Forbidden", ""),
        (Reason::NotSettledInTime, _) => (504, "NotSettledInTime", ""),
        (Reason::OutcomeUnknown, _) => (504, "OutcomeUnknown", ""),
    }
}

#[test]
fn each_reason_of_a_refusal_or_failure_has_its_code_and_sentence_in_both_kinds() {
    for kind in Kind::ALL {
        for reason in REASONS {
            for result in [ItemResult::Refused, ItemResult::Failed] {
                let (status, code, about) = expected(reason, kind);
                for more in [None, Some("the operator's words")] {
                    let mut entry = entry("item-0", TargetStatus::Stopped, result, Some(reason));
                    entry.observed_state = Some(State::Completed);
                    entry.message = more.map(Into::into);
                    let words = match (about, more) {
                        ("", None) => code.to_owned(),
                        ("", Some(more)) => more.to_owned(),
                        (about, None) => about.to_owned(),
                        (about, Some(more)) => format!("{about}: {more}"),
                    };
                    let reported = status_of(kind, vec![entry]);
                    let problem = outcome(kind, "item-0", &reported).unwrap_err();
                    let is = (problem.code.status().as_u16(), &*problem.code.to_string(), &*problem.message);
                    assert_eq!(is, (status, code, &*words), "{kind:?} {reason:?}");
                    let error = json!({"code": code, "message": words, "requestId": "id-1",
                        "target": "/v2/lm/executions", "details": {}});
                    let answer = answer(kind, &stopped(), &reported, &invocation());
                    assert_eq!(answer, json!({kind.plural(): [{"id": "item-0", "error": error}]}));
                }
            }
        }
    }
}

#[test]
fn what_is_being_deleted_can_be_deleted_once_more_and_not_be_stopped() {
    let reported = |target| {
        let entry = entry("item-0", target, ItemResult::Refused, Some(Reason::Terminating));
        outcome(Kind::Execution, "item-0", &status_of(Kind::Execution, vec![entry]))
    };
    assert_eq!(reported(TargetStatus::Deleted), Ok(()));
    assert_eq!(reported(TargetStatus::Stopped).unwrap_err().code.status(), 412);
}

#[test]
fn a_wrong_state_that_is_not_reported_is_not_made_up() {
    let reported = entry("item-0", TargetStatus::Deleted, ItemResult::Refused, Some(Reason::WrongState));
    let problem =
        outcome(Kind::Execution, "item-0", &status_of(Kind::Execution, vec![reported])).unwrap_err();
    assert_eq!((&*problem.code.to_string(), &*problem.message), ("01010076", "WrongState"));
}

#[test]
fn what_the_status_does_not_say_is_not_known() {
    let kind = Kind::Execution;
    for reported in [
        vec![],
        vec![entry("another", TargetStatus::Stopped, ItemResult::Settled, None)],
        vec![entry("item-0", TargetStatus::Stopped, ItemResult::Planned, None)],
        vec![entry("item-0", TargetStatus::Stopped, ItemResult::Failed, None)],
    ] {
        let status = status_of(kind, reported);
        let problem = outcome(kind, "item-0", &status).unwrap_err();
        assert_eq!(
            (problem.code.status().as_u16(), &*problem.code.to_string()),
            (504, "OutcomeUnknown"),
            "{status:?}"
        );
        let answer = answer(kind, &stopped(), &status, &invocation());
        assert_eq!(answer["executions"][0]["error"]["code"], "OutcomeUnknown");
    }
    // The other kind's entry of the same id says nothing.
    let other = vec![entry("item-0", TargetStatus::Stopped, ItemResult::Settled, None)];
    assert!(outcome(kind, "item-0", &status_of(Kind::Deployment, other)).is_err());
}

#[test]
fn entries_come_in_the_order_of_the_request_whatever_that_of_the_status() {
    let reported = ["item-2", "item-0", "item-1"]
        .map(|id| entry(id, TargetStatus::Stopped, ItemResult::Settled, None))
        .to_vec();
    let asked = ["item-0", "item-1", "item-2"].map(ToOwned::to_owned);
    let item =
        |id: &String| BulkUpdateItem { id: id.clone(), target_status: TargetStatus::Stopped, uid: None };
    let request =
        Asked { items: asked.iter().map(item).collect(), dry_run: false, how: Preferences::default() };
    let answer = answer(Kind::Deployment, &request, &status_of(Kind::Deployment, reported), &invocation());
    let ids: Vec<_> = answer["deployments"].as_array().unwrap().iter().map(|e| e["id"].clone()).collect();
    assert_eq!(ids, asked);
}

#[test]
fn what_was_rejected_as_a_whole_says_why() {
    let reported = |status: &str, reason: &str| BulkUpdateStatus {
        conditions: vec![Condition {
            type_: "Accepted".into(),
            status: status.into(),
            reason: reason.into(),
            message: "why".into(),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: Some(1),
        }],
        ..BulkUpdateStatus::default()
    };
    for (reason, status) in [
        ("BulkUpdatesDisabled", 400),
        ("MetaInvalid", 400),
        ("DeadlineExceeded", 503),
        ("NotAuthorized", 403),
    ] {
        let problem = rejected(&reported("False", reason)).unwrap();
        let is = (problem.code.status().as_u16(), &*problem.code.to_string(), &*problem.message);
        assert_eq!(is, (status, reason, "why"));
    }
    assert_eq!(rejected(&reported("True", "Planned")), None);
    assert_eq!(rejected(&reported("Unknown", "Waiting")), None);
    assert_eq!(rejected(&BulkUpdateStatus::default()), None);
}
