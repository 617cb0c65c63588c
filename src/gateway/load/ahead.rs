//! What is carried out before some more items are.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use crate::{gateway::load::queue::Request, telemetry::load::ByNamespace};

/// The least share of the operator's rate that this gateway counts on, where others use the rest.
const LEAST_SHARE: f64 = 0.1;

/// What the Lease says.
#[derive(Clone)]
pub struct Load {
    /// Its resource version, and since when it is known.
    pub version: String,
    pub since: Instant,
    /// Items.
    pub backlog: f64,
    /// Items in a second.
    pub rate: f64,
    /// Whose the backlog is, where the Lease says it.
    pub by_namespace: Option<ByNamespace>,
    /// The resource version up to which BulkUpdates are in the backlog.
    pub up_to: Option<u64>,
    /// What this gateway has promised of the backlog, by namespace, with all that may be in it.
    pub promised: HashMap<Arc<str>, f64>,
}

/// Items that were taken and are not carried out yet, as far as that is known.
#[derive(Clone, Copy, Default)]
pub struct Items {
    pub left: f64,
    /// Those of them that are not in the backlog of the Lease.
    pub not_counted: f64,
}

/// The same, and of which namespaces they are.
#[derive(Default)]
pub struct Outstanding<'a> {
    pub total: Items,
    pub by_namespace: HashMap<&'a str, Items>,
}

impl Outstanding<'_> {
    /// Those of a namespace.
    pub fn of(&self, namespace: &str) -> Items {
        self.by_namespace.get(namespace).copied().unwrap_or_default()
    }
}

/// What is carried out before so many items of a request, or beside them.
pub struct Ahead {
    items: f64,
    /// All that is known.
    all: f64,
    /// What this gateway has promised, and which part of the backlog that is.
    promised: f64,
    promised_part: f64,
    /// What it has promised to the same namespace, and which part that is of all that is known.
    own: f64,
    own_part: f64,
    /// What others who had to wait come back with at any moment.
    soon: f64,
    in_turn: Option<InTurn>,
}

/// What a namespace gets of an operator that works on all of them in turn.
struct InTurn {
    /// What is carried out until its own items are; and if it had no others than those that it asks for.
    ahead: f64,
    at_least: f64,
    /// The part of the rate that is for it, and comes from this gateway.
    part: f64,
}

impl Ahead {
    pub fn of(load: &Load, known: &Outstanding<'_>, request: &Request, items: u32, soon: f64) -> Self {
        let items = f64::from(items);
        let promised = load.promised.get(&request.namespace).copied().unwrap_or_default();
        let in_turn =
            load.by_namespace.as_ref().map(|of| InTurn::of(of, promised, known, &request.namespace, items));
        let own = known.of(&request.namespace);
        let all = load.backlog + known.total.not_counted;
        Self {
            items,
            all,
            promised: known.total.left,
            promised_part: part(load.promised.values().sum(), load.backlog),
            own: own.left,
            // What is left by now is less than what was in the Lease.
            own_part: part(promised + own.not_counted, all),
            soon,
            in_turn,
        }
    }

    /// How much more there is than fits into this room; and of its own namespace, which takes no more than half, so that the
    /// others find room.
    fn over(&self, room: f64) -> [f64; 2] {
        [self.all + self.items - room, self.own + self.items - room / 2.0]
    }

    /// The same for what is carried out in turn: with what others have sent, and with what this gateway has promised, which may
    /// be no more than fits by itself.
    fn over_in_turn(&self, room: f64) -> Option<[f64; 2]> {
        let over = |items: f64| items + self.soon - room;
        self.in_turn.as_ref().map(|in_turn| [over(in_turn.ahead), over(self.promised + self.items)])
    }

    /// Whether the items are done in time, if as much may be ahead as fits into this room.
    pub fn fits(&self, room: f64) -> bool {
        // Nothing is done sooner than what is alone.
        if self.all <= 0.0 && self.soon <= 0.0 {
            return true;
        }
        let [all, own] = self.over(room);
        let in_turn = self.over_in_turn(room).is_some_and(|over| over.iter().all(|over| *over <= 0.0));
        (all + self.soon <= 0.0 || in_turn) && own <= 0.0
    }

    /// In how many seconds they do, at this rate, if so many others are before them in the queue: in all, and of the namespace.
    pub fn seconds(&self, room: f64, rate: f64, (before, own_before): (f64, f64)) -> f64 {
        // Of what the operator does, others use a part.
        let least = self.in_turn.as_ref().map_or(0.0, |it| it.part);
        let promised_rate = rate * self.promised_part.max(least);
        let [all, own] = self.over(room);
        let in_turn =
            self.over_in_turn(room).map(|[ahead, promised]| (ahead / rate).max(promised / promised_rate));
        // Its own items become fewer; with those of others it has to wait until all of them do.
        let may_fit = self.in_turn.as_ref().is_some_and(|it| it.at_least + self.soon <= room);
        let in_turn = in_turn.filter(|_| may_fit);
        let all = (all / rate).min(in_turn.unwrap_or(f64::INFINITY)) + before / promised_rate;
        let own_part = self.own_part.max(least);
        all.max(own / rate / own_part + own_before / promised_rate)
    }
}

impl InTurn {
    /// What so many more items of a namespace get, if all of its own come first. Meanwhile each of the others gets as much as it,
    /// or what it has, if that is less.
    fn of(
        known: &ByNamespace,
        promised: f64,
        outstanding: &Outstanding<'_>,
        namespace: &str,
        items: f64,
    ) -> Self {
        let largest = known.largest.iter().map(|(namespace, items)| (&**namespace, f64::from(*items)));
        let mut left: HashMap<&str, f64> = largest.collect();
        let in_lease = left.get(namespace).copied().unwrap_or_default();
        for (namespace, of) in &outstanding.by_namespace {
            *left.entry(namespace).or_default() += of.not_counted;
        }
        let own = left.remove(namespace).unwrap_or_default();
        let (others, of_others) = (f64::from(known.others.0), f64::from(known.others.1));
        let until_done = |own: f64| {
            let of_each: f64 = left.values().map(|items| items.min(own)).sum();
            own + of_each + of_others.min(others * own)
        };
        let number = left.values().filter(|items| **items > 0.0).map(|_| 1.0).sum::<f64>() + others;
        let part = part(promised, in_lease) / (number + 1.0);
        Self { ahead: until_done(own + items), at_least: until_done(items), part }
    }
}

/// What part this is of the whole.
fn part(of: f64, whole: f64) -> f64 {
    if whole > 0.0 { (of / whole).clamp(LEAST_SHARE, 1.0) } else { 1.0 }
}
