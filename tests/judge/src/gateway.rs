//! `gateway`: the answer that a caller gets agrees with what happened. "Scheduled" means that the write was accepted; an error
//! for an item, that nothing was written; 503 "nothing was done", that nothing ever is; what is not known says so, and
//! names the BulkUpdate. `clock`: the `notAfter` of the BulkUpdate is 45 seconds after the request arrived, by the API
//! server's clock.

use ai_api_operator::api::{ItemResult, ItemStatus, Kind, Reason, TargetStatus};
use k8s_openapi::jiff::SignedDuration;
use serde_json::Value;

use crate::{
    Violations,
    beside::by_another,
    bulk::{Bulk, Claim},
    case::Case,
    facts::{Call, Exchange},
    truth::{lost, refused_when_repeated},
};

/// How long after the request has arrived the last write is started.
const WRITE_LIMIT: SignedDuration = SignedDuration::from_secs(45);

/// How far behind the gateway's estimate of the API server's clock may be: a `Date` has whole seconds, and so has `notAfter`.
const IN_DOUBT: SignedDuration = SignedDuration::from_secs(10);

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    for call in case.facts.calls.iter().filter(|call| !call.items.is_empty()) {
        let bulk = case.bulks.iter().find(|bulk| is_of(bulk, call));
        if let Some(bulk) = bulk {
            ends_in_time(case, bulk, call, violations);
        }
        let mut say = |what: String| {
            violations.say("gateway", format!("request {} got {}: {what}", call.request_id, call.code));
        };
        let text = call.body.to_string();
        let unknown = text.contains("outcome of BulkUpdate");
        let was_done = |item: &&_| was_written(case, bulk, item) && !is_hidden(case, bulk, item);
        let allowed: Vec<_> = call.items.iter().filter(was_done).collect();
        match call.code {
            202 => agrees(case, call, bulk, &mut say),
            // The item's own result, of a request about one.
            504 if !call.bulk && item_is_unknown(bulk, call) => {}
            504 if !names(&text, call) => say(format!("it does not name its BulkUpdate: {text}")),
            // Or there never was an answer.
            504 | 0 => {}
            _ if unknown => {
                if !names(&text, call) {
                    say(format!("it does not name its BulkUpdate: {text}"));
                }
            }
            _ => {
                if let Some((_, id, _)) = allowed.first() {
                    say(format!("{id} was written to: {text}"));
                }
            }
        }
    }
}

/// Whether `notAfter` is what it should be, if the gateway knew the API server's clock.
fn ends_in_time(case: &Case<'_>, bulk: &Bulk<'_>, call: &Call, violations: &mut Violations) {
    let created = case.exchange_that_made(bulk.first().version.revision);
    let Some((created, not_after)) = created.zip(bulk.spec.as_ref().and_then(|spec| spec.not_after.as_ref()))
    else {
        return;
    };
    let of_gateway = case.facts.exchanges.iter().filter(|e| e.life == created.life && e.succeeded());
    // It takes in nothing while it is suspended.
    let pauses = case.facts.lives.get(created.life).map(|life| &life.pauses);
    let suspended = pauses.is_some_and(|pauses| pauses.iter().any(|[_, end]| end.at >= call.sent));
    let knew = of_gateway.filter_map(Exchange::ended_at).any(|ended| ended.at < call.sent);
    let clock = case.facts.tolerances.clock;
    // A token that is not known is checked before.
    let latest = created.sent.at.max(call.sent) + WRITE_LIMIT + clock;
    let earliest = call.sent + WRITE_LIMIT - IN_DOUBT - clock;
    if knew && !suspended && !(earliest..=latest).contains(&not_after.0) {
        let (sent, end) = (call.sent, not_after.0);
        violations.say("clock", format!("request {} of {sent} has notAfter {end}", call.request_id));
    }
}

/// Whether the status says of an item that its outcome is not known.
fn item_is_unknown(bulk: Option<&Bulk<'_>>, call: &Call) -> bool {
    let items = |kind: Kind| bulk.map(|bulk| bulk.last().status.items(kind)).unwrap_or_default();
    let is_unknown = |(kind, id, _): &(Kind, String, TargetStatus)| {
        items(*kind).iter().any(|i| *i.id == **id && i.reason == Some(Reason::OutcomeUnknown))
    };
    call.items.iter().any(is_unknown)
}

