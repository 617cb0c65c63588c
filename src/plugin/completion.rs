//! What kubectl asks for completion, through the executable `kubectl_complete-aiapi`, which is this one under another name: one
//! suggestion a line, and at the end a number that says that no file names are meant, as Cobra has it.

use std::{ffi::OsString, path::Path};

use clap::{Arg, CommandFactory};
use k8s_openapi::{Resource as _, api::core::v1::Namespace};
use kube::{
    Resource,
    core::{ApiResource, DynamicObject},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    arguments::{Arguments, ClusterArguments, CompleteArguments, KindArgument, engine, engines},
    console::Console,
    explain::reasons,
    follow::seen::Seen,
    problem::Problem,
    session::{Page, Session},
};
use crate::{
    api::{Kind, State, bare_metadata},
    decode::json,
};

/// `ShellCompDirectiveNoFileComp`.
const NO_FILES: &str = ":4";
/// How many names are suggested: nobody reads more.
const NAMES: u32 = 200;

/// The name under which kubectl runs this program for completion.
const COMPLETER: &str = "kubectl_complete-aiapi";

/// The words of the command line: under the other name they are those to complete.
pub fn words(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<_> = arguments.collect();
    if words.first().is_some_and(|program| Path::new(program).file_name() == Some(COMPLETER.as_ref())) {
        words.splice(1..1, ["__complete".into(), "--".into()]);
    }
    words
}

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

fn each<'a>(words: impl IntoIterator<Item = &'a str>) -> Suggestions {
    words.into_iter().map(|word| (word.to_owned(), String::new())).collect()
}

/// What is on the line before the word that is completed.
struct Line<'a> {
    command: &'a clap::Command,
    positional: Vec<&'a str>,
    /// The flag whose value is completed.
    flag: Option<&'a Arg>,
    /// The cluster and namespace that the line names.
    cluster: ClusterArguments,
}

impl<'a> Line<'a> {
    fn read(root: &'a clap::Command, cluster: &ClusterArguments, before: &'a [String]) -> Self {
        let mut line = Self { command: root, positional: Vec::new(), flag: None, cluster: cluster.clone() };
        for word in before {
            if let Some(flag) = line.flag.take() {
                line.note(flag, word);
            } else if let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) {
                let (name, value) =
                    name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
                let flag = line.find(root, name).filter(|flag| flag.get_action().takes_values());
                match (flag, value) {
                    (Some(flag), Some(value)) => line.note(flag, value),
                    (flag, None) => line.flag = flag.filter(|flag| !flag.is_require_equals_set()),
                    (None, Some(_)) => {}
                }
            } else if let Some(command) = line.command.find_subcommand(word) {
                line.command = command;
            } else {
                line.positional.push(word);
            }
        }
        line
    }

    /// The flag of this name, without its first dash.
    fn find(&self, root: &'a clap::Command, name: &str) -> Option<&'a Arg> {
        let mut flags = self.command.get_arguments().chain(root.get_arguments());
        match name.strip_prefix('-') {
            Some(long) => flags.find(|known| known.get_long() == Some(long)),
            None => flags.find(|known| known.get_short().is_some_and(|short| name.chars().eq([short]))),
        }
    }

    fn note(&mut self, flag: &Arg, value: &str) {
        let cluster = &mut self.cluster;
        match flag.get_id().as_str() {
            "namespace" => cluster.namespace = Some(value.to_owned()),
            "context" => cluster.context = Some(value.to_owned()),
            "kubeconfig" => cluster.kubeconfig = Some(value.into()),
            "as_user" => cluster.as_user = Some(value.to_owned()),
            "as_groups" => cluster.as_groups.push(value.to_owned()),
            _ => {}
        }
    }
}

async fn suggest(
    cluster: &ClusterArguments,
    console: &Console,
    before: &[String],
    last: &str,
) -> Suggestions {
    let root = Arguments::command();
    let line = Line::read(&root, cluster, before);
    let about = |about: Option<&clap::builder::StyledStr>| about.map(ToString::to_string).unwrap_or_default();
    let names = |resource| names(&line.cluster, console, resource);
    if let Some(flag) = line.flag {
        return match flag.get_id().as_str() {
            "namespace" => names(ApiResource::erase::<Namespace>(&())).await,
            "states" => each(State::ALL.iter().map(|state| state.word())),
            _ => each(flag.get_possible_values().iter().map(clap::builder::PossibleValue::get_name)),
        };
    }
    if last.starts_with('-') {
        let flags =
            line.command.get_arguments().chain(root.get_arguments()).filter(|flag| !flag.is_hide_set());
        let long = flags.filter_map(|flag| Some((format!("--{}", flag.get_long()?), about(flag.get_help()))));
        return long.collect();
    }
    let subcommands = line.command.get_subcommands().filter(|command| !command.is_hide_set());
    let subcommands = subcommands.map(|command| (command.get_name().to_owned(), about(command.get_about())));
    let subcommands: Suggestions = subcommands.collect();
    if !subcommands.is_empty() {
        return subcommands;
    }
    match (line.command.get_name(), &*line.positional) {
        ("stop" | "delete", []) => each(["execution", "deployment"]),
        ("stop" | "delete", [kind, ..]) => match <KindArgument as clap::ValueEnum>::from_str(kind, true) {
            Ok(kind) => names(Kind::from(kind).api_resource()).await,
            Err(_) => Vec::new(),
        },
        ("cancel" | "status" | "retry", []) => names(Seen::resource()).await,
        ("get", _) => each(["execution", "deployment", "bulkupdate"]),
        ("enable" | "disable", _) => each(["executions", "deployments"]),
        ("explain", []) => each(reasons().iter().map(String::as_str)),
        ("adopt", []) => each(engines().iter().map(String::as_str)),
        ("adopt", [name, ..]) => match engine(name) {
            Ok(engine) => names(engine.api_resource()).await,
            Err(_) => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The names of the objects of a kind, in the namespace if it has any.
async fn names(cluster: &ClusterArguments, console: &Console, resource: ApiResource) -> Suggestions {
    let Ok(session) = Session::connect(cluster, console) else { return Vec::new() };
    let namespace = session.namespace.as_deref().filter(|_| resource.kind != Namespace::KIND);
    let url = DynamicObject::url_path(&resource, namespace);
    let page: Result<Page<Name>, _> = session.get(&format!("{url}?limit={NAMES}")).await;
    let names = page.map(|page| page.items).unwrap_or_default();
    names.into_iter().map(|Name(name)| (name, String::new())).collect()
}
