//! The operator restarts with all of these objects present.

use std::collections::{HashMap, HashSet};

use ai_api_operator::api::is_dns_subdomain;
use serde_json::Value;
use support::{World, operator::LONG_LEASE, until_ok};

use super::{
    a_well_formed_one_is_served,
    inputs::{BULK_UPDATE, DEPLOYMENT, EXECUTION},
    judge::Known,
    send::{Created, list, path},
    tally::Tally,
    watches::none_has_failed,
};

/// The parts of a status that never change once it has finished.
type End = [Value; 4];

/// Kills it, runs `meanwhile`, starts it again, and checks that nothing blocks it: it lists everything, serves a good
/// BulkUpdate, and does not touch finished ones. `meanwhile` returns what was created; each BulkUpdate among it gets
/// its answer.
pub async fn on_top_of_what_is_there(
    world: &mut World,
    round: &str,
    known: &mut Known,
    tally: &mut Tally,
    meanwhile: impl AsyncFnOnce(&World, &mut Tally) -> Vec<Created>,
) {
    let ends = ends(world).await;
    world.operator.kill();
    known.restarted();
    let created = meanwhile(world, tally).await;
    let (bulk_updates, targets): (Vec<_>, Vec<_>) =
        created.into_iter().partition(|made| made.sort == BULK_UPDATE);
    known.targets(&targets);
    known.bulk_updates(&bulk_updates);
    world.operator.start(&LONG_LEASE);
    world.operator.until_ready().await;
    knows_all_targets(world).await;
    a_well_formed_one_is_served(world, round, known, tally).await;
    known.until_each_has_its_answer(world, &bulk_updates, tally).await;
    none_has_failed(world).await;
    let now = self::ends(world).await;
    for (uid, end) in &ends {
        // It may have expired.
        assert!(
            now.get(uid).is_none_or(|now| now == end),
            "{uid} had finished: {end:?}, and now it is {:?}",
            now[uid]
        );
    }
    tally.found_again += ends.len();
}

/// The final statuses of all finished ones, by their uids.
async fn ends(world: &World) -> HashMap<String, End> {
    let listed = list(world, &path(world, BULK_UPDATE), "").await;
    let over = listed.into_iter().filter(|object| object["status"]["completionTime"].is_string());
    let end = |object: &Value| {
        ["startTime", "completionTime", "executions", "deployments"]
            .map(|field| object["status"][field].clone())
    };
    over.filter_map(|object| Some((object["metadata"]["uid"].as_str()?.to_owned(), end(&object)))).collect()
}

/// Its index has as many targets as there are; one with an unreadable name may or may not count.
async fn knows_all_targets(world: &World) {
    for sort in [EXECUTION, DEPLOYMENT] {
        until_ok("it knows all targets", || async {
            let listed = list(world, &path(world, sort), "").await;
            let names = listed.iter().filter_map(|object| object["metadata"]["name"].as_str());
            let least = names.filter(|name| is_dns_subdomain(name)).collect::<HashSet<_>>().len();
            let samples = world.operator.samples().await;
            let known = samples[&format!(r#"aiapi_index_targets{{kind="{}"}}"#, sort.kind)];
            let count = |count: usize| f64::from(u32::try_from(count).unwrap());
            if (count(least)..=count(listed.len())).contains(&known) {
                Ok(())
            } else {
                Err(format!("{known} {}; there are {least} to {}", sort.plural, listed.len()))
            }
        })
        .await;
    }
}
