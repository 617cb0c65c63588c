//! Calls off what is not over, by deleting the BulkUpdates: once the operator has seen that, it starts no write for them.

use std::{fmt::Write as _, time::Duration};

use tokio::time::Instant;

use super::{
    arguments::CancelArguments,
    batches::is_run,
    follow::{call_off, seen::Seen},
    found,
    names::bulk_updates,
    problem::Problem,
    record::Record,
    session::Session,
    table::Table,
};

/// How long what is still being sent may take to arrive: longer than one request.
const ON_ITS_WAY: Duration = Duration::from_secs(12);

pub async fn cancel(session: &Session, arguments: &CancelArguments) -> Result<(), Problem> {
    let (console, what) = (&session.console, &*arguments.what);
    let found = found::bulk_updates(session, what).await?;
    let over = found.iter().filter(|seen| seen.is_over()).count();
    let (plan, confirmed) = found::recorded_or_none(session, what).unzip();
    let confirmed = confirmed.unwrap_or_default();
    if over > 0 {
        console.note(format_args!("{} over already, and kept", bulk_updates(over)));
    }
    let question = match &plan {
        Some(_) => format!("Call off what is not over of run {what}, and send no more of it?"),
        None => format!("Call off {}?", bulk_updates(found.len() - over)),
    };
    let is_open = plan.is_some() || over < found.len();
    if is_open && !arguments.yes && !console.ask(&question).await? {
        console.note("Nothing was called off.");
        return Err(Problem::CalledOff);
    }
    // Who is sending it looks for the record before each BulkUpdate. What is on its way is found when they are listed again.
    if let Some(record) = Record::of(what).filter(|_| plan.is_some()) {
        record.remove();
    }
    let on_its_way = plan.as_ref().is_some_and(|plan| plan.bulk_updates.len() > confirmed.len());
    let until = Instant::now() + if on_its_way { ON_ITS_WAY } else { Duration::ZERO };
    let mut table = Table::new(["NAMESPACE", "BULKUPDATE", "OUTCOME", "ITEMS"]);
    let (mut open, mut all_called_off) = (found, true);
    loop {
        open.retain(|seen| !seen.is_over() && seen.metadata.deletion_timestamp.is_none());
        let nothing_open = open.is_empty();
        for seen in open {
            let (namespace, name) = seen.key();
            let (outcome, last) = match call_off(session, seen).await {
                Ok((outcome, last)) => (outcome.to_owned(), last),
                // The others are called off all the same.
                Err(problem) => {
                    all_called_off = false;
                    (format!("FAILED: {problem}"), None)
                }
            };
            table.row([namespace, name, outcome, last.as_ref().map(how_far).unwrap_or_default()]);
        }
        if !is_run(what) || !all_called_off || (nothing_open && Instant::now() >= until) {
            break;
        }
        if nothing_open {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        open = found::of_plan(session, what, plan.as_ref()).await?;
    }
    console.print(table.text(console.width))?;
    if all_called_off { Ok(()) } else { Err(Problem::NotAllDone) }
}

/// How far it had got.
fn how_far(seen: &Seen) -> String {
    let Some(summary) = seen.status.as_ref().and_then(|status| status.summary) else {
        return format!("none of {} written: not planned yet", seen.items());
    };
    let written = summary.scheduled + summary.settled;
    // The operator reports once a second or more rarely.
    let mut text = format!("at least {written} of {} written", summary.total);
    for (count, word) in
        [(summary.settled, "settled"), (summary.refused, "refused"), (summary.failed, "failed")]
    {
        if count > 0 {
            let _ = write!(text, ", {count} {word}");
        }
    }
    text
}
