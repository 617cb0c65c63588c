//! Creates a BulkUpdate with the caller's token and follows its status until the outcome of each item is known, or withdraws it
//! if the operator does not plan it in time.

mod exchange;
mod progress;

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt;
use http::StatusCode;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    ResourceExt,
    api::{PostParams, WatchEvent},
    core::ObjectMeta,
};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{debug, info};

use self::{
    exchange::{Watch, Withdrawn},
    progress::{Progress, asks_the_same, progress},
};
use crate::{
    api::{BulkUpdate, BulkUpdateSpec, BulkUpdateStatus, ItemResult, Kind, READY, Reason, time::later},
    bulk_update::Stored,
    client::{Failure, backoff, requests},
    gateway::{
        caller::Caller,
        load::{Promise, WRITE_LIMIT},
        modification::{self, Asked, Stage},
        preferences::Preferences,
        problem::Problem,
    },
    observed::target::version_number,
    tasks::resume_panic,
};

/// How long a BulkUpdate may take to be created.
const CREATE_LIMIT: Duration = Duration::from_secs(10);
/// How long the operator may take to plan it; then it is withdrawn.
const PLAN_LIMIT: Duration = Duration::from_secs(20);
/// How long after its creation the operator may plan it, should the gateway not live to withdraw it.
const STARTING_DEADLINE: i32 = 30;
/// How long one that is answered once it is planned may be carried out: its `notAfter`.
const ASYNC_WRITE_LIMIT: Duration = Duration::from_mins(10);
/// How long it is followed: somewhat longer than it can be carried out, to see the last results; and shorter than the
/// minute that callers wait for an answer, as SAP's Python SDK does.
const FOLLOW_LIMIT: Duration = Duration::from_secs(50);
/// How long one last request may take at any of these limits.
const LAST_REQUEST: Duration = Duration::from_secs(5);
/// How long a BulkUpdate is kept after it has finished, to be looked at.
const TTL: i32 = 600;
/// The name under which the gateway writes: in `managedFields` and audit logs.
const FIELD_MANAGER: &str = "ai-api-gateway";
/// The annotation with the id of the request.
const REQUEST_ID: &str = "aiapi.dev/request-id";

/// Has the items of one kind carried out, and returns the status of their BulkUpdate. It continues if the caller hangs up: a
/// BulkUpdate that is not planned is then withdrawn, too.
pub async fn submit(caller: &Caller, kind: Kind, asked: Asked) -> Outcome {
    carry_out(Submission::new(caller.clone(), asked.how), kind, asked).await
}

/// The same for one item, of which it also returns the outcome. If that is not known, the message names the BulkUpdate.
pub async fn submit_one(
    caller: &Caller,
    kind: Kind,
    asked: Asked,
) -> Result<(Stage, BulkUpdateStatus), Problem> {
    let submission = Submission::new(caller.clone(), asked.how);
    let (id, how, bulk_update) = (asked.items[0].id.clone(), asked.how, submission.full_name());
    let status = carry_out(submission, kind, asked).await?;
    let stage = modification::stage(kind, &id, &status, how);
    let stage =
        stage.map_err(|problem| answered(problem.if_unknown_of(&bulk_update), caller, how, &status))?;
    Ok((stage, status))
}

/// What a status says is what the key of the request gets from now on.
fn answered(problem: Problem, caller: &Caller, how: Preferences, status: &BulkUpdateStatus) -> Problem {
    Problem { key_until: how.key.map(|_| kept_until(caller, status)), ..problem }
}

/// Until when a BulkUpdate with this status is kept, at least.
pub fn kept_until(caller: &Caller, status: &BulkUpdateStatus) -> Timestamp {
    let finished = status.completion_time.as_ref().map_or_else(|| caller.clock.now().earliest, |time| time.0);
    later(finished, TTL.into())
}

