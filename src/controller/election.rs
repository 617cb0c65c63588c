//! Leader election: a Lease of coordination.k8s.io, which one replica holds and renews, and the others watch.
//!
//! After client-go's `leaderelection`, with its defaults. Each change of the Lease carries the resourceVersion that it is based
//! on, so that of two replicas that try to acquire it one succeeds. Another's Lease expires when this process has not seen it
//! change for long enough, by this machine's clock: no two clocks are compared.
//!
//! The leader also keeps notes in annotations of the Lease, in the same guarded writes.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::{Stream, StreamExt};
use k8s_openapi::{Resource as _, api::coordination::v1::Lease, jiff::Timestamp};
use kube::{
    Api, Client, Resource,
    api::PostParams,
    core::ApiResource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tracing::{info, warn};

use self::lease::{freed, holder, is_free, renewed, taken_over};
use crate::{
    api::FIELD_MANAGER,
    client::{Failure, Machine, Next, leadership::Leadership, requests},
    decode::object::Lenient,
    misconfigured::Misconfigured,
    observed::admission::record::Notes,
    telemetry::{
        health::{Health, NotReady},
        load::{BACKLOG, BY_NAMESPACE, Load, RATE, UP_TO},
    },
};

mod lease;

pub const LEASE: &str = FIELD_MANAGER;

/// The times of the election; the command line describes each.
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
    /// Which of them does not.
    pub fn check(&self) -> Result<(), Misconfigured> {
        let Self { lease_duration, renew_deadline, retry_period } = self;
        let problem = if lease_duration.as_secs() < 1 || lease_duration.subsec_nanos() > 0 {
            "the lease duration has to be a whole number of seconds, at least one"
        } else if renew_deadline >= lease_duration {
            "the renew deadline has to be shorter than the lease duration"
        } else if retry_period.is_zero() || retry_period >= renew_deadline {
            "the retry period has to be shorter than the renew deadline, and longer than 0s"
        } else {
            return Ok(());
        };
        Err(Misconfigured(problem.into()))
    }
}

/// What one replica brings to the election.
pub struct Candidate {
    pub namespace: String,
    /// The identity of this replica, which no other process has.
    pub identity: String,
    pub timing: Timing,
    /// By whose uptime Leases expire.
    pub machine: Machine,
}

/// The election, from the side of one replica.
pub struct Election {
    client: Client,
    candidate: Candidate,
    leadership: Leadership,
    notes: watch::Receiver<Notes>,
    load: Load,
    /// Whether the notes were left out of the last write.
    without_notes: AtomicBool,
}

/// The last version of the Lease that a standby has seen, and at which uptime for the first time.
struct Seen {
    version: String,
    since: Duration,
}

/// Why an attempt to acquire, renew or release the Lease has failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHeld {
    #[error("{0} has taken it")]
    Taken(String),
    /// It is not known who holds it.
    #[error("it could not be renewed: {0}")]
    Unknown(#[from] Failure),
}

/// Why this replica is not the leader any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The renew deadline has passed without an attempt.
    #[error("it was not renewed in time")]
    Late,
    /// The last attempt failed, or found that another replica holds the Lease.
    #[error(transparent)]
    NotRenewed(#[from] NotHeld),
}

impl Election {
    /// `leadership` holds while this process leads, and `notes` and the load are kept in the Lease during that time. `client` must
    /// not be fenced.
    pub const fn new(
        client: Client,
        candidate: Candidate,
        leadership: Leadership,
        notes: watch::Receiver<Notes>,
        load: Load,
    ) -> Self {
        Self { client, candidate, leadership, notes, load, without_notes: AtomicBool::new(false) }
    }

    /// Waits until this process holds the Lease. Until then it is ready for as long as it can read or watch the Lease, from then on
    /// once everything is listed. Every error is retried, so this never fails.
    pub async fn acquire(&self, health: &Health) -> Lenient {
        let resource = ApiResource::erase::<Lease>(&());
        let api = Api::<Lenient>::namespaced_with(self.client.clone(), &self.candidate.namespace, &resource);
        let config = watcher::Config::default().fields(&format!("metadata.name={LEASE}"));
        let mut events = std::pin::pin!(watcher::watcher(api, config).default_backoff());
        let mut seen = None;
        let mut logged = String::new();
        loop {
            let waits_for = match self.try_to_acquire(&mut seen).await {
                Ok((started, lease)) => {
                    self.leadership.extend(started + self.candidate.timing.renew_deadline);
                    health.set_ready(Err(NotReady::Unlisted));
                    info!(identity = self.candidate.identity, "acquired the Lease: this replica leads");
                    return lease;
                }
                Err(NotHeld::Taken(holder)) => {
                    health.set_ready(Ok(()));
                    format!("{holder} leads")
                }
                // A replica that could not take over is no standby.
                Err(NotHeld::Unknown(failure)) => {
                    let why = NotReady::NoLease(failure);
                    health.set_ready(Err(why.clone()));
                    why.to_string()
                }
            };
            if waits_for != logged {
                info!(lease = %format_args!("{}/{LEASE}", self.candidate.namespace), "waiting to lead: {waits_for}");
                logged = waits_for;
            }
            self.until_due(&mut events, &mut seen).await;
        }
    }

