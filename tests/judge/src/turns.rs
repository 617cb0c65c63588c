//! Promise 12: free slots go round-robin over the namespaces that wait for one, and within a namespace over its
//! BulkUpdates. From outside, who waits is only known of a BulkUpdate that goes on: it has recorded its plan or written one
//! target, has nothing in flight any more, and writes the next without having read or recorded anything in between.
//! Meanwhile no other namespace, and no other BulkUpdate of its own, gets more slots than it could hold, and one more turn.

use std::collections::{BTreeMap, HashMap};

use ai_api_operator::api::{Kind, Reason};
use k8s_openapi::jiff::SignedDuration;

use crate::{
    Violations,
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
    for (life, of) in case.facts.lives.iter().enumerate() {
        if !of.pauses.is_empty() {
            continue;
        }
        let sent = case.sent().filter(|e| e.life == life && (takes_a_slot(e) || e.is_flag_read()));
        let sent: Vec<_> = sent.map(|e| (e, owner_of.get(&e.target()).copied())).collect();
        for bulk in 0..case.bulks.len() {
            in_turn(case, bulk, &sent, violations);
        }
    }
}

/// What a process has sent for this BulkUpdate, among what it has sent for others.
fn in_turn(case: &Case<'_>, bulk: usize, sent: &[(&Exchange, Option<usize>)], violations: &mut Violations) {
    let own: Vec<_> = sent.iter().filter(|(_, of)| *of == Some(bulk)).map(|(e, _)| *e).collect();
    let mut idle_from = None;
    for pair in own.windows(2) {
        // One without an answer is in flight for ever.
        let Some(ended) = pair[0].ended_at() else { return };
        idle_from = idle_from.max(Some(ended));
        let Some(from) = idle_from.filter(|from| waits(&own, [pair[0], pair[1]], *from)) else { continue };
        // Who reads the flag has its slot already.
        let reads_flag = sent.iter().find(|(e, _)| e.is_flag_read() && e.sent > from).map(|(e, _)| e.sent);
        let to = reads_flag.map_or(pair[1].sent, |reads_flag| reads_flag.min(pair[1].sent));
        let meanwhile = || sent.iter().filter(|(e, _)| e.sent > from && e.sent < to);
        let namespace = case.bulks[bulk].namespace;
        // The namespace with the fewest slots is first.
        let holds_one = |at: Moment| {
            let is_of_it = |e: &Exchange| e.namespace == namespace && takes_a_slot(e);
            let mut siblings = sent.iter().filter(|(e, of)| is_of_it(e) && *of != Some(bulk));
            siblings.any(|(e, _)| e.sent < at && e.ended_at().is_none_or(|ended| ended >= at))
        };
        let counts = |e: &Exchange| e.is_target_write() && (e.namespace == namespace || !holds_one(e.sent));
        let others = meanwhile().filter(|(e, _)| counts(e)).filter_map(|(_, of)| *of);
        // Each turn of another one in its namespace is a turn of the namespace; and one may be given before it has joined
        // the queue, after its plan.
        let taken = meanwhile().filter(|(e, _)| e.namespace == namespace && takes_a_slot(e)).count();
        let siblings = taken + unused(case, namespace);
        let late = usize::from(pair[0].is_record());
        if let Some(what) = too_many(case, bulk, others, [late, siblings + late]) {
            violations.say("12", format!("{} waited for its turn, while {what}", pair[1].words()));
        }
    }
}

/// How many turns of a namespace were perhaps not used: the deadline had passed, or the flag was off.
fn unused(case: &Case<'_>, namespace: &str) -> usize {
    let bulks = case.bulks.iter().filter(|bulk| bulk.namespace == namespace);
    let items = bulks.flat_map(|bulk| Kind::ALL.into_iter().flat_map(|kind| bulk.last().status.items(kind)));
    items.filter(|i| matches!(i.reason, Some(Reason::DeadlineExceeded | Reason::BulkUpdatesDisabled))).count()
}

/// The only BulkUpdate that each request can be for, by what it is about; none of those that share a target.
fn owners<'a>(case: &'a Case<'_>) -> HashMap<(&'a str, &'a str, &'a str), usize> {
    let mut owners = HashMap::new();
    for (number, bulk) in case.bulks.iter().enumerate() {
        let targets = || bulk.items().map(|(kind, item)| (kind.plural(), bulk.namespace, &*item.id));
        if targets().all(|(resource, namespace, name)| case.askers(resource, namespace, name) == 1) {
            owners.extend(targets().map(|target| (target, number)));
            owners.insert(("bulkupdates", bulk.namespace, bulk.name), number);
        }
    }
    owners
}

/// Whether it has certainly waited between two of its requests, of which the second is a write.
fn waits(own: &[&Exchange], [first, second]: [&Exchange; 2], idle_from: Moment) -> bool {
    let planned = first.is_record()
        && first.body.pointer("/status/summary/planned").is_some_and(|n| *n != 0)
        && !own.iter().any(|e| e.is_target_write() && e.sent < first.sent);
    // One that has failed is sent again after its back-off.
    let again =
        || own.iter().any(|e| e.is_target_write() && e.sent < first.sent && e.target() == second.target());
    second.is_target_write()
        && !again()
        && idle_from < second.sent
        && second.sent.at.duration_since(first.sent.at) < ONE_PASS
        && first.succeeded()
        && (first.is_target_write() || planned)
}

/// What has had more than its turns: besides the slots that it can hold, so many as another BulkUpdate of the same namespace,
/// or as another namespace.
fn too_many(
    case: &Case<'_>,
    bulk: usize,
    others: impl Iterator<Item = usize>,
    [of_another, of_a_namespace]: [usize; 2],
) -> Option<String> {
    let most = case.facts.settings.max_in_flight;
    let namespace = case.bulks[bulk].namespace;
    // Who, with how many, of how many at most.
    let mut turns: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for other in others.filter(|other| *other != bulk) {
        let of = &case.bulks[other];
        let (who, may) =
            if of.namespace == namespace { (of.uid, of_another) } else { (of.namespace, of_a_namespace) };
        turns.entry(who).or_insert((0, most + may)).0 += 1;
    }
    let (who, (count, _)) = turns.into_iter().find(|(_, (count, may))| count > may)?;
    Some(format!("{who} got {count} of {most} slots"))
}
