use std::sync::{Mutex, OnceLock};

use serde_json::json;

use super::*;
use crate::{
    api::{ItemResult, Kind, TargetStatus},
    bulk_update::{
        fixtures::{answering, at, bulk, eligible, record as entry, spec, work_on},
        work::{ItemPlan, Plan},
    },
    observed::admission::Policies,
};

/// When the policy is deleted.
#[derive(Clone, Copy, PartialEq)]
enum Gone {
    Never,
    BeforeTheWrite,
    /// Which meets a conflict with somebody's label.
    DuringTheWrite,
}

/// The requests with which a plan is written that somebody's label comes before.
async fn asked_where_the_policy_is_gone(gone: Gone) -> (Recorded, Vec<String>) {
    let bulk = bulk(&spec(Kind::Execution, TargetStatus::Deleted));
    let mut labelled = bulk.clone();
    labelled.metadata.resource_version = Some("8".into());
    let stored = json!(labelled);
    let puts = Mutex::new(0);
    let policies = Arc::new(OnceLock::<Arc<Context>>::new());
    let of_the_answer = Arc::clone(&policies);
    let (ctx, asked) = answering(move |method, _| {
        let mut puts = puts.lock().unwrap();
        *puts += usize::from(method == "PUT");
        let conflict = method == "PUT" && *puts == 1;
        if conflict && gone == Gone::DuringTheWrite {
            of_the_answer.get().unwrap().policies.lose_the_policy();
        }
        (if conflict { 409 } else { 200 }, if conflict { json!({}) } else { stored.clone() })
    });
    let ctx = Arc::new(Context { policies: Policies::in_force(), ..Arc::into_inner(ctx).unwrap() });
    assert!(policies.set(Arc::clone(&ctx)).is_ok());
    let mut work = work_on(&bulk, None);
    let item = &work.request().items[0];
    let based_on = Some(eligible(item.target).into());
    let plan = ItemPlan { record: entry(item, ItemResult::Planned), based_on };
    let phase = Phase::Proposed(Plan::new(work.entries(), vec![plan], at(1).into()));
    let pulse = ctx.health.pulse();
    if gone == Gone::BeforeTheWrite {
        // While it waits for its slot, for example.
        ctx.policies.lose_the_policy();
    }
    let recorded = record(&ctx, &mut work, phase, &pulse).await;
    let mut asked = asked.lock().unwrap().clone();
    asked.retain(|request| !request.contains("configmaps"));
    (recorded, asked)
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_not_written_without_the_policy() {
    let (recorded, asked) = asked_where_the_policy_is_gone(Gone::BeforeTheWrite).await;
    assert!(matches!(recorded, Recorded::Superseded), "{recorded:?}");
    assert_eq!(asked, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_met_a_conflict_is_not_repeated_without_the_policy() {
    let path = "/apis/aiapi.dev/v1alpha1/namespaces/team-a/bulkupdates/nightly";
    let (put, get) = (format!("PUT {path}/status"), format!("GET {path}"));
    let (recorded, asked) = asked_where_the_policy_is_gone(Gone::DuringTheWrite).await;
    assert!(matches!(recorded, Recorded::Superseded), "{recorded:?}");
    assert_eq!(asked, [&*put, &get]);
    let (recorded, asked) = asked_where_the_policy_is_gone(Gone::Never).await;
    assert!(matches!(recorded, Recorded::Written(_)), "{recorded:?}");
    assert_eq!(asked, [&*put, &get, &put]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_met_a_conflict_may_be_stored_while_nobody_can_look() {
    let bulk = bulk(&spec(Kind::Execution, TargetStatus::Deleted));
    // A proxy has sent it twice, and the second answer is the one that came.
    let (ctx, _) = answering(move |method, _| (if method == "PUT" { 409 } else { 503 }, json!({})));
    let mut work = work_on(&bulk, None);
    let item = &work.request().items[0];
    let based_on = Some(eligible(item.target).into());
    let plan = ItemPlan { record: entry(item, ItemResult::Planned), based_on };
    let phase = Phase::Proposed(Plan::new(work.entries(), vec![plan], at(1).into()));
    let sent = status(&work, &phase, ctx.clock.now());
    let ctx = Arc::new(Context { policies: Policies::in_force(), ..Arc::into_inner(ctx).unwrap() });
    let recorded = record(&ctx, &mut work, phase, &ctx.health.pulse()).await;
    assert!(matches!(recorded, Recorded::Deferred), "{recorded:?}");
    assert!(work.was_applied(&sent));
}
