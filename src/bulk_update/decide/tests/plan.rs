//! How a request as a whole is planned.

use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    api::{ItemResult, Kind, Reason, State, TargetStatus},
    bulk_update::{
        decide::{Planning, plan},
        facts::{Deadline, Gate, Gates, Lookup, Observation, Obstacle, Rejection, Rules},
        fixtures::{self, at, bulk, cached, eligible, live, spec, target, unread},
        request::{Request, Start},
    },
    client::clock::Now,
    observed::{
        InvalidFlag,
        admission::{Admission, BULK_UPDATES, NotInForce, Object, Part},
    },
};

const OPEN: Gates = Gates { executions: Gate::Open, deployments: Gate::Open };

fn off() -> Gate {
    Gate::Closed(fixtures::off())
}

fn invalid() -> Gate {
    Gate::Closed(Rejection::InvalidFlag { place: "the flag".into(), why: InvalidFlag::Empty })
}

fn down() -> Gate {
    Gate::Unknown(unread("503"))
}

/// Two Executions and a Deployment.
fn request(more: &Value) -> Request {
    let mut spec = json!({
        "executions": [{"id": "exec-1", "targetStatus": "STOPPED"}, {"id": "exec-2", "targetStatus": "DELETED"}],
        "deployments": [{"id": "exec-1", "targetStatus": "STOPPED"}],
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    Request::from(&bulk(&spec))
}

fn lookups(request: &Request, lookup: fn(Option<crate::observed::target::Target>) -> Lookup) -> Vec<Lookup> {
    request.items.iter().map(|item| lookup(Some(eligible(item.target)))).collect()
}

fn made(request: &Request, lookups: &[Lookup], gates: &Gates, seconds: i64) -> Planning {
    plan(request, &seen(lookups, Admission::NotRequired, gates), at(seconds).into(), Rules::default())
}

fn seen(lookups: &[Lookup], admission: Admission, gates: &Gates) -> Observation {
    Observation {
        at: Instant::now(),
        admission,
        gates: gates.clone(),
        lookups: lookups.to_vec(),
        not_listed: None,
    }
}

#[test]
fn a_request_is_planned_item_by_item_in_its_order() {
    for (dry_run, result) in [(false, ItemResult::Planned), (true, ItemResult::Eligible)] {
        let request = request(&json!({"dryRun": dry_run}));
        let mut lookups = lookups(&request, cached);
        lookups[1] = live(Some(target(State::Running)));
        let Planning::Planned(entries) = made(&request, &lookups, &OPEN, 1) else { panic!("not planned") };
        let reported: Vec<_> = entries
            .iter()
            .map(|plan| &plan.record)
            .map(|e| (&*e.id, e.target_status, e.result, e.reason))
            .collect();
        assert_eq!(
            reported,
            [
                ("exec-1", TargetStatus::Stopped, result, None),
                ("exec-2", TargetStatus::Deleted, ItemResult::Refused, Some(Reason::WrongState)),
                ("exec-1", TargetStatus::Stopped, result, None),
            ]
        );
        assert!(entries.iter().all(|plan| plan.based_on.is_some()));
    }
}

#[test]
fn what_the_cache_would_refuse_is_read_before_anything_waits() {
    let request = request(&json!({}));
    let mut lookups = lookups(&request, cached);
    lookups[0] = cached(None);
    lookups[2] = cached(Some(target(State::Dead)));
    assert_eq!(made(&request, &lookups, &OPEN, 1), Planning::Read(vec![0, 2]));
    lookups[0] = Lookup::Failed(unread("down"));
    assert_eq!(made(&request, &lookups, &OPEN, 1), Planning::Read(vec![2]));
    lookups[2] = live(None);
    assert_eq!(made(&request, &lookups, &OPEN, 1), Planning::Wait(unread("down")));
}

#[test]
fn lateness_comes_before_the_flag_and_the_flag_before_the_objects() {
    let request = request(&json!({"startingDeadlineSeconds": 60}));
    let (cached, failed) =
        (lookups(&request, |_| Lookup::Cached(None)), lookups(&request, |_| Lookup::Failed(unread("x"))));
    let gates = |executions: Gate, deployments: Gate| Gates { executions, deployments };
    for lookups in [&cached, &failed] {
        for gates in [&OPEN, &gates(down(), down()), &gates(invalid(), invalid())] {
            let found = made(&request, lookups, gates, 61);
            assert!(matches!(found, Planning::Reject(Rejection::TooLate { .. })), "{found:?}");
        }
        let found = made(&request, lookups, &gates(down(), down()), 60);
        assert_eq!(found, Planning::Wait(unread("503")));
        for closed in [gates(off(), off()), gates(off(), Gate::Open), gates(Gate::Open, off())] {
            let found = made(&request, lookups, &closed, 60);
            assert_eq!(found, Planning::Reject(fixtures::off()));
        }
        let found = made(&request, lookups, &gates(invalid(), invalid()), 60);
        assert!(matches!(found, Planning::Reject(Rejection::InvalidFlag { .. })), "{found:?}");
    }
}

#[test]
fn what_was_made_before_authors_were_checked_is_rejected_and_without_the_check_nothing_is_planned() {
    let request = request(&json!({}));
    let lookups = lookups(&request, live);
    let planned =
        |admission| plan(&request, &seen(&lookups, admission, &OPEN), at(1).into(), Rules::default());
    let gone = NotInForce::Missing(Object { part: Part::Policy, name: BULK_UPDATES });
    let missing = Admission::Missing(gone.clone());
    assert_eq!(planned(missing.clone()), Planning::Wait(Obstacle::Admission(gone)));
    // In whole seconds: an object of the tenth second after the policy may have been created before it was in force
    // everywhere.
    for seconds in [-10, -9, 0, 5] {
        let found = planned(Admission::Since(at(seconds)));
        assert!(matches!(found, Planning::Reject(Rejection::NotAuthorized)), "{seconds}: {found:?}");
    }
    assert!(matches!(planned(Admission::Since(at(-11))), Planning::Planned(_)));
    // Whatever the flag says: an unchecked author learns nothing about it.
    let closed = Gates { executions: off(), deployments: off() };
    let found = plan(&request, &seen(&lookups, missing.clone(), &closed), at(1).into(), Rules::default());
    assert!(matches!(found, Planning::Wait(Obstacle::Admission(_))), "{found:?}");
    // It is too late all the same.
    let found = plan(&request, &seen(&lookups, missing, &OPEN), at(3601).into(), Rules::default());
    assert!(matches!(found, Planning::Reject(Rejection::TooLate { .. })), "{found:?}");
}

#[test]
fn the_flag_of_a_kind_that_is_not_named_does_not_matter() {
    for kind in Kind::ALL {
        let request = Request::from(&bulk(&spec(kind, TargetStatus::Stopped)));
        for other in [off(), down()] {
            let gates = match kind {
                Kind::Execution => Gates { deployments: other, ..OPEN },
                Kind::Deployment => Gates { executions: other, ..OPEN },
            };
            let found = made(&request, &lookups(&request, cached), &gates, 1);
            assert!(matches!(found, Planning::Planned(_)), "{found:?}");
        }
    }
}

#[test]
fn the_time_to_begin_ends_with_its_last_second() {
    for (more, last) in [
        (json!({}), 3600),
        (json!({"startingDeadlineSeconds": 0}), 0),
        (json!({"startingDeadlineSeconds": 5}), 5),
        (json!({"notAfter": at(7).to_string()}), 7),
        (json!({"notAfter": at(7).to_string(), "startingDeadlineSeconds": 9}), 7),
        (json!({"notAfter": at(7).to_string(), "startingDeadlineSeconds": 5}), 5),
        (json!({"notAfter": at(-1).to_string()}), -1),
    ] {
        let request = request(&more);
        let lookups = lookups(&request, cached);
        assert!(matches!(made(&request, &lookups, &OPEN, last), Planning::Planned(_)), "{more}");
        let found = made(&request, &lookups, &OPEN, last + 1);
        assert!(matches!(found, Planning::Reject(Rejection::TooLate { .. })), "{more}: {found:?}");
    }
}

#[test]
fn a_rejection_for_lateness_says_which_deadline_it_was() {
    let not_after = request(&json!({"notAfter": at(1).to_string(), "startingDeadlineSeconds": 1}));
    for (request, word) in [(not_after, "notAfter"), (request(&json!({})), "startingDeadlineSeconds")] {
        let Planning::Reject(why) = made(&request, &[], &OPEN, 4000) else { panic!("not rejected") };
        assert!(why.to_string().contains(word), "{why}");
    }
}

#[test]
fn writing_ends_with_the_last_second_of_a_deadline() {
    let with = |more: &Value| request(more);
    let both = with(&json!({"activeDeadlineSeconds": 10, "notAfter": at(105).to_string()}));
    let start = at(100);
    for (request, seconds, expected) in [
        (&with(&json!({})), 1_000_000, Deadline::Ahead),
        (&with(&json!({"activeDeadlineSeconds": 10})), 111, Deadline::Ahead),
        (&with(&json!({"activeDeadlineSeconds": 10})), 112, Deadline::Active),
        (&with(&json!({"notAfter": at(105).to_string()})), 105, Deadline::Ahead),
        (&with(&json!({"notAfter": at(105).to_string()})), 106, Deadline::NotAfter),
        (&both, 105, Deadline::Ahead),
        (&both, 106, Deadline::NotAfter),
        (&both, 112, Deadline::Active),
    ] {
        assert_eq!(Deadline::at(request, start.into(), at(seconds).into()), expected, "{seconds}");
    }
}

fn between(earliest: i64, latest: i64) -> Now {
    Now { earliest: at(earliest), latest: at(latest), ..at(earliest).into() }
}

#[test]
fn not_after_goes_by_the_latest_that_it_may_be_and_all_else_by_the_earliest() {
    let request = request(&json!({
        "startingDeadlineSeconds": 20, "activeDeadlineSeconds": 20, "notAfter": at(40).to_string()
    }));
    let lookups = lookups(&request, cached);
    let planned = |now| plan(&request, &seen(&lookups, Admission::NotRequired, &OPEN), now, Rules::default());
    assert!(matches!(planned(between(20, 30)), Planning::Planned(_)));
    for late in [between(21, 30), between(15, 41)] {
        assert!(matches!(planned(late), Planning::Reject(Rejection::TooLate { .. })), "{late:?}");
    }
    let start = at(0).into();
    assert_eq!(Deadline::at(&request, start, between(21, 40)), Deadline::Ahead);
    assert_eq!(Deadline::at(&request, start, between(22, 30)), Deadline::Active);
    assert_eq!(Deadline::at(&request, start, between(15, 41)), Deadline::NotAfter);
}

#[test]
fn the_process_that_has_planned_counts_from_that_very_moment_and_another_one_is_not_early() {
    let request = request(&json!({"activeDeadlineSeconds": 1}));
    let ms = Duration::from_millis;
    let now = |millis: u64| Now {
        instant: ms(100_000 + millis),
        ..(at(0) + SignedDuration::from_millis(900 + i64::try_from(millis).unwrap())).into()
    };
    // Planned at 0.9 s.
    let here = Start { time: at(0), instant: Some(ms(100_000)) };
    for (millis, expected) in [(0, Deadline::Ahead), (999, Deadline::Ahead), (1000, Deadline::Active)] {
        assert_eq!(Deadline::at(&request, here, now(millis)), expected, "{millis}");
    }
    // Whatever the wall clock is set to meanwhile.
    let set_forward = Now { instant: ms(100_500), ..at(9).into() };
    assert_eq!(Deadline::at(&request, here, set_forward), Deadline::Ahead);
    for (millis, expected) in [(1100, Deadline::Ahead), (2099, Deadline::Ahead), (2100, Deadline::Active)] {
        assert_eq!(Deadline::at(&request, at(0).into(), now(millis)), expected, "{millis}");
    }
}

#[test]
fn that_the_clocks_differ_is_reported_where_it_has_decided() {
    let behind = |seconds| Now { own: at(seconds - 90), ..at(seconds).into() };
    let expected = "by the API server's clock, which is 90 s ahead of the operator's";
    for more in [json!({"startingDeadlineSeconds": 20}), json!({"notAfter": at(20).to_string()})] {
        let request = request(&more);
        let message =
            |now| match plan(&request, &seen(&[], Admission::NotRequired, &OPEN), now, Rules::default()) {
                Planning::Reject(why) => why.to_string(),
                other => panic!("{other:?}"),
            };
        assert!(message(behind(30)).contains(expected), "{}", message(behind(30)));
        for now in [behind(200), at(30).into()] {
            assert!(!message(now).contains("clock"), "{}", message(now));
        }
    }
    let request = request(&json!({"activeDeadlineSeconds": 20, "notAfter": at(20).to_string()}));
    let here = Start { time: at(0), instant: Some(Duration::ZERO) };
    for (deadline, start, remarks) in [
        (Deadline::NotAfter, here, true),
        (Deadline::Active, at(0).into(), true),
        (Deadline::Active, here, false),
        (Deadline::Ahead, here, false),
    ] {
        assert_eq!(
            deadline.remark(&request, start, behind(30)).as_deref(),
            remarks.then_some(expected),
            "{deadline:?}"
        );
    }
}
