//! What was seen, and how often: faults and pairs of them, answers, decisions, results and reasons.

mod required;
mod situations;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write,
};

use api_server::Version;
use serde_json::Value;

pub use situations::{LOST_RIGHTS, NO_RIGHTS};

use crate::{
    occurred::Place,
    story::{Fault, What},
    works::runs_something,
    world::World,
};

/// How many of a group are printed.
const MOST_SHOWN: usize = 40;

/// How often each thing was seen, by what it is.
#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<&'static str, BTreeMap<String, usize>>);

impl Coverage {
    fn count(&mut self, group: &'static str, what: String) {
        self.count_times(group, what, 1);
    }

    fn count_times(&mut self, group: &'static str, what: String, times: usize) {
        *self.0.entry(group).or_default().entry(what).or_default() += times;
    }

    pub fn add(&mut self, other: &Self) {
        for (group, counts) in &other.0 {
            for (what, count) in counts {
                *self.0.entry(group).or_default().entry(what.clone()).or_default() += count;
            }
        }
    }

    /// What one life has shown.
    pub fn of(world: &World, versions: &[Version]) -> Self {
        let mut coverage = Self::default();
        coverage.events(world);
        coverage.answers(world);
        for life in &world.recorded.lives {
            let end = match (&life.end, life.killed) {
                (Some(Ok(())), _) => "ended",
                (Some(Err(_)), _) => "failed",
                (None, true) => "killed",
                (None, false) => "ran on",
            };
            coverage.count("lives", end.to_owned());
        }
        coverage.statuses(versions);
        for situation in situations::of(world, versions) {
            coverage.count("situations", situation.to_owned());
        }
        coverage
    }

    /// The events that have occurred, where, and the pairs of their kinds.
    fn events(&mut self, world: &World) {
        let mut kinds = BTreeSet::new();
        for (event, places) in world.occurred.all() {
            let what = &world.story.events[event].what;
            if !what.is_fault() {
                continue;
            }
            let (kind, name) = (kind_of(what), name_of(what));
            for place in places {
                match place {
                    Place::Anywhere => self.count("faults", format!("{name} at any time")),
                    Place::At(call) => self.count("faults", format!("{name} at {call}")),
                }
            }
            if let What::Work { act, .. } = what {
                self.count("work acts", <&str>::from(act).to_owned());
            }
            if let What::Fault(Fault::Race(_) | Fault::BulkRace(_)) = what {
                for place in places {
                    if let Place::At(call) = place {
                        self.count("races", format!("{name} at {call}"));
                    }
                }
            }
            kinds.insert(kind);
        }
        for first in &kinds {
            for second in kinds.iter().filter(|second| *second > first) {
                self.count("pairs", format!("{first} + {second}"));
            }
        }
    }

    /// How the requests of each kind ended for the process that has sent them.
    fn answers(&mut self, world: &World) {
        let mut counts: BTreeMap<_, usize> = BTreeMap::new();
        for (exchange, pending) in world.recorded.exchanges.iter().zip(&world.pending) {
            let (code, how) = match &exchange.ended {
                None => (0, "never"),
                Some((_, judge::Answer::None)) => (0, "none"),
                Some((_, judge::Answer::NotSent)) => (0, "not sent"),
                Some((_, judge::Answer::Whole(whole))) => (whole.code, ""),
            };
            *counts.entry((required::class_of(pending.call), code, how)).or_default() += 1;
        }
        for ((class, code, how), count) in counts {
            let what = if how.is_empty() { format!("{class} {code}") } else { format!("{class} {how}") };
            self.count_times("answers", what, count);
        }
    }

    fn statuses(&mut self, versions: &[Version]) {
        let is_target = |v: &&Version| v.group == "aiapi.dev" && v.plural != "bulkupdates";
        let targets = versions.iter().filter(is_target);
        let managers: HashMap<_, _> = targets
            .map(|version| (&*version.uid, version.object["spec"]["managedBy"].as_str().is_some()))
            .collect();
        let mut seen = BTreeSet::new();
        for version in versions {
            let fields = &version.object["status"];
            if is_target(&version) {
                if let Some(state) = fields["state"].as_str() {
                    self.count("states", state.to_owned());
                }
                let of_it = of_work(version).into_iter();
                seen.extend(of_it.map(|(group, what)| (group, version.uid.clone(), what)));
            }
            if version.plural != "bulkupdates" {
                continue;
            }
            for condition in fields["conditions"].as_array().into_iter().flatten() {
                let reason = condition["reason"].as_str().unwrap_or_default();
                seen.insert(("conditions", version.uid.clone(), reason.to_owned()));
            }
            for plural in ["executions", "deployments"] {
                for item in fields[plural].as_array().into_iter().flatten() {
                    let which = format!("{}{}", version.uid, item["id"]);
                    for (group, what) in of_item(item, &managers) {
                        seen.insert((group, which.clone(), what));
                    }
                }
            }
        }
        for (group, _, what) in seen {
            self.count(group, what);
        }
    }

