//! Bad input from the cluster: thousands of random objects, made from the CRDs' schemas and against them, with all
//! kinds of metadata, are sent to the API server while the operator runs, and while it does not; some are written
//! directly into etcd. The operator does not panic and keeps serving the others; none of its lists and watches fails;
//! every BulkUpdate has conditions that say what state it is in; and the operator can be restarted with all of these
//! objects present. A program of its own, because it changes the CRDs.
//!
//! `BAD_INPUT_SEED` repeats the inputs of an earlier run, `BAD_INPUT_COUNT` sets their number.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

mod excuse;
mod flag;
mod hostile;
mod inputs;
mod judge;
mod known;
mod lenient;
mod metadata;
mod midway;
mod restart;
mod schema;
mod send;
mod stored;
mod tally;
mod watches;
mod writes;

use std::{
    env,
    time::{Duration, Instant, UNIX_EPOCH},
};

use ai_api_operator::api::{ItemResult, Kind};
use serde_json::json;
use support::{World, count, operator::LONG_LEASE, until, within};
use tokio::sync::RwLock;

use crate::{
    inputs::{BULK_UPDATE, DEPLOYMENT, EXECUTION, Inputs, Round, Sort},
    judge::Known,
    send::{Created, Way, clear_bulk_updates, create, path, would_take},
    tally::Tally,
};

const SORTS: [Sort; 3] = [EXECUTION, DEPLOYMENT, BULK_UPDATE];

/// How long anything may take: a watch that fails while a CRD is changed is restarted after a minute at the latest.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Held for reading while the CRDs must not change, and for writing to change them.
static CRDS: RwLock<()> = RwLock::const_new(());

