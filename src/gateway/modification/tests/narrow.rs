//! What makes a request do less, or makes it none.

use super::*;

#[test]
fn what_narrows_a_request_is_honoured_or_refused() {
    let item = |more: Value| {
        let mut item = json!({"id": "item-0", "targetStatus": "STOPPED"});
        item.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        item
    };
    let of = |top: Value, more: Value| {
        let mut body = json!({"executions": [item(json!({})), item(more)]});
        body["executions"][1]["id"] = "item-1".into();
        body.as_object_mut().unwrap().extend(top.as_object().cloned().unwrap());
        bulk(Kind::Execution, body.to_string().as_bytes())
    };
    let asked = of(json!({"dryRun": true}), json!({"uid": "its uid"})).unwrap();
    assert!(asked.dry_run && asked.items[0].uid.is_none());
    assert_eq!(asked.items[1].uid.as_deref(), Some("its uid"));
    assert!(!of(json!({"dryRun": null}), json!({"uid": null})).unwrap().dry_run);
    for (top, more, expected) in [
        (json!({"dryRun": "true"}), json!({}), "dryRun: invalid type: string"),
        (json!({"dryRun": 1}), json!({}), "dryRun: invalid type: integer"),
        (json!({"dryrun": true}), json!({}), "dryrun is unknown: did you mean dryRun?"),
        (json!({"uid": "one"}), json!({}), "uid cannot be set here"),
        (json!({"notAfter": "2020-01-01T00:00:00Z"}), json!({}), "notAfter cannot be set here"),
        (json!({"activeDeadlineSeconds": null}), json!({}), "activeDeadlineSeconds cannot be set here"),
        (json!({}), json!({"dryRun": true}), "executions[1].dryRun cannot be set here"),
        (json!({}), json!({"uid": 7}), "executions[1].uid: invalid type: integer"),
        (json!({}), json!({"UID": "one"}), "executions[1].UID is unknown: did you mean uid?"),
    ] {
        let problem = of(top, more).unwrap_err();
        assert_eq!(problem.code.status(), StatusCode::BAD_REQUEST);
        assert!(problem.message.contains(expected), "{}", problem.message);
    }
    let one = |more: Value| stop(Kind::Execution, "item-0".into(), item(more).to_string().as_bytes());
    let asked = one(json!({"dryRun": true, "uid": "its uid"})).unwrap();
    assert!(asked.dry_run && asked.items[0].uid.as_deref() == Some("its uid"));
    assert_eq!(one(json!({"id": "item-0"})), Ok(stopped()));
    for (more, expected) in [
        (json!({"id": "item-1"}), "id is not the one in the path"),
        (json!({"notAfter": "2020-01-01T00:00:00Z"}), "notAfter cannot be set here"),
        (json!({"executions": []}), "executions cannot be set here"),
    ] {
        assert!(one(more).unwrap_err().message.contains(expected));
    }
}

#[test]
fn a_dry_run_says_what_would_be_done() {
    let eligible = |id, target_status| entry(id, target_status, ItemResult::Eligible, None);
    let items = [("item-0", TargetStatus::Stopped), ("item-1", TargetStatus::Deleted)]
        .map(|(id, target_status)| BulkUpdateItem { id: id.into(), target_status, uid: None });
    let asked = Asked { items: items.into(), dry_run: true, how: Preferences::default() };
    let status = status_of(
        Kind::Execution,
        vec![eligible("item-0", TargetStatus::Stopped), eligible("item-1", TargetStatus::Deleted)],
    );
    let answer = answer(Kind::Execution, &asked, &status, &invocation());
    let messages = [0, 1].map(|at| answer["executions"][at]["message"].as_str().unwrap().to_owned());
    assert_eq!(messages, ["Execution would be stopped", "Execution would be deleted"]);
}

#[test]
fn a_list_in_place_of_an_object_is_no_request() {
    for body in
        [r#"[[{"id":"item-0","targetStatus":"STOPPED"}],null]"#, r#"{"executions":[["item-0","STOPPED"]]}"#]
    {
        refused(Kind::Execution, body);
    }
    for body in [r#"["STOPPED",null]"#, r#"["STOPPED"]"#] {
        assert_eq!(
            stop(Kind::Execution, "item-0".into(), body.as_bytes()).unwrap_err().code.status(),
            StatusCode::BAD_REQUEST,
            "{body}"
        );
    }
}
