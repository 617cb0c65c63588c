//! The command line.

// Printing macros panic if the output cannot be written: a full disk, a closed pipe.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod command;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use ai_api_operator::{
    api,
    client::{self, Cluster, Machine},
    controller::replica,
    gateway,
    misconfigured::Misconfigured,
    telemetry::{OneLine, Traces},
};
use anyhow::Context;
use command::{
    Arguments, ClusterArguments, Command, ControllerArguments, CrdsArguments, GatewayArguments, LogFormat,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tower::layer::util::Identity;
use tracing::{Level, error, info};
use tracing_subscriber::{
    EnvFilter,
    filter::{FilterExt, Targets, filter_fn},
    prelude::*,
};

/// The exit code of a process that was started or installed wrongly: a restart changes nothing.
const MISCONFIGURED: u8 = 2;
/// The exit code after a closed pipe (128 + SIGPIPE), as in `ai-api-operator crds | head -1`: kubectl has the same.
const CLOSED_PIPE: u8 = 141;

fn main() -> ExitCode {
    let arguments = match Arguments::of_process() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            print_error(in_one_line(&error));
            return ExitCode::from(MISCONFIGURED);
        }
        Err(help) => return printed(help.print().and_then(|()| io::stdout().flush())),
    };
    let ended = match arguments.command {
        Command::Controller(arguments) => run_controller(arguments),
        Command::Gateway(arguments) => run_gateway(arguments),
        Command::Crds(arguments) => match crds(&arguments) {
            Ok(text) => {
                return printed(io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()));
            }
            Err(error) => {
                print_error(format!("error: {error:#}"));
                Err(error)
            }
        },
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Misconfigured>() => ExitCode::from(MISCONFIGURED),
        Err(_) => ExitCode::FAILURE,
    }
}

/// The exit code after something was printed.
fn printed(outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(CLOSED_PIPE),
        Err(error) => {
            print_error(format!("error: standard output cannot be written: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints to standard error; if that fails, there is nowhere to report it.
fn print_error(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// What is wrong with the command line, without the paragraphs on its usage.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let problem =
        text.split("\n\n").filter(|part| !part.starts_with("Usage") && !part.starts_with("For more"));
    let words: Vec<_> = problem.flat_map(str::split_whitespace).collect();
    format!("{}; see --help", words.join(" "))
}

/// Starts to log, and to trace if the environment says where to. Where it fails, the error can be logged all the same.
fn init_tracing(format: LogFormat) -> Result<Option<Traces>, Misconfigured> {
    // kube logs whole bodies at warn, which may contain secrets, and each failed request at error, as the verifier does: the
    // sender of the request reports that.
    let default = "info,kube_client=error,kube_client::client::builder=off,kube_runtime=error,rustls_platform_verifier=off";
    let set = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| !text.is_empty());
    let (filter, invalid) = match EnvFilter::try_new(set.as_deref().unwrap_or(default)) {
        Ok(filter) => (filter, None),
        Err(error) => {
            let problem = format!("{} is invalid: {error}", EnvFilter::DEFAULT_ENV);
            (EnvFilter::new(default), Some(Misconfigured(problem)))
        }
    };
    // Spans are for traces only: each log line has its own fields.
    let lines = filter.and(filter_fn(|metadata| !metadata.is_span()));
    // That a line cannot be written cannot be reported anywhere.
    let log =
        tracing_subscriber::fmt::layer().with_writer(|| OneLine(io::stderr())).log_internal_errors(false);
    let log = match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let traces = Traces::start();
    let of_traces = traces.as_ref().ok().and_then(Option::as_ref).map(|traces| {
        // Spans of libraries, such as those of the exporter's own requests, do not belong to a BulkUpdate.
        let own = Targets::new().with_target("ai_api_operator", Level::INFO);
        tracing_opentelemetry::layer().with_tracer(traces.tracer()).with_filter(own)
    });
    tracing_subscriber::registry().with(of_traces).with(log.with_filter(lines)).init();
    invalid.map_or(traces, Err)
}

// One thread: most of the time is spent in the API server, from which more threads on the same cores would take time. It also
// keeps the allocator to one arena.
#[tokio::main(flavor = "current_thread")]
async fn run_controller(arguments: ControllerArguments) -> anyhow::Result<()> {
    let traces = init_tracing(arguments.cluster.log_format);
    let run = async {
        let traces = traces?;
        let (cluster, namespace) = find_cluster(&arguments.cluster)?;
        // Boxed, because they are large.
        let ended = Box::pin(replica::run(
            cluster,
            arguments.settings(namespace)?,
            Machine::default(),
            &Identity::new(),
            until_signal()?,
        ))
        .await;
        if let Some(traces) = traces {
            traces.end().await;
        }
        ended
    };
    Box::pin(run).await.inspect_err(|error| error!("{error:#}"))
}

#[tokio::main]
async fn run_gateway(arguments: GatewayArguments) -> anyhow::Result<()> {
    let tracing = init_tracing(arguments.cluster.log_format);
    let run = async {
        tracing?;
        let (cluster, namespace) = find_cluster(&arguments.cluster)?;
        gateway::run(cluster, arguments.settings(namespace), Machine::default(), until_signal()?).await
    };
    run.await.inspect_err(|error| error!("{error:#}"))
}

/// The cluster, and the operator's namespace in it.
fn find_cluster(arguments: &ClusterArguments) -> Result<(Cluster, String), Misconfigured> {
    let cluster = client::find_cluster(arguments.kubeconfig.as_deref(), arguments.context.as_deref())?;
    let namespace = arguments.namespace(&cluster.config.default_namespace);
    Ok((cluster, namespace))
}

/// Is cancelled by SIGTERM and SIGINT.
fn until_signal() -> anyhow::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let ending = shutdown.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let name = tokio::select! {
            biased;
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "shutdown requested");
        ending.cancel();
    });
    Ok(shutdown)
}

/// The CRDs to print; nothing if they are written into a folder.
fn crds(arguments: &CrdsArguments) -> anyhow::Result<String> {
    let mut printed = String::new();
    for crd in api::crds()? {
        let yaml = format!("# Made by `ai-api-operator crds`.\n---\n{}", serde_saphyr::to_string(&crd)?);
        match &arguments.out_dir {
            None => printed.push_str(&yaml),
            Some(folder) => {
                let path = folder.join(format!("{}.yaml", crd.metadata.name.unwrap_or_default()));
                std::fs::write(&path, yaml)
                    .with_context(|| format!("{} cannot be written", path.display()))?;
            }
        }
    }
    Ok(printed)
}
