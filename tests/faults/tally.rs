//! How many plans have shown what they are for. One whose fault has found no place to strike shows nothing: it is counted as
//! that, and too many of them are a failure.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex},
};

use crate::plan::Plan;

/// Of how many plans one may find no place for its fault.
const ONE_IN: usize = 50;

pub static TALLY: LazyLock<Mutex<Tally>> = LazyLock::new(Mutex::default);

#[derive(Default)]
pub struct Tally {
    struck: usize,
    /// By family and scenario.
    not_struck: BTreeMap<String, usize>,
    /// Pairs of crashes of which both have struck, and those whose second one found nothing left to strike.
    pairs: [usize; 2],
    /// Races in which somebody else has changed something, and those in which it was so already or not there any more.
    races: [usize; 2],
    most_requests: (usize, String),
}

impl Tally {
    /// All has struck that was bound to; `strikes` of all, of which some were in vain.
    pub fn struck(&mut self, plan: &Plan, strikes: usize, in_vain: usize) {
        if plan.is_in_peace() {
            return;
        }
        self.struck += 1;
        if plan.is_a_race() {
            self.races[in_vain.min(1)] += 1;
        }
        if plan.is_a_pair() {
            self.pairs[usize::from(strikes < plan.strikes.len())] += 1;
        }
    }

    pub fn not_struck(&mut self, plan: &Plan) {
        let group = plan.name.rsplit_once('/').map_or(&*plan.name, |(group, _)| group);
        *self.not_struck.entry(group.to_owned()).or_default() += 1;
    }

    /// A life has sent so many.
    pub fn requests(&mut self, name: &str, most: usize) {
        if most > self.most_requests.0 {
            self.most_requests = (most, name.to_owned());
        }
    }

    /// Says what was counted, and whether it is good enough.
    pub fn conclude(&self) -> bool {
        let not: usize = self.not_struck.values().sum();
        let groups: Vec<_> = self.not_struck.iter().map(|(group, n)| format!("{n} of {group}")).collect();
        let where_ = if groups.is_empty() { String::new() } else { format!(": {}", groups.join(", ")) };
        println!("{} plans struck, {not} did not{where_}", self.struck);
        let [both, first] = self.pairs;
        if both + first > 0 {
            println!(
                "of {} pairs of crashes, {first} left nothing for the second one to strike",
                both + first
            );
        }
        let [changed, in_vain] = self.races;
        if changed + in_vain > 0 {
            println!("of {} races, {in_vain} changed nothing", changed + in_vain);
        }
        println!("{} requests in one life at most ({})", self.most_requests.0, self.most_requests.1);
        let enough = not * ONE_IN <= self.struck + not;
        if !enough {
            println!("more than one plan in {ONE_IN} did not strike: FAILED");
        }
        enough
    }
}
