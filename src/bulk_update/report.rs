//! Fifth step: events for people and tools, lines for the log, after what they speak of is on record.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1 as events},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Resource, api::PostParams, runtime::events::EventType};
use serde::de::IgnoredAny;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::{
    api::{ACCEPTED, BulkUpdateStatus, FIELD_MANAGER, READY, api_version, can_be_a_name},
    bulk_update::{context::Context, request::Request, work::Work},
    client::{Failure, requests},
    decode::text::cut,
    telemetry::metrics::StatusWritten,
};

/// The longest note of an event (the API's own limit is 1024 bytes).
const LONGEST_NOTE: usize = 1000;

/// How long an event may take, the time in which it waits for others included: it is told at best effort.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many events are sent at once: each has a connection, and a thousand BulkUpdates may end together.
const AT_ONCE: usize = 4;

/// How long one event stands for all of its object and reason, in seconds: whoever edits an object over and over fills no
/// namespace with events. Its name says which they are, so that none has to be remembered.
const STANDS_FOR: i64 = 300;

/// The longest name of an object that leaves room behind it: a dot and 16 digits, of 253 characters.
const LONGEST_NAME: usize = 236;

/// The events that are being sent; none is kept afterwards.
#[derive(Debug)]
pub struct Events(Semaphore);

