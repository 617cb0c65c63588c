//! Makes a story that breaks a promise shorter, as long as it breaks the same one.

use crate::{run::live, story::Story};

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

/// The shortest story that still breaks one of the promises that this one breaks: by leaving out ever smaller parts of it.
pub fn shrink(story: &Story) -> Story {
    let wanted = broken(story);
    let same = |story: &Story| broken(story).iter().any(|promise| wanted.contains(promise));
    let mut shortest = story.clone();
    let mut part = shortest.events.len().div_ceil(2);
    while part > 0 {
        let mut shorter = false;
        let mut at = 0;
        while at < shortest.events.len() {
            let mut candidate = shortest.clone();
            let end = (at + part).min(candidate.events.len());
            candidate.events.drain(at..end);
            if same(&candidate) {
                shortest = candidate;
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
    simplify(shortest, same)
}

/// Fewer processes and simpler settings, where that makes no difference.
fn simplify(mut shortest: Story, same: impl Fn(&Story) -> bool) -> Story {
    let changes: [fn(&mut Story); 5] = [
        |story| story.setup.replicas.truncate(1),
        |story| story.setup.gateway = false,
        |story| story.setup.latency = (1, 2),
        |story| story.setup.slack = 0,
        |story| {
            story.setup.replicas.iter_mut().for_each(|clocks| *clocks = crate::process::Clocks::default());
        },
    ];
    for change in changes {
        let mut candidate = shortest.clone();
        change(&mut candidate);
        if same(&candidate) {
            shortest = candidate;
        }
    }
    shortest
}
