//! Bad input from the cluster: thousands of objects that chance has made from the CRDs' schemas, and against them, are
//! sent to the API server while the operator runs. It neither panics nor stops serving the others, and it refuses with
//! a sentence. A program of its own, because it changes the CRDs.
//!
//! `BAD_INPUT_SEED` and `BAD_INPUT_COUNT` set the seed and the number of objects.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod flag;
mod hostile;
mod inputs;
mod judge;
mod schema;
mod send;
mod tally;

use std::{env, time::Instant};

use ai_api_operator::api::{ItemResult, Kind};
use serde_json::json;

use self::{
    inputs::{BULK_UPDATE, DEPLOYMENT, EXECUTION, Inputs, Round, Sort},
    judge::Known,
    send::{clear_bulk_updates, create, path, would_take},
    support::{World, count, until},
    tally::Tally,
};

const SORTS: [Sort; 3] = [EXECUTION, DEPLOYMENT, BULK_UPDATE];

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_sent_the_operator_goes_on_serving_the_others_and_refuses_with_a_sentence() {
    let seed = setting("BAD_INPUT_SEED", 1);
    let total = usize::try_from(setting("BAD_INPUT_COUNT", 10_000)).unwrap();
    println!("BAD_INPUT_SEED={seed} BAD_INPUT_COUNT={total}");
    let Inputs { strict, loose, forged, after, flags } = inputs::generate(seed, total);
    let flags = tokio::spawn(flag::each_text_is_heeded(flags));

    let world = World::running("bad-input").await;
    let (mut known, mut tally) = (Known::default(), Tally::default());
    for (n, round) in strict.into_iter().enumerate() {
        serve(&world, &format!("strict-{n}"), round, &mut known, &mut tally).await;
        clear_bulk_updates(&world, BULK_UPDATE).await;
    }

    // A change of a CRD ends all watches of it, those of this test too.
    let (flag_world, flag_tally) = flags.await.unwrap();
    tally.merge(flag_tally);

    // Objects that the schema does not allow, as a change of it leaves behind. The status of BulkUpdates is the
    // operator's own, and keeps its schema for now.
    for sort in SORTS {
        let parts: &[&str] = if sort == BULK_UPDATE { &["spec"] } else { &["spec", "status"] };
        world.loosen(&crd(sort), parts);
        until_it_takes_loose_specs(&world, sort, true).await;
    }
    serve(&world, "loose", loose, &mut known, &mut tally).await;

    world.loosen(&crd(BULK_UPDATE), &["spec", "status"]);
    let probe = format!("{}/well-formed-loose/status", path(&world, BULK_UPDATE));
    let loose_status = || would_take(&world, "PATCH", &probe, json!({"status": 7}).to_string());
    until("the loosened status", loose_status).await;
    let made = create(&world, forged, &mut tally).await;
    known.bulk_updates(&made);
    a_well_formed_one_is_served(&world, "forged", &mut known, &mut tally).await;
    known.until_each_undecodable_is_reported(&world, &made, &mut tally).await;
    known.until_no_forged_one_is_stuck(&world, &made).await;

    for sort in SORTS {
        world.put_back(&crd(sort));
        until_it_takes_loose_specs(&world, sort, false).await;
    }
    serve(&world, "after", Round { targets: Vec::new(), bulk_updates: after }, &mut known, &mut tally).await;

    let writes = known.the_operator_wrote_only_what_was_asked_for(&world);
    assert!(writes > 0, "nothing was carried out: the inputs are all bad");
    for mut world in [world, flag_world] {
        assert!(world.operator.is_running(), "it has ended:\n{}", world.operator.log());
        let log = world.operator.log();
        assert!(!log.contains("panicked"), "{log}");
        let forged = log.lines().find(|line| !line.starts_with("20"));
        assert_eq!(forged, None, "a line of the log that somebody else has written");
    }
    println!("{tally}; writes to targets: {writes}");
    assert!(tally.total() >= total, "fewer inputs than promised");
}

fn crd(sort: Sort) -> String {
    format!("{}.aiapi.dev", sort.plural)
}

/// The schema in force changes a moment after the CRD has.
async fn until_it_takes_loose_specs(world: &World, sort: Sort, takes: bool) {
    let object = format!(
        r#"{{"apiVersion": "aiapi.dev/v1alpha1", "kind": "{}", "metadata": {{"name": "probe"}}, "spec": {}}}"#,
        sort.kind, sort.loose_spec
    );
    let path = path(world, sort);
    until("the changed schema", || async { would_take(world, "POST", &path, object.clone()).await == takes })
        .await;
}

/// Sends a round, with a well-formed BulkUpdate in its midst.
async fn serve(world: &World, name: &str, round: Round, known: &mut Known, tally: &mut Tally) {
    let begun = Instant::now();
    known.targets(&create(world, round.targets, tally).await);
    let made = create(world, round.bulk_updates, tally).await;
    known.bulk_updates(&made);
    let sent = begun.elapsed();
    a_well_formed_one_is_served(world, name, known, tally).await;
    known.until_each_has_its_answer(world, &made, tally).await;
    println!("{name}: sent in {sent:?}, over after {:?}", begun.elapsed());
}

async fn a_well_formed_one_is_served(world: &World, round: &str, known: &mut Known, tally: &mut Tally) {
    let name = format!("well-formed-{round}");
    world.own(Kind::Execution, &name, "RUNNING").await;
    world.own(Kind::Deployment, &name, "STOPPED").await;
    let begun = Instant::now();
    let spec = json!({"executions": [{"id": name, "targetStatus": "STOPPED"}],
        "deployments": [{"id": name, "targetStatus": "DELETED"}]});
    known.request(world.submit(&name, spec).await);
    let status = world.finished(&name).await;
    assert_eq!(count(&status, ItemResult::Settled), 2, "{status:?}");
    tally.slowest = tally.slowest.max(begun.elapsed());
    tally.well_formed += 1;
}
