//! The operator as a whole: its watches, its tasks, its end.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::{
    api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        events::{Recorder, Reporter},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    FIELD_MANAGER,
    admission::{Admission, POLICY, Policies, SPREADS},
    api::Kind,
    bulk_update::{Context, Registry, decide::Rules, status::whole_seconds, stored::Stored},
    clock::Clock,
    health::{Health, WATCH_LASTS},
    index::{Index, Scope},
    meta::{FlagMap, Meta},
    metrics::Metrics,
    target::Observed,
    workload::leftover,
};

/// How many objects a list asks for at once: what is decoded at a time stays small.
const PAGE: u32 = 100;

/// The same for BulkUpdates, which may have 40 kB each.
const BULK_UPDATES_PAGE: u32 = 20;

/// How long a stop may take in all: less than the 30 s that Kubernetes gives a Pod.
const LONGEST_STOP: Duration = Duration::from_secs(25);

/// The operator's settings; the command line describes each.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's own namespace, where the flag's ConfigMap is.
    pub namespace: String,
    /// The name of that ConfigMap.
    pub meta_configmap: String,
    /// The namespaces to watch; all if empty.
    pub watch_namespaces: Vec<String>,
    /// How many requests may be under way at once; those of the watches, the flag and the events aside.
    pub max_in_flight: usize,
    /// Whether COMPLETED Executions may be deleted.
    pub delete_completed: bool,
    /// Whether nothing is planned without the admission policy that checks authors.
    pub require_admission_policy: bool,
}

/// Runs the operator until `shutdown`, then lets what is under way come to an end. It counts into `metrics`, and shows in
/// `health` that it gets on.
///
/// # Errors
/// When a task ends that should run for as long as the operator does, and when the stop takes longer than 25 s.
pub async fn run(
    client: Client,
    settings: Settings,
    metrics: Metrics,
    health: Arc<Health>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let namespaces: Vec<Option<String>> = if settings.watch_namespaces.is_empty() {
        vec![None]
    } else {
        settings.watch_namespaces.iter().cloned().map(Some).collect()
    };
    let scopes: Vec<Scope> = namespaces
        .iter()
        .flat_map(|namespace| Kind::ALL.map(|kind| Scope { kind, namespace: namespace.clone() }))
        .collect();
    let index = Index::new(scopes.iter().cloned());
    metrics.counts_targets_of(&index);
    let reporter = Reporter { controller: FIELD_MANAGER.into(), instance: None };
    let ctx = Arc::new(Context {
        index: Arc::clone(&index),
        meta: Meta::new(client.clone(), settings.namespace.clone(), settings.meta_configmap.clone()),
        slots: Arc::new(Semaphore::new(settings.max_in_flight)),
        rules: Rules { delete_completed: settings.delete_completed },
        recorder: Recorder::new(client.clone(), reporter),
        policies: Policies::new(settings.require_admission_policy),
        clock: Clock,
        metrics,
        health,
        writing: TaskTracker::new(),
        tracker: TaskTracker::new(),
        shutdown: shutdown.clone(),
        client: client.clone(),
    });

    // Each of these runs for as long as the operator does.
    let mut tasks = JoinSet::new();
    let (leftovers, seen) = mpsc::unbounded_channel();
    for scope in scopes {
        tasks.spawn(follow_targets(Arc::clone(&ctx), scope, leftovers.clone()));
    }
    tasks.spawn(leftover::run(Arc::clone(&ctx), seen));
    tasks.spawn(follow_flag(Arc::clone(&ctx)));
    if settings.require_admission_policy {
        tasks.spawn(follow_policy(Arc::clone(&ctx)));
        tasks.spawn(follow_binding(Arc::clone(&ctx)));
    }

    let unlisted = Arc::new(Semaphore::new(0));
    let of_each = u32::try_from(namespaces.len())?;
    tasks.spawn(tell_readiness(Arc::clone(&ctx), Arc::clone(&unlisted), of_each));
    let bulk_updates = stream::select_all(namespaces.into_iter().map(|namespace| {
        let api: Api<Stored> = match &namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let (unlisted, mut first) = (Arc::clone(&unlisted), true);
        watch(&ctx, api, watcher::Config::default().page_size(BULK_UPDATES_PAGE), "bulkupdates")
            .inspect(move |event| {
                if first && matches!(event, Event::InitDone) {
                    first = false;
                    unlisted.add_permits(1);
                }
            })
            .map(move |event| (namespace.clone(), event))
            .boxed()
    }));
    let mut registry = tokio::spawn(Registry::new(Arc::clone(&ctx)).run(bulk_updates));
    info!(namespace = settings.namespace, meta_configmap = settings.meta_configmap,
        watch_namespaces = ?settings.watch_namespaces, max_in_flight = settings.max_in_flight,
        version = env!("CARGO_PKG_VERSION"), "started");

    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        ended = tasks.join_next() => {
            if let Some(Err(error)) = ended {
                return Err(error.into());
            }
            anyhow::bail!("a watch has ended, which must not happen while the operator runs");
        }
        ended = &mut registry => {
            ended?;
            anyhow::bail!("the watch of bulkupdates has ended, which must not happen while the operator runs");
        }
    }
    info!("stopping: what is under way is waited for, and nothing new is begun");
    let end = async {
        registry.await?;
        ctx.tracker.close();
        ctx.tracker.wait().await;
        anyhow::Ok(())
    };
    tokio::time::timeout(LONGEST_STOP, end).await??;
    info!("stopped");
    Ok(())
}

