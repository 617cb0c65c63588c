//! The commands of the documents do what the documents say: they run in one shell, in order, as a reader would type
//! them.
//!
//! - ```` ```sh ```` runs as a whole.
//! - ```` ```console ````: a line that begins with `$ ` is a command, which continues after a backslash, within single
//!   quotes, and up to an `END`. The other lines are its output. `...` matches any lines; blanks, ages, times and uids
//!   may differ.
//! - ```` ```yaml ````: the API server accepts it, if it is of our group. Nothing is created.
//!
//! A comment on the line before a block changes that: `not run: WHY`, `has to fail`, `same as: FILE`, `output of: COMMAND`,
//! `commands of: COMMAND`. The last is for lines that COMMAND, a script of the repository, prints after a `$ `.

use std::{
    collections::{BTreeSet, HashMap},
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{path, read};

/// The documents that dev/check/documents runs: each continues where the previous one ended.
const DOCUMENTS: [&str; 17] = [
    "README.md",
    "docs/getting-started.md",
    "docs/use.md",
    "docs/managed-by.md",
    "docs/gitops.md",
    "docs/security.md",
    "docs/settings.md",
    "docs/troubleshooting.md",
    "docs/install.md",
    "docs/monitoring.md",
    "docs/performance.md",
    "docs/guarantees.md",
    "docs/architecture.md",
    "docs/release.md",
    "CONTRIBUTING.md",
    "docs/plugin.md",
    "docs/uninstall.md",
];

/// The documents that dev/check/clients runs.
const GATEWAY: [&str; 1] = ["docs/gateway.md"];

/// A block of code of a document.
pub struct Block<'a> {
    /// The document and the line.
    at: String,
    pub language: &'a str,
    /// Blocks within a list are indented, and not run.
    pub indented: bool,
    directive: &'a str,
    lines: Vec<&'a str>,
}

pub fn blocks<'a>(document: &str, text: &'a str) -> Vec<Block<'a>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    let mut previous = "";
    for (number, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (fence, &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                let comment = previous.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
                open = Some(Block {
                    at: format!("{document}:{}", number + 1),
                    language,
                    indented: line.starts_with(' '),
                    directive: comment.unwrap_or_default(),
                    lines: Vec::new(),
                });
            }
            (None, Some(block)) => block.lines.push(line),
            (None, None) => {}
        }
        previous = line;
    }
    assert!(open.is_none(), "the last block of {document} does not end");
    blocks
}

/// The documents whose commands are run.
pub fn run() -> BTreeSet<String> {
    DOCUMENTS.iter().chain(&GATEWAY).map(ToString::to_string).collect()
}

/// One or more commands, and their expected output.
#[derive(Debug, PartialEq)]
struct Step {
    at: String,
    command: String,
    prints: Option<Vec<String>>,
    fails: bool,
}

/// The commands of a console block.
fn console(block: &Block<'_>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in &block.lines {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (_, Some(step)) if is_unfinished(&step.command) => write!(step.command, "\n{line}").unwrap(),
            (Some(command), _) => steps.push(Step {
                at: block.at.clone(),
                command: command.to_owned(),
                prints: Some(Vec::new()),
                fails: false,
            }),
            (None, Some(step)) => step.prints.get_or_insert_default().push((*line).to_owned()),
            (None, None) => panic!("{}: output before the first command", block.at),
        }
    }
    steps
}

fn is_unfinished(command: &str) -> bool {
    match command.split_once("<<'END'") {
        Some((_, rest)) => !rest.ends_with("\nEND"),
        None => command.ends_with('\\') || command.matches('\'').count() % 2 == 1,
    }
}

/// The output of a script of the repository. It runs once, however many blocks show it.
fn output_of<'a>(script: &str, outputs: &'a mut HashMap<String, String>) -> &'a str {
    outputs.entry(script.to_owned()).or_insert_with(|| {
        let output = Command::new(path(script)).stderr(Stdio::inherit()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{script} failed after\n{text}");
        text
    })
}

