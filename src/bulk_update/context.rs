//! What all BulkUpdates share, and what was last seen of each.

use std::sync::Arc;

use kube::Client;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::ItemResult,
    bulk_update::{events::Events, facts::Rules, request::Request, throttle::Writers, work::Work},
    client::{clock::Clock, slots::Slots},
    observed::{
        admission::{Admission, Policies},
        flag::CapabilityFlag,
        index::Index,
    },
    telemetry::{health::Health, metrics::Metrics},
};

/// What all BulkUpdates share.
pub struct Context {
    /// The way to the API server: one attempt a request.
    pub client: Client,
    /// The API server's time.
    pub clock: Clock,
    /// What is known of targets.
    pub index: Arc<Index>,
    /// The capability flag.
    pub flag: CapabilityFlag,
    /// The admission policy that checks authors.
    pub policies: Policies,
    /// What is counted.
    pub metrics: Metrics,
    /// Shows that all gets on.
    pub health: Arc<Health>,
    /// One for each request that may be under way; those of the watches, the flag and the events aside.
    pub slots: Slots,
    /// The passes that send requests about targets.
    pub writers: Writers,
    /// Who is eligible.
    pub rules: Rules,
    /// Sends events.
    pub events: Events,
    /// What runs in the background and is waited for at the end.
    pub tracker: TaskTracker,
    /// Set when the process is to end: nothing new is begun.
    pub shutdown: CancellationToken,
}

impl Context {
    /// With how many others a BulkUpdate shares what statuses may cost, where that matters: what only waits to settle reports
    /// at its own pace.
    #[must_use]
    pub fn others(&self, work: &Work) -> usize {
        if work.any(ItemResult::Planned) { self.writers.others(&work.request().namespace) } else { 0 }
    }

    /// Who asked for it, where the admission policy vouches for that.
    #[must_use]
    pub fn requester<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let admission = self.policies.admission();
        let vouches = matches!(admission, Admission::Since(_)) && admission.covers(request.created);
        request.requester.as_deref().filter(|_| vouches)
    }
}

/// What was last seen of a BulkUpdate that is under way. Its spec and status are its task's own: they are not kept twice.
#[derive(Clone, Debug, Default)]
pub struct Current {
    /// Its version.
    pub resource_version: Box<str>,
    /// The generation of its spec.
    pub generation: Option<i64>,
    /// Whether it was deleted, is being deleted, or can't be read any more: no write may start.
    pub stopped: bool,
    /// The resource version at which it was created; absent where the running watch has not seen that.
    pub creation_version: Option<u64>,
}

/// A BulkUpdate as it was last seen, kept up to date by the registry.
#[derive(Clone, Debug)]
pub struct Latest {
    pub(super) current: watch::Receiver<Current>,
    pub(super) shutdown: CancellationToken,
}

impl Latest {
    /// Whether nothing new may be begun.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.current.borrow().stopped || self.shutdown.is_cancelled()
    }

    /// Waits until it was deleted, is being deleted, or can't be read any more.
    pub async fn until_stopped(&mut self) {
        while !self.current.borrow_and_update().stopped {
            self.changed().await;
        }
    }

    /// Waits for news. The registry outlives its BulkUpdates, so that without it there are none.
    pub async fn changed(&mut self) {
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