/// The BulkUpdate that the gateway has created for a call.
fn is_of(bulk: &Bulk<'_>, call: &Call) -> bool {
    let id = bulk.first().version.object.pointer("/metadata/annotations/aiapi.dev~1request-id");
    bulk.namespace == call.namespace
        && (id.and_then(Value::as_str) == Some(&call.request_id)
            || bulk.name == format!("request-{}", call.request_id))
}

fn names(text: &str, call: &Call) -> bool {
    text.contains(&format!("{}/request-{}", call.namespace, call.request_id))
        || text.contains("BulkUpdate's status")
}

/// Whether anything was ever done for the item.
fn was_written(
    case: &Case<'_>,
    bulk: Option<&Bulk<'_>>,
    (kind, id, verb): &(Kind, String, TargetStatus),
) -> bool {
    let Some(bulk) = bulk else { return false };
    let stopped = case.targets_of(bulk, *kind, id).iter().any(|v| v.stopped_by() == bulk.uid);
    let uid = || {
        let items = bulk.records.iter().flat_map(|record| record.status.items(*kind));
        items.filter(|item| *item.id == **id).find_map(|item| item.uid.as_deref())
    };
    let deleted = || {
        case.askers(kind.plural(), bulk.namespace, id) == 1
            && case.requests().any(|r| {
                r.verb == "delete"
                    && r.is_target()
                    && r.succeeded()
                    && r.body.pointer("/preconditions/uid").and_then(Value::as_str) == uid()
            })
    };
    match verb {
        TargetStatus::Stopped => stopped,
        TargetStatus::Deleted => deleted(),
    }
}

/// Whether a stop could not be seen by the process that has recorded the outcome: its answer was lost, and somebody has made the
/// object unreadable, or has deleted it; or another process has carried it out, side by side with this one.
fn is_hidden(case: &Case<'_>, bulk: Option<&Bulk<'_>>, (kind, id, _): &(Kind, String, TargetStatus)) -> bool {
    let Some(bulk) = bulk else { return false };
    let failed =
        |c: &Claim<'_, '_>| c.kind == *kind && *c.item.id == **id && c.item.result == ItemResult::Failed;
    let stopped = case.targets_of(bulk, *kind, id).iter().find(|v| v.stopped_by() == bulk.uid);
    bulk.claims().find(failed).zip(stopped).is_some_and(|(claim, stopped)| {
        lost(case, claim, stopped) || by_another(case, claim) || refused_when_repeated(case, claim)
    })
}

/// Each entry of an answer says what has become of its item.
fn agrees(case: &Case<'_>, call: &Call, bulk: Option<&Bulk<'_>>, say: &mut impl FnMut(String)) {
    for item in &call.items {
        let (kind, id, target) = item;
        let entries = call.body[kind.plural()].as_array();
        let entry = if call.bulk {
            entries.and_then(|entries| entries.iter().find(|entry| entry["id"] == **id))
        } else {
            Some(&call.body)
        };
        let Some(entry) = entry else {
            say(format!("it has no entry for {id}"));
            continue;
        };
        let accepted = bulk.is_some_and(|bulk| {
            let mut items = bulk.records.iter().flat_map(|record| record.status.items(*kind));
            let accepted = [ItemResult::Scheduled, ItemResult::Settled];
            // What is being deleted already needs no second request.
            let is_underway = |item: &ItemStatus| {
                *target == TargetStatus::Deleted && item.reason == Some(Reason::Terminating)
            };
            items.any(|item| *item.id == **id && (accepted.contains(&item.result) || is_underway(item)))
        });
        match entry.get("error") {
            None if !accepted => say(format!("{id} is scheduled, and the status never said so")),
            Some(error)
                if !error.to_string().contains("not known")
                    && !error.to_string().contains("may have been sent") =>
            {
                let late = error.to_string().contains("may still take effect");
                if !late && was_written(case, bulk, item) && !is_hidden(case, bulk, item) {
                    say(format!("{id} was written to, and the answer says {error}"));
                }
            }
            _ => {}
        }
    }
}