fn setting(name: &str, default: impl FnOnce() -> u64) -> u64 {
    env::var(name).map_or_else(|_| default(), |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_answered_and_the_others_are_served() {
    let seed = setting("BAD_INPUT_SEED", || UNIX_EPOCH.elapsed().unwrap().as_secs());
    let total = usize::try_from(setting("BAD_INPUT_COUNT", || 15_000)).unwrap();
    println!("BAD_INPUT_SEED={seed} BAD_INPUT_COUNT={total}");
    let inputs = inputs::generate(seed, total);
    let Inputs { strict, loose, forged, after, midway, stored: [stored, unseen], meanwhile, flags } = inputs;
    let flags = tokio::spawn(flag::each_text_has_its_effect(flags));

    let mut world = World::new("bad-input").await;
    world.operator.start(&LONG_LEASE);
    let (mut known, mut tally) = (Known::default(), Tally::default());
    let rounds = strict.len();
    for (n, round) in strict.into_iter().enumerate() {
        serve(&world, &format!("strict-{n}"), round, &mut known, &mut tally).await;
        // What the last of them leave stays there until the end.
        if n + 1 < rounds {
            clear_bulk_updates(&world, BULK_UPDATE).await;
        }
    }
    let edited = midway::edit(&world, "midway", midway, &mut known, &mut tally).await;
    edited.settle(&world, &mut known, &mut tally).await;
    a_well_formed_one_is_served(&world, "edited", &mut known, &mut tally).await;
    let put = stored::store(&world, stored, &mut tally).await;
    answered(&world, "stored", put, &mut known, &mut tally).await;
    watches::none_has_failed(&world).await;

    let (flag_world, flag_tally) = flags.await.unwrap();
    tally.merge(flag_tally);
    // A change of a CRD ends all watches of it, those of this test included.
    let changes = CRDS.write().await;
    loosened(&world, loose, forged, &mut known, &mut tally).await;
    serve(&world, "after", Round { targets: Vec::new(), bulk_updates: after }, &mut known, &mut tally).await;
    watches::the_unreadable_are_counted(&world, &known).await;
    drop(changes);

    restart::on_top_of_what_is_there(
        &mut world,
        "restarted",
        &mut known,
        &mut tally,
        async |world, tally| {
            let mut created = create(world, meanwhile.targets, tally).await;
            world.next_second().await;
            created.extend(create(world, meanwhile.bulk_updates, tally).await);
            created.extend(stored::store(world, unseen, tally).await);
            created
        },
    )
    .await;
    watches::the_unreadable_are_counted(&world, &known).await;

    let writes = known.the_operator_wrote_once_what_was_asked_for(&world);
    for mut world in [world, flag_world] {
        assert!(world.operator.is_running(), "the operator has ended:\n{}", world.operator.log());
        let log = world.operator.log();
        assert!(!log.contains("panicked"), "{log}");
        let forged = log.lines().find(|line| !line.starts_with("20"));
        assert_eq!(forged, None, "a forged log line");
        watches::each_failure_was_a_changed_crd(&log);
    }
    println!("{tally}; writes to targets: {writes}");
    tally.shows_enough(total, writes);
}

/// Objects that the schema does not allow, as after a schema change; then the schema is restored.
async fn loosened(
    world: &World,
    loose: Round,
    forged: Vec<inputs::Input>,
    known: &mut Known,
    tally: &mut Tally,
) {
    // Only the operator writes the status of BulkUpdates, so its schema stays for now.
    for sort in SORTS {
        let parts: &[&str] = if sort == BULK_UPDATE { &["spec"] } else { &["spec", "status"] };
        world.loosen(&crd(sort), parts);
        until_loose_specs_are_accepted(world, sort, true).await;
    }
    serve(world, "loose", loose, known, tally).await;

    world.loosen(&crd(BULK_UPDATE), &["spec", "status"]);
    let probe = format!("{}/well-formed-loose/status", path(world, BULK_UPDATE));
    let loose_status = || would_take(world, "PATCH", &probe, json!({"status": 7}).to_string());
    until("the loosened status", loose_status).await;
    // The operator is not running until somebody else has written to them.
    world.operator.signal("STOP");
    let mut made = create(world, forged, tally).await;
    world.operator.signal("CONT");
    for forged in &mut made {
        forged.way = Way::Forged;
    }
    answered(world, "forged", made, known, tally).await;

    for sort in SORTS {
        world.plane.restore_crd(&crd(sort));
        until_loose_specs_are_accepted(world, sort, false).await;
    }
    world.plane.until_watched().await;
}

fn crd(sort: Sort) -> String {
    format!("{}.aiapi.dev", sort.plural)
}

/// The schema in force changes a moment after the CRD has.
async fn until_loose_specs_are_accepted(world: &World, sort: Sort, takes: bool) {
    let object = format!(
        r#"{{"apiVersion": "aiapi.dev/v1alpha1", "kind": "{}", "metadata": {{"name": "probe"}}, "spec": {}}}"#,
        sort.kind, sort.loose_spec
    );
    let path = path(world, sort);
    until("the changed schema", || async { would_take(world, "POST", &path, object.clone()).await == takes })
        .await;
}

/// Sends a round, with a well-formed BulkUpdate in the middle.
async fn serve(world: &World, name: &str, round: Round, known: &mut Known, tally: &mut Tally) {
    let begun = Instant::now();
    known.targets(&create(world, round.targets, tally).await);
    world.next_second().await;
    let made = create(world, round.bulk_updates, tally).await;
    let sent = begun.elapsed();
    answered(world, name, made, known, tally).await;
    println!("{name}: sent in {sent:?}, finished after {:?}", begun.elapsed());
}

/// A well-formed BulkUpdate is served beside these, and each of these gets its answer.
async fn answered(world: &World, name: &str, made: Vec<Created>, known: &mut Known, tally: &mut Tally) {
    let (bulk_updates, targets): (Vec<_>, Vec<_>) =
        made.into_iter().partition(|made| made.sort == BULK_UPDATE);
    known.targets(&targets);
    known.bulk_updates(&bulk_updates);
    a_well_formed_one_is_served(world, name, known, tally).await;
    known.until_each_has_its_answer(world, &bulk_updates, tally).await;
}

async fn a_well_formed_one_is_served(world: &World, round: &str, known: &mut Known, tally: &mut Tally) {
    let name = format!("well-formed-{round}");
    world.own(Kind::Execution, &name, "RUNNING").await;
    world.own(Kind::Deployment, &name, "STOPPED").await;
    let begun = Instant::now();
    let spec = json!({"executions": [{"id": name, "targetStatus": "STOPPED"}],
        "deployments": [{"id": name, "targetStatus": "DELETED"}]});
    let made = world.submit(&name, spec).await;
    known.request(made.metadata.uid.clone().unwrap(), &serde_json::to_value(&made).unwrap());
    let settled = within(TIMEOUT, Duration::from_millis(100), || async {
        let status = world.bulk_updates().get(&name).await.unwrap().status.unwrap_or_default();
        count(&status, ItemResult::Settled) == 2 && status.completion_time.is_some()
    });
    if !settled.await {
        let now = world.bulk_updates().get(&name).await.unwrap();
        panic!("it is not carried out: {:?} {:?}", now.spec, now.status);
    }
    tally.slowest = tally.slowest.max(begun.elapsed());
    tally.well_formed += 1;
}
