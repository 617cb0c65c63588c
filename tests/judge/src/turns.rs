//! Promise 12: free slots go round-robin over the namespaces that wait for one, and within a namespace over its
//! BulkUpdates. From outside, who waits is only known of a BulkUpdate that goes on: it has written one target, has
//! nothing in flight any more, and writes the next without having read or recorded anything in between. Meanwhile no other
//! namespace, and no other BulkUpdate of its own, gets more slots than it could hold, and one more turn.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::jiff::SignedDuration;

use crate::{
    Violations,
    bulk::Bulk,
    case::Case,
    exchanges::ToTarget,
    facts::{Exchange, Moment},
    slots::takes_a_slot,
};

/// The longest time for which a pass sends requests before it reports.
const ONE_PASS: SignedDuration = SignedDuration::from_millis(900);

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    if case.bulks.len() < 2 {
        return;
    }
    let owner_of = owners(case);
    for life in 0..case.facts.lives.len() {
        let writes: Vec<_> = case.writes_sent().filter(|e| e.life == life).collect();
        let owned = |e: &Exchange| owner_of.get(&e.target()).copied();
        for bulk in 0..case.bulks.len() {
            let own: Vec<_> = writes.iter().filter(|e| owned(e) == Some(bulk)).collect();
            for pair in own.windows(2) {
                let Some([from, to]) = waits(case, &case.bulks[bulk], [pair[0], pair[1]]) else { continue };
                let meanwhile = |e: &&&Exchange| e.sent > from && e.sent < to;
                let others: Vec<_> = writes.iter().filter(meanwhile).filter_map(|e| owned(e)).collect();
                // Each turn of another one in its namespace is a turn of the namespace.
                let namespace = case.bulks[bulk].namespace;
                let turns = |e: &&Exchange| e.life == life && e.namespace == namespace && takes_a_slot(e);
                let siblings = case.sent().filter(turns).filter(|e| meanwhile(&e)).count();
                if let Some(what) = too_many(case, bulk, &others, siblings) {
                    violations.say("12", format!("{} waited for its turn, while {what}", pair[1].words()));
                }
            }
        }
    }
}

/// The only BulkUpdate that names each target.
fn owners<'a>(case: &'a Case<'_>) -> HashMap<(&'a str, &'a str, &'a str), usize> {
    let mut owners = HashMap::new();
    for (number, bulk) in case.bulks.iter().enumerate() {
        for (kind, item) in bulk.items() {
            if case.askers(kind.plural(), bulk.namespace, &item.id) == 1 {
                owners.insert((kind.plural(), bulk.namespace, &*item.id), number);
            }
        }
    }
    owners
}

/// From when to when it has certainly waited between two of its writes.
fn waits(case: &Case<'_>, bulk: &Bulk<'_>, [first, second]: [&Exchange; 2]) -> Option<[Moment; 2]> {
    let in_one_pass = second.sent.at.duration_since(first.sent.at) < ONE_PASS;
    if !in_one_pass || !first.succeeded() || !case.facts.lives[first.life].pauses.is_empty() {
        return None;
    }
    let about_it = |e: &&&Exchange| {
        let (resource, namespace, name) = e.target();
        resource == "bulkupdates" && namespace == bulk.namespace && name == bulk.name
            || bulk.items().any(|(kind, item)| e.is_about(kind.plural(), bulk.namespace, &item.id))
    };
    let all: Vec<_> =
        case.facts.exchanges.iter().filter(|e| e.life == first.life && e.sent <= second.sent).collect();
    let own: Vec<_> = all.iter().filter(about_it).filter(|e| e.sent < second.sent).collect();
    if own.iter().any(|e| e.sent > first.sent) {
        return None;
    }
    let ended: Option<Vec<_>> = own.iter().map(|e| e.ended_at()).collect();
    let from = ended?.into_iter().max().filter(|from| *from < second.sent)?;
    // Who reads the flag has its slot already.
    let reads_flag = all.iter().find(|e| e.is_flag_read() && e.sent > from).map(|e| e.sent);
    Some([from, reads_flag.unwrap_or(second.sent)])
}

/// What has had more than its turns.
fn too_many(case: &Case<'_>, bulk: usize, others: &[usize], siblings: usize) -> Option<String> {
    let most = case.facts.settings.max_in_flight;
    let namespace = case.bulks[bulk].namespace;
    // Who, with how many, of how many at most.
    let mut turns: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for other in others.iter().filter(|other| **other != bulk) {
        let of = &case.bulks[*other];
        let (who, may) =
            if of.namespace == namespace { (of.uid, most) } else { (of.namespace, most + siblings) };
        turns.entry(who).or_insert((0, may)).0 += 1;
    }
    let (who, (count, _)) = turns.into_iter().find(|(_, (count, may))| count > may)?;
    Some(format!("{who} got {count} of {most} slots"))
}
