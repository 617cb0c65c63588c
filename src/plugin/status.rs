//! Each item of a BulkUpdate, or of all BulkUpdates of a run: what became of it, why, and since when.

use futures::{StreamExt, stream};
use k8s_openapi::jiff::Timestamp;

use super::{
    arguments::StatusArguments,
    batches::is_run,
    choice::since,
    console::Console,
    follow::seen::Seen,
    found,
    names::age,
    problem::Problem,
    selection::{READS, object},
    session::{BRIEFLY, Session},
    table::{Table, shown},
};
use crate::api::{ItemResult, ItemStatus, Kind, READY};

pub async fn status(session: &Session, arguments: &StatusArguments) -> Result<(), Problem> {
    let found = found::bulk_updates(session, &arguments.what).await?;
    if found.is_empty() && is_run(&arguments.what) {
        return Err(found::nothing(session, &arguments.what));
    }
    for (index, seen) in found.iter().enumerate() {
        if index > 0 {
            session.console.print("")?;
        }
        let now = session.clock.now().earliest;
        heading(&session.console, seen, now)?;
        items(session, seen, now).await?;
    }
    Ok(())
}

fn heading(console: &Console, seen: &Seen, now: Timestamp) -> Result<(), Problem> {
    let (namespace, name) = seen.key();
    let moment = |time: Option<Timestamp>| time.map(|time| format!("{} ({} ago)", time, age(time, now)));
    let created = seen.metadata.creation_timestamp.as_ref().map(|time| time.0);
    console.print(format_args!("BulkUpdate {namespace}/{name}"))?;
    let mut rows = vec![("Created:", moment(created))];
    let Some(status) = &seen.status else {
        return console
            .print("  Status cannot be read, or there is none yet: the operator has not taken it up");
    };
    let ready = status.condition(READY);
    rows.extend([
        ("Planned:", moment(status.start_time.as_ref().map(|time| time.0))),
        ("Finished:", moment(status.completion_time.as_ref().map(|time| time.0))),
        (
            "Ready:",
            ready.map(|ready| format!("{} {}: {}", ready.status, ready.reason, shown(&ready.message))),
        ),
    ]);
    if status.conditions.is_empty() {
        rows.push(("Ready:", Some("the operator has not taken it up yet; see kubectl aiapi check".into())));
    }
    for (name, value) in rows.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        console.print(format_args!("  {name:<10} {value}"))?;
    }
    Ok(())
}

async fn items(session: &Session, seen: &Seen, now: Timestamp) -> Result<(), Problem> {
    let Some(status) = &seen.status else { return Ok(()) };
    let namespace = seen.key().0;
    let mut table = Table::new(["KIND", "ITEM", "ASKED", "RESULT", "REASON", "STATE", "SINCE", "MESSAGE"]);
    let ended = status.completion_time.as_ref().map(|time| time.0);
    for kind in Kind::ALL {
        let rows = stream::iter(status.items(kind)).map(async |item| {
            let (state, since) = match item.result {
                // It has an end, and may have changed since; a present state would mislead.
                ItemResult::Settled | ItemResult::Refused | ItemResult::Failed => (observed(item), ended),
                ItemResult::Planned | ItemResult::Eligible | ItemResult::Scheduled => {
                    present(session, kind, &namespace, item).await
                }
            };
            let since = since.map(|since| age(since, now)).unwrap_or_default();
            [
                kind.name().to_owned(),
                item.id.to_string(),
                item.target_status.word().to_owned(),
                <&str>::from(item.result).to_owned(),
                item.reason.map(|reason| reason.to_string()).unwrap_or_default(),
                state,
                since,
                item.message.as_deref().unwrap_or_default().to_owned(),
            ]
        });
        let rows: Vec<_> = rows.buffered(READS).collect().await;
        for row in rows {
            table.row(row);
        }
    }
    if status.executions.is_none() && status.deployments.is_none() {
        return Ok(());
    }
    session.console.print(table.text(session.console.width))
}

fn observed(item: &ItemStatus) -> String {
    item.observed_state.map(|state| state.word().to_owned()).unwrap_or_default()
}

/// The state in which its object is now, and since when.
async fn present(
    session: &Session,
    kind: Kind,
    namespace: &str,
    item: &ItemStatus,
) -> (String, Option<Timestamp>) {
    // Who may read a BulkUpdate may perhaps not read its objects.
    let Ok(Some(object)) = object(session, BRIEFLY, kind, namespace, &item.id).await else {
        return (observed(item), None);
    };
    (shown(&object.status_text("state").unwrap_or_default()), since(&object))
}
