//! What kubectl asks for completion, through the executable `kubectl_complete-aiapi`, which is this one under another name: one
//! suggestion a line, and at the end a number that says that no file names are meant, as Cobra has it.

mod line;

use std::{collections::BTreeSet, ffi::OsString, path::Path};

use clap::{CommandFactory, ValueHint};
use k8s_openapi::{Resource as _, api::core::v1::Namespace};
use kube::{
    Resource,
    config::Kubeconfig,
    core::{ApiResource, DynamicObject},
};

use self::line::Line;
use super::{
    arguments::{Arguments, ClusterArguments, CompleteArguments, KindArgument, engine, engines},
    batches::{is_run, run_of},
    console::Console,
    explain::reasons,
    follow::seen::Seen,
    named::Named,
    problem::Problem,
    record::Record,
    session::{Selectors, Session},
};
use crate::api::{Kind, State};

/// `ShellCompDirectiveDefault`.
const FILES: &str = ":0";
/// `ShellCompDirectiveNoFileComp`.
const NO_FILES: &str = ":4";
/// How many names are suggested: nobody reads more.
const NAMES: usize = 200;
/// How many names are looked at for that: a list takes a moment.
const LOOKED_AT: usize = 10_000;

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

/// Prints what the last word may become. Where nothing can be found out, nothing is suggested.
pub async fn complete(
    cluster: &ClusterArguments,
    console: &Console,
    arguments: &CompleteArguments,
) -> Result<(), Problem> {
    let mut root = Arguments::command();
    // So that each subcommand has the flags of all.
    root.build();
    let line = Line::read(&root, cluster, &arguments.words);
    let suggestions = suggest(&line, console).await;
    for (word, about) in suggestions.iter().filter(|(word, _)| word.starts_with(line.last)) {
        let about = about.lines().next().unwrap_or_default();
        console.print(if about.is_empty() { word.clone() } else { format!("{word}\t{about}") })?;
    }
    let is_file = line.flag.is_some_and(|flag| flag.get_value_hint() == ValueHint::AnyPath);
    console.print(if is_file { FILES } else { NO_FILES })
}

type Suggestions = Vec<(String, String)>;

fn each<'a>(words: impl IntoIterator<Item = &'a str>) -> Suggestions {
    words.into_iter().map(|word| (word.to_owned(), String::new())).collect()
}

async fn suggest(line: &Line<'_>, console: &Console) -> Suggestions {
    let about = |about: Option<&clap::builder::StyledStr>| about.map(ToString::to_string).unwrap_or_default();
    if let Some(flag) = line.flag {
        return match flag.get_id().as_str() {
            "namespace" | "operator_namespace" => {
                names(line, console, ApiResource::erase::<Namespace>(&())).await
            }
            "context" => contexts(&line.cluster),
            "states" => listed(line.last, State::ALL.iter().map(|state| state.word())),
            _ => each(flag.get_possible_values().iter().map(clap::builder::PossibleValue::get_name)),
        };
    }
    if line.last.starts_with('-') {
        let flags = line.flags().filter(|flag| !flag.is_hide_set());
        let long = flags.filter_map(|flag| Some((format!("--{}", flag.get_long()?), about(flag.get_help()))));
        return long.collect();
    }
    let subcommands = line.command.get_subcommands().filter(|command| !command.is_hide_set());
    let subcommands = subcommands.map(|command| (command.get_name().to_owned(), about(command.get_about())));
    let subcommands: Suggestions = subcommands.collect();
    if !subcommands.is_empty() {
        return subcommands;
    }
    let mut suggested = match (line.command.get_name(), &*line.positional) {
        ("stop" | "delete", []) => each(["execution", "deployment"]),
        ("adopt", []) => each(engines().iter().map(String::as_str)),
        // Names in all namespaces would mean several objects.
        ("stop" | "delete" | "adopt", _) if line.cluster.all_namespaces => Vec::new(),
        ("stop" | "delete", [kind, ..]) => match <KindArgument as clap::ValueEnum>::from_str(kind, true) {
            Ok(kind) => names(line, console, Kind::from(kind).api_resource()).await,
            Err(_) => Vec::new(),
        },
        ("adopt", [name, ..]) => match engine(name) {
            Ok(engine) => names(line, console, engine.api_resource()).await,
            Err(_) => Vec::new(),
        },
        ("cancel" | "status" | "retry", []) => runs_and_bulk_updates(line, console).await,
        ("resume", []) => {
            let mut runs = runs_and_bulk_updates(line, console).await;
            runs.retain(|(run, _)| is_run(run));
            runs
        }
        ("get", _) => listed(line.last, ["execution", "deployment", "bulkupdate"]),
        ("enable" | "disable", _) => each(["executions", "deployments"]),
        ("explain", []) => each(reasons().iter().map(String::as_str)),
        _ => Vec::new(),
    };
    suggested.retain(|(word, _)| !line.positional.contains(&&**word));
    suggested
}

/// What the last element of a list with commas may become, with those before it.
fn listed<'a>(last: &str, words: impl IntoIterator<Item = &'a str>) -> Suggestions {
    let before = last.rfind(',').map_or("", |comma| &last[..=comma]);
    let named: Vec<_> = before.split(',').collect();
    let open = words.into_iter().filter(|word| !named.contains(word));
    open.map(|word| (format!("{before}{word}"), String::new())).collect()
}

/// The contexts of the kubeconfig.
fn contexts(cluster: &ClusterArguments) -> Suggestions {
    let kubeconfig = cluster.kubeconfig.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    each(kubeconfig.unwrap_or_default().contexts.iter().map(|context| &*context.name))
}

/// The names of the objects of a kind that fit, in the namespace if it has any.
async fn names(line: &Line<'_>, console: &Console, resource: ApiResource) -> Suggestions {
    names_that(line, console, resource, |name| name.starts_with(line.last)).await
}

async fn names_that(
    line: &Line<'_>,
    console: &Console,
    resource: ApiResource,
    fits: impl Fn(&str) -> bool,
) -> Suggestions {
    let Ok(session) = Session::connect(&line.cluster, console) else { return Vec::new() };
    let namespace = session.namespace.as_deref().filter(|_| resource.kind != Namespace::KIND);
    let url = DynamicObject::url_path(&resource, namespace);
    let (mut names, mut looked_at, mut token) = (Vec::new(), 0, String::new());
    while let Ok(page) = session.page::<Named>(&url, Selectors::METADATA, &token).await {
        let items = page.items.unwrap_or_default();
        looked_at += items.len();
        names.extend(items.into_iter().map(|named| named.name).filter(|name| fits(name)));
        token = page.metadata.continue_.unwrap_or_default();
        if token.is_empty() || names.len() >= NAMES || looked_at >= LOOKED_AT {
            break;
        }
    }
    names.into_iter().take(NAMES).map(|name| (name, String::new())).collect()
}

/// The names of BulkUpdates, and the runs to which they belong.
async fn runs_and_bulk_updates(line: &Line<'_>, console: &Console) -> Suggestions {
    let last = line.last;
    let fits = |name: &str| name.starts_with(last) || run_of(name).is_some_and(|run| run.starts_with(last));
    let names = names_that(line, console, Seen::resource(), fits).await;
    let mut runs: BTreeSet<_> =
        names.iter().filter_map(|(name, _)| run_of(name)).map(ToOwned::to_owned).collect();
    runs.extend(Record::runs());
    runs.into_iter().map(|run| (run, "run".to_owned())).chain(names).collect()
}
