//! The table of what was chosen, and the BulkUpdates as manifests.

use std::fmt::Write as _;

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{
    arguments::ManifestFormat,
    choice::{Candidate, Choice},
    console::Console,
    names::{age, counted},
    problem::Problem,
    table::{Table, shown},
};
use crate::api::Kind;

/// How many rows are shown without `--verbose`.
const ROWS: usize = 20;

/// What was chosen, and why other objects were not: one line a reason, with counts.
pub fn choice(choice: &Choice, kind: Kind, verbose: bool, now: Timestamp, width: Option<usize>) -> String {
    let mut text = String::new();
    if !choice.candidates.is_empty() {
        let mut table = Table::new(["NAMESPACE", kind.pick("EXECUTION", "DEPLOYMENT"), "STATE", "SINCE"]);
        let rows = if verbose { choice.candidates.len() } else { ROWS.min(choice.candidates.len()) };
        for Candidate { namespace, id, state, since, .. } in &choice.candidates[..rows] {
            let since = since.and_then(|since| Timestamp::from_second(since).ok());
            let since = since.map_or_else(|| "<unknown>".into(), |since| age(since, now));
            table.row([namespace.to_string(), id.to_string(), state.word().into(), since]);
        }
        text.push_str(&table.text(width));
        text.push('\n');
        let more = choice.candidates.len() - rows;
        if more > 0 {
            let _ = writeln!(text, "… and {more} more (--verbose shows all)");
        }
        text.push('\n');
    }
    let _ = write!(text, "{} eligible", counted(choice.candidates.len(), kind));
    let left = choice.left_out_count();
    if left > 0 {
        let _ = write!(text, ", {left} left out:");
        text.push_str(&left_out(choice, ""));
    }
    text
}

/// One line for each reason for which something was left out, with the names below it if these are kept.
pub fn left_out(choice: &Choice, prefix: &str) -> String {
    let mut text = String::new();
    for (why, left) in &choice.left_out {
        let _ = write!(text, "\n  {:>6}  {prefix}{}", left.count, shown(why));
        for name in &left.names {
            let _ = write!(text, "\n          {}", shown(name));
        }
    }
    text
}

/// Prints objects as manifests: YAML documents, or one JSON object, a `List` if there are several, as kubectl does.
pub fn manifests(
    console: &Console,
    objects: &[impl Serialize],
    format: ManifestFormat,
) -> Result<(), Problem> {
    let failed =
        |error: &dyn std::fmt::Display| Problem::Failed(format!("an object cannot be printed: {error}"));
    match (format, objects) {
        (ManifestFormat::Yaml, objects) => {
            for object in objects {
                let text = yaml(object).map_err(|error| failed(&error))?;
                console.print(format_args!("---\n{}", text.trim_end()))?;
            }
            Ok(())
        }
        (ManifestFormat::Json, [object]) => {
            console.print(serde_json::to_string_pretty(object).map_err(|error| failed(&error))?)
        }
        (ManifestFormat::Json, objects) => list(console, objects),
    }
}

/// A YAML document; what is nested too deeply for that as JSON, which is YAML too.
fn yaml(object: &impl Serialize) -> Result<String, Box<dyn std::error::Error>> {
    let json = serde_json::to_string(object)?;
    let Ok(value) = serde_json::from_str::<Value>(&json) else { return Ok(json) };
    // The block style allows tabs where kubectl's parser does not.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    Ok(serde_saphyr::to_string_with_options(&value, options)?)
}

/// What kubectl prints for several objects.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a, T> {
    api_version: &'static str,
    kind: &'static str,
    items: &'a [T],
}

/// Prints objects as a `List`.
pub fn list(console: &Console, objects: &[impl Serialize]) -> Result<(), Problem> {
    let text = serde_json::to_string_pretty(&List { api_version: "v1", kind: "List", items: objects });
    console.print(text.map_err(|error| Problem::Failed(format!("the list cannot be printed: {error}")))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::State, plugin::choice::Verdict};

    fn chosen(count: usize, names: bool) -> Choice {
        let mut chosen = Choice::new(names);
        for n in 0..count {
            let id = format!("run-{n:02}");
            let candidate = Candidate {
                namespace: "team-a".into(),
                id: id.clone().into(),
                uid: id.clone().into(),
                state: State::Dead,
                since: (n > 0).then_some(0),
                stops: false,
            };
            chosen.add(Verdict::Eligible(candidate), "team-a", &id);
        }
        chosen.leave_out("RUNNING: only STOPPED can be deleted".into(), "team-a", "busy");
        chosen
    }

    #[test]
    fn a_table_says_what_was_chosen_and_what_was_not() {
        let now = Timestamp::from_second(8 * 86_400).unwrap();
        let text = choice(&chosen(2, true), Kind::Execution, true, now, None);
        let wanted = "NAMESPACE   EXECUTION   STATE   SINCE\n\
                      team-a      run-00      DEAD    <unknown>\n\
                      team-a      run-01      DEAD    8d\n\n\
                      2 Executions eligible, 1 left out:\n       1  RUNNING: only STOPPED can be deleted\n          team-a/busy";
        assert_eq!(text, wanted);
        let text = choice(&chosen(21, false), Kind::Deployment, false, now, None);
        assert!(
            text.contains("\n… and 1 more (--verbose shows all)\n") && !text.contains("run-20"),
            "{text}"
        );
    }
}
