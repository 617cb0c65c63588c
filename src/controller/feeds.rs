//! The informers of the operator: each event goes to the cache of targets, the flag, the admission policy or the registry, and
//! once all have listed, this replica is ready.

use std::{future::ready, sync::Arc, time::Duration};

use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::{
    Api, CustomResourceExt, Resource,
    api::ListParams,
    core::{ApiResource, DynamicResourceScope, Request},
    runtime::watcher::{self, Event},
};
use serde::de::IgnoredAny;
use tokio::{
    sync::{Semaphore, mpsc::UnboundedReceiver},
    task::JoinSet,
    time::sleep,
};
use tracing::{debug, info, warn};

use crate::{
    api::{BulkUpdate, Kind},
    bulk_update::{Context, Stored},
    client::requests,
    controller::watches::{News, watch},
    decode::object::Lenient,
    observed::{
        admission::{NotInForce, Part, Policies},
        flag::FlagMap,
        index::Scope,
        target::Observed,
    },
    tasks::resume_panic,
    workload::{self, Inbox, OWNER_UID, Object, engine::Engine},
};

/// How many objects a page of a list has: little is decoded at a time.
const PAGE: u32 = 100;

/// The same for BulkUpdates, which may have 40 kB each.
const BULK_UPDATES_PAGE: u32 = 20;

/// The same for engines' objects, which may be larger still.
const WORK_PAGE: u32 = 20;

/// How long to wait before looking again whether an engine is served, unless the answer asks for longer.
const SERVED_AGAIN: Duration = Duration::from_secs(10);

/// Starts them all; each runs for as long as the operator does. Returns the events of BulkUpdates, each with the namespace that
/// its informer watches.
pub fn start(
    ctx: &Arc<Context>,
    namespaces: Vec<Option<String>>,
    workloads: &Inbox,
    tasks: &mut JoinSet<()>,
) -> impl Stream<Item = (Option<String>, Event<Stored>)> + use<> {
    for scope in scopes(&namespaces) {
        tasks.spawn(follow_targets(Arc::clone(ctx), scope, workloads.clone()));
    }
    tasks.spawn(follow_flag(Arc::clone(ctx)));
    ctx.metrics.admission(!ctx.policies.required);
    if ctx.policies.required {
        for of in [Of::BulkUpdates, Of::Work] {
            tasks.spawn(follow_admission::<ValidatingAdmissionPolicy>(Arc::clone(ctx), of, Part::Policy));
            tasks.spawn(follow_admission::<ValidatingAdmissionPolicyBinding>(
                Arc::clone(ctx),
                of,
                Part::Binding,
            ));
            tasks.spawn(report_admission(Arc::clone(ctx), of));
        }
    }
    let listed = Arc::new(Semaphore::new(0));
    tasks.spawn(report_readiness(Arc::clone(ctx), Arc::clone(&listed), namespaces.len()));
    let ctx = Arc::clone(ctx);
    stream::select_all(
        namespaces.into_iter().map(move |namespace| bulk_updates(&ctx, namespace, Arc::clone(&listed))),
    )
}

/// Whose authors a policy checks.
#[derive(Clone, Copy, Debug)]
enum Of {
    BulkUpdates,
    /// What Executions and Deployments run.
    Work,
}

impl Of {
    fn policies(self, ctx: &Context) -> &Policies {
        match self {
            Self::BulkUpdates => &ctx.policies,
            Self::Work => &ctx.work_policies,
        }
    }
}

/// The lists and watches of targets in these namespaces.
pub fn scopes(namespaces: &[Option<String>]) -> Vec<Scope> {
    let of = |namespace: &Option<String>| Kind::ALL.map(|kind| Scope { kind, namespace: namespace.clone() });
    namespaces.iter().flat_map(of).collect()
}

/// The events of BulkUpdates; `listed` gets a permit once all were listed.
fn bulk_updates(
    ctx: &Context,
    namespace: Option<String>,
    listed: Arc<Semaphore>,
) -> BoxStream<'static, (Option<String>, Event<Stored>)> {
    let api: Api<Stored> = api_of(ctx, namespace.as_deref(), &BulkUpdate::api_resource());
    let config = watcher::Config::default().page_size(BULK_UPDATES_PAGE);
    let mut first = true;
    let events = watch(&ctx.health, &ctx.metrics, api, config, "bulkupdates").filter_map(move |news| {
        let News::Event(event) = news else { return ready(None) };
        if first && matches!(event, Event::InitDone) {
            first = false;
            listed.add_permits(1);
        }
        ready(Some((namespace.clone(), event)))
    });
    events.boxed()
}

/// The objects of a resource in a namespace, or in all.
fn api_of<K>(ctx: &Context, namespace: Option<&str>, resource: &ApiResource) -> Api<K>
where
    K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
{
    let client = ctx.client.clone();
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, resource),
        None => Api::all_with(client, resource),
    }
}

