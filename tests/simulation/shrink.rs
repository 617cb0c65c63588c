//! Shrinks the story of a life that breaks a promise to one that a person can read.

use serde_json::Value;

use crate::{
    process::Clocks,
    run::live,
    story::{Event, Fault, Story, What, When, Who},
};

/// Which promises were broken.
fn broken(story: &Story) -> Vec<String> {
    let mut promises: Vec<_> =
        live(story, false).violations.iter().map(|violation| promise(violation)).collect();
    promises.sort();
    promises.dedup();
    promises
}

fn promise(violation: &str) -> String {
    violation.split_inclusive(']').next().unwrap_or_default().to_owned()
}

/// The shortest story that still breaks one of the promises that this one breaks.
pub fn shrink(story: &Story) -> Story {
    let wanted = broken(story);
    shrink_while(story, |story| broken(story).iter().any(|promise| wanted.contains(promise)))
}

/// The shortest story that is still like this: by leaving out ever smaller parts of it, and by making what is left simpler,
/// until neither helps any more.
fn shrink_while(story: &Story, same: impl Fn(&Story) -> bool) -> Story {
    let mut shortest = story.clone();
    loop {
        let before = shortest.to_string();
        leave_out(&mut shortest, &same);
        simplify(&mut shortest, &same);
        for event in 0..shortest.events.len() {
            simplify_event(&mut shortest, event, &same);
        }
        if shortest.to_string() == before {
            return shortest;
        }
    }
}

fn leave_out(shortest: &mut Story, same: &impl Fn(&Story) -> bool) {
    let mut part = shortest.events.len().div_ceil(2);
    while part > 0 {
        let mut shorter = false;
        let mut at = 0;
        while at < shortest.events.len() {
            let mut candidate = shortest.clone();
            let end = (at + part).min(candidate.events.len());
            candidate.events.drain(at..end);
            if same(&candidate) {
                *shortest = candidate;
                shorter = true;
            } else {
                at = end;
            }
        }
        if part == 1 && !shorter {
            break;
        }
        part = if part > 1 { part / 2 } else { 1 };
    }
}

/// Fewer processes and simpler settings, where that makes no difference.
fn simplify(shortest: &mut Story, same: &impl Fn(&Story) -> bool) {
    let changes: [fn(&mut Story); 9] = [
        |story| keep_replicas(story, 1),
        |story| keep_replicas(story, 2),
        |story| story.setup.gateways.clear(),
        |story| story.setup.gateways.truncate(1),
        |story| story.setup.latency = (1, 2),
        |story| story.setup.slack = 0,
        |story| story.setup.max_in_flight = 16,
        |story| story.setup.replicas.iter_mut().for_each(|clocks| *clocks = Clocks::default()),
        |story| story.setup.gateways.iter_mut().for_each(|clocks| *clocks = Clocks::default()),
    ];
    for change in changes {
        let mut candidate = shortest.clone();
        change(&mut candidate);
        adopt(shortest, candidate, same);
    }
}

/// Takes the candidate if it is another story that is still like this. Whether it has.
fn adopt(shortest: &mut Story, candidate: Story, same: &impl Fn(&Story) -> bool) -> bool {
    let better = candidate.to_string() != shortest.to_string() && same(&candidate);
    if better {
        *shortest = candidate;
    }
    better
}

/// Only the first replicas, and only the events that are not about the others.
fn keep_replicas(story: &mut Story, count: usize) {
    story.setup.replicas.truncate(count);
    let there = story.setup.replicas.len();
    story.events.retain(|event| event.slot().is_none_or(|slot| slot < there));
}

/// An event with fewer items and smaller numbers.
fn simplify_event(shortest: &mut Story, event: usize, same: &impl Fn(&Story) -> bool) {
    for list in ["executions", "deployments"] {
        let mut item = 0;
        while let Some(candidate) = without_item(shortest, event, list, item) {
            if !adopt(shortest, candidate, same) {
                item += 1;
            }
        }
    }
    for number in [0, 1, 100, 1000, 5000] {
        let mut candidate = shortest.clone();
        let mut smaller = false;
        for field in candidate.events[event].durations() {
            if *field > number {
                (*field, smaller) = (number, true);
            }
        }
        if smaller && adopt(shortest, candidate, same) {
            break;
        }
    }
    let mut candidate = shortest.clone();
    if let What::Submit { user, .. } = &mut candidate.events[event].what {
        *user = Who::Admin;
    }
    if let What::Create(made) = &mut candidate.events[event].what {
        (made.kept, made.odd, made.controller) = (false, None, None);
    }
    adopt(shortest, candidate, same);
}