async fn carry_out(mut submission: Submission, kind: Kind, asked: Asked) -> Outcome {
    // Before anything can give up waiting for the task.
    let bulk_update = submission.caller.invocation.bulk_update.get_or_init(|| submission.full_name()).clone();
    let task = tokio::spawn(async move {
        let how = asked.how;
        let created = submission.create(submission.bulk_update(kind, asked)).await?;
        // That of the first request with this key.
        submission.not_after = created.spec.not_after.as_ref().map_or(submission.not_after, |time| time.0);
        if let Some(promise) = &submission.caller.promise {
            promise.created(version_number(&created.metadata));
        }
        let request_id = submission.request_id();
        info!(request_id, bulk_update, uid = created.uid().unwrap_or_default(), "created a BulkUpdate");
        let status = submission.follow(created).await?;
        match modification::rejected(&status) {
            Some(problem) => Err(answered(problem, &submission.caller, how, &status)),
            None => Ok(status),
        }
    });
    resume_panic(task.await)
}

/// What has happened to a BulkUpdate.
enum News {
    Changed(BulkUpdate),
    /// It is gone; with what it was last, where that was seen.
    Deleted(Option<BulkUpdate>),
    /// It could not be watched, and is unchanged or could not be read.
    None,
}

/// Why the outcome of a BulkUpdate is not known.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    /// Whether it was created.
    #[error("it may have been created ({0})")]
    Created(Failure),
    /// Whether it was withdrawn.
    #[error("it could not be withdrawn ({0})")]
    Withdrawn(Failure),
    #[error("it is still being carried out")]
    Unfinished,
    #[error("somebody deleted it")]
    Deleted,
}

type Outcome = Result<BulkUpdateStatus, Problem>;

/// The BulkUpdate of one request.
struct Submission {
    caller: Caller,
    name: String,
    began: Instant,
    not_after: Timestamp,
    respond_async: bool,
}

impl Submission {
    fn new(caller: Caller, how: Preferences) -> Self {
        let (name, respond_async) = (how.bulk_update_name(&caller.invocation), how.respond_async);
        let limit = if respond_async { ASYNC_WRITE_LIMIT } else { WRITE_LIMIT };
        // By the earliest that it may be, so that nothing is started later than that.
        let not_after = caller.clock.now().earliest.saturating_add(limit).unwrap_or(Timestamp::MAX);
        Self { caller, name, began: Instant::now(), not_after, respond_async }
    }

