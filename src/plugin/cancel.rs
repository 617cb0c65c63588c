//! Calls off what is not over, by deleting the BulkUpdates: once the operator has seen that, it starts no write for them.

use std::fmt::Write as _;

use super::{
    arguments::CancelArguments,
    batches::is_run,
    follow::seen::Seen,
    found,
    names::bulk_updates,
    problem::{Problem, failed},
    record::Record,
    session::Session,
    table::Table,
};
use crate::client::requests::Only;

pub async fn cancel(session: &Session, arguments: &CancelArguments) -> Result<(), Problem> {
    let (console, what) = (&session.console, &*arguments.what);
    let found = found::bulk_updates(session, what).await?;
    let record = is_run(what).then(|| Record::of(what)).flatten();
    let unsent = record.as_ref().and_then(|record| record.read().ok().flatten()).is_some();
    if found.is_empty() && !unsent {
        return Err(found::nothing(session, what));
    }
    let (over, open): (Vec<_>, Vec<_>) = found.into_iter().partition(Seen::is_over);
    if !over.is_empty() {
        console.note(format_args!("{} over already, and kept", bulk_updates(over.len())));
    }
    if !open.is_empty()
        && !arguments.yes
        && !console.ask(&format!("Call off {}?", bulk_updates(open.len())))?
    {
        console.note("Nothing was called off.");
        return Err(Problem::CalledOff);
    }
    // What was not sent yet stays so, whatever happens next.
    if let Some(record) = &record {
        record.remove();
    }
    let mut table = Table::new(["NAMESPACE", "BULKUPDATE", "OUTCOME", "ITEMS"]);
    for seen in open {
        let (namespace, name) = seen.key();
        let (outcome, last) = call_off(session, seen).await?;
        table.row([namespace, name, outcome.into(), last.as_ref().map(how_far).unwrap_or_default()]);
    }
    console.print(table.text(console.width))?;
    Ok(())
}

/// Deletes it as it was seen, so that what is said about it is true of its end. Returns what was last seen of it.
async fn call_off(session: &Session, mut seen: Seen) -> Result<(&'static str, Option<Seen>), Problem> {
    let (namespace, name) = seen.key();
    let url = Seen::url(Some(&namespace));
    loop {
        if seen.is_over() {
            return Ok(("over before it could be called off", Some(seen)));
        }
        let uid = seen.metadata.uid.clone().unwrap_or_default();
        let version = seen.metadata.resource_version.clone().unwrap_or_default();
        match session.delete(&url, &name, Only { uid: &uid, resource_version: &version }).await {
            Ok(()) => return Ok(("called off", Some(seen))),
            Err(failure) if failure.is_not_found() => return Ok(("gone", None)),
            Err(failure) if failure.is_conflict() || failure.outcome_unknown() => {}
            Err(failure) => {
                return Err(failed(format_args!("BulkUpdate {name} cannot be deleted"), &failure));
            }
        }
        let again = session.read::<Seen>(&url, &name).await;
        match again.map_err(|failure| failed(format_args!("BulkUpdate {name} cannot be read"), &failure))? {
            Some(again) if again.metadata.uid.as_deref() == Some(&uid) => seen = again,
            _ => return Ok(("called off", Some(seen))),
        }
    }
}

/// How far it had got.
fn how_far(seen: &Seen) -> String {
    let Some(summary) = seen.status.as_ref().and_then(|status| status.summary) else {
        return format!("0 of {} written", seen.items());
    };
    let written = summary.scheduled + summary.settled;
    let mut text = format!("{written} of {} written", summary.total);
    for (count, word) in
        [(summary.settled, "settled"), (summary.refused, "refused"), (summary.failed, "failed")]
    {
        if count > 0 {
            let _ = write!(text, ", {count} {word}");
        }
    }
    text
}
