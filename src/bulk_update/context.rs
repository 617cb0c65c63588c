//! What all BulkUpdates share, and what was last seen of each.

use std::sync::Arc;

use kube::Client;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::ItemResult,
    bulk_update::{
        events::Events,
        facts::Rules,
        request::Request,
        throttle::{HeldBack, Writers},
        work::Work,
    },
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
    /// The client: one attempt per request.
    pub client: Client,
    /// The API server's time.
    pub clock: Clock,
    /// The cache of targets.
    pub index: Arc<Index>,
    pub flag: CapabilityFlag,
    /// The admission policy that checks authors' permissions.
    pub policies: Policies,
    pub metrics: Metrics,
    /// Liveness: are watches and reconciles making progress?
    pub health: Arc<Health>,
    /// Limits the requests in flight; those of watches, of the flag and of events are not counted.
    pub slots: Slots,
    /// The BulkUpdates that are sending requests about targets.
    pub writers: Writers,
    /// The BulkUpdates to which nothing may be written yet.
    pub held_back: HeldBack,
    /// The operator's settings about eligibility.
    pub rules: Rules,
    pub events: Events,
    /// Background tasks that a graceful shutdown waits for.
    pub tracker: TaskTracker,
    /// Set on shutdown: no new work is started.
    pub shutdown: CancellationToken,
}

impl Context {
    /// How many other BulkUpdates it shares the budget for status writes with. Zero for one that only waits for its
    /// items to settle: it reports at its own interval.
    pub(super) fn others(&self, work: &Work) -> usize {
        if work.any(ItemResult::Planned) { self.writers.others(&work.request().namespace) } else { 0 }
    }

    /// The author, if the admission policy was in force when it was created.
    pub(super) fn requester<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let admission = self.policies.admission();
        let vouches = matches!(admission, Admission::Since(_)) && admission.covers(request.created);
        request.requester.as_deref().filter(|_| vouches)
    }
}

/// What was last seen of a BulkUpdate that is under way. Its spec and status are held by its task and not kept twice.
#[derive(Clone, Debug, Default)]
pub struct Current {
    pub generation: Option<i64>,
    /// Whether it was deleted, is terminating, or cannot be read any more: no write may start.
    pub stopped: bool,
    /// The resource version at which it was created; absent if the running watch did not see that.
    pub creation_version: Option<u64>,
}

/// A BulkUpdate as it was last seen, kept up to date by the registry.
#[derive(Clone, Debug)]
pub struct Latest {
    pub(super) current: watch::Receiver<Current>,
    pub(super) shutdown: CancellationToken,
}

impl Latest {
    /// Whether no new work may be started, because of a shutdown, too.
    pub fn stopped(&self) -> bool {
        self.current.borrow().stopped || self.shutdown.is_cancelled()
    }

    /// Waits until it was deleted, is terminating, or cannot be read any more.
    pub async fn until_stopped(&mut self) {
        while !self.current.borrow_and_update().stopped {
            self.changed().await;
        }
    }

    /// Waits for a change. The registry outlives its BulkUpdates, so a closed channel means that there will be none.
    pub async fn changed(&mut self) {
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
