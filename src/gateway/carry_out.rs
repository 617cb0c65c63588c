//! A modification becomes a BulkUpdate of the caller's own making, and is followed until it is known what became of each
//! item; or it is taken back before anything has come of it.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api, Resource, ResourceExt,
    api::{PostParams, WatchEvent, WatchParams},
    core::ObjectMeta,
};
use serde::de::IgnoredAny;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info};

use crate::{
    api::{BulkUpdate, BulkUpdateItem, BulkUpdateSpec, BulkUpdateStatus, ItemResult, Kind, READY},
    bulk_update::Stored,
    client::{Failure, backoff, requests},
    gateway::{caller::Caller, modification, problem::Problem},
};

/// How long a BulkUpdate may take to be made.
const MAKE_LIMIT: Duration = Duration::from_secs(10);

/// How long the operator may take to plan it; then it is taken back.
const PLAN_LIMIT: Duration = Duration::from_secs(20);

/// How long after its creation the operator may plan it, should the gateway not live to take it back.
const STARTING_DEADLINE: i32 = 30;

/// How long it may be carried out: its `notAfter`.
const WRITE_LIMIT: Duration = Duration::from_secs(45);

/// How long it is followed: somewhat longer than it can be carried out, to see the last results; and shorter than the
/// minute that callers wait for an answer, as SAP's Python SDK does.
const FOLLOW_LIMIT: Duration = Duration::from_secs(50);

/// How long one last request may take at any of these limits.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// How long a BulkUpdate is kept after its end, to be looked at.
const TTL: i32 = 600;

/// The name under which the gateway writes: in `managedFields` and audit logs.
const FIELD_MANAGER: &str = "ai-api-gateway";

/// The annotation with the id of the request.
pub const REQUEST_ID: &str = "aiapi.dev/request-id";

/// Carries out the items of one kind, and gives back what became of each. Goes on to its end if the caller hangs up: what
/// nobody plans is taken back then, too.
///
/// # Errors
/// Whatever keeps the whole from being carried out or its outcome from being known; the sentence says which.
pub async fn carry_out(
    caller: &Caller,
    kind: Kind,
    items: Vec<BulkUpdateItem>,
) -> Result<BulkUpdateStatus, Problem> {
    let caller = caller.clone();
    crate::tasks::resume_panic(tokio::spawn(async move { make_and_follow(&caller, kind, items).await }).await)
}

async fn make_and_follow(
    caller: &Caller,
    kind: Kind,
    items: Vec<BulkUpdateItem>,
) -> Result<BulkUpdateStatus, Problem> {
    let follower = Follower::new(caller);
    let made = follower.make(follower.bulk_update(kind, items)).await?;
    info!(
        request_id = &*caller.invocation.id,
        bulk_update = follower.full_name(),
        uid = made.metadata.uid.as_deref().unwrap_or_default(),
        "made"
    );
    let status = follower.follow(made).await?;
    modification::rejected(&status).map_or(Ok(status), Err)
}

/// How far a BulkUpdate has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing was done, and nothing will be if it goes away now.
    Unplanned,
    /// There are items to be written to.
    Planned,
    /// It is known what becomes of each item; or it was turned down.
    Told,
}

fn progress(bulk: &BulkUpdate) -> Progress {
    let Some(status) = &bulk.status else { return Progress::Unplanned };
    let items = || Kind::ALL.into_iter().flat_map(|kind| status.items(kind));
    if status.completion_time.is_some() {
        Progress::Told
    } else if status.start_time.is_none() {
        Progress::Unplanned
    } else if items().any(|item| item.result == ItemResult::Planned) {
        Progress::Planned
    } else {
        Progress::Told
    }
}

struct Follower<'a> {
    caller: &'a Caller,
    name: String,
    began: Instant,
    not_after: Timestamp,
}