    /// What was never seen, and should have been in so many lives.
    pub fn missing(&self, lives: u64) -> Vec<String> {
        let seen =
            |group: &str, what: &str| self.0.get(group).is_some_and(|counts| counts.contains_key(what));
        let all = required::all(lives).into_iter().filter(|(group, what)| !seen(group, what));
        all.map(|(group, what)| format!("{group}: {what}")).collect()
    }

    /// What was seen how often, the rarest first: the whole of each group but of long ones.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for (group, counts) in &self.0 {
            let mut rarest: Vec<_> = counts.iter().map(|(what, count)| (*count, what)).collect();
            rarest.sort();
            let _ = writeln!(text, "{group} ({}):", rarest.len());
            for (count, what) in rarest.iter().take(MOST_SHOWN) {
                let _ = writeln!(text, "  {count:>9}  {what}");
            }
            if rarest.len() > MOST_SHOWN {
                let _ =
                    writeln!(text, "             and {} that are seen more often", rarest.len() - MOST_SHOWN);
            }
        }
        text
    }
}

/// The state of what runs for a target, and why it is there; nothing if nothing runs for it.
fn of_work(version: &Version) -> Vec<(&'static str, String)> {
    let object = &version.object;
    if !runs_something(object) {
        return Vec::new();
    }
    let (kind, status) = (object["kind"].as_str(), &object["status"]);
    let state = format!("{} {}", kind.unwrap_or_default(), status["state"].as_str().unwrap_or_default());
    let ready = |condition: &&Value| condition["type"] == "Ready";
    let ready = status["conditions"].as_array().and_then(|all| all.iter().find(ready));
    let reason = ready.and_then(|ready| ready["reason"].as_str());
    let reason = reason.map(|reason| ("work reasons", reason.to_owned()));
    reason.into_iter().chain([("work states", state)]).collect()
}

/// What an entry of a status shows: its reason, its result, and which row of the tables of decisions it is.
fn of_item(item: &Value, managers: &HashMap<&str, bool>) -> Vec<(&'static str, String)> {
    let text = |field: &str| item[field].as_str().unwrap_or_default();
    let (verb, result, reason) = (text("targetStatus"), text("result"), text("reason"));
    let both = if reason.is_empty() { result.to_owned() } else { format!("{result} {reason}") };
    let mut all = vec![("outcomes", format!("{verb} {both}"))];
    if let Some(other) = managers.get(text("uid")) {
        let whose = required::WHOSE[usize::from(*other)];
        if matches!(result, "Planned" | "Refused") && !text("observedState").is_empty() {
            all.push(("decisions", format!("{} {verb} {whose} {both}", text("observedState"))));
        }
        if matches!(result, "Scheduled" | "Settled") && reason.is_empty() {
            all.push(("effects", format!("{verb} {whose} {result}")));
        }
    }
    if !reason.is_empty() {
        all.push(("reasons", reason.to_owned()));
    }
    all.push(("items", both));
    all
}

/// The kind of an event, for pairs of kinds.
pub fn kind_of(what: &What) -> &'static str {
    match what {
        What::Fault(fault) => fault.into(),
        What::Admin(admin) => admin.into(),
        What::View { view, .. } => view.into(),
        other => other.into(),
    }
}

/// The name of an event, without its numbers.
fn name_of(what: &What) -> String {
    match what {
        What::Fault(Fault::Race(act)) => format!("race {}", <&str>::from(act)),
        What::Fault(Fault::BulkRace(act)) => format!("bulk race {}", <&str>::from(act)),
        What::Fault(Fault::Crash { moment, .. }) => format!("crash {moment:?}"),
        What::Fault(Fault::Suspend { moment, .. }) => format!("suspension {moment:?}"),
        What::Fault(Fault::Answer { code, .. }) => format!("answer {code}"),
        What::Weather { fault, .. } => format!("weather of {}", <&str>::from(fault)),
        What::Act { act, .. } => format!("act {}", <&str>::from(act)),
        What::ActOnBulk { act, .. } => format!("bulk act {}", <&str>::from(act)),
        What::Work { act, .. } => format!("work act {}", <&str>::from(act)),
        other => kind_of(other).to_owned(),
    }
}