    /// Waits until the Lease has to be read again: at once when nobody holds it any more, else after the retry period, or after two
    /// of them without an event that shows another's renewal, which is as good as an answer that does.
    async fn until_due(
        &self,
        events: &mut (impl Stream<Item = watcher::Result<Event<Lenient>>> + Unpin),
        seen: &mut Option<Seen>,
    ) {
        let retry_period = self.candidate.timing.retry_period;
        let mut due = Instant::now() + retry_period;
        while let Ok(Some(event)) = timeout_at(due, events.next()).await {
            match event {
                Ok(Event::Apply(lease) | Event::InitApply(lease)) if self.is_of_another(&lease) => {
                    self.since(&lease, seen);
                    due = Instant::now() + 2 * retry_period;
                }
                Ok(Event::Apply(_) | Event::InitApply(_) | Event::Delete(_)) => return,
                Ok(Event::Init | Event::InitDone) | Err(_) => {}
            }
        }
    }

    /// Returns the Lease, and when the write that acquired it was begun.
    async fn try_to_acquire(&self, seen: &mut Option<Seen>) -> Result<(Duration, Lenient), NotHeld> {
        let read = self.get().await;
        let started = self.uptime();
        let wanted = match read {
            // An earlier attempt without an answer has succeeded.
            Ok(lease) if holder(&lease) == self.candidate.identity => self.renewed(lease),
            Ok(lease) => {
                let unchanged = self.uptime().saturating_sub(self.since(&lease, seen));
                if !is_free(&lease, unchanged, self.candidate.timing.lease_duration) {
                    return Err(NotHeld::Taken(holder(&lease).to_owned()));
                }
                self.taken_over(lease)
            }
            Err(failure) if failure.is_not_found() => self.new_lease(),
            Err(failure) => return Err(failure.into()),
        };
        Ok((started, self.write(wanted).await?))
    }

    /// Since when this version of the Lease is known.
    fn since(&self, lease: &Lenient, seen: &mut Option<Seen>) -> Duration {
        let version = lease.meta().resource_version.as_deref().unwrap_or_default();
        match seen {
            Some(seen) if seen.version == version => seen.since,
            _ => seen.insert(Seen { version: version.to_owned(), since: self.uptime() }).since,
        }
    }

    fn is_of_another(&self, lease: &Lenient) -> bool {
        let holder = holder(lease);
        !holder.is_empty() && holder != self.candidate.identity
    }

    /// Renews the Lease for as long as that works, and at once when the notes have changed. Returns why it does not work any more;
    /// the leadership does not hold from then on.
    pub async fn keep(&self, lease: &mut Lenient) -> Lost {
        let mut why = Lost::Late;
        let mut notes = self.notes.clone();
        loop {
            tokio::select! {
                biased;
                Ok(()) = notes.changed() => {}
                () = tokio::time::sleep(self.candidate.timing.retry_period.min(self.leadership.left())) => {}
            }
            if !self.leadership.holds() {
                break;
            }
            let started = self.uptime();
            // An attempt that hangs leaves time for another one.
            let patience = self.leadership.left().min(self.candidate.timing.renew_deadline / 2);
            let late = |_| Err(Failure::NoAnswer(format!("none within {patience:?}")).into());
            match tokio::time::timeout(patience, self.renew(lease)).await.unwrap_or_else(late) {
                Ok(renewed) => {
                    *lease = renewed;
                    self.leadership.extend(started + self.candidate.timing.renew_deadline);
                }
                Err(taken @ NotHeld::Taken(_)) => {
                    why = taken.into();
                    break;
                }
                Err(NotHeld::Unknown(failure)) => {
                    warn!(%failure, "the Lease could not be renewed; retrying");
                    why = NotHeld::Unknown(failure).into();
                }
            }
        }
        self.leadership.end();
        why
    }

