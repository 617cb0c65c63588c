//! The command line.

// A printing macro ends the process where its output is gone: a full disk, a closed pipe.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod command;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use ai_api_operator::{
    api,
    client::{self, Cluster},
    controller::replica,
    gateway,
    misconfigured::Misconfigured,
    telemetry::{log::OneLine, traces::Traces},
};
use anyhow::Context;
use command::{
    Arguments, ClusterArguments, Command, ControllerArguments, CrdsArguments, GatewayArguments, LogFormat,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{Level, error, info};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, Targets, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// What ends a process that was started or installed wrongly: to start it again changes nothing.
const MISCONFIGURED: u8 = 2;

/// How a process ends that a closed pipe stops (128 + SIGPIPE), as in `ai-api-operator crds | head -1`: as kubectl does.
const CLOSED_PIPE: u8 = 141;

fn main() -> ExitCode {
    let arguments = match Arguments::of_process() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            complain(in_one_line(&error));
            return ExitCode::from(MISCONFIGURED);
        }
        // The help, or the version.
        Err(asked_for) => return printed(asked_for.print().and_then(|()| io::stdout().flush())),
    };
    let ended = match arguments.command {
        Command::Controller(arguments) => run_controller(arguments),
        Command::Gateway(arguments) => run_gateway(arguments),
        Command::Crds(arguments) => match crds(&arguments) {
            Ok(text) => {
                return printed(io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()));
            }
            Err(error) => {
                complain(format!("error: {error:#}"));
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

/// How the process ends after it has printed something.
fn printed(outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(CLOSED_PIPE),
        Err(error) => {
            complain(format!("error: standard output cannot be written: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Says it on standard error, if anybody can hear it.
fn complain(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// What is wrong with the command line, without the paragraphs on its use.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let told = text.split("\n\n").filter(|part| !part.starts_with("Usage") && !part.starts_with("For more"));
    let words: Vec<_> = told.flat_map(str::split_whitespace).collect();
    format!("{}; --help tells more", words.join(" "))
}

/// A process that logs tells its end there.
fn logged(ended: anyhow::Result<()>) -> anyhow::Result<()> {
    ended.inspect_err(|error| error!("{error:#}"))
}

/// Begins to log, and to trace, if the environment says where to.
fn init_tracing(format: LogFormat) -> Result<Option<Traces>, Misconfigured> {
    // kube logs whole bodies at warn, which may hold what does not belong into a log, and each failed request at error, as
    // the verifier does: whoever has sent it reports that.
    let usual = "info,kube_client=error,kube_client::client::builder=off,kube_runtime=error,rustls_platform_verifier=off";
    let asked_for = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| !text.is_empty());
    let filter = EnvFilter::try_new(asked_for.as_deref().unwrap_or(usual));
    let unfit = filter
        .as_ref()
        .err()
        .map(|error| Misconfigured(format!("{} can't be understood: {error}", EnvFilter::DEFAULT_ENV)));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(usual));
    // Spans are for traces; lines of the log tell themselves what they are about.
    let lines = filter.and(filter_fn(|metadata| !metadata.is_span()));
    // Of a line that cannot be written nobody can be told.
    let log =
        tracing_subscriber::fmt::layer().with_writer(|| OneLine(io::stderr())).log_internal_errors(false);
    let log = match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let traces = Traces::begin();
    let of_traces = traces.as_ref().ok().and_then(Option::as_ref).map(|traces| {
        // What goes on below, such as the exporter's own requests, is none of a BulkUpdate's.
        let own = Targets::new().with_target("ai_api_operator", Level::INFO);
        tracing_opentelemetry::layer().with_tracer(traces.tracer()).with_filter(own)
    });
    tracing_subscriber::registry().with(of_traces).with(log.with_filter(lines)).init();
    unfit.map_or(traces, Err)
}

// One thread: the API server is what takes the time, and what works beside it on the same cores takes it from there. It has
// one arena of memory, too.
#[tokio::main(flavor = "current_thread")]
async fn run_controller(arguments: ControllerArguments) -> anyhow::Result<()> {
    let told = init_tracing(arguments.cluster.log_format);
    let run = async {
        let traces = told?;
        let (cluster, namespace) = find_cluster(&arguments.cluster)?;
        // In boxes: they are large, and would be moved about.
        let ended = Box::pin(replica::run(cluster, arguments.settings(namespace)?, until_signal()?)).await;
        if let Some(traces) = traces {
            traces.end().await;
        }
        ended
    };
    logged(Box::pin(run).await)
}

#[tokio::main]
async fn run_gateway(arguments: GatewayArguments) -> anyhow::Result<()> {
    let told = init_tracing(arguments.cluster.log_format);
    let run = async {
        told?;
        let (cluster, namespace) = find_cluster(&arguments.cluster)?;
        gateway::run(cluster, arguments.settings(namespace), until_signal()?).await
    };
    logged(run.await)
}

/// The cluster, and the operator's namespace in it.
fn find_cluster(arguments: &ClusterArguments) -> Result<(Cluster, String), Misconfigured> {
    let cluster = client::find_cluster(arguments.kubeconfig.as_deref(), arguments.context.as_deref())?;
    let namespace = arguments.namespace(&cluster.config.default_namespace);
    Ok((cluster, namespace))
}

/// Is cancelled when a signal asks the process to end.
fn until_signal() -> anyhow::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let ending = shutdown.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "asked to stop");
        ending.cancel();
    });
    Ok(shutdown)
}

/// The CRDs to print; those that go into a folder are written there.
fn crds(arguments: &CrdsArguments) -> anyhow::Result<String> {
    let mut printed = String::new();
    for crd in api::crds()? {
        let yaml = format!("# Made by `ai-api-operator crds`.\n---\n{}", serde_saphyr::to_string(&crd)?);
        match &arguments.out_dir {
            None => printed.push_str(&yaml),
            Some(folder) => {
                let name = crd.metadata.name.unwrap_or_default();
                let path = folder.join(format!("{name}.yaml"));
                std::fs::write(&path, yaml)
                    .with_context(|| format!("{} cannot be written", path.display()))?;
            }
        }
    }
    Ok(printed)
}
