//! `created`: without a uid, an item means the object that existed when the BulkUpdate was created. Nothing else is
//! planned, and nothing that was certainly older is refused as `CreatedLater`; in doubt, nothing before the watch of the
//! targets has come as far as the read that confirms it.

use ai_api_operator::api::{ItemResult, Reason};

use crate::{
    Violations,
    bulk::{Bulk, Claim, Record},
    case::Case,
    facts::{Exchange, Moment, Version},
};

/// Whether an object existed when the BulkUpdate was created.
pub fn is_older(case: &Case<'_>, object: &Version, bulk: &Bulk<'_>) -> bool {
    let first = case.of_uid(&object.uid).first().map(|v| v.revision);
    let before = first.is_some_and(|first| first < bulk.first().version.revision);
    object.created() < bulk.created || (object.created() == bulk.created && before)
}

/// Whether the process that made this record was shown by its watches that the object is older, though of the same
/// second: it saw the object at a lower version than the one at which its watch delivered the creation of the BulkUpdate.
/// None if that is not known.
pub fn was_shown_to_be_older(
    case: &Case<'_>,
    bulk: &Bulk<'_>,
    record: &Record<'_>,
    uid: &str,
) -> Option<bool> {
    let exchange = case.exchange_that_made(record.version.revision)?;
    let (life, until) = (exchange.life, exchange.sent);
    let creation = bulk.first().version.revision;
    let mut sights = case.facts.sights.iter().filter(|s| s.life == life && s.when < until);
    let shown = sights.any(|s| s.uid == uid && !s.deleted && s.revision < creation);
    let delivered = creation_was_delivered(case, bulk, exchange);
    Some(delivered && (shown || was_read_below(case, life, until, uid, creation)))
}

/// Whether the first that a process was shown of the BulkUpdate, before it sent this, was its creation by a running watch.
fn creation_was_delivered(case: &Case<'_>, bulk: &Bulk<'_>, sent: &Exchange) -> bool {
    let mut sights = case.facts.sights.iter().filter(|s| s.life == sent.life && s.when < sent.sent);
    // What is shown again later tells nothing.
    let first = sights.find(|s| s.uid == bulk.uid);
    first.is_some_and(|s| !s.listed && s.revision == bulk.first().version.revision)
}

/// Whether the watch of a process had not come as far as its last read of the object, when it refused it in doubt.
fn was_behind(case: &Case<'_>, claim: Claim<'_, '_>) -> bool {
    let Claim { bulk, kind, item, .. } = claim;
    let Some(sent) = case.exchange_that_made(claim.revision()) else { return false };
    let of_it = case.about(kind.plural(), bulk.namespace, &item.id).iter();
    let has_come = |e: &Exchange| e.ended_at().is_some_and(|ended| ended < sent.sent);
    let mut reads = of_it.clone().filter(|e| e.life == sent.life && e.verb == "get" && has_come(e));
    let last = reads.rfind(|e| e.succeeded()).and_then(|read| read.answer()?.object.as_ref());
    let Some((_, read)) = last else { return false };
    if of_it.clone().any(|e| case.may_be_for_what_runs(e)) {
        return false;
    }
    let mut sights = case.facts.sights.iter().filter(|s| s.life == sent.life && s.when < sent.sent);
    let has_come_that_far = sights.any(|s| s.resource == kind.plural() && s.revision >= *read);
    creation_was_delivered(case, bulk, sent) && !has_come_that_far
}

fn was_read_below(case: &Case<'_>, life: usize, until: Moment, uid: &str, creation: u64) -> bool {
    let shows = |e: &Exchange| {
        let object = e.answer().and_then(|answer| answer.object.as_ref());
        object.is_some_and(|(of, revision)| of == uid && *revision < creation)
    };
    case.sent().filter(|e| e.life == life && e.is_target_read() && e.sent < until).any(shows)
}

/// Whether the object was made after a write of the process that has made the plan had found nothing under its name: whatever
/// its time of creation says, it was not meant.
fn has_come_into_its_place(case: &Case<'_>, claim: Claim<'_, '_>, object: &Version) -> bool {
    let Claim { bulk, kind, item, .. } = claim;
    let life_of = |record: &Record<'_>| case.life_of(record.version.revision);
    let planner = bulk.plan().and_then(life_of);
    let Some(said) = case.exchange_that_made(claim.revision()).filter(|e| Some(e.life) == planner) else {
        return false;
    };
    // One that starts again, or does not know what has become of an earlier write, knows less.
    let mut about = case.about("bulkupdates", bulk.namespace, bulk.name).iter();
    let starts_again = about.any(|e| e.life == said.life && e.verb == "get");
    let of_it = case.about(kind.plural(), bulk.namespace, &item.id).iter();
    let own = of_it.filter(|e| e.life == said.life && e.is_target_write() && e.sent < said.sent);
    let writes: Vec<_> = own.filter(|e| case.is_for(bulk, **e)).collect();
    let found_nothing = |e: &&&&Exchange| {
        let names_it = e.answer().is_some_and(|answer| answer.code == 404 && answer.names_object);
        names_it && e.ended_at().is_some_and(|ended| ended < said.sent)
    };
    let nothing = writes.iter().find(found_nothing);
    let is_unknown = writes.iter().any(|e| e.outcome_unknown());
    !starts_again && !is_unknown && nothing.is_some_and(|write| object.at >= write.sent.at)
}

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    for claim in case.bulks.iter().flat_map(Bulk::claims).filter(|claim| !case.is_foreign(claim.record)) {
        if claim.asked().is_none_or(|asked| asked.uid.is_some()) {
            continue;
        }
        let Some(object) = case.of_uid(claim.uid()).first() else { continue };
        let Claim { bulk, record, item, .. } = claim;
        let older = is_older(case, object, bulk);
        let (at, id) = (claim.revision(), &item.id);
        let planned = matches!(item.result, ItemResult::Planned | ItemResult::Eligible);
        if planned && !older && !case.may_be_forged(bulk) {
            violations.say("created", format!("at {at} {id} is planned, which was created later"));
        }
        if planned && has_come_into_its_place(case, claim, object) {
            violations.say("created", format!("at {at} {id} is planned, where a write had found nothing"));
        }
        let refused = item.reason == Some(Reason::CreatedLater);
        if refused && object.created() == bulk.created && was_behind(case, claim) {
            violations.say("created", format!("at {at} {id} is CreatedLater, and its watch was behind"));
        }
        if refused && older {
            let certain = object.created() < bulk.created
                || was_shown_to_be_older(case, bulk, record, claim.uid()).unwrap_or(false);
            if certain {
                violations.say("created", format!("at {at} {id} is CreatedLater, and was known to be older"));
            }
        }
    }
}
