//! An example of a controller for Executions of its own, as docs/managed-by.md describes: it runs those whose `spec.managedBy`
//! is `pipelines.example.com/runner`. Its work is time that passes; everything else is as a real one would do it.
//!
//! It takes the cluster and the namespace from the kubeconfig, as kubectl does.

use std::time::Duration;

use clap::Parser;
use kube::Client;

mod runner;

#[derive(Debug, Parser)]
struct Arguments {
    /// How long it takes until something has stopped, in seconds.
    #[arg(long, default_value_t = 60)]
    stops_after: u64,
    /// Its work cannot be interrupted.
    #[arg(long, conflicts_with_all = ["stops_after", "completes"])]
    never_stops: bool,
    /// Its work ends by itself when it is to stop.
    #[arg(long, conflicts_with = "stops_after")]
    completes: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let on_stop = match arguments {
        Arguments { never_stops: true, .. } => runner::OnStop::GoesOn,
        Arguments { completes: true, .. } => runner::OnStop::Completes,
        Arguments { stops_after, .. } => runner::OnStop::Stops(Duration::from_secs(stops_after)),
    };
    runner::run(Client::try_default().await?, on_stop).await;
    anyhow::bail!("its watch has ended")
}
