use std::sync::Mutex;

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

/// The requests with which a plan is written that somebody's label comes before, where the policy is required or not. It is
/// not there.
async fn asked_where_the_policy_is(required: bool) -> (Recorded, Vec<String>) {
    let bulk = bulk(&spec(Kind::Execution, TargetStatus::Deleted));
    let mut labelled = bulk.clone();
    labelled.metadata.resource_version = Some("8".into());
    let stored = json!(labelled);
    let puts = Mutex::new(0);
    let (ctx, asked) = answering(move |method, _| {
        let mut puts = puts.lock().unwrap();
        *puts += usize::from(method == "PUT");
        let conflict = method == "PUT" && *puts == 1;
        (if conflict { 409 } else { 200 }, if conflict { json!({}) } else { stored.clone() })
    });
    let ctx = Arc::into_inner(ctx).unwrap();
    let ctx = Arc::new(Context {
        policies: Policies::new(required, None, tokio::sync::watch::Sender::default()),
        ..ctx
    });
    let mut work = work_on(&bulk, None);
    let item = &work.request().items[0];
    let based_on = Some(eligible(item.target).into());
    let plan = ItemPlan { record: entry(item, ItemResult::Planned), based_on };
    let phase = Phase::Proposed(Plan::new(work.entries(), vec![plan], at(1).into()));
    let pulse = ctx.health.pulse();
    let recorded = record(&ctx, &mut work, phase, &pulse).await;
    let mut asked = asked.lock().unwrap().clone();
    asked.retain(|request| !request.contains("configmaps"));
    (recorded, asked)
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_met_a_conflict_is_not_repeated_without_the_policy() {
    let path = "/apis/aiapi.dev/v1alpha1/namespaces/team-a/bulkupdates/nightly";
    let (put, get) = (format!("PUT {path}/status"), format!("GET {path}"));
    let (recorded, asked) = asked_where_the_policy_is(true).await;
    assert!(matches!(recorded, Recorded::Superseded), "{recorded:?}");
    assert_eq!(asked, [&*put, &get]);
    let (recorded, asked) = asked_where_the_policy_is(false).await;
    assert!(matches!(recorded, Recorded::Written(_)), "{recorded:?}");
    assert_eq!(asked, [&*put, &get, &put]);
}
