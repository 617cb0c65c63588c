//! What a reason means and what to do, from the same tables as the documentation.

use super::{arguments::ExplainArguments, console::Console, problem::Problem, table::Table};

const TROUBLESHOOTING: &str = include_str!("../../docs/troubleshooting.md");
const WORKLOADS: &str = include_str!("../../docs/workloads.md");

/// The sections with a table of reasons: the document, the heading, and what the reasons are of.
const SECTIONS: [(&str, &str, &str); 3] = [
    (TROUBLESHOOTING, "## The reason of Ready", "condition Ready of a BulkUpdate"),
    (TROUBLESHOOTING, "## The result of an item", "item of a BulkUpdate"),
    (WORKLOADS, "## Reasons", "condition Ready of an Execution or Deployment with work"),
];

/// A row of one of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Meaning {
    reason: String,
    of: &'static str,
    /// What it means, then what to do.
    texts: Vec<String>,
}

pub fn explain(console: &Console, arguments: &ExplainArguments) -> Result<(), Problem> {
    let meanings = meanings();
    let Some(reason) = &arguments.reason else {
        let mut table = Table::new(["REASON", "OF", "MEANING"]);
        for Meaning { reason, of, texts } in meanings {
            table.row([reason, of.into(), texts.into_iter().next().unwrap_or_default()]);
        }
        return console.print(table.text(console.width));
    };
    let found: Vec<_> =
        meanings.iter().filter(|meaning| meaning.reason.eq_ignore_ascii_case(reason)).collect();
    if found.is_empty() {
        return Err(Problem::Usage(format!(
            "{reason} is not a known reason; these are: {}",
            reasons().join(", ")
        )));
    }
    for meaning in found {
        console.print(format_args!("{} ({})", meaning.reason, meaning.of))?;
        for text in &meaning.texts {
            console.print(format_args!("  {text}"))?;
        }
    }
    Ok(())
}

/// The names of all of them.
pub fn reasons() -> Vec<String> {
    let mut known: Vec<_> = meanings().into_iter().map(|meaning| meaning.reason).collect();
    known.sort_unstable();
    known.dedup();
    known
}

fn meanings() -> Vec<Meaning> {
    let rows = SECTIONS.iter().flat_map(|(document, heading, of)| {
        let section = document.split_once(heading).map_or("", |(_, rest)| rest);
        let section = section.split("\n## ").next().unwrap_or_default();
        section.lines().filter(|line| line.starts_with("| `")).flat_map(move |line| meanings_of(line, of))
    });
    rows.collect()
}

/// Those of a row, whose first cell may name several reasons.
fn meanings_of(line: &str, of: &'static str) -> Vec<Meaning> {
    let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let Some((reasons, texts)) = cells.split_first() else { return Vec::new() };
    let texts: Vec<_> = texts.iter().map(|text| plain(text)).filter(|text| !text.is_empty()).collect();
    let reasons = reasons.split('`').filter(|part| part.starts_with(|c: char| c.is_ascii_uppercase()));
    reasons.map(|reason| Meaning { reason: reason.to_owned(), of, texts: texts.clone() }).collect()
}

/// Markdown without its marks: of a link, the text.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        plain.push_str(before);
        let link = after.split_once("](").and_then(|(label, after)| Some((label, after.split_once(')')?.1)));
        let (text, after) = link.unwrap_or(("[", after));
        plain.push_str(text);
        rest = after;
    }
    plain.push_str(rest);
    plain.replace(['`', '*'], "")
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;
    use crate::api::{ConditionReason, Reason};

    #[test]
    fn every_reason_of_a_bulk_update_is_explained_with_what_to_do() {
        let meanings = meanings();
        let explained = |reason: String, of: &str| {
            let found = meanings.iter().find(|meaning| meaning.reason == reason && meaning.of == of);
            let found = found.unwrap_or_else(|| panic!("{reason} of {of} is not explained"));
            assert_eq!(found.texts.len(), 2, "{found:?}");
            assert!(!found.texts.iter().any(|text| text.contains("](") || text.contains('`')), "{found:?}");
        };
        for reason in Reason::VARIANTS {
            explained(reason.to_string(), SECTIONS[1].2);
        }
        for reason in ConditionReason::VARIANTS {
            // It is never the reason of Ready.
            if *reason != ConditionReason::Planned {
                explained(reason.to_string(), SECTIONS[0].2);
            }
        }
        assert!(
            meanings.iter().any(|meaning| meaning.reason == "StopOverdue" && meaning.of == SECTIONS[2].2)
        );
    }

    #[test]
    fn marks_are_left_out() {
        assert_eq!(
            plain("Look at [the *items*](use.md#items), `x[0]` and [more"),
            "Look at the items, x[0] and [more"
        );
    }
}
