//! The subcommands and flags, as kubectl names them where it has the same.

mod kinds;
mod values;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use k8s_openapi::jiff::Timestamp;

pub use self::kinds::{GetKind, KindArgument, MetaKind};
use self::values::{duration, moment, namespace_name, selector, state};
pub use self::values::{engine, engines};
use crate::api::{EngineKind, State};

/// Stops and deletes AI API Executions and Deployments in bulk: choose by label, state and age, see what would happen, watch it happen.
#[derive(Debug, Parser)]
#[command(name = "kubectl-aiapi", bin_name = "kubectl aiapi", version, max_term_width = 120)]
pub struct Arguments {
    #[command(flatten)]
    pub cluster: ClusterArguments,
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster, as whom, and where in it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArguments {
    /// The namespace [default: that of the context].
    #[arg(short, long, global = true, value_name = "NAME", value_parser = namespace_name)]
    pub namespace: Option<String>,
    /// All namespaces.
    #[arg(short = 'A', long, global = true)]
    pub all_namespaces: bool,
    /// The context of the kubeconfig [default: its current one].
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig [default: as kubectl finds it].
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The user to act as.
    #[arg(long = "as", global = true, value_name = "USER")]
    pub as_user: Option<String>,
    /// A group to act as a member of; repeatable.
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    pub as_groups: Vec<String>,
    /// The namespace of the operator.
    #[arg(long, global = true, value_name = "NAME", default_value = "ai-api-system", hide_short_help = true)]
    pub operator_namespace: String,
    /// The ConfigMap in it that holds the flag.
    #[arg(long, global = true, value_name = "NAME", default_value = "ai-api-meta", hide_short_help = true)]
    pub meta_configmap: String,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stop what is PENDING or RUNNING.
    Stop(StopArguments),
    /// Delete what is STOPPED, DEAD or UNKNOWN.
    Delete(DeleteArguments),
    /// Go on with a run that was interrupted: send what was not sent yet, and follow it.
    Resume(ResumeArguments),
    /// Call off a run, or one BulkUpdate: delete what is not over, and say how far it had got.
    Cancel(CancelArguments),
    /// Choose again what was refused or failed in a run, or in one BulkUpdate.
    Retry(RetryArguments),
    /// Make Executions or Deployments of work that runs already, so that it can be stopped and deleted in bulk.
    Adopt(AdoptArguments),
    /// Show Executions, Deployments and BulkUpdates in one overview.
    Get(GetArguments),
    /// Show each item of a BulkUpdate, or of a run: what became of it, and why.
    Status(StatusArguments),
    /// Show whether bulk updates are enabled, or change that with an administrator's own rights.
    Meta(MetaArguments),
    /// Explain a reason: what it means and what to do.
    Explain(ExplainArguments),
    /// Check what works and what does not, in the order in which one would look.
    Check,
    /// What kubectl asks for completion.
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArguments),
    /// Write the man pages into a folder.
    #[command(name = "__man", hide = true)]
    Man(ManArguments),
}

#[derive(Args, Clone, Debug)]
pub struct StopArguments {
    #[command(flatten)]
    pub choice: ChoiceArguments,
    #[command(flatten)]
    pub send: SendArguments,
}

#[derive(Args, Clone, Debug)]
pub struct DeleteArguments {
    #[command(flatten)]
    pub choice: ChoiceArguments,
    /// First stop what is PENDING or RUNNING, wait until it has stopped, and delete it then.
    #[arg(long, conflicts_with = "output")]
    pub stop_first: bool,
    #[command(flatten)]
    pub send: SendArguments,
}

/// Which objects.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Which ones (names or one of these is required)")]
pub struct ChoiceArguments {
    /// execution or deployment.
    #[arg(value_name = "KIND", hide_possible_values = true)]
    pub kind: KindArgument,
    /// Their names, which are the AI API ids.
    #[arg(value_name = "NAME", conflicts_with_all = FILTERS)]
    pub names: Vec<String>,
    /// By labels, as with kubectl.
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = selector)]
    pub selector: Option<String>,
    /// By fields, as with kubectl: status.state, spec.scenarioId, spec.configurationId, spec.executableId, metadata.name.
    #[arg(long, value_name = "SELECTOR", value_parser = selector)]
    pub field_selector: Option<String>,
    /// By state; repeatable, or a comma-separated list.
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = state)]
    pub states: Vec<State>,
    /// In their state for longer than this, such as 7d or 12h: by status.stateTime, else by completionTime; without either, not chosen.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub older_than: Option<Duration>,
    /// Created before this: a day, such as 2026-11-30 (in UTC), or a point in time, such as 2026-11-30T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub created_before: Option<Timestamp>,
    /// By scenario.
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub scenario: Option<String>,
    /// By configuration.
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub configuration: Option<String>,
    /// All of the namespace, or with -A of the cluster.
    #[arg(long)]
    pub all: bool,
}

/// What excludes names.
const FILTERS: [&str; 7] =
    ["selector", "field_selector", "older_than", "created_before", "scenario", "configuration", "all"];

/// How BulkUpdates are sent and followed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "How")]
pub struct SendArguments {
    /// Go on without asking.
    #[arg(short, long)]
    pub yes: bool,
    /// client: only show what was chosen. server: ask the operator what it would do.
    #[arg(long, value_name = "WHERE", num_args = 0..=1, default_missing_value = "client", require_equals = true, conflicts_with = "output")]
    pub dry_run: Option<DryRun>,
    /// Print the BulkUpdates instead of sending them.
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<ManifestFormat>,
    /// Leave the uid of each object out of what is printed: then an item means whatever has its name when the BulkUpdate is created.
    #[arg(long, requires = "output")]
    pub no_pin: bool,
    /// Show each name, and of those that are not eligible the reason.
    #[arg(short, long)]
    pub verbose: bool,
    #[command(flatten)]
    pub follow: FollowArguments,
}

