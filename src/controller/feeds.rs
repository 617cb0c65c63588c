//! What the watches bring, to where it is kept: targets, the flag, the admission policy, and what of it makes this replica ready.

use std::sync::Arc;

use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::{
    Api,
    core::ApiResource,
    runtime::watcher::{self, Event},
};
use tokio::{sync::Semaphore, task::JoinSet};
use tracing::{info, warn};

use crate::{
    api::Kind,
    bulk_update::{Context, Stored},
    controller::watches::{News, watch, watch_with_news},
    decode::object::Lenient,
    observed::{
        admission::{NotInForce, POLICY, Part},
        flag::FlagMap,
        index::Scope,
        target::Observed,
    },
};

/// How many objects a list asks for at once: what is decoded at a time stays small.
const PAGE: u32 = 100;

/// The same for BulkUpdates, which may have 40 kB each.
const BULK_UPDATES_PAGE: u32 = 20;

/// Starts them all; each runs for as long as the operator does. Gives back what the watches of BulkUpdates bring, each with the
/// namespace that it watches.
pub fn start(
    ctx: &Arc<Context>,
    namespaces: Vec<Option<String>>,
    tasks: &mut JoinSet<()>,
) -> impl Stream<Item = (Option<String>, Event<Stored>)> + use<> {
    for scope in scopes(&namespaces) {
        tasks.spawn(follow_targets(Arc::clone(ctx), scope));
    }
    tasks.spawn(follow_flag(Arc::clone(ctx)));
    ctx.metrics.admission(!ctx.policies.required());
    if ctx.policies.required() {
        let [policy, binding] = [
            (Part::Policy, ApiResource::erase::<ValidatingAdmissionPolicy>(&())),
            (Part::Binding, ApiResource::erase::<ValidatingAdmissionPolicyBinding>(&())),
        ];
        tasks.spawn(follow_admission(Arc::clone(ctx), policy, "validatingadmissionpolicies"));
        tasks.spawn(follow_admission(Arc::clone(ctx), binding, "validatingadmissionpolicybindings"));
        tasks.spawn(tell_admission(Arc::clone(ctx)));
    }
    let listed = Arc::new(Semaphore::new(0));
    tasks.spawn(tell_readiness(Arc::clone(ctx), Arc::clone(&listed), namespaces.len()));
    let ctx = Arc::clone(ctx);
    stream::select_all(
        namespaces.into_iter().map(move |namespace| bulk_updates(&ctx, namespace, Arc::clone(&listed))),
    )
}

/// The lists and watches of targets in these namespaces.
pub fn scopes(namespaces: &[Option<String>]) -> Vec<Scope> {
    let of = |namespace: &Option<String>| Kind::ALL.map(|kind| Scope { kind, namespace: namespace.clone() });
    namespaces.iter().flat_map(of).collect()
}

/// What the watch of BulkUpdates brings; `listed` gets a permit once it has listed them all.
fn bulk_updates(
    ctx: &Context,
    namespace: Option<String>,
    listed: Arc<Semaphore>,
) -> BoxStream<'static, (Option<String>, Event<Stored>)> {
    let api: Api<Stored> = match &namespace {
        Some(namespace) => Api::namespaced(ctx.client.clone(), namespace),
        None => Api::all(ctx.client.clone()),
    };
    let mut first = true;
    watch(
        &ctx.health,
        &ctx.metrics,
        api,
        watcher::Config::default().page_size(BULK_UPDATES_PAGE),
        "bulkupdates",
    )
    .inspect(move |event| {
        if first && matches!(event, Event::InitDone) {
            first = false;
            listed.add_permits(1);
        }
    })
    .map(move |event| (namespace.clone(), event))
    .boxed()
}

/// The one object of that name.
fn named(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

/// It is ready when all was listed once (`lists` gets a permit for each watch of BulkUpdates). That the admission policy is
/// missing or new makes it no less so: to take this replica out of service would mend neither, and an upgrade changes them.
async fn tell_readiness(ctx: Arc<Context>, lists: Arc<Semaphore>, namespaces: usize) {
    for kind in Kind::ALL {
        ctx.index.listed(kind).await;
    }
    ctx.policies.listed().await;
    // It is never closed.
    let _ = lists.acquire_many(namespaces.try_into().unwrap_or(u32::MAX)).await;
    info!("ready: everything was listed");
    ctx.health.is_ready(Ok(()));
    std::future::pending::<()>().await;
}

/// Says whether BulkUpdates that are made from now on are accepted, in the log, the metrics and the Lease.
async fn tell_admission(ctx: Arc<Context>) {
    let tell = |state: Result<(), NotInForce>| {
        ctx.metrics.admission(state.is_ok());
        match state {
            Ok(()) => {
                info!("the admission policy is in force: BulkUpdates that are made from now on are accepted");
            }
            Err(why) => warn!(why = why.to_string(), "BulkUpdates that are made now are not accepted"),
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
    let mut events = std::pin::pin!(watch(&ctx.health, &ctx.metrics, api, config, scope.kind.plural()));
    let mut unreadable = 0u64;
    while let Some(event) = events.next().await {
        let Some((object, target)) = ctx.index.take_in(&scope, event) else { continue };
        let (namespace, name) = object.key();
        if let Err(why) = &target.state {
            unreadable += 1;
            ctx.metrics.unreadable(scope.kind.plural());
            warn!(target = %format_args!("{}/{namespace}/{name}", scope.kind.name()), why = why.to_string(), unreadable,
                "unreadable: it is neither stopped nor deleted");
        }
    }
}

async fn follow_admission(ctx: Arc<Context>, (part, resource): (Part, ApiResource), name: &'static str) {
    let api = Api::<Lenient>::all_with(ctx.client.clone(), &resource);
    let mut news = std::pin::pin!(watch_with_news(&ctx.health, &ctx.metrics, api, named(POLICY), name));
    while let Some(news) = news.next().await {
        match news {
            News::Event(event) => ctx.policies.take_in(part, event, ctx.clock.now()),
            News::Fails => ctx.policies.set_watched(part, false),
            News::Works => ctx.policies.set_watched(part, true),
        }
    }
}

async fn follow_flag(ctx: Arc<Context>) {
    let (namespace, name) = ctx.flag.key();
    let api = Api::<FlagMap>::namespaced(ctx.client.clone(), namespace);
    let mut events = std::pin::pin!(watch(&ctx.health, &ctx.metrics, api, named(name), "configmaps"));
    while let Some(event) = events.next().await {
        ctx.flag.take_in(&event);
    }
}
