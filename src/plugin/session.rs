//! The cluster as its user reaches it, and the requests that several commands have in common.

use std::{fmt::Write as _, path::Path, time::Duration};

use http::header::ACCEPT;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Client, Resource,
    api::{Patch, PatchParams, PostParams},
    core::{ListMeta, Request},
};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use tokio::time::Instant;

use super::{
    arguments::ClusterArguments,
    batches::new_run,
    console::Console,
    problem::{Problem, failed},
};
use crate::{
    client::{self, Cluster, Failure, Next, clock::Clock, requests},
    misconfigured::Misconfigured,
};

/// The field manager of what the plugin writes.
const FIELD_MANAGER: &str = "kubectl-aiapi";
/// How many objects a page of a list has.
pub const PAGE: &str = "500";
/// How long a request is tried again of which nothing depends yet.
pub const BRIEFLY: Duration = Duration::from_secs(3);
/// How long one is tried again in the middle of something: longer than the API server takes to start again.
pub const LONG: Duration = Duration::from_mins(2);
/// How the API server is asked for the metadata of objects alone.
const METADATA_ONLY: &str =
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json";

/// The way to the cluster, as one user.
pub struct Session {
    pub client: Client,
    /// The API server's time, from its answers.
    pub clock: Clock,
    pub console: Console,
    /// What another command needs to mean the same cluster, namespace and user; begins with a blank, unless there is nothing.
    pub flags: String,
    /// The URL of the API server.
    pub server: String,
    /// The namespace of the command; absent with `--all-namespaces`.
    pub namespace: Option<String>,
    /// The operator's own namespace, and its ConfigMap with the flag.
    pub operator_namespace: String,
    pub meta_configmap: String,
}

/// A page of a list.
#[derive(Deserialize)]
pub struct Page<T> {
    #[serde(default)]
    pub metadata: ListMeta,
    /// Null in an empty list of metadata.
    pub items: Option<Vec<T>>,
}

impl Session {
    /// Finds the cluster as kubectl does. Sends nothing yet.
    ///
    /// # Errors
    /// If there is none, or it cannot be used.
    pub fn connect(arguments: &ClusterArguments, console: &Console) -> Result<Self, Problem> {
        if arguments.all_namespaces && arguments.namespace.is_some() {
            return Err(Problem::Usage(
                "-n names a namespace and -A means all: leave one of them out".into(),
            ));
        }
        if !arguments.as_groups.is_empty() && arguments.as_user.is_none() {
            return Err(Problem::Usage("--as-group needs --as: a group acts through a user".into()));
        }
        let found = client::find_cluster(arguments.kubeconfig.as_deref(), arguments.context.as_deref());
        let cluster = found.map_err(|Misconfigured(why)| Problem::Usage(why))?;
        let cluster = cluster.for_user(arguments.as_user.as_deref(), &arguments.as_groups)?;
        let clock = Clock::default();
        let client = cluster.client_through(&clock)?;
        let Cluster { config, .. } = &cluster;
        let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        Ok(Self {
            client,
            clock,
            console: console.clone(),
            flags: flags(arguments),
            server: config.cluster_url.to_string(),
            namespace: (!arguments.all_namespaces).then_some(namespace),
            operator_namespace: arguments.operator_namespace.clone(),
            meta_configmap: arguments.meta_configmap.clone(),
        })
    }

    /// The name of a new run.
    pub fn new_run(&self) -> String {
        new_run(self.clock.now().earliest, fastrand::u32(..))
    }

    /// The namespace of the command.
    ///
    /// # Errors
    /// With `--all-namespaces`, because `what` belongs to one.
    pub fn one_namespace(&self, what: &str) -> Result<&str, Problem> {
        let problem = || Problem::Usage(format!("{what}: name its namespace with -n instead of -A"));
        self.namespace.as_deref().ok_or_else(problem)
    }