    fn request_id(&self) -> &str {
        &self.caller.invocation.id
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.caller.namespace, self.name)
    }

    fn bulk_update(&self, kind: Kind, Asked { items, dry_run, .. }: Asked) -> BulkUpdate {
        let (executions, deployments) = match kind {
            Kind::Execution => (Some(items), None),
            Kind::Deployment => (None, Some(items)),
        };
        BulkUpdate {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.caller.namespace.clone()),
                annotations: Some([(REQUEST_ID.to_owned(), self.request_id().to_owned())].into()),
                labels: Some([("app.kubernetes.io/created-by".to_owned(), FIELD_MANAGER.to_owned())].into()),
                ..ObjectMeta::default()
            },
            spec: BulkUpdateSpec {
                executions,
                deployments,
                dry_run: dry_run.then_some(true),
                not_after: Some(Time(self.not_after)),
                starting_deadline_seconds: Some(STARTING_DEADLINE),
                ttl_seconds_after_finished: Some(TTL),
                ..BulkUpdateSpec::default()
            },
            status: None,
        }
    }

    /// Creates it, exactly once, with retries.
    async fn create(&self, bulk: BulkUpdate) -> Result<BulkUpdate, Problem> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let client = &self.caller.client;
        // Whether it may have been created without an answer.
        let mut open = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let url = self.caller.bulk_updates_url();
            let failure = match requests::create::<Stored>(client, url, &bulk, &params).await {
                Ok(created) => return Ok(created.bulk),
                Err(failure) => failure,
            };
            open |= failure.outcome_unknown() && !failure.never_admitted();
            if failure.is_conflict() {
                // The request was sent twice on its way, or is an earlier one with the same key; or the conflict is about something
                // else.
                match exchange::read(&self.caller, &self.name).await {
                    Ok(created) if asks_the_same(&created.spec, &bulk.spec) => return Ok(created),
                    Ok(_) => return Err(self.key_was_used()),
                    Err(unread) => open |= !unread.is_not_found(),
                }
            } else if !open {
                return Err(Problem::from(failure).nothing_was_done());
            }
            debug!(request_id = self.request_id(), %failure, "cannot create the BulkUpdate; retrying");
            let next = Instant::now() + failure.wait(attempt);
            if next > self.began + CREATE_LIMIT {
                if open {
                    return Err(self.unknown(&Unknown::Created(failure)));
                }
                let message = format!("cannot create the BulkUpdate: {failure}; nothing was done");
                return Err(Problem::unavailable(message));
            }
            sleep_until(next).await;
        }
    }

    async fn follow(&self, mut current: BulkUpdate) -> Outcome {
        let mut watch = None;
        let mut failed = 0;
        loop {
            let reached = progress(&current);
            self.report(&current);
            let limit = match reached {
                Progress::Known => return Ok(current.status.unwrap_or_default()),
                Progress::Planned if self.respond_async => {
                    self.caller.promise.iter().cloned().for_each(Promise::hand_over);
                    return Ok(current.status.unwrap_or_default());
                }
                Progress::Unplanned => self.began + PLAN_LIMIT,
                Progress::Planned => self.began + FOLLOW_LIMIT,
            };
            let now = Instant::now();
            if now >= limit {
                if reached == Progress::Planned || now >= self.began + FOLLOW_LIMIT {
                    return self.last_look(&current).await;
                }
                let timed_out =
                    || Unknown::Withdrawn(Failure::NoAnswer(format!("none within {LAST_REQUEST:?}")));
                let until = now + LAST_REQUEST;
                let withdrawn = timeout_at(until, self.withdraw(&current, until)).await;
                current = withdrawn.unwrap_or_else(|_| Err(self.unknown(&timed_out())))?;
                watch = None;
                continue;
            }
            match timeout_at(limit, self.next(&current, &mut watch)).await {
                // The limit is dealt with above.
                Err(_) => {}
                Ok(News::Changed(next)) => {
                    current = next;
                    failed = 0;
                }
                Ok(News::Deleted(last)) => return self.deleted(last, current),
                Ok(News::None) => {
                    failed += 1;
                    sleep_until((Instant::now() + backoff(failed)).min(limit)).await;
                }
            }
        }
    }

    /// Says how much is left to be carried out of what was promised.
    fn report(&self, current: &BulkUpdate) {
        let left = current.status.as_ref().and_then(BulkUpdateStatus::planned);
        if let (Some(promise), Some(left)) = (&self.caller.promise, left) {
            promise.left(left);
        }
    }

    /// Reads it once more, because a watch may hang.
    async fn last_look(&self, current: &BulkUpdate) -> Outcome {
        match timeout(LAST_REQUEST, exchange::read(&self.caller, &self.name)).await {
            Ok(Ok(last)) if last.uid() == current.uid() => self.left(last, &Unknown::Unfinished),
            _ => self.left(current.clone(), &Unknown::Unfinished),
        }
    }

    /// What a deletion by somebody means, with what it was last if that was seen, and what it was before.
    fn deleted(&self, last: Option<BulkUpdate>, before: BulkUpdate) -> Outcome {
        match last {
            Some(last) if progress(&last) == Progress::Unplanned => {
                let name = self.full_name();
                let why = "before it was planned: nothing was done";
                Err(Problem::unavailable(format!("somebody deleted BulkUpdate {name} {why}")))
            }
            last => self.left(last.unwrap_or(before), &Unknown::Deleted),
        }
    }

    /// What is known of one that is followed no longer: the outcome of each item that has one. Without a plan, of none.
    fn left(&self, last: BulkUpdate, why: &Unknown) -> Outcome {
        if progress(&last) == Progress::Unplanned {
            return Err(self.unknown(why));
        }
        let mut status = last.status.unwrap_or_default();
        let message: Arc<str> = self.unknown(why).message.into();
        for item in [&mut status.executions, &mut status.deployments].into_iter().flatten().flatten() {
            if item.result == ItemResult::Planned {
                item.result = ItemResult::Failed;
                (item.reason, item.message) = (Some(Reason::OutcomeUnknown), Some(Arc::clone(&message)));
            }
        }
        Ok(status)
    }

    /// Waits for what comes after `current`: by a watch, or by reading where there is none or it has ended.
    async fn next(&self, current: &BulkUpdate, watch: &mut Option<Watch>) -> News {
        // Another uid under the name means that ours is gone.
        let is_same = |next: &BulkUpdate| next.uid() == current.uid();
        let news = |next| if is_same(&next) { News::Changed(next) } else { News::Deleted(None) };
        if watch.is_none() {
            *watch = exchange::watch(&self.caller, current, CREATE_LIMIT).await;
        }
        while let Some(events) = watch {
            match events.try_next().await {
                Ok(Some(WatchEvent::Added(next) | WatchEvent::Modified(next))) => return news(next.bulk),
                Ok(Some(WatchEvent::Deleted(last))) if is_same(&last.bulk) => {
                    return News::Deleted(Some(last.bulk));
                }
                Ok(Some(WatchEvent::Bookmark(_) | WatchEvent::Deleted(_))) => {}
                Ok(Some(WatchEvent::Error(_)) | None) | Err(_) => *watch = None,
            }
        }
        match exchange::read(&self.caller, &self.name).await {
            Ok(read) if read.resource_version() == current.resource_version() => News::None,
            Ok(read) => news(read),
            Err(failure) if failure.is_not_found() => News::Deleted(None),
            Err(failure) => {
                debug!(request_id = self.request_id(), %failure, "cannot read the BulkUpdate; retrying");
                News::None
            }
        }
    }

    /// Deletes it, if it is still as it was seen: unplanned. Returns it if it has changed.
    async fn withdraw(&self, seen: &BulkUpdate, until: Instant) -> Result<BulkUpdate, Problem> {
        match exchange::withdraw(&self.caller, seen, until).await {
            Withdrawn::Deleted => Err(not_started(seen)),
            Withdrawn::Changed(read) => Ok(*read),
            Withdrawn::NotKnown(failure) => Err(self.unknown(&Unknown::Withdrawn(failure))),
        }
    }

    fn key_was_used(&self) -> Problem {
        let name = self.full_name();
        let message = format!(
            "the Idempotency-Key was used for another request, of which BulkUpdate {name} is left: nothing was done"
        );
        Problem::new(StatusCode::CONFLICT, message)
    }

    fn unknown(&self, why: &Unknown) -> Problem {
        let (name, not_after) = (self.full_name(), self.not_after.strftime("%FT%TZ"));
        let message = format!(
            "the outcome of BulkUpdate {name} is not known: {why}. Look at its status; nothing is started after {not_after}"
        );
        Problem::outcome_unknown(message)
    }
}

/// It was withdrawn, as it was last seen.
fn not_started(seen: &BulkUpdate) -> Problem {
    let ready = seen.status.as_ref().and_then(|status| status.condition(READY));
    let why = ready.map_or("is it running?".into(), |ready| format!("it says: {}", ready.message));
    Problem::unavailable(format!(
        "the operator did not start the request within {PLAN_LIMIT:?} ({why}): nothing was done, and nothing will be"
    ))
}

#[cfg(test)]
mod tests;
