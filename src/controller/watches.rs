//! Informers: each lists and watches one resource until the process ends, and retries failures with a back-off of its own.

use std::{sync::Arc, time::Duration};

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

/// The back-off after the first failure, at most; doubled with each further failure.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How often to check whether a watch that has failed works again: bookmarks may be all that shows it, and kube does not pass them on.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What an informer reports.
#[derive(Clone, Debug)]
pub enum News<K> {
    /// An event of its list or watch.
    Event(Event<K>),
    /// It fails: the cache may be stale.
    Fails,
    /// It works again, after it has failed.
    Works,
}

/// Lists and watches `api` without end; `resource` names it in logs and metrics. From now on it has to make progress, or the
/// process is not live.
pub fn watch<K>(
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
    let selectors = [&config.field_selector, &config.label_selector].map(Option::as_deref);
    let path = Health::stream(api.resource_url(), selectors);
    health.expect(&path);
    let events = watcher(api.clone(), config.clone()).boxed();
    let failures = Failures {
        resource,
        metrics: metrics.clone(),
        count: 0,
        logged: String::new(),
        last_retry: Instant::now(),
    };
    let health = Arc::clone(health);
    let informer = Informer { api, config, path, events, health, failures, wait: None, held: None };
    stream::unfold(informer, async |mut informer| {
        let news = informer.next().await?;
        Some((news, informer))
    })
}

struct Informer<K> {
    api: Api<K>,
    config: watcher::Config,
    path: String,
    events: BoxStream<'static, Result<Event<K>, watcher::Error>>,
    health: Arc<Health>,
    failures: Failures,
    /// How long to wait before it is retried.
    wait: Option<Duration>,
    /// The event that has shown that it works again, which is reported next.
    held: Option<Event<K>>,
}

impl<K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static> Informer<K> {
    async fn next(&mut self) -> Option<News<K>> {
        if let Some(wait) = self.wait.take() {
            sleep(wait).await;
            self.failures.last_retry = Instant::now();
        }
        if let Some(event) = self.held.take() {
            return Some(News::Event(event));
        }
        loop {
            let next = tokio::select! {
                biased;
                next = self.events.next() => next?,
                () = sleep(CHECK_INTERVAL), if self.failures.ongoing() => {
                    if self.health.watched_since(&self.path, self.failures.last_retry) {
                        self.failures.recovered();
                        return Some(News::Works);
                    }
                    continue;
                }
            };
            return Some(match next {
                // A list is no progress before a watch continues from it: to start one, or to get all pages but the last, may
                // succeed each time.
                Ok(event @ (Event::Apply(_) | Event::Delete(_))) if self.failures.ongoing() => {
                    self.failures.recovered();
                    self.held = Some(event);
                    News::Works
                }
                Ok(event) => News::Event(event),
                Err(error) => {
                    self.wait = Some(self.failures.failed(&error).max(self.health.retry_after(&self.path)));
                    if wants_new_list(&error) {
                        self.events = watcher(self.api.clone(), self.config.clone()).boxed();
                    }
                    News::Fails
                }
            });
        }
    }
}

/// Whether the watch would be refused again and again if it were restarted at the same resourceVersion. kube starts with a new
/// list only if an event of the watch says so, and not if the API server, or a proxy, refuses the watch itself.
fn wants_new_list(error: &watcher::Error) -> bool {
    let watcher::Error::WatchStartFailed(kube::Error::Api(status)) = error else { return false };
    (400..500).contains(&status.code) && !matches!(status.code, 401 | 403 | 408 | 429)
}

/// The failures of one informer since it has worked last.
struct Failures {
    resource: &'static str,
    metrics: Metrics,
    count: u32,
    /// The reason that was logged last.
    logged: String,
    last_retry: Instant,
}

impl Failures {
    fn ongoing(&self) -> bool {
        self.count > 0
    }

    /// Counts a failure, and logs it if the reason is not that of the last one. Returns how long to wait before the retry.
    fn failed(&mut self, error: &watcher::Error) -> Duration {
        self.metrics.watch_failed(self.resource);
        self.count += 1;
        let reason = reason(error);
        if reason != self.logged {
            let error = with_causes(error);
            warn!(
                resource = self.resource,
                error,
                "a watch failed; retrying, at least once a minute, and this is logged again when the reason changes"
            );
            self.logged = reason;
        }
        wait(self.count, fastrand::f64())
    }

    fn recovered(&mut self) {
        info!(resource = self.resource, failures = self.count, "the watch works again");
        self.count = 0;
        self.logged.clear();
    }
}

/// The back-off after so many failures in a row: it doubles from a second up to a minute, and between half of that and all
/// of it is waited, at random, so that not all informers retry at the same moment.
fn wait(failures: u32, random: f64) -> Duration {
    let doubled = SHORTEST_WAIT.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(LONGEST_WAIT).mul_f64(0.5 + random / 2.0)
}

/// The reason of a failure without numbers, such as times and ports, so that equal failures have equal reasons.
fn reason(error: &watcher::Error) -> String {
    let refusal = match error {
        watcher::Error::WatchError(status) => Some(&**status),
        _ => Chain::new(error).find_map(|cause| match cause.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => Some(&**status),
            _ => cause.downcast_ref::<Status>(),
        }),
    };
    match refusal {
        Some(status) => format!("{} {}", status.code, status.reason),
        None => with_causes(error).replace(|c: char| c.is_ascii_digit(), ""),
    }
}

#[cfg(test)]
mod tests;
