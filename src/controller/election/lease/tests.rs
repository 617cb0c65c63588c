use serde_json::{from_value, json};

use super::*;

fn lease(spec: &Value) -> Lenient {
    from_value(json!({"metadata": {"name": "a", "resourceVersion": "1"}, "spec": spec})).unwrap()
}

#[test]
fn a_lease_is_free_when_nobody_holds_it_or_it_has_not_changed_for_its_duration() {
    let seconds = Duration::from_secs;
    let own = seconds(15);
    assert!(is_free(&lease(&Value::Null), seconds(0), own));
    assert!(is_free(&lease(&json!({"leaseDurationSeconds": 15})), seconds(0), own));
    assert!(is_free(&lease(&json!({"holderIdentity": "", "leaseDurationSeconds": 15})), seconds(0), own));
    let held = |duration: Value| lease(&json!({"holderIdentity": "a", "leaseDurationSeconds": duration}));
    assert!(!is_free(&held(json!(20)), seconds(20), own));
    assert!(is_free(&held(json!(20)), Duration::from_millis(20_001), own));
    // A duration that makes no sense counts as one's own, and none is indefinite.
    for odd in [json!(null), json!(0), json!(-7), json!("x"), json!(1.5), json!([])] {
        assert!(!is_free(&held(odd.clone()), own, own), "{odd}");
        assert!(is_free(&held(odd.clone()), Duration::from_millis(15_001), own), "{odd}");
    }
    for huge in [json!(i32::MAX), json!(i64::MAX), json!(u64::MAX)] {
        assert!(!is_free(&held(huge.clone()), LONGEST, own), "{huge}");
        assert!(is_free(&held(huge.clone()), LONGEST + seconds(1), own), "{huge}");
    }
}

#[test]
fn what_is_taken_renewed_and_freed_keeps_what_is_of_others() {
    let found = lease(&json!({"holderIdentity": "a", "strategy": "x", "renewTime": "9999-12-31T23:59:59Z",
        "leaseTransitions": 7}));
    let now = "2026-01-02T03:04:05.0000067Z".parse().unwrap();
    let taken = taken_over(renewed(found, Duration::from_secs(15), now), "b", now);
    assert_eq!(holder(&taken), "b");
    let spec = &taken.spec;
    assert_eq!((&spec["strategy"], &spec["leaseTransitions"]), (&json!("x"), &json!(8)));
    assert_eq!(spec["leaseDurationSeconds"], 15);
    let times = (&spec["acquireTime"], &spec["renewTime"]);
    assert_eq!(times, (&json!("2026-01-02T03:04:05.000006Z"), &json!("2026-01-02T03:04:05.000006Z")));
    let freed = freed(taken, "2026-01-02T03:04:06Z".parse().unwrap());
    assert_eq!(freed.spec["renewTime"], "2026-01-02T03:04:06.000000Z");
    assert_eq!((holder(&freed), &freed.spec["strategy"]), ("", &json!("x")));
    for (count, next) in [
        (json!(null), 1),
        (json!(-5), 1),
        (json!("x"), 1),
        (json!(i32::MAX), i64::from(i32::MAX)),
        (json!(i64::MAX), i64::from(i32::MAX)),
    ] {
        let taken = taken_over(lease(&json!({"leaseTransitions": count})), "b", now);
        assert_eq!(taken.spec["leaseTransitions"], next, "{count}");
    }
    let odd = renewed(lease(&json!([1])), Duration::from_secs(1), now);
    assert_eq!(odd.spec["leaseDurationSeconds"], 1);
    // A new Lease had no holder.
    assert_eq!(taken_over(Lenient::new("v1", "Lease", "a"), "b", now).spec["leaseTransitions"], 0);
}
