//! What the command line takes.

use std::path::{Path, PathBuf};

use ai_api_operator::controller::Settings;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Where a Pod finds its namespace.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Stops and deletes AI API Executions and Deployments in bulk.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator.
    Controller(ControllerArguments),
    /// Print the CustomResourceDefinitions.
    Crds(CrdsArguments),
}

#[derive(Args, Debug)]
pub struct CrdsArguments {
    /// Write a file for each into this folder instead.
    #[arg(long, value_name = "FOLDER")]
    pub out_dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct ControllerArguments {
    /// The kubeconfig to use [default: as kubectl finds it, else the Pod's ServiceAccount].
    #[arg(long, env = "AI_API_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The kubeconfig's context to use [default: its current one].
    #[arg(long, env = "AI_API_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,

    /// The operator's own namespace [default: the Pod's, else the context's].
    #[arg(long, env = "AI_API_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,

    /// The ConfigMap in the operator's namespace that holds the flag, under the key bulkUpdates.
    #[arg(long, env = "AI_API_META_CONFIGMAP", value_name = "NAME", default_value = "ai-api-meta")]
    pub meta_configmap: String,

    /// A namespace to watch; may be given several times, or as a list with commas [default: all].
    #[arg(
        long = "watch-namespace",
        env = "AI_API_WATCH_NAMESPACE",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub watch_namespaces: Vec<String>,

    /// How many requests may be under way at once, over all together.
    #[arg(long, env = "AI_API_MAX_IN_FLIGHT", value_name = "NUMBER", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub max_in_flight: u16,

    /// Allow COMPLETED Executions to be deleted, which the AI API does not.
    #[arg(long, env = "AI_API_DELETE_COMPLETED")]
    pub delete_completed: bool,

    /// How the log, on standard error, is written; RUST_LOG filters it.
    #[arg(long, env = "AI_API_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

impl ControllerArguments {
    /// The operator's own namespace.
    pub fn namespace(&self, of_context: &str) -> String {
        let of_pod = || std::fs::read_to_string(Path::new(POD_NAMESPACE)).ok();
        self.namespace
            .clone()
            .or_else(of_pod)
            .map_or_else(|| of_context.to_owned(), |name| name.trim().to_owned())
    }

    pub fn settings(self, namespace: String) -> Settings {
        Settings {
            namespace,
            meta_configmap: self.meta_configmap,
            watch_namespaces: distinct(self.watch_namespaces),
            max_in_flight: self.max_in_flight.into(),
            delete_completed: self.delete_completed,
        }
    }
}

/// The names, each once. An empty one is what templates make of a list without names.
fn distinct(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::distinct;

    #[test]
    fn namespaces_count_once_and_an_empty_name_is_none() {
        let names = ["b", "", "a", "b"].map(ToOwned::to_owned).to_vec();
        assert_eq!(distinct(names), ["a", "b"]);
        assert!(distinct(vec![String::new()]).is_empty());
    }
}