/// A list and watch that goes on for ever, each with a back-off of its own: one that fails holds up no other.
fn watch<K>(
    ctx: &Context,
    api: Api<K>,
    config: watcher::Config,
    resource: &'static str,
) -> impl Stream<Item = Event<K>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let metrics = ctx.metrics.clone();
    let config = config.timeout(WATCH_LASTS.as_secs().try_into().unwrap_or(u32::MAX));
    watcher(api, config).default_backoff().filter_map(move |event| {
        let event = event.inspect_err(|error| {
            metrics.watch_failed(resource);
            warn!(resource, %error, "a watch failed; trying again");
        });
        std::future::ready(event.ok())
    })
}

/// The one object of that name.
fn named(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

/// It is ready when all was listed once (`lists` gets a permit for each watch of BulkUpdates), and as long as the authors
/// of BulkUpdates are checked: what is made now will be carried out.
async fn tell_readiness(ctx: Arc<Context>, lists: Arc<Semaphore>, of_each: u32) {
    for kind in Kind::ALL {
        ctx.index.listed(kind).await;
    }
    ctx.policies.listed().await;
    // It is never closed.
    let _ = lists.acquire_many(of_each).await;
    let mut changes = ctx.policies.changes();
    loop {
        let ready = match ctx.policies.admission() {
            Admission::Missing(why) => Err(why),
            // As the API server would date what is made now.
            admission if admission.covers(whole_seconds(Timestamp::now())) => Ok(()),
            _ => Err(format!("the admission policy has not stood for {SPREADS} s yet")),
        };
        if ready != ctx.health.ready() {
            info!(ready = ready.is_ok(), why = ready.as_ref().err(), "readiness");
        }
        let waits_for_time = ready.is_err();
        ctx.health.is_ready(ready);
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(Duration::from_secs(1)), if waits_for_time => {}
        }
    }
}

async fn follow_targets(ctx: Arc<Context>, scope: Scope, leftovers: mpsc::UnboundedSender<leftover::Seen>) {
    let resource = scope.kind.api_resource();
    let client = ctx.client.clone();
    let api: Api<Observed> = match &scope.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let config = watcher::Config::default().page_size(PAGE);
    let mut events = std::pin::pin!(watch(&ctx, api, config, scope.kind.plural()));
    let mut unreadable = 0u64;
    while let Some(event) = events.next().await {
        let Some((object, target)) = ctx.index.take_in(&scope, event) else { continue };
        let (namespace, name) = object.key();
        if let Err(why) = &target.state {
            unreadable += 1;
            ctx.metrics.unreadable(scope.kind.plural());
            warn!(target = %format_args!("{}/{namespace}/{name}", scope.kind.name()), why, unreadable,
                "unreadable: it is neither stopped nor deleted");
        }
        // The receiver ends only with the process.
        if target.is_leftover()
            && leftovers.send((scope.kind, namespace.to_owned(), name.to_owned())).is_err()
        {
            return;
        }
    }
}

async fn follow_policy(ctx: Arc<Context>) {
    let api = Api::<ValidatingAdmissionPolicy>::all(ctx.client.clone());
    let mut events = std::pin::pin!(watch(&ctx, api, named(POLICY), "validatingadmissionpolicies"));
    while let Some(event) = events.next().await {
        ctx.policies.take_in_policy(event);
    }
}

async fn follow_binding(ctx: Arc<Context>) {
    let api = Api::<ValidatingAdmissionPolicyBinding>::all(ctx.client.clone());
    let mut events = std::pin::pin!(watch(&ctx, api, named(POLICY), "validatingadmissionpolicybindings"));
    while let Some(event) = events.next().await {
        ctx.policies.take_in_binding(event);
    }
}

async fn follow_flag(ctx: Arc<Context>) {
    let (namespace, name) = ctx.meta.key();
    let api = Api::<FlagMap>::namespaced(ctx.client.clone(), namespace);
    let mut events = std::pin::pin!(watch(&ctx, api, named(name), "configmaps"));
    while let Some(event) = events.next().await {
        ctx.meta.take_in(&event);
    }
}
