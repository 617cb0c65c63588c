//! Who leads: a Lease of coordination.k8s.io, which one replica holds and renews, and the others watch.
//!
//! After client-go's `leaderelection`, with its defaults. Each change of the Lease carries the resourceVersion that it
//! rests on, so that of two who reach for it one gets it. When another's has lapsed is measured from when it was seen to
//! change last, by this machine's clock: no two clocks are compared.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource,
    api::{GetParams, ObjectMeta, PostParams},
    core::{Request, request},
    runtime::{WatchStreamExt, watcher},
};
use tracing::{info, warn};

use crate::{
    FIELD_MANAGER,
    client::{Failure, send},
    health::{Health, UNLISTED},
    leadership::{Leadership, now},
};

/// The name of the Lease.
pub const LEASE: &str = FIELD_MANAGER;

/// How long, and how often; the command line describes each.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long others wait for a renewal before they take over; whole seconds.
    pub lease_duration: Duration,
    /// How long the leader tries to renew before it gives up; shorter than `lease_duration`.
    pub renew_deadline: Duration,
    /// How long to wait between two attempts; shorter than `renew_deadline`.
    pub retry_period: Duration,
}

impl Timing {
    /// Whether the times fit together.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), &'static str> {
        let Self { lease_duration, renew_deadline, retry_period } = self;
        if lease_duration.as_secs() < 1 || lease_duration.subsec_nanos() > 0 {
            Err("the lease duration has to be whole seconds, one at least")
        } else if renew_deadline >= lease_duration {
            Err("the renew deadline has to be shorter than the lease duration")
        } else if retry_period.is_zero() || retry_period >= renew_deadline {
            Err("the retry period has to be shorter than the renew deadline, and longer than nothing")
        } else {
            Ok(())
        }
    }
}

/// One replica's part in it.
pub struct Election {
    client: Client,
    namespace: String,
    identity: String,
    timing: Timing,
    leadership: Leadership,
}

/// How an attempt to get or renew the Lease has ended.
enum Attempt {
    /// It is held by this process.
    Held(Box<Lease>),
    /// It is held by another.
    Taken(String),
    /// Not known.
    Failed(Failure),
}

impl Election {
    /// One for the Lease in this namespace; `leadership` holds while this process leads. `client` must be one that
    /// [`crate::leadership::Fence`] lets through.
    #[must_use]
    pub const fn new(
        client: Client,
        namespace: String,
        identity: String,
        timing: Timing,
        leadership: Leadership,
    ) -> Self {
        Self { client, namespace, identity, timing, leadership }
    }

