//! docs/architecture.md: its map has every module, and its tables every reason.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use ai_api_operator::api::{ItemResult, Reason};

use crate::{conditions, is_generated, links::files_below, read, words};

const NAME: &str = "docs/architecture.md";
const MARKS: (&str, &str) = (
    "<!-- The code map: the first sentence of each module. To update it: UPDATE_DOCS=1 cargo test --test docs -->\n",
    "<!-- End of the code map. -->\n",
);

/// Modules that are only about tests.
const OF_TESTS: [&str; 3] = ["tests", "properties", "fixtures"];

#[test]
fn the_code_map_has_a_line_for_each_module() {
    is_generated(NAME, &read(NAME), MARKS, &code_map());
}

fn code_map() -> String {
    let is_of_tests = |file: &String| {
        let mut parts = Path::new(file).iter().map(|part| part.to_str().unwrap().trim_end_matches(".rs"));
        parts.any(|part| OF_TESTS.contains(&part))
    };
    let mut files: Vec<_> = files_below("src").into_iter().filter(|file| !is_of_tests(file)).collect();
    // A module comes before those in its folder.
    files.sort_by_key(|file| file.trim_end_matches(".rs").trim_end_matches("/mod").to_owned());
    let mut map = "\n| module | what it is |\n|---|---|\n".to_owned();
    for file in files {
        writeln!(map, "| `{file}` | {} |", first_sentence(&file)).unwrap();
    }
    map + "\n"
}

/// The first sentence of a module's description.
fn first_sentence(file: &str) -> String {
    let text = read(file);
    let lines = text.lines().map_while(|line| line.strip_prefix("//! "));
    let described = lines.collect::<Vec<_>>().join(" ");
    let sentence = described.split(". ").next().unwrap().trim_end_matches('.');
    assert!(!sentence.is_empty(), "{file} has no description");
    sentence.replace("[`", "`").replace("`]", "`").replace('|', "\\|")
}

#[test]
fn the_decision_tables_have_every_reason_and_no_other() {
    let text = read(NAME);
    let tables = text.split_once("\n## Decision tables\n").unwrap().1.split_once("\n## ").unwrap().0;
    let named: BTreeSet<_> = tables.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect();
    let is_a_word = |text: &&String| {
        text.starts_with(|c: char| c.is_ascii_uppercase()) && text.chars().any(|c| c.is_ascii_lowercase())
    };
    let named: BTreeSet<_> = named.iter().filter(is_a_word).cloned().collect();
    let reasons: BTreeSet<_> = words::<Reason>("reason").iter().map(|reason| format!("{reason:?}")).collect();
    let results = words::<ItemResult>("result").into_iter().map(|result| format!("{result:?}"));
    let missing: Vec<_> = reasons.difference(&named).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let known: BTreeSet<_> =
        results.chain(reasons).chain(conditions().into_keys()).chain(["Ready".to_owned()]).collect();
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
