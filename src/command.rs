//! The subcommands and flags of the command line.

use std::{path::PathBuf, time::Duration};

use ai_api_operator::{
    api::{is_dns_label, is_dns_subdomain},
    controller::{self, Timing, replica},
    gateway,
    misconfigured::Misconfigured,
    server::BindAddress,
};
use clap::{
    Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, builder::Resettable,
};

/// Where a Pod finds the name of its namespace.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Stops and deletes AI API Executions and Deployments in bulk.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// Parses the command line and the environment. An empty variable counts as unset, as for kubectl: templates set it if they have
    /// no value.
    pub fn of_process() -> Result<Self, clap::Error> {
        let ignore_empty_variable = |argument: Arg| {
            let empty = argument.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
            if empty { argument.env(Resettable::Reset) } else { argument }
        };
        let command = Self::command().mut_subcommands(|command| command.mut_args(ignore_empty_variable));
        let mut matches = command.try_get_matches()?;
        Self::from_arg_matches_mut(&mut matches)
    }
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
    /// Write each into a file in this folder instead.
    #[arg(long, value_name = "FOLDER")]
    pub out_dir: Option<PathBuf>,
}

/// The flags of every process that uses the cluster.
#[derive(Args, Debug)]
pub struct ClusterArguments {
    /// The kubeconfig to use [default: as kubectl finds it, else the Pod's ServiceAccount].
    #[arg(long, env = "AI_API_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The kubeconfig's context to use [default: its current one].
    #[arg(long, env = "AI_API_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,

    /// The operator's own namespace [default: the Pod's, else the context's].
    #[arg(long, env = "AI_API_NAMESPACE", value_name = "NAME", value_parser = namespace_name)]
    pub namespace: Option<String>,

    /// The ConfigMap in the operator's namespace that holds the flag, under the key bulkUpdates.
    #[arg(long, env = "AI_API_META_CONFIGMAP", value_name = "NAME", default_value = "ai-api-meta",
          value_parser = object_name)]
    pub meta_configmap: String,

    /// Where metrics and probes are served, over plain HTTP; without an ADDRESS on every one, IPv6 and IPv4.
    #[arg(long, env = "AI_API_METRICS_BIND_ADDRESS", value_name = "ADDRESS:PORT", default_value = ":8080")]
    pub metrics_bind_address: BindAddress,

    /// The format of the log, on standard error; RUST_LOG filters it.
    #[arg(long, env = "AI_API_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

#[derive(Args, Debug)]
pub struct ControllerArguments {
    #[command(flatten)]
    pub cluster: ClusterArguments,

    /// A namespace to watch; repeatable, or a comma-separated list [default: all].
    #[arg(long = "watch-namespace", env = "AI_API_WATCH_NAMESPACE", value_name = "NAME", value_delimiter = ',',
          value_parser = namespace_name)]
    pub watch_namespaces: Vec<String>,

    /// How many requests may be in flight at once, for all BulkUpdates together.
    #[arg(long, env = "AI_API_MAX_IN_FLIGHT", value_name = "NUMBER", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub max_in_flight: u16,

    /// Allow COMPLETED Executions to be deleted, which the AI API does not.
    #[arg(long, env = "AI_API_DELETE_COMPLETED")]
    pub delete_completed: bool,

    /// Plan nothing without the admission policy that checks what authors may do; false where they are checked in another way.
    #[arg(long, env = "AI_API_REQUIRE_ADMISSION_POLICY", value_name = "BOOL", default_value_t = true,
          action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub require_admission_policy: bool,

    /// How long the other replicas wait for a renewal of the Lease before one takes over; whole seconds.
    #[arg(long, env = "AI_API_LEADER_ELECT_LEASE_DURATION", value_name = "DURATION", default_value = "15s",
          value_parser = duration)]
    pub leader_elect_lease_duration: Duration,

    /// How long the leader tries to renew the Lease before it exits; shorter than the lease duration.
    #[arg(long, env = "AI_API_LEADER_ELECT_RENEW_DEADLINE", value_name = "DURATION", default_value = "10s",
          value_parser = duration)]
    pub leader_elect_renew_deadline: Duration,

    /// How long to wait between two attempts to acquire or renew the Lease; shorter than the renew deadline.
    #[arg(long, env = "AI_API_LEADER_ELECT_RETRY_PERIOD", value_name = "DURATION", default_value = "2s",
          value_parser = duration)]
    pub leader_elect_retry_period: Duration,
}

#[derive(Args, Debug)]
pub struct GatewayArguments {
    #[command(flatten)]
    pub cluster: ClusterArguments,

