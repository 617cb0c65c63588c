//! The requests about Kueue: whether it is installed, and the `Workload` of what is to stop.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{
    Client, Resource,
    api::ListParams,
    core::{Request, request},
};
use serde::{Deserialize, de::IgnoredAny};
use tokio::time::Instant;

use crate::{
    client::{Failure, requests},
    tasks::lock,
    workload::{
        facts::InQueue,
        kueue::{self, GROUP, VERSIONS},
        requests::{List, guarded},
        work::Object,
    },
};

/// How long it is remembered which versions of Kueue's API are served: it is asked for each time that something stops.
const REMEMBERED: Duration = Duration::from_secs(10);

/// What is known of Kueue in this cluster.
#[derive(Default)]
pub struct Kueue(Mutex<Option<(Instant, Vec<&'static str>)>>);

/// A group of the API, as discovery describes it.
#[derive(Deserialize)]
struct Group {
    versions: Vec<GroupVersion>,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
}

impl Kueue {
    /// Reads the `Workload` of the object with this uid.
    ///
    /// # Errors
    /// [`Failure::NotServed`] where Kueue is not installed.
    pub async fn workload(
        &self,
        client: &Client,
        namespace: &str,
        uid: &str,
    ) -> Result<Option<Arc<InQueue>>, Failure> {
        let mut read = Err(Failure::NotServed(format!("{GROUP} is not served")));
        for api in self.versions(client).await? {
            let url = Object::url_path(&kueue::workload_resource(api), Some(namespace));
            let params = ListParams::default().labels(&format!("{}={uid}", kueue::JOB_UID));
            let answer: Result<List<Object>, Failure> =
                requests::send(client, Request::new(url).list(&params)).await;
            read = answer.map(|list| {
                let all = list.items.iter().flatten().filter_map(|object| queued(api, object));
                // Of several, as for the slices of an elastic Job, the one that is to be stopped next.
                all.min_by_key(how_far).map(Arc::new)
            });
            if !matches!(read, Err(Failure::NotServed(_))) {
                break;
            }
        }
        read
    }

    /// The versions of its API that are served and can be read. The list of its Workloads does not tell whether it is installed: where
    /// the operator lacks the permission, that is refused in any case.
    async fn versions(&self, client: &Client) -> Result<Vec<&'static str>, Failure> {
        let known = lock(&self.0).clone().filter(|(since, _)| since.elapsed() < REMEMBERED);
        if let Some((_, versions)) = known {
            return Ok(versions);
        }
        let request = http::Request::get(format!("/apis/{GROUP}")).body(Vec::new());
        let answer = requests::send(client, request.map_err(request::Error::BuildRequest)).await;
        let versions = match answer {
            Ok(Group { versions: served }) => {
                let is_served = |version: &&str| served.iter().any(|known| known.version == *version);
                let readable: Vec<_> = VERSIONS.into_iter().filter(is_served).collect();
                if readable.is_empty() {
                    let why = format!("{GROUP} has none of the versions {}", VERSIONS.join(", "));
                    return Err(Failure::Unreadable(why));
                }
                readable
            }
            Err(Failure::NotServed(_)) => Vec::new(),
            // Some clusters do not let everybody discover what they serve.
            Err(Failure::Refused { code: 403, .. }) => return Ok(VERSIONS.into()),
            Err(failure) => return Err(failure),
        };
        *lock(&self.0) = Some((Instant::now(), versions.clone()));
        Ok(versions)
    }
}

/// Requests Kueue to stop what this `Workload` is for.
pub async fn stop(client: &Client, namespace: &str, queued: &InQueue) -> Result<(), Failure> {
    let url = Object::url_path(&kueue::workload_resource(queued.api), Some(namespace));
    let guard = (&*queued.uid, &*queued.version);
    guarded::<IgnoredAny>(client, url, &queued.name, guard, &kueue::DEACTIVATE).await.map(drop)
}

/// How far a stop of it is.
fn how_far(queued: &InQueue) -> u8 {
    match &queued.says {
        Err(_) => 0,
        Ok(says) if says.active && !says.finished => 1,
        Ok(says) if says.reserved && !says.finished => 2,
        Ok(_) => 3,
    }
}

fn queued(api: &'static str, object: &Object) -> Option<InQueue> {
    let parts = object.parts();
    let says = match kueue::observe(&parts) {
        Ok(says) => Ok(says?),
        Err(malformed) => Err(malformed.to_string().into()),
    };
    let version = object.metadata.resource_version.as_deref().unwrap_or_default();
    Some(InQueue { api, name: parts.name.into(), uid: parts.uid.into(), version: version.into(), says })
}
