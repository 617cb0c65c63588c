//! Values at and beyond the bounds of the types.

use serde_json::json;

use crate::api::BulkUpdateSpec;

fn spec(field: &str, value: &serde_json::Value) -> serde_json::Result<BulkUpdateSpec> {
    serde_json::from_str(&json!({field: value}).to_string())
}

#[test]
fn numbers_of_seconds_have_no_bound() {
    for (value, held) in [
        (json!(null), None),
        (json!(0), Some(0)),
        (json!(i32::MAX), Some(i32::MAX)),
        (json!(3_000_000_000_u32), Some(i32::MAX)),
        (json!(u64::MAX), Some(i32::MAX)),
        (json!(-3_000_000_000_i64), Some(i32::MIN)),
        (json!(i64::MIN), Some(i32::MIN)),
        (json!(60.0), Some(60)),
        (json!(1e300), Some(i32::MAX)),
        (json!(-1e300), Some(i32::MIN)),
    ] {
        let held_by = |field| spec(field, &value).unwrap();
        assert_eq!(held_by("startingDeadlineSeconds").starting_deadline_seconds, held, "{value}");
        assert_eq!(held_by("activeDeadlineSeconds").active_deadline_seconds, held, "{value}");
        assert_eq!(held_by("ttlSecondsAfterFinished").ttl_seconds_after_finished, held, "{value}");
    }
    for value in [json!(1.5), json!("60"), json!(true), json!([60]), json!({})] {
        assert!(spec("ttlSecondsAfterFinished", &value).is_err(), "{value}");
    }
}

#[test]
fn the_end_of_time_means_never_and_a_day_that_there_is_not_is_no_time() {
    let at = |text: &str| spec("notAfter", &json!(text)).map(|spec| spec.not_after.unwrap().0);
    let max = k8s_openapi::jiff::Timestamp::MAX;
    assert_eq!(at("9999-12-31T23:59:59Z").unwrap(), max);
    assert_eq!(at("9999-12-31T23:59:59-23:59").unwrap(), max);
    assert!(at("0000-01-01T00:00:00Z").unwrap() < at("1970-01-01T00:00:00Z").unwrap());
    assert!(at("2026-02-30T00:00:00Z").unwrap_err().to_string().contains("there is no such time"));
    assert_eq!(spec("notAfter", &json!(null)).unwrap().not_after, None);
}