/// The step for a block. What needs no shell is checked here.
fn steps(block: &Block<'_>, outputs: &mut HashMap<String, String>) -> Vec<Step> {
    let at = &block.at;
    let (directive, argument) = block.directive.split_once(": ").unwrap_or((block.directive, ""));
    let step = |command: String, fails| Step { at: at.clone(), command, prints: None, fails };
    match (directive, block.language) {
        ("not run", _) => return Vec::new(),
        ("output of", _) => assert_prints(at, &block.lines, output_of(argument, outputs)),
        ("commands of", _) => {
            let mut printed = output_of(argument, outputs).lines();
            for line in block.lines.iter().map(|line| line.split(" # ").next().unwrap().trim_end()) {
                let is_run =
                    line.is_empty() || printed.any(|printed| printed.strip_prefix("$ ") == Some(line));
                assert!(is_run, "{at}: {argument} does not run this, or not in this order: {line}");
            }
        }
        ("same as", _) => {
            let file = read(argument);
            let lines: Vec<_> = file.lines().filter(|line| !line.starts_with('#')).collect();
            assert_eq!(block.lines, lines, "{at}: is not the same as {argument}");
        }
        ("has to fail", "sh") => return vec![step(block.lines.join("\n"), true)],
        ("has to fail", "console") => {
            return console(block).into_iter().map(|step| Step { fails: true, ..step }).collect();
        }
        ("", "sh") => return vec![step(block.lines.join("\n"), false)],
        ("", "console") => return console(block),
        ("", "yaml")
            if block.lines.first().is_some_and(|line| line.starts_with("apiVersion: aiapi.dev/")) =>
        {
            let yaml = block.lines.join("\n");
            return vec![step(format!("kubectl apply --dry-run=server -f - <<'END'\n{yaml}\nEND"), false)];
        }
        ("", "yaml" | "mermaid" | "promql") => {}
        (directive, language) => panic!("{at}: what to do with '{directive}' and a block of '{language}'?"),
    }
    Vec::new()
}

/// The shell script of the steps. Each leaves its output in a file, and the last one its number in the file `last`.
fn script(steps: &[Step], printed: &Path) -> String {
    let printed = printed.display();
    // What the documents start in the background ends with the shell.
    let mut script = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n".to_owned();
    for (number, Step { at, command, fails, .. }) in steps.iter().enumerate() {
        let shown = format!("{at}\n  {}", command.replace('\n', "\n  ")).replace('\'', r"'\''");
        let output = format!("</dev/null >'{printed}/{number}' 2>&1");
        write!(script, "echo '{shown}'\necho {number} >'{printed}/last'\n").unwrap();
        if *fails {
            write!(script, "if (\n{command}\n) {output}; then echo '{at} has to fail' >&2; exit 1; fi\n")
                .unwrap();
        } else {
            write!(script, "{{\n{command}\n}} {output}\n").unwrap();
        }
    }
    script
}

fn assert_prints<T: AsRef<str>>(at: &str, wanted: &[T], printed: &str) {
    let wanted: Vec<_> = wanted.iter().map(|line| plain(line.as_ref())).collect();
    let lines: Vec<_> = printed.lines().map(plain).collect();
    assert!(fits(&wanted, &lines), "{at} should print\n{}\nbut prints\n{printed}", wanted.join("\n"));
}

fn fits(wanted: &[String], printed: &[String]) -> bool {
    match wanted.split_first() {
        None => printed.is_empty(),
        Some((any, rest)) if any == "..." => (0..=printed.len()).any(|n| fits(rest, &printed[n..])),
        Some((line, rest)) => printed.first() == Some(line) && fits(rest, &printed[1..]),
    }
}

/// A line without the parts that differ from run to run.
fn plain(line: &str) -> String {
    let is_age = |word: &str| {
        let parts: Vec<_> = word.split_inclusive(['s', 'm', 'h']).collect();
        let is_part =
            |part: &&str| part.len() > 1 && part[..part.len() - 1].bytes().all(|b| b.is_ascii_digit());
        word.ends_with(['s', 'm', 'h']) && parts.len() <= 2 && parts.iter().all(is_part)
    };
    let words = line.split_whitespace();
    words.map(|word| if is_age(word) { "AGE".to_owned() } else { masked(word) }).collect::<Vec<_>>().join(" ")
}