impl Default for Events {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

/// Tells what a status write has changed; `before` is what stood there before it.
pub fn report(ctx: &Arc<Context>, work: &Work, before: &BulkUpdateStatus) {
    let (request, after) = (work.request(), work.on_api_server());
    ctx.metrics.recorded(&StatusWritten {
        uid: &request.uid,
        created: request.created,
        last_write: work.last_write(),
        before,
        after,
        expired: expired(request, after),
        now: ctx.clock.now().earliest,
    });
    let requester = ctx.requester(request);
    let by = requester.map(|name| format!("; requested by {name}")).unwrap_or_default();
    let message = |type_| after.condition(type_).map(|c| c.message.clone()).unwrap_or_default();
    let accepted = after.condition(ACCEPTED).map(|c| c.status.as_str());
    let ended = before.completion_time.is_none() && after.completion_time.is_some();

    if ended && accepted == Some("False") {
        let reason = after.condition(ACCEPTED).map(|c| c.reason.clone()).unwrap_or_default();
        info!(bulk_update = %request.full_name(), uid = %request.uid, requester, reason,
            message = message(ACCEPTED), "rejected");
        tell(ctx, request, EventType::Warning, "Rejected", &format!("{}{by}", message(ACCEPTED)));
        return;
    }
    if before.start_time.is_none() && after.start_time.is_some() {
        let summary = after.summary.unwrap_or_default();
        let plural = if summary.total == 1 { "" } else { "s" };
        let note = format!(
            "{} item{plural}: {} planned, {} eligible, {} refused{by}",
            summary.total, summary.planned, summary.eligible, summary.refused
        );
        info!(bulk_update = %request.full_name(), uid = %request.uid, requester, dry_run = request.dry_run,
            total = summary.total, planned = summary.planned, refused = summary.refused, "accepted");
        tell(ctx, request, EventType::Normal, "Accepted", &note);
    }
    if ended {
        let summary = after.summary.unwrap_or_default();
        let ready = after.condition(READY).is_some_and(|c| c.status == "True");
        info!(bulk_update = %request.full_name(), uid = %request.uid, ready,
            settled = summary.settled, refused = summary.refused, failed = summary.failed, "finished");
        let type_ = if ready { EventType::Normal } else { EventType::Warning };
        tell(ctx, request, type_, "Finished", &message(READY));
    }
}

/// Whether one that was never planned has ended because of `startingDeadlineSeconds`. A `notAfter` that has passed is as it was meant
/// to be. (It may have passed up to a second before the status says so.)
fn expired(request: &Request, status: &BulkUpdateStatus) -> bool {
    let end = status.completion_time.as_ref().map(|end| end.0);
    end.is_some_and(|end| {
        end >= request.starting_deadline && request.not_after.is_none_or(|not_after| end <= not_after)
    })
}

/// Tells that an object is so large that there is no room for a status.
pub fn too_large(ctx: &Arc<Context>, request: &Request, failure: &Failure) {
    let note = format!(
        "there is no room for its status, so that nothing more is done for it: {failure}; take away labels, annotations, \
        finalizers, ownerReferences or managedFields, or make a smaller BulkUpdate"
    );
    tell(ctx, request, EventType::Warning, "FailedUpdateStatus", &note);
}

fn tell(ctx: &Arc<Context>, request: &Request, type_: EventType, reason: &str, note: &str) {
    let (namespace, name) = (Some(request.namespace.clone()), Some(request.name.clone()));
    publish(ctx, namespace, name, Some(request.uid.to_string()), type_, reason, note);
}

/// Sends an event about a BulkUpdate, in the background: no work waits for it.
pub fn publish(
    ctx: &Arc<Context>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    type_: EventType,
    reason: &str,
    note: &str,
) {
    let regarding = ObjectReference {
        api_version: Some(api_version()),
        kind: Some("BulkUpdate".into()),
        namespace,
        name,
        uid,
        ..ObjectReference::default()
    };
    let event = event(regarding, type_, reason, note, ctx.clock.now().earliest);
    let ctx = Arc::clone(ctx);
    ctx.tracker.clone().spawn(async move {
        let send = async {
            // It is never closed.
            let _place = ctx.events.0.acquire().await;
            let url = events::Event::url_path(&(), event.metadata.namespace.as_deref());
            requests::create::<IgnoredAny>(&ctx.client, url, &event, &PostParams::default()).await
        };
        match tokio::time::timeout(EVENT_TIMEOUT, send).await {
            Ok(Ok(_)) => {}
            // One of the same name stands for it.
            Ok(Err(failure)) if failure.is_conflict() => {}
            Ok(Err(failure)) => warn!(%failure, reason = event.reason, "an event could not be written"),
            Err(_) => warn!(reason = event.reason, "an event could not be written in time"),
        }
    });
}

/// The name of an event: the object's, as far as there is room and if it has one, and what tells it from others.
fn name(regarding: &ObjectReference, reason: &str, now: Timestamp) -> String {
    let mut others = DefaultHasher::new();
    (&regarding.uid, &regarding.name, reason, now.as_second().div_euclid(STANDS_FOR)).hash(&mut others);
    let named = regarding.name.as_deref().filter(|name| can_be_a_name(name)).unwrap_or(FIELD_MANAGER);
    let named = named.get(..LONGEST_NAME).unwrap_or(named).trim_end_matches(['.', '-']);
    format!("{named}.{:016x}", others.finish())
}

/// The event about an object.
fn event(
    regarding: ObjectReference,
    type_: EventType,
    reason: &str,
    note: &str,
    now: Timestamp,
) -> events::Event {
    let type_ = match type_ {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    };
    events::Event {
        metadata: ObjectMeta {
            namespace: regarding.namespace.clone(),
            name: Some(name(&regarding, reason, now)),
            ..ObjectMeta::default()
        },
        action: Some(reason.into()),
        event_time: Some(MicroTime(now)),
        note: Some(cut(note, LONGEST_NOTE)),
        reason: Some(reason.into()),
        regarding: Some(regarding),
        reporting_controller: Some(FIELD_MANAGER.into()),
        reporting_instance: Some(FIELD_MANAGER.into()),
        type_: Some(type_.into()),
        ..events::Event::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::{
        api::{Kind, TargetStatus},
        bulk_update::fixtures::{at, bulk, spec},
    };

    fn about(name: Option<&str>) -> ObjectReference {
        ObjectReference {
            namespace: Some("team-a".into()),
            name: name.map(Into::into),
            uid: Some("u".into()),
            ..ObjectReference::default()
        }
    }

    #[test]
    fn an_event_speaks_of_its_object_and_has_a_name_that_the_api_server_takes() {
        let now = Timestamp::UNIX_EPOCH;
        let long = "x".repeat(253);
        let with_a_dot_where_it_is_cut = format!("{}.{}", "x".repeat(235), "y".repeat(17));
        for (name, prefix) in [
            (Some("a.b-c"), "a.b-c"),
            (Some(&*long), &long[..236]),
            (Some(&*with_a_dot_where_it_is_cut), &long[..235]),
            (Some("no name"), FIELD_MANAGER),
            (None, FIELD_MANAGER),
        ] {
            let event = event(about(name), EventType::Warning, "Unreadable", &"y".repeat(2000), now);
            assert_eq!(event.metadata.namespace.as_deref(), Some("team-a"));
            let named = event.metadata.name.unwrap();
            assert!(can_be_a_name(&named) && named.len() == prefix.len() + 17, "{named}");
            assert!(named.starts_with(&format!("{prefix}.")), "{named}");
            assert_eq!(event.regarding, Some(about(name)));
            assert_eq!((event.type_.as_deref(), event.event_time), (Some("Warning"), Some(MicroTime(now))));
            assert!(event.note.is_some_and(|note| note.len() <= LONGEST_NOTE));
        }
    }

    #[test]
    fn one_event_stands_for_all_of_an_object_and_a_reason_in_five_minutes() {
        let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let first = name(&about(Some("a")), "Unreadable", at(0));
        assert_eq!(name(&about(Some("a")), "Unreadable", at(299)), first);
        let another = ObjectReference { uid: Some("v".into()), ..about(Some("a")) };
        for other in [
            name(&about(Some("a")), "Unreadable", at(300)),
            name(&about(Some("a")), "Accepted", at(0)),
            name(&about(Some("b")), "Unreadable", at(0)),
            name(&another, "Unreadable", at(0)),
        ] {
            assert_ne!(other, first);
        }
    }

    #[test]
    fn what_has_expired_is_what_its_starting_deadline_has_ended() {
        let expired = |not_after: Option<i64>, end| {
            let mut spec = spec(Kind::Execution, TargetStatus::Stopped);
            spec["notAfter"] = not_after.map(|seconds| at(seconds).to_string()).into();
            let status =
                BulkUpdateStatus { completion_time: Some(Time(at(end))), ..BulkUpdateStatus::default() };
            expired(&Request::from(&bulk(&spec)), &status)
        };
        // The hour, and the last second of it.
        assert!(expired(None, 3601) && expired(Some(9999), 3601) && !expired(None, 3600));
        // Its notAfter has ended it, which is certain before a whole second shows it.
        for end in [9, 10, 11] {
            assert!(!expired(Some(10), end), "{end}");
        }
        // The operator was away for both.
        assert!(!expired(Some(10), 5000));
    }
}