impl<'a> Follower<'a> {
    fn new(caller: &'a Caller) -> Self {
        // Whatever the time is exactly: nothing is begun later than that.
        let not_after = caller.clock.now().earliest.saturating_add(WRITE_LIMIT).unwrap_or(Timestamp::MAX);
        // The name is ours and not the API server's, so that a creation without an answer can be repeated: there will
        // be one at most.
        let name = format!("request-{}", caller.invocation.id);
        Self { caller, name, began: Instant::now(), not_after }
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.caller.namespace, self.name)
    }

    fn url(&self) -> String {
        BulkUpdate::url_path(&(), Some(&self.caller.namespace))
    }

    fn bulk_update(&self, kind: Kind, items: Vec<BulkUpdateItem>) -> BulkUpdate {
        let (executions, deployments) = match kind {
            Kind::Execution => (Some(items), None),
            Kind::Deployment => (None, Some(items)),
        };
        BulkUpdate {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.caller.namespace.clone()),
                annotations: Some([(REQUEST_ID.to_owned(), self.caller.invocation.id.to_string())].into()),
                labels: Some([("app.kubernetes.io/created-by".to_owned(), FIELD_MANAGER.to_owned())].into()),
                ..ObjectMeta::default()
            },
            spec: BulkUpdateSpec {
                executions,
                deployments,
                not_after: Some(Time(self.not_after)),
                starting_deadline_seconds: Some(STARTING_DEADLINE),
                ttl_seconds_after_finished: Some(TTL),
                ..BulkUpdateSpec::default()
            },
            status: None,
        }
    }

    /// Makes it, once, however often that has to be asked for.
    async fn make(&self, bulk: BulkUpdate) -> Result<BulkUpdate, Problem> {
        // Whether it may have been made, for all that is known.
        let mut open = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
            let made = requests::create::<Stored>(&self.caller.client, self.url(), &bulk, &params).await;
            let failure = match made {
                Ok(made) => return Ok(made.bulk),
                Err(failure) => failure,
            };
            open |= failure.outcome_unknown();
            if failure.is_conflict() {
                // The name is nobody else's: what has it is what was to be made, whoever has sent the request twice.
                match self.read().await {
                    Ok(made) => return Ok(made),
                    Err(unread) => open |= !unread.is_not_found(),
                }
            } else if !open {
                return Err(Problem::from(failure));
            }
            debug!(request_id = &*self.caller.invocation.id, %failure, "it could not be made; trying again");
            let wait = Instant::now() + failure.wait(attempt);
            if wait > self.began + MAKE_LIMIT {
                if open {
                    return Err(self.not_known(&format!("it may have been made ({failure})")));
                }
                return Err(Problem::nothing_done(format!("the BulkUpdate could not be made: {failure}")));
            }
            sleep_until(wait).await;
        }
    }

    async fn follow(&self, made: BulkUpdate) -> Result<BulkUpdateStatus, Problem> {
        let mut current = made;
        let mut watch = None;
        let mut failed = 0;
        loop {
            let reached = progress(&current);
            let limit = self.began
                + match reached {
                    Progress::Told => return Ok(current.status.unwrap_or_default()),
                    Progress::Unplanned => PLAN_LIMIT,
                    Progress::Planned => FOLLOW_LIMIT,
                };
            let now = Instant::now();
            if now >= limit {
                if reached == Progress::Unplanned && now < self.began + FOLLOW_LIMIT {
                    let taken_back = timeout(LAST_LOOK, self.take_back(&current)).await;
                    current = taken_back.unwrap_or_else(|_| {
                        Err(self.not_known(&format!(
                            "it could not be taken back (no answer within {LAST_LOOK:?})"
                        )))
                    })?;
                    watch = None;
                    continue;
                }
                // A watch may stand still without an end.
                return match timeout(LAST_LOOK, self.read()).await {
                    Ok(Ok(last)) if last.uid() == current.uid() && progress(&last) == Progress::Told => {
                        Ok(last.status.unwrap_or_default())
                    }
                    _ => Err(self.not_known("it is still being carried out")),
                };
            }
            match timeout(limit - now, self.next(&current, &mut watch)).await {
                // The limit; what that means stands above.
                Err(_) => {}
                Ok(Ok(News::Changed(next))) => {
                    current = next;
                    failed = 0;
                }
                Ok(Ok(News::Deleted(last))) => {
                    return Err(match last.as_ref().map(progress) {
                        Some(Progress::Told) => return Ok(last.and_then(|l| l.status).unwrap_or_default()),
                        Some(Progress::Unplanned) => Problem::nothing_done(format!(
                            "somebody has deleted BulkUpdate {} before it was planned: nothing was done",
                            self.full_name()
                        )),
                        _ => self.not_known("somebody has deleted it"),
                    });
                }
                Ok(Err(why)) => {
                    debug!(request_id = &*self.caller.invocation.id, why, "can't be followed; trying again");
                    watch = None;
                    failed += 1;
                    sleep_until((Instant::now() + backoff(failed)).min(limit)).await;
                }
            }
        }
    }

    /// Waits for what comes after `current`; by a watch, or where that can't be had or has ended, by reading.
    async fn next(&self, current: &BulkUpdate, watch: &mut Option<Watch>) -> Result<News, String> {
        if watch.is_none() {
            *watch = self.watch(current).await;
        }
        let Some(events) = watch else { return self.read_news(current).await };
        loop {
            match events.try_next().await {
                Ok(Some(WatchEvent::Added(next) | WatchEvent::Modified(next))) => {
                    return Ok(News::of(current, next.bulk));
                }
                Ok(Some(WatchEvent::Deleted(last))) if last.uid() == current.uid() => {
                    return Ok(News::Deleted(Some(last.bulk)));
                }
                Ok(Some(WatchEvent::Bookmark(_) | WatchEvent::Deleted(_))) => {}
                Ok(Some(WatchEvent::Error(_)) | None) | Err(_) => break,
            }
        }
        *watch = None;
        self.read_news(current).await
    }

    async fn watch(&self, current: &BulkUpdate) -> Option<Watch> {
        let api: Api<Stored> = Api::namespaced(self.caller.client.clone(), &self.caller.namespace);
        let only = WatchParams::default().fields(&format!("metadata.name={}", self.name)).timeout(120);
        let version = current.resource_version().unwrap_or_default();
        let begun = timeout(MAKE_LIMIT, api.watch(&only, &version)).await.ok()?;
        Some(begun.ok()?.boxed())
    }

    async fn read_news(&self, current: &BulkUpdate) -> Result<News, String> {
        match self.read().await {
            Ok(read) if read.resource_version() == current.resource_version() => {
                Err("no news, and no watch".into())
            }
            Ok(read) => Ok(News::of(current, read)),
            Err(failure) if failure.is_not_found() => Ok(News::Deleted(None)),
            Err(failure) => Err(failure.to_string()),
        }
    }

    async fn read(&self) -> Result<BulkUpdate, Failure> {
        let read = requests::get::<Stored>(&self.caller.client, self.url(), &self.name).await;
        read.map(|read| read.bulk)
    }

    /// Deletes it, if it is still as it was seen: unplanned. Gives it back where it was not.
    async fn take_back(&self, seen: &BulkUpdate) -> Result<BulkUpdate, Problem> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (uid, version) = (text(&seen.metadata.uid), text(&seen.metadata.resource_version));
        let (client, url) = (&self.caller.client, self.url());
        let deleted = requests::delete::<IgnoredAny>(client, url, &self.name, &uid, &version).await;
        let Err(failure) = deleted else {
            let waits = seen.status.as_ref().and_then(|status| status.condition(READY));
            let why =
                waits.map_or("is it running?".to_owned(), |ready| format!("it says: {}", ready.message));
            return Err(Problem::nothing_done(format!(
                "the operator has not taken the request up within {PLAN_LIMIT:?} ({why}): nothing was done, and \
                 nothing will be"
            )));
        };
        if failure.is_conflict()
            && let Ok(read) = self.read().await
            && read.uid() == seen.uid()
        {
            return Ok(read);
        }
        Err(self.not_known(&format!("it could not be taken back ({failure})")))
    }

    fn not_known(&self, why: &str) -> Problem {
        Problem::not_known(format!(
            "the outcome of BulkUpdate {} is not known: {why}. Its status tells; after {} nothing more is begun",
            self.full_name(),
            self.not_after.strftime("%FT%TZ"),
        ))
    }
}

type Watch = BoxStream<'static, kube::Result<WatchEvent<Stored>>>;

enum News {
    Changed(BulkUpdate),
    /// It is gone; and what it was last, where that was seen.
    Deleted(Option<BulkUpdate>),
}

impl News {
    /// Another uid under the name means that ours is gone.
    fn of(current: &BulkUpdate, next: BulkUpdate) -> Self {
        if next.uid() == current.uid() { Self::Changed(next) } else { Self::Deleted(None) }
    }
}

#[cfg(test)]
mod tests;