fn masked(word: &str) -> String {
    // `x` is a hexadecimal digit, `9` a decimal one.
    let begins = |text: &str, pattern: &str| {
        text.len() >= pattern.len()
            && pattern.bytes().zip(text.bytes()).all(|(wanted, byte)| match wanted {
                b'x' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
                b'9' => byte.is_ascii_digit(),
                other => byte == other,
            })
    };
    let (uid, time) = ("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "9999-99-99T99:99:99");
    let (mut rest, mut masked) = (word, String::new());
    while let Some(first) = rest.chars().next() {
        // The name of a run of the plugin.
        let run = "99999999-999999-xxxx";
        let after_time = begins(rest, time)
            .then(|| rest[time.len()..].trim_start_matches(|c: char| c == '.' || c.is_ascii_digit()));
        if begins(rest, uid) {
            masked.push_str("UID");
            rest = &rest[uid.len()..];
        } else if begins(rest, run) {
            masked.push_str("RUN");
            rest = &rest[run.len()..];
        } else if let Some(after) = after_time.and_then(|after| after.strip_prefix('Z')) {
            masked.push_str("TIME");
            rest = after;
        } else {
            masked.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    masked
}

/// Runs documents in the folder `AI_API_DOCUMENTS_FOLDER`, in the environment of this process.
fn run_documents(documents: &[&str]) {
    let folder =
        PathBuf::from(env::var_os("AI_API_DOCUMENTS_FOLDER").expect("a script in dev/check sets it"));
    let printed = folder.join("printed");
    fs::create_dir(&printed).unwrap();
    let texts: Vec<_> = documents.iter().map(|document| (document, read(document))).collect();
    let mut outputs = HashMap::new();
    let mut all = Vec::new();
    for (document, text) in &texts {
        for block in blocks(document, text).iter().filter(|block| !block.indented) {
            all.extend(steps(block, &mut outputs));
        }
    }
    let file = folder.join("commands.sh");
    fs::write(&file, script(&all, &printed)).unwrap();
    let status = Command::new("bash").arg(&file).current_dir(&folder).stdin(Stdio::null()).status().unwrap();
    let output = |number: usize| fs::read_to_string(printed.join(number.to_string())).unwrap_or_default();
    // A wrong output explains a later failure.
    let last: usize = fs::read_to_string(printed.join("last")).unwrap().trim().parse().unwrap();
    for (number, step) in all.iter().enumerate().take(last + usize::from(status.success())) {
        if let Some(wanted) = &step.prints {
            assert_prints(&format!("{}: {}", step.at, step.command), wanted, &output(number));
        }
    }
    let Step { at, command, .. } = &all[last];
    assert!(status.success(), "{at} failed: {command}\nit printed\n{}", output(last));
}

#[test]
#[ignore = "dev/check/documents prepares what the commands need"]
fn of_the_documents() {
    run_documents(&DOCUMENTS);
}

#[test]
#[ignore = "dev/check/clients prepares what the commands need"]
fn of_the_gateway() {
    run_documents(&GATEWAY);
}

#[test]
fn a_console_block_is_read_as_a_reader_types_it() {
    let text = "```console\n$ a \\\n  b\nc  d\n$ e 'f\ng'\n$ h <<'END'\n$ it's\nEND\n...\n```\n";
    let found = console(&blocks("a.md", text)[0]);
    let found: Vec<_> = found.iter().map(|step| (&*step.command, step.prints.as_deref().unwrap())).collect();
    let no_output: [String; 0] = [];
    let wanted = [
        ("a \\\n  b", &["c  d".to_owned()][..]),
        ("e 'f\ng'", &no_output),
        ("h <<'END'\n$ it's\nEND", &["...".to_owned()]),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn what_differs_from_run_to_run_may_differ() {
    let line = "a   7m23s \"01234567-89ab-cdef-0123-456789abcdef\" 2026-01-02T03:04:05.678Z, 8s 9x stop-20260102-030405-0a1b-001";
    assert_eq!(plain(line), "a AGE \"UID\" TIME, AGE 9x stop-RUN-001");
    let lines = |text: &str| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>();
    assert!(fits(&lines("a\n...\nc"), &lines("a\nb\nb\nc")) && fits(&lines("...\na"), &lines("a")));
    assert!(!fits(&lines("a\n...\nc"), &lines("a\nb")) && !fits(&lines("a"), &lines("a\nb")));
}

#[test]
fn a_step_that_fails_ends_the_shell() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docs-commands");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let step =
        |command: &str, fails| Step { at: "a.md:1".into(), command: command.into(), prints: None, fails };
    for (steps, last) in [
        (vec![step("x=it\\'s", false), step("echo $x | cat; false\necho no", false), step("", false)], "1"),
        (vec![step("false", true), step("true", true), step("true", false)], "1"),
        (vec![step("sleep 60 &", false), step("! kill -0 $$ || true", false)], "1"),
    ] {
        let output = Command::new("bash").arg("-c").arg(script(&steps, &folder)).output().unwrap();
        assert_eq!(output.status.success(), steps.len() == 2, "{output:?}");
        assert_eq!(fs::read_to_string(folder.join("last")).unwrap().trim(), last);
    }
    assert_eq!(fs::read_to_string(folder.join("0")).unwrap(), "");
}
