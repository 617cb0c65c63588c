//! The command line.

mod command;

use std::{io::IsTerminal, process::ExitCode};

use ai_api_operator::{api, client, controller, gateway};
use anyhow::Context;
use clap::Parser;
use kube::Config;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

use command::{
    Arguments, ClusterArguments, Command, ControllerArguments, CrdsArguments, GatewayArguments, LogFormat,
};

fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Controller(arguments) => {
            log_to_stderr(arguments.cluster.log_format);
            logged(run_controller(arguments))
        }
        Command::Gateway(arguments) => {
            log_to_stderr(arguments.cluster.log_format);
            logged(run_gateway(arguments))
        }
        Command::Crds(arguments) => write_crds(&arguments).inspect_err(|error| eprintln!("error: {error:#}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// A process that logs tells its end there.
fn logged(ended: anyhow::Result<()>) -> anyhow::Result<()> {
    ended.inspect_err(|error| error!("{error:#}"))
}

fn log_to_stderr(format: LogFormat) {
    // kube logs whole bodies at warn, which may hold what does not belong into a log.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,kube_client=error,kube_runtime=error"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

#[tokio::main]
async fn run_controller(arguments: ControllerArguments) -> anyhow::Result<()> {
    let (config, namespace) = find_cluster(&arguments.cluster).await?;
    let client = client::connect(config).context("the cluster's credentials can't be used")?;
    controller::run(client, arguments.settings(namespace), until_signal()?).await
}

#[tokio::main]
async fn run_gateway(arguments: GatewayArguments) -> anyhow::Result<()> {
    let (config, namespace) = find_cluster(&arguments.cluster).await?;
    gateway::run(config, arguments.settings(namespace), until_signal()?).await
}

/// The cluster, and the operator's namespace in it.
async fn find_cluster(arguments: &ClusterArguments) -> anyhow::Result<(Config, String)> {
    let config = client::find_cluster(arguments.kubeconfig.as_deref(), arguments.context.as_deref())
        .await
        .context("no cluster can be reached")?;
    let namespace = arguments.namespace(&config.default_namespace);
    Ok((config, namespace))
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

fn write_crds(arguments: &CrdsArguments) -> anyhow::Result<()> {
    for crd in api::crds()? {
        let yaml = format!("# Made by `ai-api-operator crds`.\n---\n{}", serde_saphyr::to_string(&crd)?);
        match &arguments.out_dir {
            None => print!("{yaml}"),
            Some(folder) => {
                let name = crd.metadata.name.unwrap_or_default();
                let path = folder.join(format!("{name}.yaml"));
                std::fs::write(&path, yaml)
                    .with_context(|| format!("{} can't be written", path.display()))?;
            }
        }
    }
    Ok(())
}
