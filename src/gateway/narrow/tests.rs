use serde_json::json;

use super::*;

fn others(names: &[&str]) -> Others {
    Others { names: names.iter().map(|name| (*name).to_owned()).collect(), narrowing: None }
}

#[test]
fn what_a_bulk_update_has_is_refused_by_name_and_all_else_is_ignored() {
    assert_eq!(refuse_fields("", &others(&["note", "", "dry", "uids", "x-uid"])), Ok(()));
    for field in FIELDS {
        let problem = refuse_fields("executions[3].", &others(&["note", field])).unwrap_err();
        assert_eq!(problem.message, format!("executions[3].{field} cannot be set here; nothing was done"));
    }
    for name in ["dry_run", "DryRun", "dry-run", "$dryRun", "DRYRUN", "dry run"] {
        let problem = refuse_fields("", &others(&[name])).unwrap_err();
        assert_eq!(problem.message, format!("{name} is unknown: did you mean dryRun? Nothing was done"));
    }
    let long = format!("u{}id", "_".repeat(1000));
    assert!(refuse_fields("", &others(&[&long])).unwrap_err().message.len() < 200);
}

#[test]
fn what_would_narrow_a_request_is_refused_at_any_depth() {
    let refused = |body: Value| refuse_fields("executions[3].", &serde_json::from_value(body).unwrap());
    for fine in [
        json!({"more": {"id": "x", "metadata": {"executions": ["uid", 7, null, true]}}}),
        json!({"more": [[{"dry": 1}]], "uids": {}}),
    ] {
        assert_eq!(refused(fine.clone()), Ok(()), "{fine}");
    }
    for (body, path) in [
        (json!({"preconditions": {"uid": "other"}}), "preconditions.uid"),
        (json!({"note": 1, "options": {"a": [{}, [{"dry_run": null}]]}}), "options.a[1][0].dry_run"),
        (json!({"options": [{"notAfter": 1}]}), "options[0].notAfter"),
    ] {
        let message = refused(body).unwrap_err().message;
        let expected = "is not known here, and would narrow the request; nothing was done";
        assert_eq!(message, format!("executions[3].{path} {expected}"));
    }
    for name in NARROWING {
        assert!(FIELDS.iter().any(|field| plain(field) == name), "{name}");
    }
    let long = "x".repeat(1000);
    assert!(refused(json!({long: {"uid": 1}})).unwrap_err().message.len() < 400);
}

#[test]
fn the_fields_are_those_of_a_bulk_update() {
    let item = crate::api::BulkUpdateItem {
        id: "exec-1".into(),
        target_status: crate::api::TargetStatus::Stopped,
        uid: Some("uid".into()),
    };
    let spec = crate::api::BulkUpdateSpec {
        executions: Some(vec![item.clone()]),
        deployments: Some(vec![item]),
        dry_run: Some(true),
        not_after: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
        )),
        starting_deadline_seconds: Some(1),
        active_deadline_seconds: Some(1),
        ttl_seconds_after_finished: Some(1),
    };
    let spec = serde_json::to_value(spec).unwrap();
    let names = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for name in [names(&spec), names(&spec["executions"][0])].concat() {
        assert!(FIELDS.contains(&&*name), "{name}");
    }
}
