//! The operator of one leader: its tasks, and their graceful shutdown.

use std::{sync::Arc, time::Duration};

use kube::Client;
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use crate::{
    bulk_update::{Context, Events, HeldBack, Registry, Rules, Writers},
    client::{clock::Clock, slots::Slots},
    controller::feeds::{self, scopes},
    observed::{admission::Policies, flag::CapabilityFlag, index::Index},
    telemetry::{health::Health, metrics::Metrics},
};

/// How long a graceful shutdown may take: less than the 30 s that Kubernetes gives a Pod.
const LONGEST_SHUTDOWN: Duration = Duration::from_secs(25);

/// The operator's settings; the command line describes each.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's own namespace, where the flag's ConfigMap is.
    pub namespace: String,
    /// The name of that ConfigMap.
    pub meta_configmap: String,
    /// The namespaces to watch; all if empty.
    pub watch_namespaces: Vec<String>,
    /// How many requests may be in flight at once; those of the watches, the flag and the events do not count.
    pub max_in_flight: usize,
    /// Whether COMPLETED Executions may be deleted.
    pub delete_completed: bool,
    /// Whether nothing is planned without the admission policy that checks authors.
    pub require_admission_policy: bool,
}

impl Settings {
    /// The namespaces to watch, or `None` for all of them.
    pub(super) fn namespaces(&self) -> Vec<Option<String>> {
        let all = self.watch_namespaces.is_empty().then_some(None);
        all.into_iter().chain(self.watch_namespaces.iter().cloned().map(Some)).collect()
    }
}

/// What the parts of a replica share.
pub struct Shared {
    /// The API server's time, by which deadlines are judged; the client has to be connected through it.
    pub clock: Clock,
    /// The admission policy.
    pub policies: Policies,
    pub metrics: Metrics,
    /// Whether lists, watches and reconciles make progress.
    pub health: Arc<Health>,
}

/// Runs the operator until `shutdown`, then waits for the writes in flight.
///
/// # Errors
/// When a task ends before `shutdown`, and when the graceful shutdown takes longer than 25 s.
pub async fn run(
    client: Client,
    settings: Settings,
    shared: Shared,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let namespaces = settings.namespaces();
    let ctx = context(client, &settings, shared, Index::new(scopes(&namespaces)), shutdown.clone());
    let mut tasks = JoinSet::new();
    let bulk_updates = feeds::start(&ctx, namespaces, &mut tasks);
    let mut registry = tokio::spawn(Registry::new(Arc::clone(&ctx)).run(bulk_updates));
    info!(namespace = settings.namespace, meta_configmap = settings.meta_configmap,
        watch_namespaces = ?settings.watch_namespaces, max_in_flight = settings.max_in_flight,
        version = env!("CARGO_PKG_VERSION"), "started");

    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        ended = tasks.join_next() => {
            ended.transpose()?;
            anyhow::bail!("a watch has ended although the operator is running; this is a bug");
        }
        ended = &mut registry => {
            ended?;
            anyhow::bail!("the watch of bulkupdates has ended although the operator is running; this is a bug");
        }
    }
    info!("shutting down: nothing new is started, and writes in flight are waited for");
    let end = async {
        registry.await?;
        ctx.tracker.close();
        ctx.tracker.wait().await;
        anyhow::Ok(())
    };
    tokio::time::timeout(LONGEST_SHUTDOWN, end).await??;
    info!("stopped");
    Ok(())
}

fn context(
    client: Client,
    settings: &Settings,
    Shared { clock, policies, metrics, health }: Shared,
    index: Arc<Index>,
    shutdown: CancellationToken,
) -> Arc<Context> {
    metrics.count_targets_of(&index);
    let tracker = TaskTracker::new();
    let (namespace, name) = (settings.namespace.clone(), settings.meta_configmap.clone());
    Arc::new(Context {
        index,
        flag: CapabilityFlag::new(client.clone(), namespace, name),
        slots: Slots::new(settings.max_in_flight),
        rules: Rules { delete_completed: settings.delete_completed },
        events: Events::new(client.clone(), clock.clone(), tracker.clone()),
        policies,
        clock,
        metrics,
        health,
        writers: Writers::default(),
        held_back: HeldBack::default(),
        tracker,
        shutdown,
        client,
    })
}
