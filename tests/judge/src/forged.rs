//! Tests of the judge: a history without a fault, in which it finds nothing, and one with a lie for each of its rules,
//! which it finds.

mod basis;
mod deadlines;
mod effects;
mod knowledge;
mod leadership;
mod promises;
mod repeats;
mod results;
mod statuses;
mod story;

use std::collections::BTreeSet;

use story::Story;

use crate::{RULES, judge};

/// A rule, what is wrong, how the history is changed, and what the judge says about it.
pub struct Lie {
    rule: &'static str,
    what: &'static str,
    tell: fn(&mut Story),
    promise: &'static str,
    says: &'static str,
}

/// One line of a table of lies.
pub const fn lie(
    rule: &'static str,
    what: &'static str,
    tell: fn(&mut Story),
    promise: &'static str,
    says: &'static str,
) -> Lie {
    Lie { rule, what, tell, promise, says }
}

fn all() -> impl Iterator<Item = &'static Lie> {
    [
        deadlines::LIES,
        effects::LIES,
        knowledge::LIES,
        leadership::LIES,
        promises::LIES,
        repeats::LIES,
        results::LIES,
        statuses::LIES,
    ]
    .into_iter()
    .flatten()
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let story = Story::told();
    assert_eq!(judge(&story.facts), []);
}

#[test]
fn every_lie_is_found() {
    let mut missed = Vec::new();
    for lie in all() {
        let mut story = Story::told();
        (lie.tell)(&mut story);
        let found = judge(&story.facts);
        let is_it = |v: &&crate::Violation| v.promise == lie.promise && v.what.contains(lie.says);
        if !found.iter().any(|v| is_it(&v)) {
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            missed.push(format!("{} ({}): {found:#?}", lie.what, lie.rule));
        }
    }
    assert!(missed.is_empty(), "{} lies were not found:\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn every_rule_can_fail() {
    let of_rules: BTreeSet<_> = RULES.iter().map(|(name, _)| *name).collect();
    let of_lies: BTreeSet<_> = all().map(|lie| lie.rule).collect();
    assert_eq!(of_rules, of_lies);
}

#[test]
fn what_is_no_lie_is_not_taken_for_one() {
    let mut taken = Vec::new();
    let truths = [
        deadlines::TRUTHS,
        effects::TRUTHS,
        knowledge::TRUTHS,
        repeats::TRUTHS,
        results::TRUTHS,
        statuses::TRUTHS,
    ];
    let truths = truths.into_iter().flatten();
    for (what, tell) in truths {
        let mut story = Story::told();
        tell(&mut story);
        let found: Vec<_> = judge(&story.facts).iter().map(ToString::to_string).collect();
        if !found.is_empty() {
            taken.push(format!("{what}: {found:#?}"));
        }
    }
    assert!(taken.is_empty(), "{}", taken.join("\n"));
}