    /// Lists objects page by page; `each` gets every object. A list that takes longer than the API server remembers it starts again,
    /// and then brings some of them twice.
    pub async fn list<T: DeserializeOwned>(
        &self,
        url: &str,
        selectors: Selectors<'_>,
        mut each: impl FnMut(T),
    ) -> Result<(), Failure> {
        let mut token = String::new();
        loop {
            match retried(BRIEFLY, async || self.page(url, selectors, &token).await).await {
                Ok(page) => {
                    page.items.into_iter().flatten().for_each(&mut each);
                    token = page.metadata.continue_.unwrap_or_default();
                    if token.is_empty() {
                        return Ok(());
                    }
                }
                Err(Failure::Refused { code: 410, .. }) if !token.is_empty() => token.clear(),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// One page of a list; the first one has no token.
    pub async fn page<T: DeserializeOwned>(
        &self,
        url: &str,
        selectors: Selectors<'_>,
        token: &str,
    ) -> Result<Page<T>, Failure> {
        let labels = ("labelSelector", selectors.labels.unwrap_or_default());
        let fields = ("fieldSelector", selectors.fields.unwrap_or_default());
        let url = with_query(url, &[("limit", PAGE), labels, fields, ("continue", token)]);
        let of_metadata = selectors.parts == Parts::Metadata;
        let accept = if of_metadata { METADATA_ONLY } else { "application/json" };
        let request = http::Request::get(url).header(ACCEPT, accept).body(Vec::new());
        let needed = selectors.parts == Parts::Needed;
        let request = request.map(|request| if needed { request } else { requests::whole(request) });
        client::send(&self.client, request.map_err(kube::core::request::Error::BuildRequest)).await
    }

    /// As [`Self::list`], where a failure ends the command.
    pub async fn list_all<T: DeserializeOwned>(
        &self,
        what: &str,
        url: &str,
        selectors: Selectors<'_>,
    ) -> Result<Vec<T>, Problem> {
        let mut found = Vec::new();
        let listed = self.list(url, selectors, |object| found.push(object)).await;
        listed.map_err(|failure| failed(format_args!("{what} cannot be listed"), &failure))?;
        Ok(found)
    }

    /// The name of the user, as the API server knows them.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn user(&self) -> Result<String, Problem> {
        let (url, asked) = (SelfSubjectReview::url_path(&(), None), SelfSubjectReview::default());
        let review = retried(BRIEFLY, async || self.create::<SelfSubjectReview>(&url, &asked).await).await;
        let review = review.map_err(|failure| failed("it cannot be found out who you are", &failure))?;
        let user = review.status.and_then(|status| status.user_info?.username);
        user.ok_or_else(|| Problem::Failed("the API server does not say who you are".into()))
    }

    /// Where the command looks, for messages.
    pub fn place(&self) -> String {
        self.namespace.as_ref().map_or_else(|| "the cluster".into(), |name| format!("namespace {name}"))
    }

    /// Sends a GET, once.
    pub async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, Failure> {
        let request = http::Request::get(url).body(Vec::new());
        client::send(&self.client, request.map_err(kube::core::request::Error::BuildRequest)).await
    }

    /// Reads one object with all that it holds, a few times if need be; nothing if there is none.
    pub async fn read<T: DeserializeOwned>(&self, url: &str, name: &str) -> Result<Option<T>, Failure> {
        let read = async || requests::get_whole(&self.client, url.to_owned(), name).await;
        requests::if_any(retried(BRIEFLY, read).await)
    }

    /// As [`Self::read`], of an object whose kind is `K`.
    pub async fn read_in<T: DeserializeOwned, K: Resource<DynamicType = ()>>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<T>, Failure> {
        self.read(&K::url_path(&(), Some(namespace)), name).await
    }

    /// Deletes an object, unless it has changed since it was seen.
    pub async fn delete(&self, url: &str, name: &str, only: requests::Only<'_>) -> Result<(), Failure> {
        let deleted = requests::delete::<IgnoredAny>(&self.client, url.to_owned(), name, only, false);
        deleted.await.map(|_| ())
    }

    /// Creates an object, once.
    pub async fn create<T: DeserializeOwned>(
        &self,
        url: &str,
        object: &impl Serialize,
    ) -> Result<T, Failure> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        requests::create(&self.client, url.to_owned(), object, &params).await
    }

    /// Changes an object by a merge patch; its guard is the resourceVersion in it.
    pub async fn patch(&self, url: &str, name: &str, patch: &impl Serialize) -> Result<(), Failure> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let request = Request::new(url).patch(name, &params, &Patch::Merge(patch));
        client::send::<IgnoredAny>(&self.client, request).await.map(|_| ())
    }
}

/// The URL with these parameters, those without a value left out, after those that it has.
pub fn with_query(url: &str, parameters: &[(&str, &str)]) -> String {
    let mark = url.find('?');
    let begins = mark.unwrap_or(url.len()) + 1;
    let url = if mark.is_some() { url.to_owned() } else { format!("{url}?") };
    let mut query = form_urlencoded::Serializer::for_suffix(url, begins);
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    query.finish()
}

/// The flags of the cluster as they were given.
fn flags(arguments: &ClusterArguments) -> String {
    let ClusterArguments { namespace, all_namespaces, context, kubeconfig, as_user, as_groups, .. } =
        arguments;
    let mut flags = String::new();
    let mut add = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            let _ = write!(flags, " {name} {value}");
        }
    };
    add("-n", namespace.as_deref());
    add("--context", context.as_deref());
    add("--kubeconfig", kubeconfig.as_deref().and_then(Path::to_str));
    add("--as", as_user.as_deref());
    for group in as_groups {
        add("--as-group", Some(group));
    }
    if *all_namespaces {
        flags.push_str(" -A");
    }
    flags
}

/// Which objects a list has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selectors<'a> {
    pub labels: Option<&'a str>,
    pub fields: Option<&'a str>,
    pub parts: Parts,
}

impl Selectors<'_> {
    /// All objects, of which nothing but the metadata is asked for.
    pub const METADATA: Self = Selectors { labels: None, fields: None, parts: Parts::Metadata };
}

/// What of the objects is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parts {
    /// What the rules for stopping and deleting are about.
    #[default]
    Needed,
    All,
    Metadata,
}

/// Tries again what may succeed later, for this long: a read, or what cannot be done twice.
pub async fn retried<T>(
    how_long: Duration,
    attempt: impl AsyncFn() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (mut attempts, begun) = (0, Instant::now());
    loop {
        attempts += 1;
        match attempt().await {
            Err(failure) if begun.elapsed() < how_long && may_pass(&failure) => {
                tokio::time::sleep(failure.wait(attempts)).await;
            }
            answer => return answer,
        }
    }
}

/// Whether waiting a second may mend it. A right, or a kind that is not served, is for somebody to mend.
pub fn may_pass(failure: &Failure) -> bool {
    failure.next() == Next::Retry
        && !matches!(failure, Failure::NotServed(_) | Failure::Refused { code: 401, .. })
}
