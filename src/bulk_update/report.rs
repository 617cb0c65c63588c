//! Fifth step: events for people and tools, lines for the log, after what they speak of is on record.

use std::time::Duration;

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1 as events},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::PostParams,
    runtime::events::{Event, EventType},
};
use tracing::{info, warn};

use super::{
    Context,
    request::Request,
    status::{ACCEPTED, READY},
    work::Work,
};
use crate::{
    FIELD_MANAGER,
    api::{BulkUpdateStatus, api_version},
    client::cut,
};

/// The longest note of an event (the API's own limit is 1024 bytes).
const LONGEST_NOTE: usize = 1000;

/// The longest name of an object that leaves room for the time behind it: a dot and 16 digits, of 253 characters.
const LONGEST_NAME: usize = 236;

/// How long an event may take: it is told at best effort.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Tells what a status write has changed; `before` is what stood there before it.
pub fn report(ctx: &Context, work: &Work, before: &BulkUpdateStatus) {
    ctx.metrics.recorded(work, before, ctx.clock.now().earliest);
    let (request, after) = (&work.request, &work.recorded);
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

fn tell(ctx: &Context, request: &Request, type_: EventType, reason: &str, note: &str) {
    let (namespace, name) = (Some(request.namespace.clone()), Some(request.name.clone()));
    publish(ctx, namespace, name, Some(request.uid.to_string()), type_, reason, note);
}

/// Sends an event about a BulkUpdate, in the background: no work waits for it.
pub fn publish(
    ctx: &Context,
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
    let event = Event {
        type_,
        reason: reason.into(),
        note: Some(cut(note, LONGEST_NOTE)),
        action: reason.into(),
        secondary: None,
    };
    let (recorder, client, now) = (ctx.recorder.clone(), ctx.client.clone(), ctx.clock.now().earliest);
    ctx.tracker.spawn(async move {
        let publish = async {
            match with_its_own_name(&event, &regarding, now) {
                None => recorder.publish(&event, &regarding).await,
                Some(event) => {
                    let namespace = event.metadata.namespace.clone().unwrap_or_default();
                    let events = Api::namespaced(client, &namespace);
                    events.create(&PostParams::default(), &event).await.map(|_| ())
                }
            }
        };
        let sent = tokio::time::timeout(EVENT_TIMEOUT, publish).await;
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, reason = event.reason, "an event could not be written"),
            Err(_) => warn!(reason = event.reason, "an event could not be written in time"),
        }
    });
}

/// The event about an object whose name is missing, or so long that the recorder, which names an event by its object and the
/// time, would make one that the API server refuses.
fn with_its_own_name(event: &Event, regarding: &ObjectReference, now: Timestamp) -> Option<events::Event> {
    if regarding.name.as_ref().is_some_and(|name| name.len() <= LONGEST_NAME) {
        return None;
    }
    let type_ = match event.type_ {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    };
    Some(events::Event {
        metadata: ObjectMeta {
            namespace: regarding.namespace.clone(),
            generate_name: Some(format!("{FIELD_MANAGER}-")),
            ..ObjectMeta::default()
        },
        action: Some(event.action.clone()),
        event_time: Some(MicroTime(now)),
        note: event.note.clone(),
        reason: Some(event.reason.clone()),
        regarding: Some(regarding.clone()),
        reporting_controller: Some(FIELD_MANAGER.into()),
        reporting_instance: Some(FIELD_MANAGER.into()),
        type_: Some(type_.into()),
        ..events::Event::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_about_a_long_name_or_none_gets_a_name_of_its_own() {
        let event = Event {
            type_: EventType::Warning,
            reason: "Unreadable".into(),
            note: Some("why".into()),
            action: "Unreadable".into(),
            secondary: None,
        };
        let about = |name: Option<usize>| ObjectReference {
            namespace: Some("team-a".into()),
            name: name.map(|length| "x".repeat(length)),
            uid: Some("u".into()),
            ..ObjectReference::default()
        };
        let now = Timestamp::now();
        assert_eq!(with_its_own_name(&event, &about(Some(LONGEST_NAME)), now), None);
        for about in [about(Some(LONGEST_NAME + 1)), about(None)] {
            let own = with_its_own_name(&event, &about, now).unwrap();
            assert_eq!(own.metadata.generate_name.as_deref(), Some("ai-api-operator-"));
            assert_eq!(own.metadata.namespace.as_deref(), Some("team-a"));
            assert_eq!(own.regarding, Some(about));
            assert_eq!((own.note, own.type_), (event.note.clone(), Some("Warning".into())));
        }
    }
}