/// The story without an item of what this event submits. None if it has no such item.
fn without_item(story: &Story, event: usize, list: &str, item: usize) -> Option<Story> {
    let mut candidate = story.clone();
    let What::Submit { spec, .. } = &mut candidate.events[event].what else { return None };
    let items = spec.get_mut(list).and_then(Value::as_array_mut)?;
    if item >= items.len() {
        return None;
    }
    items.remove(item);
    if items.is_empty() {
        spec.as_object_mut()?.remove(list);
    }
    Some(candidate)
}

impl Event {
    /// The replica that it is about, if it is about one.
    const fn slot(&self) -> Option<usize> {
        if let When::On { slot: Some(slot), .. } = self.when {
            return Some(slot);
        }
        match self.what {
            What::Kill { slot, .. }
            | What::Terminate { slot, .. }
            | What::Suspend { slot, .. }
            | What::SetClock { slot, .. }
            | What::Weather { slot: Some(slot), .. }
            | What::View { slot: Some(slot), .. } => Some(slot),
            _ => None,
        }
    }

    /// How long it lasts, and how long what follows from it takes.
    fn durations(&mut self) -> Vec<&mut u64> {
        match &mut self.what {
            What::Weather { lasts, fault, .. } => fault.durations().into_iter().chain([lasts]).collect(),
            What::View { lasts, .. } | What::Suspend { lasts, .. } | What::Restart { lasts } => vec![lasts],
            What::Kill { back_after, .. } | What::Terminate { back_after, .. } => vec![back_after],
            What::Fault(fault) => fault.durations(),
            _ => Vec::new(),
        }
    }
}

impl Fault {
    fn durations(&mut self) -> Vec<&mut u64> {
        match self {
            Self::Crash { back_after, .. } | Self::Terminate { back_after } => vec![back_after],
            Self::Suspend { lasts, .. } => vec![lasts],
            Self::Late(late)
            | Self::Delay(late)
            | Self::Slow(late)
            | Self::Repeat(late)
            | Self::LoseLease(late) => vec![late],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stories of several replicas, with events about each of them.
    fn stories() -> impl Iterator<Item = Story> {
        (0..).map(Story::of).filter(|story| {
            let about_the_last =
                |event: &Event| event.slot().is_some_and(|slot| slot + 1 == story.setup.replicas.len());
            story.setup.replicas.len() > 1 && story.events.iter().any(about_the_last)
        })
    }

    #[test]
    fn what_is_about_a_replica_goes_with_it() {
        for mut story in stories().take(20) {
            keep_replicas(&mut story, 1);
            assert!(story.events.iter().all(|event| event.slot().is_none_or(|slot| slot == 0)), "{story}");
            live(&story, false);
        }
    }

    /// What remains of a story that has to have one BulkUpdate with one item, and a crash.
    #[test]
    fn only_what_is_needed_remains() {
        let items = |story: &Story| -> usize {
            let spec = |event: &Event| match &event.what {
                What::Submit { spec, .. } => Some(spec.clone()),
                _ => None,
            };
            let specs = story.events.iter().filter_map(spec);
            let count = |spec: Value, list: &str| spec[list].as_array().map_or(0, Vec::len);
            specs.map(|spec| count(spec.clone(), "executions") + count(spec, "deployments")).sum()
        };
        let is_crash = |event: &&Event| matches!(event.what, What::Fault(Fault::Crash { .. }));
        let has_both = |story: &Story| items(story) > 0 && story.events.iter().any(|event| is_crash(&event));
        let story =
            (0..1000).map(Story::of).find(|story| has_both(story) && story.events.len() > 20).unwrap();
        let shortest = shrink_while(&story, has_both);
        assert_eq!((shortest.events.len(), items(&shortest)), (2, 1), "{shortest}");
        let crash = shortest.events.iter().find(is_crash).unwrap();
        assert!(matches!(crash.what, What::Fault(Fault::Crash { back_after: 0, .. })), "{crash}");
    }
}
