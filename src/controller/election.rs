//! Who leads: a Lease of coordination.k8s.io, which one replica holds and renews, and the others watch.
//!
//! After client-go's `leaderelection`, with its defaults. Each change of the Lease carries the resourceVersion that it
//! rests on, so that of two who reach for it one gets it. When another's has lapsed is measured from when it was seen to
//! change last, by this machine's clock: no two clocks are compared.
//!
//! The one that leads also keeps notes in annotations of the Lease, in the same guarded writes.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::{Resource as _, api::coordination::v1::Lease};
use kube::{
    Api, Client, Resource,
    api::PostParams,
    core::ApiResource,
    runtime::{WatchStreamExt, watcher},
};
use tokio::sync::watch;
use tracing::{info, warn};

use self::lease::{freed, holder, is_free, renewed, taken_over};
use crate::{
    api::FIELD_MANAGER,
    client::{
        Failure, Next,
        leadership::{Leadership, now},
        requests,
    },
    decode::object::Lenient,
    observed::admission::record::Notes,
    telemetry::health::{Health, UNLISTED},
};

mod lease;

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

/// Who stands for election, and where.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of this replica, which no other process has.
    pub identity: String,
    /// How long a Lease lasts, and how often it is renewed.
    pub timing: Timing,
}

/// One replica's part in it.
pub struct Election {
    client: Client,
    candidate: Candidate,
    leadership: Leadership,
    notes: watch::Receiver<Notes>,
    /// Whether the last write had to do without the notes.
    without_notes: AtomicBool,
}

/// How an attempt to get or renew the Lease has ended.
enum Attempt {
    /// It is held by this process.
    Held(Box<Lenient>),
    /// It is held by another.
    Taken(String),
    /// Not known.
    Failed(Failure),
}

impl Election {
    /// One for this candidate; `leadership` holds while this process leads, and `notes` are what it keeps there
    /// then. `client` must be one that [`crate::client::leadership::Fence`] lets through.
    #[must_use]
    pub const fn new(
        client: Client,
        candidate: Candidate,
        leadership: Leadership,
        notes: watch::Receiver<Notes>,
    ) -> Self {
        Self { client, candidate, leadership, notes, without_notes: AtomicBool::new(false) }
    }

