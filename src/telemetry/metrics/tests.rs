//! What can be scraped, before and after events.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

fn registered(metrics: &Metrics) -> String {
    let mut registry = crate::server::probes::registry();
    metrics.register(&mut registry);
    metrics.refresh(&Health::default(), &Leadership::default(), &Clock::default());
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

/// The lines that have a value, without it.
fn series(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0).collect()
}

fn refused(code: u16) -> Failure {
    Failure::Refused { code, message: String::new(), retry_after: None }
}

#[test]
fn what_can_be_counted_is_zero_before_the_first_event() {
    let text = registered(&Metrics::default());
    for line in [
        r#"aiapi_bulkupdates_finished_total{outcome="NotAuthorized"} 0"#,
        r#"aiapi_bulkupdates_finished_total{outcome="Settled"} 0"#,
        r#"aiapi_bulkupdate_items_total{kind="Deployment",verb="stop",result="Failed"} 0"#,
        r#"aiapi_bulkupdate_items_total{kind="Execution",verb="delete",result="Eligible"} 0"#,
        r#"aiapi_writes_total{kind="Execution",verb="stop",outcome="unanswered"} 0"#,
        r#"aiapi_retries_total{reason="forbidden"} 0"#,
        r#"aiapi_conflicts_total{resource="bulkupdates"} 0"#,
        r#"aiapi_unreadable_total{resource="executions"} 0"#,
        r#"aiapi_watch_restarts_total{resource="deployments"} 0"#,
        r#"aiapi_watch_restarts_total{resource="validatingadmissionpolicybindings"} 0"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
    }
}

#[test]
fn no_event_makes_a_series_that_was_not_there() {
    let metrics = Metrics::default();
    let before = registered(&metrics);
    let mut failures: Vec<_> = (400..600).map(refused).collect();
    let others = [Failure::NotServed, Failure::NotSent, Failure::NoAnswer, Failure::Unreadable];
    failures.extend(others.map(|f| f(String::new())));
    for resource in RESOURCES {
        metrics.unreadable(resource);
        for failure in &failures {
            metrics.failed(resource, failure);
        }
    }
    for resource in RESOURCES.into_iter().chain(WATCHED_BESIDES) {
        metrics.watch_failed(resource);
    }
    for (kind, target) in Kind::ALL.into_iter().flat_map(|kind| VERBS.map(|target| (kind, target))) {
        metrics.written((kind, target), "uid-1", &Ok(()));
        for failure in &failures {
            metrics.written::<()>((kind, target), "uid-1", &Err(failure.clone()));
        }
    }
    let after = registered(&metrics);
    assert_eq!(series(&before), series(&after));
    // And each series can be counted into.
    for name in ["writes", "retries", "conflicts", "unreadable", "watch_restarts"] {
        let name = format!("aiapi_{name}_total{{");
        let idle = after.lines().filter(|line| line.starts_with(&name) && line.ends_with(" 0"));
        assert_eq!(idle.collect::<Vec<_>>(), Vec::<&str>::new());
    }
}

#[test]
fn no_metric_lacks_its_help_and_none_was_forgotten() {
    let metrics = Metrics::default();
    metrics.last_watch_event.get_or_create(&of_resource(RESOURCES[0])).set(1.0);
    let text = registered(&metrics);
    let names = |mark: &str| -> BTreeSet<_> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(mark)?.trim_start().split_once(' '));
        lines.filter(|(_, words)| !words.trim_matches(['.', ' ']).is_empty()).map(|(name, _)| name).collect()
    };
    let (helps, types) = (names("# HELP"), names("# TYPE"));
    assert_eq!(helps, types);
    // One for each field that is registered, and the version.
    assert_eq!(types.len(), 20, "{types:?}");
    for line in series(&text).into_iter().filter(|line| *line != "# EOF") {
        assert!(types.iter().any(|name| line.starts_with(name)), "{line}");
    }
}

const CREATED: i64 = 1_767_268_800;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(CREATED + seconds).unwrap()
}