#[derive(Args, Clone, Debug)]
pub struct FollowArguments {
    /// Wait until all of it is over; false: only until the BulkUpdates are sent.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub wait: bool,
    /// How long to wait, such as 10m [default: for ever]. What was sent goes on; what was not is not sent any more.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    Client,
    Server,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ManifestFormat {
    Yaml,
    Json,
}

#[derive(Args, Clone, Debug)]
pub struct ResumeArguments {
    /// The run, as the command said when it was interrupted.
    pub run: String,
    #[command(flatten)]
    pub follow: FollowArguments,
}

#[derive(Args, Clone, Debug)]
pub struct CancelArguments {
    /// A run, or the name of a BulkUpdate.
    #[arg(value_name = "RUN|BULKUPDATE")]
    pub what: String,
    /// Go on without asking.
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Args, Clone, Debug)]
pub struct RetryArguments {
    /// A run, or the name of a BulkUpdate.
    #[arg(value_name = "RUN|BULKUPDATE")]
    pub what: String,
    #[command(flatten)]
    pub send: SendArguments,
}

#[derive(Args, Clone, Debug)]
pub struct StatusArguments {
    /// The name of a BulkUpdate, or a run.
    #[arg(value_name = "BULKUPDATE|RUN")]
    pub what: String,
}

#[derive(Args, Clone, Debug)]
pub struct AdoptArguments {
    /// The kind of the work: job, jobset, rayjob, workflow, deployment (of apps/v1) or inferenceservice.
    #[arg(value_name = "ENGINE", value_parser = engine)]
    pub engine: EngineKind,
    /// The names of the objects.
    #[arg(value_name = "NAME", conflicts_with_all = ["selector", "all"], required_unless_present_any = ["selector", "all"])]
    pub names: Vec<String>,
    /// By labels, as with kubectl.
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = selector)]
    pub selector: Option<String>,
    /// All of the namespace, or with -A of the cluster.
    #[arg(long)]
    pub all: bool,
    /// The scenario to note on each.
    #[arg(long, value_name = "ID")]
    pub scenario: Option<String>,
    /// The configuration to note on each.
    #[arg(long, value_name = "ID")]
    pub configuration: Option<String>,
    /// Go on without asking.
    #[arg(short, long)]
    pub yes: bool,
    /// Only show what would be adopted.
    #[arg(long, value_name = "WHERE", num_args = 0..=1, default_missing_value = "client", require_equals = true, conflicts_with = "output")]
    pub dry_run: Option<DryRun>,
    /// Print the manifests instead of creating them.
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<ManifestFormat>,
}

#[derive(Args, Clone, Debug)]
pub struct GetArguments {
    /// What to show [default: all three].
    #[arg(value_name = "KIND", value_delimiter = ',', hide_possible_values = true)]
    pub kinds: Vec<GetKind>,
    /// By labels, as with kubectl.
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = selector)]
    pub selector: Option<String>,
    /// wide, json, yaml or name.
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    pub output: Option<GetFormat>,
    /// Go on showing what changes.
    #[arg(short, long)]
    pub watch: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GetFormat {
    Wide,
    Json,
    Yaml,
    Name,
}

#[derive(Args, Clone, Debug)]
pub struct MetaArguments {
    #[command(subcommand)]
    pub change: Option<MetaChange>,
}

#[derive(Clone, Debug, Subcommand)]
pub enum MetaChange {
    /// Enable bulk updates of these kinds.
    Enable(MetaKinds),
    /// Disable them: what is in flight still lands, and nothing else.
    Disable(MetaKinds),
}

#[derive(Args, Clone, Debug)]
pub struct MetaKinds {
    /// executions, deployments or both.
    #[arg(required = true, value_name = "KIND", hide_possible_values = true)]
    pub kinds: Vec<MetaKind>,
}

#[derive(Args, Clone, Debug)]
pub struct ExplainArguments {
    /// The reason, such as `CreatedLater`; without one, all are listed.
    pub reason: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub struct ManArguments {
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

#[derive(Args, Clone, Debug)]
pub struct CompleteArguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::api::Kind;

    fn parse(line: &str) -> Result<Arguments, String> {
        let words = std::iter::once("kubectl-aiapi").chain(line.split_whitespace());
        Arguments::try_parse_from(words).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn kinds_have_the_names_that_kubectl_users_type() {
        for kind in ["execution", "executions", "aiexec", "executions.aiapi.dev"] {
            let Command::Stop(stop) = parse(&format!("stop {kind} --all")).unwrap().command else {
                unreachable!()
            };
            assert_eq!(Kind::from(stop.choice.kind), Kind::Execution);
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for wrong in [
            "stop",
            "stop pod --all",
            "stop execution one -l a=b",
            "stop execution one --all",
            "stop execution --state WAITING",
            "stop execution --all --no-pin",
            "stop execution --all --dry-run=server -o yaml",
            "delete execution --all --stop-first -o yaml",
            "stop execution --field-selector ,",
            "stop execution -l",
            "adopt job",
            "adopt job one --all",
            "meta enable",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let line = "delete execution --state DEAD,stopped --older-than 7d --yes -n team-a";
        let Command::Delete(delete) = parse(line).unwrap().command else { unreachable!() };
        assert_eq!(delete.choice.states, [State::Dead, State::Stopped]);
    }
}
