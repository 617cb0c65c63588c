//! What becomes of a request as a whole.

use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    api::{ItemResult, Kind, Reason, State, TargetStatus},
    bulk_update::{
        decide::{ConditionReason, Planning, plan},
        facts::{Deadline, Gate, Gates, Hindrance, Lookup, Observation, Rules},
        fixtures::{at, bulk, cached, eligible, live, spec, target},
        request::{Request, Start},
    },
    client::clock::Now,
    observed::admission::{Admission, NotInForce, Part},
};

const OPEN: Gates = Gates { executions: Gate::Open, deployments: Gate::Open, invalid: false };

fn off(why: &str) -> Gate {
    Gate::Closed(why.into())
}

fn down() -> Gate {
    Gate::Unknown("503".into())
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

fn looks(request: &Request, look: fn(Option<crate::observed::target::Target>) -> Lookup) -> Vec<Lookup> {
    request.items.iter().map(|item| look(Some(eligible(item.target)))).collect()
}

fn made(request: &Request, looks: &[Lookup], gates: &Gates, seconds: i64) -> Planning {
    plan(request, &seen(looks, Admission::NotRequired, gates), at(seconds).into(), Rules::default())
}

fn seen(looks: &[Lookup], admission: Admission, gates: &Gates) -> Observation {
    Observation { admission, gates: gates.clone(), looks: looks.to_vec(), unlisted: None }
}

#[test]
fn a_request_is_planned_item_by_item_in_its_order() {
    for (dry_run, result) in [(false, ItemResult::Planned), (true, ItemResult::Eligible)] {
        let request = request(&json!({"dryRun": dry_run}));
        let mut looks = looks(&request, cached);
        looks[1] = live(Some(target(State::Running)));
        let Planning::Planned(entries) = made(&request, &looks, &OPEN, 1) else { panic!("not planned") };
        let told: Vec<_> =
            entries.iter().map(|(e, _)| (&*e.id, e.target_status, e.result, e.reason)).collect();
        assert_eq!(
            told,
            [
                ("exec-1", TargetStatus::Stopped, result, None),
                ("exec-2", TargetStatus::Deleted, ItemResult::Refused, Some(Reason::WrongState)),
                ("exec-1", TargetStatus::Stopped, result, None),
            ]
        );
        assert!(entries.iter().all(|(_, rests_on)| rests_on.is_some()));
    }
}

#[test]
fn what_the_cache_would_refuse_is_read_before_anything_waits() {
    let request = request(&json!({}));
    let mut looks = looks(&request, cached);
    looks[0] = cached(None);
    looks[2] = cached(Some(target(State::Dead)));
    assert_eq!(made(&request, &looks, &OPEN, 1), Planning::Read(vec![0, 2]));
    looks[0] = Lookup::Failed("down".into());
    assert_eq!(made(&request, &looks, &OPEN, 1), Planning::Read(vec![2]));
    looks[2] = live(None);
    assert_eq!(made(&request, &looks, &OPEN, 1), Planning::Wait(Hindrance::Waiting, "down".into()));
}

#[test]
fn lateness_comes_before_the_flag_and_the_flag_before_the_objects() {
    let request = request(&json!({"startingDeadlineSeconds": 60}));
    let (unread, failed) =
        (looks(&request, |_| Lookup::Cached(None)), looks(&request, |_| Lookup::Failed("x".into())));
    let gates = |executions: Gate, deployments: Gate, invalid| Gates { executions, deployments, invalid };
    for looks in [&unread, &failed] {
        for gates in [&OPEN, &gates(down(), down(), false), &gates(off("a"), off("a"), true)] {
            let found = made(&request, looks, gates, 61);
            assert!(matches!(found, Planning::Reject(ConditionReason::DeadlineExceeded, _)), "{found:?}");
        }
        let found = made(&request, looks, &gates(down(), down(), false), 60);
        assert_eq!(found, Planning::Wait(Hindrance::FlagUnreadable, "503".into()));
        for closed in [
            gates(off("no"), off("no"), false),
            gates(off("no"), Gate::Open, false),
            gates(Gate::Open, off("no"), false),
        ] {
            let found = made(&request, looks, &closed, 60);
            assert_eq!(found, Planning::Reject(ConditionReason::BulkUpdatesDisabled, "no".into()));
        }
        let found = made(&request, looks, &gates(off("typo"), off("typo"), true), 60);
        assert_eq!(found, Planning::Reject(ConditionReason::MetaInvalid, "typo".into()));
    }
}

#[test]
fn what_was_made_before_authors_were_checked_is_rejected_and_without_the_check_nothing_is_planned() {
    let request = request(&json!({}));
    let looks = looks(&request, live);
    let planned = |admission| plan(&request, &seen(&looks, admission, &OPEN), at(1).into(), Rules::default());
    let gone = NotInForce::Missing(Part::Policy);
    let missing = Admission::Missing(gone.clone());
    assert_eq!(planned(missing.clone()), Planning::Wait(Hindrance::Waiting, gone.to_string()));
    // By the second: what was made in the tenth after the policy may have been made before it was in force everywhere.
    for seconds in [-10, -9, 0, 5] {
        let found = planned(Admission::Since(at(seconds)));
        assert!(matches!(found, Planning::Reject(ConditionReason::NotAuthorized, _)), "{seconds}: {found:?}");
    }
    assert!(matches!(planned(Admission::Since(at(-11))), Planning::Planned(_)));
    // Whatever the flag says: who may not ask is told nothing.
    let closed = Gates { executions: off("no"), deployments: off("no"), invalid: false };
    let found = plan(&request, &seen(&looks, missing.clone(), &closed), at(1).into(), Rules::default());
    assert!(matches!(found, Planning::Wait(Hindrance::Waiting, _)), "{found:?}");
    // It is too late all the same.
    let found = plan(&request, &seen(&looks, missing, &OPEN), at(3601).into(), Rules::default());
    assert!(matches!(found, Planning::Reject(ConditionReason::DeadlineExceeded, _)), "{found:?}");
}

#[test]
fn the_flag_of_a_kind_that_is_not_named_does_not_matter() {
    for kind in Kind::ALL {
        let request = Request::from(&bulk(&spec(kind, TargetStatus::Stopped)));
        for other in [off("no"), down()] {
            let gates = match kind {
                Kind::Execution => Gates { deployments: other, ..OPEN },
                Kind::Deployment => Gates { executions: other, ..OPEN },
            };
            let found = made(&request, &looks(&request, cached), &gates, 1);
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
        let looks = looks(&request, cached);
        assert!(matches!(made(&request, &looks, &OPEN, last), Planning::Planned(_)), "{more}");
        let found = made(&request, &looks, &OPEN, last + 1);
        assert!(matches!(found, Planning::Reject(ConditionReason::DeadlineExceeded, _)), "{more}: {found:?}");
    }
}

#[test]
fn a_rejection_for_lateness_says_which_deadline_it_was() {
    let not_after = request(&json!({"notAfter": at(1).to_string(), "startingDeadlineSeconds": 1}));
    for (request, word) in [(not_after, "notAfter"), (request(&json!({})), "startingDeadlineSeconds")] {
        let Planning::Reject(_, message) = made(&request, &[], &OPEN, 4000) else { panic!("not rejected") };
        assert!(message.starts_with(word), "{message}");
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
    let looks = looks(&request, cached);
    let planned = |now| plan(&request, &seen(&looks, Admission::NotRequired, &OPEN), now, Rules::default());
    assert!(matches!(planned(between(20, 30)), Planning::Planned(_)));
    for late in [between(21, 30), between(15, 41)] {
        assert!(matches!(planned(late), Planning::Reject(ConditionReason::DeadlineExceeded, _)), "{late:?}");
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
    // Whatever the clock is set to in the meantime.
    let set_forward = Now { instant: ms(100_500), ..at(9).into() };
    assert_eq!(Deadline::at(&request, here, set_forward), Deadline::Ahead);
    for (millis, expected) in [(1100, Deadline::Ahead), (2099, Deadline::Ahead), (2100, Deadline::Active)] {
        assert_eq!(Deadline::at(&request, at(0).into(), now(millis)), expected, "{millis}");
    }
}

#[test]
fn that_the_clocks_differ_is_told_where_it_has_decided() {
    let behind = |seconds| Now { own: at(seconds - 90), ..at(seconds).into() };
    let told = "by the API server's clock, which is 90 s ahead of the operator's";
    for more in [json!({"startingDeadlineSeconds": 20}), json!({"notAfter": at(20).to_string()})] {
        let request = request(&more);
        let message =
            |now| match plan(&request, &seen(&[], Admission::NotRequired, &OPEN), now, Rules::default()) {
                Planning::Reject(_, message) => message,
                other => panic!("{other:?}"),
            };
        assert!(message(behind(30)).contains(told), "{}", message(behind(30)));
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
            remarks.then_some(told),
            "{deadline:?}"
        );
    }
}