/// Records a change of its status.
fn record(metrics: &Metrics, status: &mut BulkUpdateStatus, to: Value) {
    let before = std::mem::replace(status, serde_json::from_value(to).unwrap());
    metrics.recorded(&StatusWritten {
        uid: "uid-1",
        created: at(0),
        last_write: None,
        before: &before,
        after: status,
        expired: true,
        now: at(0),
    });
}

fn ready(status: &str, reason: &str) -> Value {
    json!([{"type": "Ready", "status": status, "reason": reason, "message": "", "lastTransitionTime": at(0).to_string()}])
}

fn rejected_late() -> Value {
    json!({"completionTime": at(3600).to_string(), "conditions": ready("False", "DeadlineExceeded")})
}

fn value(metrics: &Metrics, series: &str) -> String {
    let text = registered(metrics);
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    lines.next().unwrap_or_else(|| panic!("{series} is not in:\n{text}")).to_owned()
}

#[test]
fn what_waits_to_be_planned_is_shown_by_the_oldest_until_it_is_planned_rejected_or_gone() {
    let oldest = "aiapi_bulkupdates_oldest_unplanned_timestamp_seconds";
    let metrics = Metrics::default();
    assert_eq!(value(&metrics, oldest), "0");
    let planned = json!({"startTime": at(1).to_string()});
    for end in [planned.clone(), rejected_late()] {
        let mut status = BulkUpdateStatus::default();
        let _waits = metrics.taken_up("uid-1", at(0), None);
        let younger = metrics.taken_up("uid-2", at(30), None);
        assert_eq!(value(&metrics, oldest), CREATED.to_string());
        // Its status says why it waits.
        record(&metrics, &mut status, json!({"conditions": ready("False", "Waiting")}));
        assert_eq!(value(&metrics, oldest), CREATED.to_string());
        record(&metrics, &mut status, end);
        assert_eq!(value(&metrics, oldest), (CREATED + 30).to_string());
        // Deleted, or the operator does not work on it any more.
        drop(younger);
        assert_eq!(value(&metrics, oldest), "0");
    }
    // What was planned before this process took it up does not wait.
    let _planned = metrics.taken_up("uid-3", at(0), Some(&serde_json::from_value(planned).unwrap()));
    assert_eq!(value(&metrics, oldest), "0");
}

#[test]
fn what_has_ended_in_another_way_has_not_expired() {
    for (reason, counted) in [("DeadlineExceeded", "1"), ("NotAuthorized", "0"), ("Settled", "0")] {
        let metrics = Metrics::default();
        let finished = json!({"completionTime": at(3601).to_string(), "conditions": ready("False", reason)});
        record(&metrics, &mut BulkUpdateStatus::default(), finished);
        assert_eq!(value(&metrics, "aiapi_bulkupdates_expired_total"), counted, "{reason}");
    }
}

#[test]
fn an_outcome_that_is_not_known_is_counted_once_at_the_end() {
    let metrics = Metrics::default();
    let unknown = |verb: &str| {
        value(
            &metrics,
            &format!("aiapi_bulkupdate_items_outcome_unknown_total{{kind=\"Execution\",verb=\"{verb}\"}}"),
        )
    };
    let item = |reason: &str| json!([{"id": "item", "targetStatus": "STOPPED", "result": "Failed", "reason": reason}]);
    for (reason, counted) in [("WrongState", "0"), ("OutcomeUnknown", "1")] {
        let mut status = BulkUpdateStatus::default();
        record(&metrics, &mut status, json!({"startTime": at(1).to_string(), "executions": item(reason)}));
        let finished = json!({"startTime": at(1).to_string(), "completionTime": at(2).to_string(),
            "executions": item(reason), "conditions": ready("False", "ItemsFailed")});
        record(&metrics, &mut status, finished.clone());
        // A newer generation is observed.
        record(&metrics, &mut status, finished);
        assert_eq!((unknown("stop").as_str(), unknown("delete").as_str()), (counted, "0"), "{reason}");
    }
}
