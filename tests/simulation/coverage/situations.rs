//! Situations that several events make together.

use std::collections::{BTreeSet, HashSet};

use api_server::Version;
use k8s_openapi::jiff::Timestamp;

use crate::{story::What, world::World};

/// An author who never had the rights, and one who has lost them.
pub const NO_RIGHTS: &str = "a BulkUpdate of somebody without rights";
pub const LOST_RIGHTS: &str = "a BulkUpdate of somebody whose rights were taken away";

const SUSPENDED_IN_FLIGHT: &str = "a process is suspended while its write is in flight";
const OVERSLEPT: &str = "a process is suspended while another one takes the Lease, and goes on";
const LOST_IN_FLIGHT: &str = "a process loses the Lease while its write is in flight";
const KILLED_IN_FLIGHT: &str = "a process is killed while its write is in flight";
const SHOWN_TWICE: &str = "a watch shows the same version twice";
const TWO_GATEWAYS: &str = "two gateways are called in the same second";
const CLOCK_FORWARD: &str = "the API server's clock steps forward";
const CLOCK_BACK: &str = "the API server's clock steps back";
const NOT_WATCHED: &str = "a BulkUpdate is in a namespace that is not watched";

/// All that have to be seen.
pub const ALL: [&str; 11] = [
    NO_RIGHTS,
    LOST_RIGHTS,
    SUSPENDED_IN_FLIGHT,
    OVERSLEPT,
    LOST_IN_FLIGHT,
    KILLED_IN_FLIGHT,
    SHOWN_TWICE,
    TWO_GATEWAYS,
    CLOCK_FORWARD,
    CLOCK_BACK,
    NOT_WATCHED,
];

/// Those of one life.
pub fn of(world: &World, versions: &[Version]) -> BTreeSet<&'static str> {
    let mut all = world.occurred.situations.clone();
    of_processes(world, versions, &mut all);
    let mut shown = HashSet::new();
    let listed_or_shown = world.recorded.sights.iter().filter(|sight| !sight.listed);
    if listed_or_shown.map(|s| (s.life, &s.uid, s.revision)).any(|sight| !shown.insert(sight)) {
        all.insert(SHOWN_TWICE);
    }
    let calls: Vec<_> = world.recorded.calls_made.iter().map(|c| (c.life, c.sent.as_second())).collect();
    if calls.iter().any(|(life, at)| calls.iter().any(|(other, when)| other != life && at == when)) {
        all.insert(TWO_GATEWAYS);
    }
    let watched = &world.story.setup.watch_namespaces;
    let is_elsewhere = |version: &&Version| !watched.is_empty() && !watched.contains(&version.namespace);
    if versions.iter().filter(|version| version.plural == "bulkupdates").any(|v| is_elsewhere(&v)) {
        all.insert(NOT_WATCHED);
    }
    for (event, _) in world.occurred.all() {
        if let What::StepClock { by } = world.story.events[event].what {
            all.insert(if by > 0 { CLOCK_FORWARD } else { CLOCK_BACK });
        }
    }
    all
}

/// Who has taken the Lease from whom, and when.
fn takeovers(world: &World, versions: &[Version]) -> Vec<(String, Timestamp)> {
    let holder = |version: &Version| {
        let holder = version.object["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        if version.deleted { String::new() } else { holder }
    };
    let leases: Vec<_> = versions.iter().filter(|version| version.plural == "leases").collect();
    let pairs = leases.windows(2).map(|pair| (holder(pair[0]), holder(pair[1]), pair[1]));
    let lost = pairs.filter(|(before, now, _)| !before.is_empty() && before != now);
    lost.map(|(before, _, version)| (before, world.steady(version))).collect()
}

fn of_processes(world: &World, versions: &[Version], all: &mut BTreeSet<&'static str>) {
    let takeovers = takeovers(world, versions);
    let writes = world.recorded.exchanges.iter().zip(&world.pending);
    let writes: Vec<_> =
        writes.filter(|(_, pending)| pending.call.is_target_write()).map(|(e, _)| e).collect();
    let in_flight = |life: usize, at: Timestamp| {
        writes.iter().any(|e| {
            e.life == life && e.sent.at < at && e.ended.as_ref().is_none_or(|(ended, _)| ended.at > at)
        })
    };
    for (number, life) in world.recorded.lives.iter().enumerate() {
        let lost: Vec<_> =
            takeovers.iter().filter(|(holder, _)| *holder == life.name).map(|(_, at)| *at).collect();
        let is_there = |at: Timestamp| life.ended.is_none_or(|ended| ended.at > at);
        if lost.iter().any(|at| in_flight(number, *at) && is_there(*at)) {
            all.insert(LOST_IN_FLIGHT);
        }
        if life.killed && life.ended.is_some_and(|ended| in_flight(number, ended.at)) {
            all.insert(KILLED_IN_FLIGHT);
        }
        for [from, to] in &life.pauses {
            if in_flight(number, from.at) {
                all.insert(SUSPENDED_IN_FLIGHT);
            }
            if lost.iter().any(|at| (from.at..to.at).contains(at)) && is_there(to.at) {
                all.insert(OVERSLEPT);
            }
        }
    }
}
