//! Every link, anchor and path has a target that exists, every command is run by something, and the README stays short.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::{
    commands::{self, blocks},
    path, read,
};

/// The folders with text of our own, besides the documents.
const FOLDERS: [&str; 9] = [".ci", ".github", "benches", "crds", "deploy", "dev", "examples", "src", "tests"];

/// The languages of blocks.
const LANGUAGES: [&str; 6] = ["console", "mermaid", "promql", "sh", "text", "yaml"];

/// The files below a folder of the repository, by their paths in it.
pub fn files_below(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(path(folder.to_str().unwrap())).unwrap() {
            let entry = entry.unwrap();
            let name = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(name);
            } else {
                files.push(name.to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

/// The files at the top of the repository.
fn files_at_the_top() -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(path("")).unwrap().map(Result::unwrap);
    entries.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name().into_string().unwrap())
}

/// The documents: all Markdown.
fn documents() -> impl Iterator<Item = (String, String)> {
    let all = files_at_the_top().chain(files_below("docs")).chain(files_below(".github"));
    all.filter(|name| has_extension(name, "md")).map(|name| (name.clone(), read(&name)))
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}

/// The lines of a document that are not in a block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    text.lines().filter(move |line| {
        let mark = line.trim_start().starts_with("```");
        in_block ^= mark;
        !mark && !in_block
    })
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut times = BTreeMap::<_, usize>::new();
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let slugs = headings.map(|heading| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    });
    slugs
        .map(|slug| {
            let earlier = times.entry(slug.clone()).or_default();
            *earlier += 1;
            if *earlier == 1 { slug } else { format!("{slug}-{}", *earlier - 1) }
        })
        .collect()
}

/// The parts of a line that are, or are not, between code marks.
fn in_code(line: &str, in_code: bool) -> impl Iterator<Item = &str> {
    line.split('`').enumerate().filter(move |(n, _)| (n % 2 == 1) == in_code).map(|(_, part)| part)
}

/// What is wrong with a path in the repository, perhaps with an anchor.
fn flaw(target: &str) -> Option<String> {
    let (name, anchor) = target.split_once('#').map_or((target, None), |(name, anchor)| (name, Some(anchor)));
    if !path(name).exists() {
        return Some(format!("there is no {name}"));
    }
    let anchor = anchor.filter(|_| has_extension(name, "md"))?;
    (!anchors(&read(name)).contains(anchor)).then(|| format!("{name} has no heading for #{anchor}"))
}

/// A link of a document, as a path from the top of the repository.
fn resolved(document: &str, link: &str) -> String {
    let (name, anchor) =
        link.split_once('#').map_or((link, String::new()), |(name, anchor)| (name, format!("#{anchor}")));
    if name.is_empty() {
        return format!("{document}{anchor}");
    }
    let mut parts: Vec<_> = document.split('/').collect();
    parts.pop();
    for part in name.split('/') {
        match part {
            "." => {}
            ".." => assert!(parts.pop().is_some(), "a link stays in the repository"),
            part => parts.push(part),
        }
    }
    format!("{}{anchor}", parts.join("/"))
}

#[test]
fn every_link_has_a_target() {
    let mut flaws = Vec::new();
    let mut seen = 0;
    for (document, text) in documents() {
        for line in prose(&text) {
            let plain: String = in_code(line, false).collect();
            for link in plain.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
                seen += 1;
                if !link.contains("://") {
                    let found = flaw(&resolved(&document, link));
                    flaws.extend(found.map(|flaw| format!("{document}: ({link}): {flaw}")));
                }
            }
        }
    }
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
    assert!(seen > 100, "{seen} links are not all of them");
}

#[test]
fn every_path_in_a_document_exists() {
    let is_path = |text: &str| {
        let known = |folder: &&str| text.strip_prefix(*folder).is_some_and(|rest| rest.starts_with('/'));
        FOLDERS.iter().chain(&["docs"]).any(known)
            && text.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c))
    };
    let mut flaws = Vec::new();
    for (document, text) in documents() {
        for found in prose(&text).flat_map(|line| in_code(line, true)).filter(|text| is_path(text)) {
            flaws.extend(flaw(found).map(|flaw| format!("{document}: {flaw}")));
        }
    }
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
}

#[test]
fn every_document_that_is_mentioned_exists() {
    let mut flaws = Vec::new();
    let mut seen = 0;
    let files = FOLDERS.iter().flat_map(|folder| files_below(folder)).chain(files_at_the_top());
    for file in files.filter(|name| !has_extension(name, "lock") && !name.ends_with("package-lock.json")) {
        // Not all of them are text.
        let Ok(text) = std::fs::read_to_string(path(&file)) else { continue };
        for (at, _) in text.match_indices("docs/") {
            if text[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "/._-".contains(c)) {
                continue;
            }
            let mention = text[at..].split(|c: char| !(c.is_alphanumeric() || "/._-#".contains(c)));
            let mention = mention.map(|mention| mention.trim_end_matches(['.', '#'])).next().unwrap();
            let name = mention.split('#').next().unwrap();
            if has_extension(name, "md") || has_extension(name, "yaml") {
                seen += 1;
                flaws.extend(flaw(mention).map(|flaw| format!("{file}: {flaw}")));
            }
        }
    }
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
    assert!(seen > 30, "{seen} mentions are not all of them");
}

#[test]
fn every_document_with_commands_is_run() {
    let run = commands::run();
    for (document, text) in documents() {
        for block in blocks(&document, &text) {
            let language = block.language;
            assert!(LANGUAGES.contains(&language), "{document}: a block of '{language}'");
            if ["console", "sh"].contains(&language) {
                assert!(!block.indented, "{document}: commands in an indented block are not run");
                assert!(run.contains(&document), "nothing runs the commands of {document}");
            }
        }
    }
    for document in run {
        assert!(path(&document).is_file(), "there is no {document}");
    }
}

#[test]
fn the_readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 150, "{lines} lines: details belong in docs/");
}
