//! Tests of the judge: a history without a fault, in which it finds nothing, and a forged one for each of its rules,
//! which it finds.

mod again;
mod basis;
mod deadlines;
mod effects;
mod history;
mod knowledge;
mod leadership;
mod promises;
mod repeats;
mod results;
mod statuses;
mod streams;
mod works;

use std::collections::BTreeSet;

use history::History;

use crate::{RULES, judge};

/// A rule, what is wrong, how the history is changed, and what the judge says about it.
pub struct Forgery {
    rule: &'static str,
    what: &'static str,
    forge: fn(&mut History),
    promise: &'static str,
    says: &'static str,
}

/// One row of a table.
pub const fn forgery(
    rule: &'static str,
    what: &'static str,
    forge: fn(&mut History),
    promise: &'static str,
    says: &'static str,
) -> Forgery {
    Forgery { rule, what, forge, promise, says }
}

fn all() -> impl Iterator<Item = &'static Forgery> {
    [
        again::FORGERIES,
        deadlines::FORGERIES,
        effects::FORGERIES,
        knowledge::FORGERIES,
        leadership::FORGERIES,
        promises::FORGERIES,
        repeats::FORGERIES,
        results::FORGERIES,
        statuses::FORGERIES,
        streams::FORGERIES,
        works::FORGERIES,
    ]
    .into_iter()
    .flatten()
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let history = History::new();
    assert_eq!(judge(&history.facts), []);
}

#[test]
fn every_forgery_is_found() {
    let mut missed = Vec::new();
    for forged in all() {
        let mut history = History::new();
        (forged.forge)(&mut history);
        let found = judge(&history.facts);
        let is_it = |v: &&crate::Violation| v.promise == forged.promise && v.what.contains(forged.says);
        if !found.iter().any(|v| is_it(&v)) {
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            missed.push(format!("{} ({}): {found:#?}", forged.what, forged.rule));
        }
    }
    assert!(missed.is_empty(), "{} forgeries were not found:\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn every_rule_can_fail() {
    let of_rules: BTreeSet<_> = RULES.iter().map(|(name, _)| *name).collect();
    let of_forgeries: BTreeSet<_> = all().map(|forged| forged.rule).collect();
    assert_eq!(of_rules, of_forgeries);
}

#[test]
fn what_is_genuine_is_not_refused() {
    let mut taken = Vec::new();
    let genuine = [
        again::GENUINE,
        deadlines::GENUINE,
        effects::GENUINE,
        knowledge::GENUINE,
        promises::GENUINE,
        repeats::GENUINE,
        results::GENUINE,
        statuses::GENUINE,
        streams::GENUINE,
        works::GENUINE,
    ];
    let genuine = genuine.into_iter().flatten();
    for (what, forge) in genuine {
        let mut history = History::new();
        forge(&mut history);
        let found: Vec<_> = judge(&history.facts).iter().map(ToString::to_string).collect();
        if !found.is_empty() {
            taken.push(format!("{what}: {found:#?}"));
        }
    }
    assert!(taken.is_empty(), "{}", taken.join("\n"));
}