    /// Waits until this process leads; gives back the Lease. While another leads, all that this one can do for BulkUpdates is
    /// ready, as `health` tells.
    pub async fn acquire(&self, health: &Health) -> Lenient {
        let resource = ApiResource::erase::<Lease>(&());
        let api = Api::<Lenient>::namespaced_with(self.client.clone(), &self.candidate.namespace, &resource);
        let config = watcher::Config::default().fields(&format!("metadata.name={LEASE}"));
        // Only what wakes this up; what is decided on is read.
        let mut news = std::pin::pin!(watcher(api, config).default_backoff());
        let mut seen: Option<(String, Duration)> = None;
        let mut told = String::new();
        loop {
            let mut begun = now();
            let attempt = match self.get().await {
                // An attempt that got no answer has taken hold.
                Ok(lease) if holder(&lease) == self.candidate.identity => {
                    begun = now();
                    self.replace(self.renewed(lease)).await
                }
                Ok(lease) => {
                    let version = lease.meta().resource_version.clone().unwrap_or_default();
                    let since = match &seen {
                        Some((known, since)) if *known == version => *since,
                        _ => seen.insert((version, now())).1,
                    };
                    if is_free(&lease, now().saturating_sub(since), self.candidate.timing.lease_duration) {
                        begun = now();
                        self.replace(taken_over(self.renewed(lease), &self.candidate.identity)).await
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
                    self.leadership.extend(begun + self.candidate.timing.renew_deadline);
                    health.is_ready(Err(UNLISTED.into()));
                    info!(identity = self.candidate.identity, "leads");
                    return *lease;
                }
                Attempt::Taken(holder) => {
                    health.is_ready(Ok(()));
                    format!("{holder} leads")
                }
                // What can't lead in another's place is no standby.
                Attempt::Failed(failure) => {
                    let trouble = format!("the Lease can't be read or taken: {failure}");
                    health.is_ready(Err(trouble.clone()));
                    trouble
                }
            };
            if waits_for != told {
                info!(lease = %format_args!("{}/{LEASE}", self.candidate.namespace), "waiting to lead: {waits_for}");
                told = waits_for;
            }
            tokio::select! {
                () = tokio::time::sleep(self.candidate.timing.retry_period) => {}
                Some(_) = news.next() => {}
            }
        }
    }

    /// Renews the Lease for as long as that works, at once where the notes have changed; says why it does not any more. From
    /// then on the leadership does not hold.
    pub async fn keep(&self, lease: &mut Lenient) -> String {
        let mut trouble = String::from("it was not renewed in time");
        let mut notes = self.notes.clone();
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.candidate.timing.retry_period.min(self.leadership.left())) => {}
                Ok(()) = notes.changed() => {}
            }
            if !self.leadership.holds() {
                break;
            }
            let begun = now();
            // One that hangs leaves time for another.
            let patience = self.leadership.left().min(self.candidate.timing.renew_deadline / 2);
            match tokio::time::timeout(patience, self.renew(lease)).await {
                Ok(Attempt::Held(renewed)) => {
                    *lease = *renewed;
                    self.leadership.extend(begun + self.candidate.timing.renew_deadline);
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
                Ok(live) if holder(&live) == self.candidate.identity => self.replace(freed(live)).await,
                Ok(live) => Attempt::Taken(holder(&live).to_owned()),
                Err(failure) => Attempt::Failed(failure),
            }
        };
        match tokio::time::timeout(self.candidate.timing.retry_period, release).await {
            Ok(Attempt::Held(_)) => info!("the Lease is released"),
            Ok(Attempt::Taken(_)) => {}
            _ => warn!("the Lease could not be released: another has to wait until it lapses"),
        }
    }

    async fn renew(&self, lease: &Lenient) -> Attempt {
        match self.replace(self.renewed(lease.clone())).await {
            // Somebody has changed or deleted it, or a renewal without an answer has taken hold.
            Attempt::Failed(failure) if failure.is_conflict() || failure.is_not_found() => {
                match self.get().await {
                    Ok(live) if holder(&live) == self.candidate.identity => {
                        self.replace(self.renewed(live)).await
                    }
                    Ok(live) => Attempt::Taken(holder(&live).to_owned()),
                    // Who is quicker has it.
                    Err(failure) if failure.is_not_found() => self.create().await,
                    Err(failure) => Attempt::Failed(failure),
                }
            }
            other => other,
        }
    }

    fn renewed(&self, lease: Lenient) -> Lenient {
        renewed(lease, self.candidate.timing.lease_duration)
    }

    async fn get(&self) -> Result<Lenient, Failure> {
        requests::get(&self.client, self.url(), LEASE).await.and_then(a_lease)
    }

    async fn create(&self) -> Attempt {
        let new = taken_over(
            self.renewed(Lenient::new(Lease::API_VERSION, Lease::KIND, LEASE)),
            &self.candidate.identity,
        );
        self.write(new, async |lease| {
            requests::create(&self.client, self.url(), lease, &PostParams::default()).await
        })
        .await
    }

    /// The resourceVersion in it is the guard.
    async fn replace(&self, lease: Lenient) -> Attempt {
        self.write(lease, async |lease| requests::replace(&self.client, self.url(), LEASE, None, lease).await)
            .await
    }

    /// Writes the Lease with the notes; without them, where the API server will not have it: there is a limit to all annotations
    /// of an object together, which those of others may reach, and to lead matters more.
    async fn write(
        &self,
        mut lease: Lenient,
        send: impl AsyncFn(&Lenient) -> Result<Lenient, Failure>,
    ) -> Attempt {
        let notes = self.notes.borrow().clone();
        for (name, value) in &notes {
            lease.annotate(name, value.as_deref());
        }
        let mut answer = send(&lease).await.and_then(a_lease);
        let refused = match &answer {
            Err(failure) if failure.next() == Next::GiveUp => notes.iter().any(|(_, value)| value.is_some()),
            _ => false,
        };
        let known = self.without_notes.swap(refused, Ordering::Relaxed);
        if refused {
            if let (Err(failure), false) = (&answer, known) {
                warn!(%failure, "the Lease can't hold the record of the admission policy and is kept without it: after a \
                    restart the policy may count as changed just now; remove annotations of others from the Lease");
            }
            for (name, _) in &notes {
                lease.annotate(name, None);
            }
            answer = send(&lease).await.and_then(a_lease);
        }
        answer.map_or_else(Attempt::Failed, |lease| Attempt::Held(Box::new(lease)))
    }

    fn url(&self) -> String {
        Lease::url_path(&(), Some(&self.candidate.namespace))
    }
}

/// An answer that is no Lease is none.
fn a_lease(answer: Lenient) -> Result<Lenient, Failure> {
    let has = |field: &str| answer.text(field).is_some_and(|text| !text.is_empty());
    if answer.text("name") == Some(LEASE) && has("resourceVersion") {
        Ok(answer)
    } else {
        Err(Failure::NoAnswer("an answer that can't be read: it is not the Lease".into()))
    }
}

#[cfg(test)]
mod tests;
