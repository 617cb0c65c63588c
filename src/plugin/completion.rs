//! What kubectl asks for completion, through the executable `kubectl_complete-aiapi`: one suggestion a line, and at the end a number
//! that says that no file names are meant, as Cobra has it.

use clap::{Arg, CommandFactory};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Resource, core::DynamicObject};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    arguments::{Arguments, ClusterArguments, CompleteArguments, KindArgument},
    console::Console,
    follow::seen::Seen,
    problem::Problem,
    session::{Page, Session},
};
use crate::{
    api::{EngineKind, Kind, State, bare_metadata},
    decode::json,
};

/// `ShellCompDirectiveNoFileComp`.
const NO_FILES: &str = ":4";
/// How many names are suggested: nobody reads more.
const NAMES: u32 = 200;

struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw: Box<RawValue> = json::anything(deserializer)?;
        Ok(Self(bare_metadata(json::member(&raw, "metadata")).name.unwrap_or_default()))
    }
}

/// Prints what the last word may become. Where nothing can be found out, nothing is suggested.
pub async fn complete(
    cluster: &ClusterArguments,
    console: &Console,
    arguments: &CompleteArguments,
) -> Result<(), Problem> {
    let (last, before) = match arguments.words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", &[][..]),
    };
    let suggestions = suggest(cluster, console, before, last).await;
    for (word, about) in suggestions.iter().filter(|(word, _)| word.starts_with(last)) {
        let about = about.lines().next().unwrap_or_default();
        console.print(if about.is_empty() { word.clone() } else { format!("{word}\t{about}") })?;
    }
    console.print(NO_FILES)
}

type Suggestions = Vec<(String, String)>;

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Suggestions {
    words.into_iter().map(|word| (word.to_owned(), String::new())).collect()
}

async fn suggest(
    cluster: &ClusterArguments,
    console: &Console,
    before: &[String],
    last: &str,
) -> Suggestions {
    let root = Arguments::command();
    let line = Line::read(&root, before);
    let about = |about: Option<&clap::builder::StyledStr>| about.map(ToString::to_string).unwrap_or_default();
    if let Some(flag) = line.flag {
        return values(cluster, console, &line, flag).await;
    }
    if last.starts_with('-') {
        let flags =
            line.command.get_arguments().chain(root.get_arguments()).filter(|flag| !flag.is_hide_set());
        let named =
            flags.filter_map(|flag| Some((format!("--{}", flag.get_long()?), about(flag.get_help()))));
        return named.collect();
    }
    let subcommands: Suggestions = line
        .command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| (command.get_name().to_owned(), about(command.get_about())))
        .collect();
    if !subcommands.is_empty() {
        return subcommands;
    }
    let names = |resource| names(cluster, console, &line, resource);
    match (line.command.get_name(), &*line.positional) {
        ("stop" | "delete", []) => words(["execution", "deployment"]),
        ("stop" | "delete", [kind, ..]) => match <KindArgument as clap::ValueEnum>::from_str(kind, true) {
            Ok(kind) => names(Kind::from(kind).api_resource()).await,
            Err(_) => Vec::new(),
        },
        ("cancel" | "status" | "retry", []) => names(Seen::resource()).await,
        ("get", _) => words(["execution", "deployment", "bulkupdate"]),
        ("enable" | "disable", _) => words(["executions", "deployments"]),
        ("explain", []) => words(super::explain::reasons().iter().map(String::as_str)),
        ("adopt", []) => {
            let engines: Vec<_> = EngineKind::ALL.iter().map(|engine| engine.kind().to_lowercase()).collect();
            words(engines.iter().map(String::as_str))
        }
        ("adopt", [engine, ..]) => {
            match EngineKind::ALL.iter().find(|known| known.kind().eq_ignore_ascii_case(engine)) {
                Some(engine) => names(engine.api_resource()).await,
                None => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

/// What is on the line before the word that is completed.
struct Line<'a> {
    command: &'a clap::Command,
    positional: Vec<&'a str>,
    /// The flag whose value is completed.
    flag: Option<&'a Arg>,
    namespace: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn read(root: &'a clap::Command, before: &'a [String]) -> Self {
        let mut line = Self { command: root, positional: Vec::new(), flag: None, namespace: None };
        for word in before {
            if let Some(flag) = line.flag.take() {
                if flag.get_id() == "namespace" {
                    line.namespace = Some(word);
                }
            } else if let Some(flag) = word.strip_prefix('-').filter(|flag| !flag.is_empty()) {
                line.flag = line
                    .find(root, flag)
                    .filter(|flag| flag.get_action().takes_values() && !flag.is_require_equals_set());
            } else if let Some(command) = line.command.find_subcommand(word) {
                line.command = command;
            } else {
                line.positional.push(word);
            }
        }
        line
    }

    /// The flag that this word is, if its value is the next word.
    fn find(&self, root: &'a clap::Command, flag: &str) -> Option<&'a Arg> {
        let mut flags = self.command.get_arguments().chain(root.get_arguments());
        match flag.strip_prefix('-') {
            Some(long) => flags.find(|known| known.get_long() == Some(long)),
            None => flags.find(|known| known.get_short().is_some_and(|short| flag.chars().eq([short]))),
        }
    }
}

/// The values that a flag may have.
async fn values(cluster: &ClusterArguments, console: &Console, line: &Line<'_>, flag: &Arg) -> Suggestions {
    match flag.get_id().as_str() {
        "namespace" => {
            let resource = kube::core::ApiResource::erase::<Namespace>(&());
            let Ok(session) = Session::connect(cluster, console) else { return Vec::new() };
            listed(&session, &DynamicObject::url_path(&resource, None)).await
        }
        "states" => words(State::ALL.iter().map(|state| state.word())),
        "name" => names(cluster, console, line, Seen::resource()).await,
        _ => flag
            .get_possible_values()
            .iter()
            .map(|value| (value.get_name().to_owned(), String::new()))
            .collect(),
    }
}

/// The names of the objects of a kind in the namespace on the line.
async fn names(
    cluster: &ClusterArguments,
    console: &Console,
    line: &Line<'_>,
    resource: kube::core::ApiResource,
) -> Suggestions {
    let mut cluster = cluster.clone();
    if let Some(namespace) = line.namespace {
        cluster.namespace = Some(namespace.to_owned());
    }
    let Ok(session) = Session::connect(&cluster, console) else { return Vec::new() };
    listed(&session, &DynamicObject::url_path(&resource, session.namespace.as_deref())).await
}

async fn listed(session: &Session, url: &str) -> Suggestions {
    let page: Result<Page<Name>, _> = session.get(&format!("{url}?limit={NAMES}")).await;
    let names = page.map(|page| page.items).unwrap_or_default();
    names.into_iter().map(|Name(name)| (name, String::new())).collect()
}