fn named(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

/// The leader is ready once everything was listed (`lists` gets a permit for each informer of BulkUpdates). A missing or new
/// admission policy does not change that: taking this replica out of service would not help, and an upgrade changes the policy.
async fn report_readiness(ctx: Arc<Context>, lists: Arc<Semaphore>, namespaces: usize) {
    for kind in Kind::ALL {
        ctx.index.listed(kind).await;
    }
    ctx.policies.listed().await;
    ctx.work_policies.listed().await;
    // It is never closed.
    let _ = lists.acquire_many(namespaces.try_into().unwrap_or(u32::MAX)).await;
    info!("ready: everything was listed");
    ctx.health.set_ready(Ok(()));
    std::future::pending::<()>().await;
}

/// Reports whether what is created from now on is accepted: in the log, the Lease and, for BulkUpdates, the metrics.
async fn report_admission(ctx: Arc<Context>, of: Of) {
    let created = match of {
        Of::BulkUpdates => "BulkUpdates created",
        Of::Work => "templates and workloadRefs written",
    };
    let report = |state: Result<(), NotInForce>| {
        if matches!(of, Of::BulkUpdates) {
            ctx.metrics.admission(state.is_ok());
        }
        match state {
            Ok(()) => info!("the admission policy is in force: {created} from now on are accepted"),
            Err(why) => warn!(%why, "{created} now are not accepted"),
        }
    };
    of.policies(&ctx).follow(&ctx.clock, report).await;
}

async fn follow_targets(ctx: Arc<Context>, scope: Scope, workloads: Inbox) {
    let api: Api<Observed> = api_of(&ctx, scope.namespace.as_deref(), &scope.kind.api_resource());
    let config = watcher::Config::default().page_size(PAGE);
    let mut events = std::pin::pin!(watch(&ctx.health, &ctx.metrics, api, config, scope.kind.plural()));
    let mut unreadable = 0u64;
    while let Some(news) = events.next().await {
        let News::Event(event) = news else { continue };
        let Some((object, target)) = ctx.index.take_in(&scope, event) else { continue };
        let (namespace, name) = object.key();
        workloads.target(scope.kind, namespace, name, &target);
        if let Err(why) = &target.state {
            unreadable += 1;
            ctx.metrics.unreadable(scope.kind.plural());
            warn!(target = %format_args!("{}/{namespace}/{name}", scope.kind.name()), %why, unreadable,
                "unreadable: this target is neither stopped nor deleted");
        }
    }
}

/// Watches the objects of each engine that arrives, as far as they run for an Execution or Deployment.
pub async fn follow_engines(
    ctx: Arc<Context>,
    workloads: Inbox,
    mut served: UnboundedReceiver<&'static Engine>,
    namespaces: Vec<Option<String>>,
) {
    let mut watches = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(ended) = watches.join_next() => resume_panic(ended),
            Some(engine) = served.recv() => for namespace in &namespaces {
                let scope = workload::Scope { engine: engine.kind.plural(), namespace: namespace.clone() };
                watches.spawn(follow_engine(Arc::clone(&ctx), workloads.clone(), engine, scope));
            },
            // The controller has ended.
            else => return,
        }
    }
}

async fn follow_engine(ctx: Arc<Context>, workloads: Inbox, engine: &'static Engine, scope: workload::Scope) {
    // What has happened to what runs for a target that is not known yet would be taken for nothing.
    ctx.index.listed_in(&Scope { kind: engine.kind.of(), namespace: scope.namespace.clone() }).await;
    until_served(&ctx, engine, scope.namespace.as_deref()).await;
    let api: Api<Object> = api_of(&ctx, scope.namespace.as_deref(), &engine.kind.api_resource());
    let config = watcher::Config::default().page_size(WORK_PAGE).labels(OWNER_UID);
    let mut events = std::pin::pin!(watch(&ctx.health, &ctx.metrics, api, config, engine.kind.plural()));
    while let Some(news) = events.next().await {
        match news {
            News::Event(event) => workloads.work(&scope, engine, event),
            News::Fails => workloads.watched(&scope, false),
            News::Works => workloads.watched(&scope, true),
        }
    }
}

/// Waits until an engine's objects can be listed: its API may be missing, or the permission. Each pass that needs it reports that.
async fn until_served(ctx: &Context, engine: &Engine, namespace: Option<&str>) {
    let url = Object::url_path(&engine.kind.api_resource(), namespace);
    let one = ListParams::default().labels(OWNER_UID).limit(1);
    loop {
        let listed: Result<IgnoredAny, _> = requests::send(&ctx.client, Request::new(&url).list(&one)).await;
        let Err(failure) = listed else { return };
        debug!(engine = %engine.kind, %failure, "its objects are not watched yet");
        sleep(SERVED_AGAIN.max(failure.retry_after().unwrap_or_default())).await;
    }
}

async fn follow_admission<K>(ctx: Arc<Context>, of: Of, part: Part)
where
    K: Resource<DynamicType = ()> + k8s_openapi::Resource,
{
    let api = Api::<Lenient>::all_with(ctx.client.clone(), &ApiResource::erase::<K>(&()));
    let news = watch(&ctx.health, &ctx.metrics, api, named(of.policies(&ctx).name), K::URL_PATH_SEGMENT);
    let take_in = async |news| match news {
        News::Event(event) => of.policies(&ctx).take_in(part, event, ctx.clock.now()),
        News::Fails => of.policies(&ctx).set_watched(part, false),
        News::Works => of.policies(&ctx).set_watched(part, true),
    };
    news.for_each(take_in).await;
}

async fn follow_flag(ctx: Arc<Context>) {
    let (namespace, name) = ctx.flag.key();
    let api = Api::<FlagMap>::namespaced(ctx.client.clone(), namespace);
    let take_in = async |news| {
        if let News::Event(event) = news {
            ctx.flag.take_in(&event);
        }
    };
    let news = watch(&ctx.health, &ctx.metrics, api, named(name), "configmaps");
    news.for_each(take_in).await;
}
