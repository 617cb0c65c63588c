//! Lists and watches: each goes on for ever, fails by itself, and is tried again ever more rarely.

use std::{future::ready, sync::Arc, time::Duration};

use anyhow::Chain;
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use kube::{
    Api, Resource,
    core::Status,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::{
    client::with_causes,
    telemetry::{
        health::{Health, WATCH_LASTS},
        metrics::Metrics,
    },
};

/// How long to wait, at the most, before what has failed for the first time is tried again; doubled with each failure.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How often it is looked whether a watch that has failed works again, which only bookmarks may show, and kube keeps these to itself.
const LOOKS: Duration = Duration::from_secs(1);

/// What there is to know of a list and watch.
#[derive(Clone, Debug)]
pub enum News<K> {
    /// What it has brought.
    Event(Event<K>),
    /// It fails: what it has brought may be out of date.
    Fails,
    /// It works again, after it has failed.
    Works,
}

/// What is listed and watched in `api`, from now on and for ever; `resource` names it in logs and metrics. Each has a back-off
/// of its own: one that fails holds up no other. It has to show signs of life from now on.
pub fn watch<K>(
    health: &Arc<Health>,
    metrics: &Metrics,
    api: Api<K>,
    config: watcher::Config,
    resource: &'static str,
) -> impl Stream<Item = Event<K>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    events(watch_with_news(health, metrics, api, config, resource))
}

/// The same, for those who have to know whether it works.
pub fn watch_with_news<K>(
    health: &Arc<Health>,
    metrics: &Metrics,
    api: Api<K>,
    config: watcher::Config,
    resource: &'static str,
) -> impl Stream<Item = News<K>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    follow(health, metrics, api, config, resource)
}

fn events<K: Send>(news: impl Stream<Item = News<K>> + Send) -> impl Stream<Item = Event<K>> + Send {
    news.filter_map(|news| {
        ready(match news {
            News::Event(event) => Some(event),
            News::Fails | News::Works => None,
        })
    })
}

fn follow<K>(
    health: &Arc<Health>,
    metrics: &Metrics,
    api: Api<K>,
    config: watcher::Config,
    resource: &'static str,
) -> impl Stream<Item = News<K>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let config = config.timeout(WATCH_LASTS.as_secs().try_into().unwrap_or(u32::MAX));
    let path = api.resource_url().to_owned();
    health.expect(&path);
    let (health, metrics) = (Arc::clone(health), metrics.clone());
    let begin = move || watcher(api.clone(), config.clone()).boxed();
    let watched =
        Watched { events: begin(), trouble: Trouble::new(resource, metrics), pause: None, held: None };
    stream::unfold((watched, begin), move |(mut watched, begin)| {
        let (health, path) = (Arc::clone(&health), path.clone());
        async move {
            if let Some(wait) = watched.pause.take() {
                sleep(wait).await;
                watched.trouble.tried_again = Instant::now();
            }
            if let Some(event) = watched.held.take() {
                return Some((News::Event(event), (watched, begin)));
            }
            loop {
                let next = tokio::select! {
                    biased;
                    next = watched.events.next() => next?,
                    () = sleep(LOOKS), if watched.trouble.ongoing() => {
                        if health.watched_since(&path, watched.trouble.tried_again) {
                            watched.trouble.recovered();
                            return Some((News::Works, (watched, begin)));
                        }
                        continue;
                    }
                };
                return match next {
                    // A list is no progress before a watch goes on from it: to begin one, or to come to its last page but
                    // one, may succeed each time.
                    Ok(event @ (Event::Apply(_) | Event::Delete(_))) if watched.trouble.ongoing() => {
                        watched.trouble.recovered();
                        watched.held = Some(event);
                        Some((News::Works, (watched, begin)))
                    }
                    Ok(event) => Some((News::Event(event), (watched, begin))),
                    Err(error) => {
                        let wait = watched.trouble.failed(&error).max(health.retry_after(&path));
                        if wants_another_list(&error) {
                            watched.events = begin();
                        }
                        watched.pause = Some(wait);
                        Some((News::Fails, (watched, begin)))
                    }
                };
            }
        }
    })
}

/// A list and watch, and what is wrong with it.
struct Watched<K> {
    events: BoxStream<'static, Result<Event<K>, watcher::Error>>,
    trouble: Trouble,
    /// How long to wait before it is tried again.
    pause: Option<Duration>,
    /// What has shown that it works again, and is told next.
    held: Option<Event<K>>,
}

/// Whether to begin the watch where it was would fail again and again: what is refused is the place. kube does that only
/// where the API server says so within a watch, and not where it, or what stands before it, refuses the watch as such.
fn wants_another_list(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            (400..500).contains(&status.code) && !matches!(status.code, 401 | 403 | 408 | 429)
        }
        _ => false,
    }
}

/// The failures of one list and watch since it has worked last.
struct Trouble {
    resource: &'static str,
    metrics: Metrics,
    failures: u32,
    /// The reason that was logged last.
    logged: String,
    tried_again: Instant,
}

impl Trouble {
    fn new(resource: &'static str, metrics: Metrics) -> Self {
        Self { resource, metrics, failures: 0, logged: String::new(), tried_again: Instant::now() }
    }

    fn ongoing(&self) -> bool {
        self.failures > 0
    }

    /// Notes a failure, and says how long to wait before it is tried again. It is logged if it is another than the last one.
    fn failed(&mut self, error: &watcher::Error) -> Duration {
        self.metrics.watch_failed(self.resource);
        self.failures += 1;
        let reason = reason(error);
        if reason != self.logged {
            let error = with_causes(error);
            warn!(
                resource = self.resource,
                error,
                "a watch failed; trying again, at least once a minute, and this is logged again when the reason changes"
            );
            self.logged = reason;
        }
        wait(self.failures, fastrand::f64())
    }

    /// It works.
    fn recovered(&mut self) {
        info!(resource = self.resource, failures = self.failures, "the watch works again");
        self.failures = 0;
        self.logged.clear();
    }
}

/// How long to wait after so many failures in a row: at random, so that not all ask at the same moment, between half and the
/// whole of what doubles from a second up to a minute.
fn wait(failures: u32, random: f64) -> Duration {
    let doubled = SHORTEST_WAIT.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(LONGEST_WAIT).mul_f64(0.5 + random / 2.0)
}

/// What tells failures apart: numbers, such as times and ports, do not.
fn reason(error: &watcher::Error) -> String {
    let refusal = Chain::new(error).find_map(|cause| match cause.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => Some(&**status),
        _ => cause.downcast_ref::<Status>(),
    });
    let refusal = match error {
        watcher::Error::WatchError(status) => Some(&**status),
        _ => refusal,
    };
    match refusal {
        Some(status) => format!("{} {}", status.code, status.reason),
        None => with_causes(error).replace(|c: char| c.is_ascii_digit(), ""),
    }
}

#[cfg(test)]
mod tests;
