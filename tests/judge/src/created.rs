//! `created`: without a uid, an item means the object that existed when the BulkUpdate was created. Nothing else is
//! planned, and nothing that was certainly older is refused as `CreatedLater`.

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
    // What is shown again later tells nothing.
    let first = sights.clone().find(|s| s.uid == bulk.uid);
    let delivered = first.is_some_and(|s| !s.listed && s.revision == creation);
    let shown = sights.any(|s| s.uid == uid && !s.deleted && s.revision < creation);
    Some(delivered && (shown || was_read_below(case, life, until, uid, creation)))
}

fn was_read_below(case: &Case<'_>, life: usize, until: Moment, uid: &str, creation: u64) -> bool {
    let shows = |e: &Exchange| {
        let object = e.answer().and_then(|answer| answer.object.as_ref());
        object.is_some_and(|(of, revision)| of == uid && *revision < creation)
    };
    case.sent().filter(|e| e.life == life && e.is_target_read() && e.sent < until).any(shows)
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
        if item.reason == Some(Reason::CreatedLater) && older {
            let certain = object.created() < bulk.created
                || was_shown_to_be_older(case, bulk, record, claim.uid()).unwrap_or(false);
            if certain {
                violations.say("created", format!("at {at} {id} is CreatedLater, and was known to be older"));
            }
        }
    }
}
