//! How many plans had any effect. A plan whose fault never occurs shows nothing: it is counted separately, and too many
//! of them are a failure.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex},
};

use crate::plan::Plan;

/// One in so many plans may have a fault that does not occur.
const ONE_IN: usize = 50;

pub static TALLY: LazyLock<Mutex<Tally>> = LazyLock::new(Mutex::default);

/// One in so many pairs of crashes may have no second crash, and one in so many races may have changed nothing.
const EMPTY_ONE_IN: usize = 5;

#[derive(Default)]
pub struct Tally {
    effective: usize,
    /// By family and scenario.
    ineffective: BTreeMap<String, usize>,
    /// Pairs of crashes that both occurred, and those whose second crash did not.
    pairs: [usize; 2],
    /// Races in which somebody else has changed something, and those in which the change had already been made or the
    /// object was gone.
    races: [usize; 2],
    most_requests: (usize, String),
}

/// What a plan has shown.
pub enum Shown {
    /// What it is for.
    All,
    /// Nothing, or less; why.
    Less(&'static str),
}

impl Tally {
    /// All required faults have occurred; `injections` in total, some of which changed nothing.
    pub fn effective(&mut self, plan: &Plan, hits: usize, without_effect: usize) -> Shown {
        if plan.is_undisturbed() {
            return Shown::All;
        }
        let empty_race = plan.is_a_race() && without_effect > 0;
        let empty_pair = plan.is_a_pair() && hits < plan.injections.len();
        if plan.is_a_race() {
            self.races[usize::from(empty_race)] += 1;
        }
        if plan.is_a_pair() {
            self.pairs[usize::from(empty_pair)] += 1;
        }
        if empty_race {
            Shown::Less("it changed nothing: the change had already been made, or the object was gone")
        } else if empty_pair {
            Shown::Less("after the first crash there was no request left for the second one")
        } else {
            self.effective += 1;
            Shown::All
        }
    }

    pub fn ineffective(&mut self, plan: &Plan) {
        let group = plan.name.rsplit_once('/').map_or(&*plan.name, |(group, _)| group);
        *self.ineffective.entry(group.to_owned()).or_default() += 1;
    }

    /// The number of requests of one life.
    pub fn requests(&mut self, name: &str, most: usize) {
        if most > self.most_requests.0 {
            self.most_requests = (most, name.to_owned());
        }
    }

    /// Prints the counts, and returns whether they are acceptable.
    pub fn conclude(&self) -> bool {
        let not: usize = self.ineffective.values().sum();
        let groups: Vec<_> = self.ineffective.iter().map(|(group, n)| format!("{n} of {group}")).collect();
        let where_ = if groups.is_empty() { String::new() } else { format!(": {}", groups.join(", ")) };
        println!("the fault occurred in {} plans, and did not occur in {not}{where_}", self.effective);
        let ([pairs, empty_pairs], [races, empty_races]) = (self.pairs, self.races);
        if pairs + empty_pairs > 0 {
            println!(
                "{pairs} pairs of crashes occurred in full, {empty_pairs} had no request left for the second crash"
            );
        }
        if races + empty_races > 0 {
            println!("{races} races changed something, {empty_races} changed nothing");
        }
        println!("{} requests in one life at most ({})", self.most_requests.0, self.most_requests.1);
        let too_many = [
            ("whose fault did not occur", not, self.effective + not, ONE_IN),
            ("that was a pair without a second crash", empty_pairs, pairs + empty_pairs, EMPTY_ONE_IN),
            ("that was a race and changed nothing", empty_races, races + empty_races, EMPTY_ONE_IN),
        ];
        // One plan alone says nothing about the others.
        let too_many = too_many.iter().filter(|(_, n, all, one_in)| n * one_in > *all && *all > 1);
        too_many
            .inspect(|(what, _, _, one_in)| println!("more than one plan in {one_in} {what}: FAILED"))
            .count()
            == 0
    }
}
