//! The operator as a whole: its watches, its tasks, its end.

pub mod election;
pub mod preflight;
pub mod replica;
pub mod watches;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::{
    Api, Client,
    core::ApiResource,
    runtime::watcher::{self, Event},
};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    api::Kind,
    bulk_update::{Context, Crowd, Events, Registry, Rules, Stored},
    client::{clock::Clock, slots::Slots},
    controller::watches::{News, watch, watch_with_news},
    decode::object::Lenient,
    observed::{
        admission::{POLICY, Part, Policies},
        flag::{FlagMap, Meta},
        index::{Index, Scope},
        target::Observed,
    },
    telemetry::{health::Health, metrics::Metrics},
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

/// Runs the operator until `shutdown`, then lets what is under way come to an end. Deadlines go by `clock`, which `client` has to be
/// connected through. It follows the admission policy in `policies`, counts into `metrics`, and shows in `health` that it gets on.
///
/// # Errors
/// When a task ends that should run for as long as the operator does, and when the stop takes longer than 25 s.
pub async fn run(
    client: Client,
    settings: Settings,
    clock: Clock,
    policies: Policies,
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
    let tracker = TaskTracker::new();
    let ctx = Arc::new(Context {
        index: Arc::clone(&index),
        meta: Meta::new(client.clone(), settings.namespace.clone(), settings.meta_configmap.clone()),
        slots: Slots::new(settings.max_in_flight),
        rules: Rules { delete_completed: settings.delete_completed },
        events: Events::new(client.clone(), clock.clone(), tracker.clone()),
        policies,
        clock,
        metrics,
        health,
        writing: Crowd::default(),
        tracker,
        shutdown: shutdown.clone(),
        client: client.clone(),
    });

    // Each of these runs for as long as the operator does.
    let mut tasks = JoinSet::new();
    for scope in scopes {
        tasks.spawn(follow_targets(Arc::clone(&ctx), scope));
    }
    tasks.spawn(follow_flag(Arc::clone(&ctx)));
    ctx.metrics.admission(!ctx.policies.required());
    if ctx.policies.required() {
        let [policy, binding] = [
            (Part::Policy, ApiResource::erase::<ValidatingAdmissionPolicy>(&())),
            (Part::Binding, ApiResource::erase::<ValidatingAdmissionPolicyBinding>(&())),
        ];
        tasks.spawn(follow_admission(Arc::clone(&ctx), policy, "validatingadmissionpolicies"));
        tasks.spawn(follow_admission(Arc::clone(&ctx), binding, "validatingadmissionpolicybindings"));
        tasks.spawn(tell_admission(Arc::clone(&ctx)));
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

/// The one object of that name.
fn named(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

/// It is ready when all was listed once (`lists` gets a permit for each watch of BulkUpdates). That the admission policy is
/// missing or new makes it no less so: to take this replica out of service would mend neither, and an upgrade changes them.
async fn tell_readiness(ctx: Arc<Context>, lists: Arc<Semaphore>, of_each: u32) {
    for kind in Kind::ALL {
        ctx.index.listed(kind).await;
    }
    ctx.policies.listed().await;
    // It is never closed.
    let _ = lists.acquire_many(of_each).await;
    info!("ready: everything was listed");
    ctx.health.is_ready(Ok(()));
    std::future::pending::<()>().await;
}

/// Says whether BulkUpdates that are made from now on are accepted, in the log, the metrics and the Lease.
async fn tell_admission(ctx: Arc<Context>) {
    let tell = |state: Result<(), String>| {
        ctx.metrics.admission(state.is_ok());
        match state {
            Ok(()) => {
                info!("the admission policy is in force: BulkUpdates that are made from now on are accepted");
            }
            Err(why) => warn!(why, "BulkUpdates that are made now are not accepted"),
        }
    };
    ctx.policies.follow(&ctx.clock, tell).await;
}

async fn follow_targets(ctx: Arc<Context>, scope: Scope) {
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
    }
}

async fn follow_admission(ctx: Arc<Context>, (part, resource): (Part, ApiResource), name: &'static str) {
    let api = Api::<Lenient>::all_with(ctx.client.clone(), &resource);
    let mut news = std::pin::pin!(watch_with_news(&ctx, api, named(POLICY), name));
    while let Some(news) = news.next().await {
        match news {
            News::Event(event) => ctx.policies.take_in(part, event, ctx.clock.now()),
            News::Fails => ctx.policies.is_watched(part, false),
            News::Works => ctx.policies.is_watched(part, true),
        }
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