    /// Releases the Lease, if this process holds it, so that another replica can take over at once. If that fails, the Lease
    /// expires.
    pub async fn release(&self) {
        self.leadership.end();
        // It is read again: the last write may have had no answer yet.
        let release = async { Ok(self.write(freed(self.own(self.get().await?)?, self.time())).await?) };
        match tokio::time::timeout(self.candidate.timing.retry_period, release).await {
            Ok(Ok(_)) => info!("the Lease is released"),
            Ok(Err(NotHeld::Taken(_))) => {}
            _ => warn!("the Lease could not be released: the next leader has to wait until it expires"),
        }
    }

    async fn renew(&self, lease: &Lenient) -> Result<Lenient, NotHeld> {
        match self.write(self.renewed(lease.clone())).await {
            // Somebody has changed or deleted it, or a renewal without an answer has succeeded.
            Err(failure) if failure.is_conflict() || failure.is_not_found() => {}
            answer => return Ok(answer?),
        }
        let wanted = match self.get().await {
            // The first one to create it holds it.
            Err(failure) if failure.is_not_found() => self.new_lease(),
            read => self.renewed(self.own(read?)?),
        };
        Ok(self.write(wanted).await?)
    }

    /// The Lease, if this process holds it.
    fn own(&self, lease: Lenient) -> Result<Lenient, NotHeld> {
        match holder(&lease) {
            own if own == self.candidate.identity => Ok(lease),
            other => Err(NotHeld::Taken(other.to_owned())),
        }
    }

    fn renewed(&self, lease: Lenient) -> Lenient {
        renewed(lease, self.candidate.timing.lease_duration, self.time())
    }

    fn taken_over(&self, lease: Lenient) -> Lenient {
        taken_over(self.renewed(lease), &self.candidate.identity, self.time())
    }

    fn new_lease(&self) -> Lenient {
        self.taken_over(Lenient::new(Lease::API_VERSION, Lease::KIND, LEASE))
    }

    fn uptime(&self) -> Duration {
        self.candidate.machine.uptime()
    }

    fn time(&self) -> Timestamp {
        self.candidate.machine.time()
    }

    fn url(&self) -> String {
        Lease::url_path(&(), Some(&self.candidate.namespace))
    }

    async fn get(&self) -> Result<Lenient, Failure> {
        requests::get(&self.client, self.url(), LEASE).await.and_then(a_lease)
    }

    /// Creates the Lease, or replaces the one that this is based on: the guard is the resourceVersion in it.
    async fn send(&self, lease: &Lenient) -> Result<Lenient, Failure> {
        let answer = if lease.text("resourceVersion").is_some() {
            requests::replace(&self.client, self.url(), LEASE, None, lease).await
        } else {
            requests::create(&self.client, self.url(), lease, &PostParams::default()).await
        };
        answer.and_then(a_lease)
    }

    /// Writes the Lease with the notes, or without them if the API server refuses that: the annotations of an object have a limit in
    /// all, which those of others may have reached, and leading is more important.
    async fn write(&self, mut lease: Lenient) -> Result<Lenient, Failure> {
        let load = self.load.publish();
        let by_namespace = (load.backlog > 0).then(|| load.by_namespace.to_string());
        let rate = load.rate.map(|rate| format!("{rate:.1}"));
        let (backlog, up_to) =
            (Some(load.backlog.to_string()), load.up_to.map(|version| version.to_string()));
        let load = [(BACKLOG, backlog), (BY_NAMESPACE, by_namespace), (UP_TO, up_to), (RATE, rate)];
        let notes: Vec<_> = self.notes.borrow().iter().cloned().chain(load).collect();
        for (name, value) in &notes {
            lease.annotate(name, value.as_deref());
        }
        let answer = self.send(&lease).await;
        let refused = matches!(&answer, Err(failure) if failure.next() == Next::GiveUp);
        let known = self.without_notes.swap(refused, Ordering::Relaxed);
        if refused {
            if let (Err(failure), false) = (&answer, known) {
                warn!(%failure, "the Lease is written without the record of the admission policy, because the API server \
                    refuses it: after a restart the policy may count as just changed; remove other annotations from the Lease");
            }
            for (name, _) in &notes {
                lease.annotate(name, None);
            }
            return self.send(&lease).await;
        }
        answer
    }
}

/// What is not the Lease, as a proxy in between may answer, counts as unreadable.
fn a_lease(answer: Lenient) -> Result<Lenient, Failure> {
    if answer.text("name") == Some(LEASE)
        && answer.text("resourceVersion").is_some_and(|text| !text.is_empty())
    {
        Ok(answer)
    } else {
        Err(Failure::unreadable("it is not the Lease"))
    }
}

#[cfg(test)]
mod tests;