    /// Waits until this process leads; gives back the Lease. While another leads, all that this one can do for BulkUpdates is
    /// ready, as `health` tells.
    pub async fn acquire(&self, health: &Health) -> Lease {
        let api = Api::<Lease>::namespaced(self.client.clone(), &self.namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={LEASE}"));
        // Only what wakes this up; what is decided on is read.
        let mut news = std::pin::pin!(watcher(api, config).default_backoff());
        let mut seen: Option<(String, Duration)> = None;
        let mut told = String::new();
        loop {
            let mut begun = now();
            let attempt = match self.get().await {
                // An attempt that got no answer has taken hold.
                Ok(lease) if holder(&lease) == self.identity => {
                    begun = now();
                    self.replace(self.renewed(lease)).await
                }
                Ok(lease) => {
                    let version = lease.metadata.resource_version.clone().unwrap_or_default();
                    let since = match &seen {
                        Some((known, since)) if *known == version => *since,
                        _ => seen.insert((version, now())).1,
                    };
                    if is_free(&lease, now().saturating_sub(since)) {
                        begun = now();
                        self.replace(self.taken_over(lease)).await
                    } else {
                        Attempt::Taken(holder(&lease).to_owned())
                    }
                }
                Err(failure) if failure.is_not_found() => {
                    begun = now();
                    self.create().await
                }
                Err(failure) => Attempt::Failed(failure),
            };
            let waits_for = match attempt {
                Attempt::Held(lease) => {
                    self.leadership.extend(begun + self.timing.renew_deadline);
                    health.is_ready(Err(UNLISTED.into()));
                    info!(identity = self.identity, "leads");
                    return *lease;
                }
                Attempt::Taken(holder) => {
                    health.is_ready(Ok(()));
                    format!("{holder} leads")
                }
                Attempt::Failed(failure) => format!("the Lease can't be read or taken: {failure}"),
            };
            if waits_for != told {
                info!(lease = %format_args!("{}/{LEASE}", self.namespace), "waiting to lead: {waits_for}");
                told = waits_for;
            }
            tokio::select! {
                () = tokio::time::sleep(self.timing.retry_period) => {}
                Some(_) = news.next() => {}
            }
        }
    }

    /// Renews the Lease for as long as that works; says why it does not any more. From then on the leadership does not
    /// hold.
    pub async fn keep(&self, lease: &mut Lease) -> String {
        let mut trouble = String::from("it was not renewed in time");
        loop {
            tokio::time::sleep(self.timing.retry_period.min(self.leadership.left())).await;
            if !self.leadership.holds() {
                break;
            }
            let begun = now();
            // One that hangs leaves time for another.
            let patience = self.leadership.left().min(self.timing.renew_deadline / 2);
            match tokio::time::timeout(patience, self.renew(lease)).await {
                Ok(Attempt::Held(renewed)) => {
                    *lease = *renewed;
                    self.leadership.extend(begun + self.timing.renew_deadline);
                }
                Ok(Attempt::Taken(holder)) => {
                    trouble = format!("{holder} has taken it");
                    break;
                }
                Ok(Attempt::Failed(failure)) => {
                    warn!(%failure, "the Lease could not be renewed; trying again");
                    trouble = format!("it could not be renewed: {failure}");
                }
                Err(_) => {
                    warn!("the Lease could not be renewed within {patience:?}; trying again");
                    "it could not be renewed: no answer".clone_into(&mut trouble);
                }
            }
        }
        self.leadership.end();
        trouble
    }

    /// Lets another take over at once, if this process holds the Lease. At best effort: else it lapses.
    pub async fn release(&self) {
        self.leadership.end();
        let release = async {
            // It is read, for the answer to what was sent last may not have been waited for.
            match self.get().await {
                Ok(live) if holder(&live) == self.identity => self.replace(freed(live)).await,
                Ok(live) => Attempt::Taken(holder(&live).to_owned()),
                Err(failure) => Attempt::Failed(failure),
            }
        };
        match tokio::time::timeout(self.timing.retry_period, release).await {
            Ok(Attempt::Held(_)) => info!("the Lease is released"),
            Ok(Attempt::Taken(_)) => {}
            _ => warn!("the Lease could not be released: another has to wait until it lapses"),
        }
    }

    async fn renew(&self, lease: &Lease) -> Attempt {
        match self.replace(self.renewed(lease.clone())).await {
            // Somebody has changed or deleted it, or a renewal without an answer has taken hold.
            Attempt::Failed(failure) if failure.is_conflict() || failure.is_not_found() => {
                match self.get().await {
                    Ok(live) if holder(&live) == self.identity => self.replace(self.renewed(live)).await,
                    Ok(live) => Attempt::Taken(holder(&live).to_owned()),
                    // Who is quicker has it.
                    Err(failure) if failure.is_not_found() => self.create().await,
                    Err(failure) => Attempt::Failed(failure),
                }
            }
            other => other,
        }
    }

    fn renewed(&self, mut lease: Lease) -> Lease {
        let spec = lease.spec.get_or_insert_default();
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        spec.lease_duration_seconds = i32::try_from(self.timing.lease_duration.as_secs()).ok();
        lease
    }

    fn taken_over(&self, lease: Lease) -> Lease {
        let mut lease = self.renewed(lease);
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(self.identity.clone());
        spec.acquire_time.clone_from(&spec.renew_time);
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default().saturating_add(1));
        lease
    }

    async fn get(&self) -> Result<Lease, Failure> {
        let request: Result<_, request::Error> = self.request().get(LEASE, &GetParams::default());
        send(&self.client, request).await
    }

    async fn create(&self) -> Attempt {
        let new = Lease {
            metadata: ObjectMeta { name: Some(LEASE.into()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec { lease_transitions: Some(-1), ..LeaseSpec::default() }),
        };
        let request = match serde_json::to_vec(&self.taken_over(new)) {
            Ok(body) => self.request().create(&PostParams::default(), body),
            Err(error) => Err(request::Error::SerializeBody(error)),
        };
        as_attempt(send(&self.client, request).await)
    }

    /// The resourceVersion in it is the guard.
    async fn replace(&self, lease: Lease) -> Attempt {
        let request = match serde_json::to_vec(&lease) {
            Ok(body) => self.request().replace(LEASE, &PostParams::default(), body),
            Err(error) => Err(request::Error::SerializeBody(error)),
        };
        as_attempt(send(&self.client, request).await)
    }

    fn request(&self) -> Request {
        Request::new(Lease::url_path(&(), Some(&self.namespace)))
    }
}

/// Held by nobody.
fn freed(mut lease: Lease) -> Lease {
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = None;
    spec.renew_time = Some(MicroTime(Timestamp::now()));
    lease
}

fn as_attempt(answer: Result<Lease, Failure>) -> Attempt {
    answer.map_or_else(Attempt::Failed, |lease| Attempt::Held(Box::new(lease)))
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// Whether a Lease that has not changed for so long may be taken.
fn is_free(lease: &Lease, unchanged: Duration) -> bool {
    let duration = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
    holder(lease).is_empty() || unchanged > Duration::from_secs(u64::try_from(duration).unwrap_or_default())
}

#[cfg(test)]
mod tests;