    /// Where the AI API is served; without an ADDRESS on every one, IPv6 and IPv4.
    #[arg(long, env = "AI_API_BIND_ADDRESS", value_name = "ADDRESS:PORT", default_value = ":8443")]
    pub bind_address: BindAddress,

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

    /// Serve without TLS, behind a proxy that terminates it: callers send tokens of the cluster.
    #[arg(long, env = "AI_API_PLAIN_HTTP", conflicts_with_all = ["tls_cert_file", "tls_private_key_file"])]
    pub plain_http: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object per line.
    Json,
}

impl ClusterArguments {
    pub fn namespace(&self, of_context: &str) -> String {
        let set = |name: &str| Some(name.trim().to_owned()).filter(|name| !name.is_empty());
        let of_pod = || std::fs::read_to_string(POD_NAMESPACE).ok();
        self.namespace
            .as_deref()
            .and_then(set)
            .or_else(|| of_pod().as_deref().and_then(set))
            .unwrap_or_else(|| of_context.to_owned())
    }
}

impl ControllerArguments {
    pub fn settings(self, namespace: String) -> Result<replica::Settings, Misconfigured> {
        let timing = Timing {
            lease_duration: self.leader_elect_lease_duration,
            renew_deadline: self.leader_elect_renew_deadline,
            retry_period: self.leader_elect_retry_period,
        };
        timing.check()?;
        Ok(replica::Settings {
            controller: controller::Settings {
                namespace,
                meta_configmap: self.cluster.meta_configmap,
                watch_namespaces: distinct(self.watch_namespaces)?,
                max_in_flight: self.max_in_flight.into(),
                delete_completed: self.delete_completed,
                require_admission_policy: self.require_admission_policy,
            },
            metrics_bind_address: self.cluster.metrics_bind_address,
            timing,
            identity: identity(),
        })
    }
}

/// The host name, which is the Pod's name in a Pod, and a UUID: no other process has it.
fn identity() -> String {
    let uname = rustix::system::uname();
    format!("{}_{}", uname.nodename().to_string_lossy(), uuid::Uuid::new_v4())
}

/// What a flag accepts, where it was given something else.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Expected {
    #[error("expected a duration such as 15s or 1m30s, a day at the most")]
    Duration,
    #[error("expected a name of lower-case letters, digits, dashes and dots")]
    ObjectName,
    #[error("expected the name of a namespace, of lower-case letters, digits and dashes")]
    NamespaceName,
}

/// A duration as Kubernetes writes it, such as `15s` or `1m30s`.
fn duration(text: &str) -> Result<Duration, Expected> {
    // A longer text could overflow in the parser, and is too long for a Lease anyway.
    let sensible = text.len() <= 10 && !text.starts_with('-');
    let parsed = sensible.then(|| text.parse::<kube::core::Duration>().ok()).flatten().map(Duration::from);
    parsed.filter(|duration| *duration <= Duration::from_hours(24)).ok_or(Expected::Duration)
}

/// The name of an object, as the API server accepts it.
fn object_name(text: &str) -> Result<String, Expected> {
    is_dns_subdomain(text).then(|| text.to_owned()).ok_or(Expected::ObjectName)
}

/// The name of a namespace, or nothing.
fn namespace_name(text: &str) -> Result<String, Expected> {
    (text.is_empty() || is_dns_label(text)).then(|| text.to_owned()).ok_or(Expected::NamespaceName)
}

impl GatewayArguments {
    pub fn settings(self, namespace: String) -> gateway::Settings {
        gateway::Settings {
            namespace,
            meta_configmap: self.cluster.meta_configmap,
            bind_address: self.bind_address,
            metrics_bind_address: self.cluster.metrics_bind_address,
            tls: self.tls_cert_file.zip(self.tls_private_key_file),
        }
    }
}

/// The names, each once, without empty ones. A list of nothing but empty names does not mean every namespace: templates make it
/// from a variable that is not set.
fn distinct(mut names: Vec<String>) -> Result<Vec<String>, Misconfigured> {
    let given = !names.is_empty();
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    if given && names.is_empty() {
        let names_none = "--watch-namespace (AI_API_WATCH_NAMESPACE) names no namespace";
        return Err(Misconfigured(format!(
            "{names_none}: name at least one, or leave it out to watch all of them"
        )));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::distinct;

    #[test]
    fn namespaces_count_once_and_an_empty_name_is_none() {
        let distinct = |names: &[&str]| distinct(names.iter().map(ToString::to_string).collect());
        assert_eq!(distinct(&["b", "", "a", "b"]).unwrap(), ["a", "b"]);
        assert!(distinct(&[]).unwrap().is_empty());
        for none in [&[""][..], &["", ""]] {
            let problem = distinct(none).unwrap_err().to_string();
            assert!(problem.contains("names no namespace"), "{problem}");
        }
    }
}
