//! What the command line takes.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ai_api_operator::{controller, gateway};
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
    /// Serve the AI API over HTTP.
    Gateway(GatewayArguments),
    /// Print the CustomResourceDefinitions.
    Crds(CrdsArguments),
}

#[derive(Args, Debug)]
pub struct CrdsArguments {
    /// Write a file for each into this folder instead.
    #[arg(long, value_name = "FOLDER")]
    pub out_dir: Option<PathBuf>,
}

/// What each process that reaches the cluster takes.
#[derive(Args, Debug)]
pub struct ClusterArguments {
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

    /// How the log, on standard error, is written; RUST_LOG filters it.
    #[arg(long, env = "AI_API_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

#[derive(Args, Debug)]
pub struct ControllerArguments {
    #[command(flatten)]
    pub cluster: ClusterArguments,

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
}

#[derive(Args, Debug)]
pub struct GatewayArguments {
    #[command(flatten)]
    pub cluster: ClusterArguments,

    /// Where the AI API is served.
    #[arg(long, env = "AI_API_BIND_ADDRESS", value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8443")]
    pub bind_address: SocketAddr,

    /// Where metrics and probes are served, over plain HTTP.
    #[arg(
        long,
        env = "AI_API_METRICS_BIND_ADDRESS",
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:8080"
    )]
    pub metrics_bind_address: SocketAddr,

    /// The certificate chain, in PEM; read again when it changes.
    #[arg(
        long,
        env = "AI_API_TLS_CERT_FILE",
        value_name = "FILE",
        requires = "tls_private_key_file",
        required_unless_present = "plain_http"
    )]
    pub tls_cert_file: Option<PathBuf>,

    /// The key of that certificate, in PEM.
    #[arg(long, env = "AI_API_TLS_PRIVATE_KEY_FILE", value_name = "FILE", requires = "tls_cert_file")]
    pub tls_private_key_file: Option<PathBuf>,

    /// Serve without TLS, for behind something that speaks it: callers send tokens of the cluster's.
    #[arg(long, env = "AI_API_PLAIN_HTTP", conflicts_with_all = ["tls_cert_file", "tls_private_key_file"])]
    pub plain_http: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

impl ClusterArguments {
    /// The operator's own namespace.
    pub fn namespace(&self, of_context: &str) -> String {
        let of_pod = || std::fs::read_to_string(Path::new(POD_NAMESPACE)).ok();
        self.namespace
            .clone()
            .or_else(of_pod)
            .map_or_else(|| of_context.to_owned(), |name| name.trim().to_owned())
    }
}

impl ControllerArguments {
    pub fn settings(self, namespace: String) -> controller::Settings {
        controller::Settings {
            namespace,
            meta_configmap: self.cluster.meta_configmap,
            watch_namespaces: distinct(self.watch_namespaces),
            max_in_flight: self.max_in_flight.into(),
            delete_completed: self.delete_completed,
        }
    }
}

impl GatewayArguments {
    pub fn settings(self, namespace: String) -> gateway::Settings {
        gateway::Settings {
            namespace,
            meta_configmap: self.cluster.meta_configmap,
            bind_address: self.bind_address,
            metrics_bind_address: self.metrics_bind_address,
            tls: self.tls_cert_file.zip(self.tls_private_key_file),
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
