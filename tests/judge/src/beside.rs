//! Two processes that work side by side on one BulkUpdate: where somebody has changed the Lease, or a request of one that has
//! died comes late (docs/guarantees.md, promise 14). Each of them knows only what it has done itself.

use ai_api_operator::api::TargetStatus;

use crate::{
    bulk::{Claim, Record},
    case::Case,
    exchanges::ToTarget,
    facts::Request,
};

/// Whether the process that has made this revision of a status may have worked side by side with another: somebody has taken
/// the Lease away from it, or it had died when the API server carried this out.
pub fn was_beside_another(case: &Case<'_>, revision: u64) -> bool {
    let ended = |life: usize| case.facts.lives.get(life).and_then(|life| life.ended);
    let made = case.maker(revision).zip(case.life_of(revision));
    let had_died = made.is_some_and(|(r, life)| ended(life).is_some_and(|ended| ended.at < r.received));
    case.facts.others.changed_lease || had_died
}

/// Whether another process than the one that has recorded this was the last to write to the target for it, side by side with
/// it.
pub fn by_another(case: &Case<'_>, claim: Claim<'_, '_>) -> bool {
    let Claim { bulk, kind, item, .. } = claim;
    let said = claim.said_first();
    let about_it = |r: &&Request| r.target() == (kind.plural(), bulk.namespace, &*item.id);
    let for_it = |r: &&Request| match item.target_status {
        TargetStatus::Stopped => r.asker() == Some(bulk.uid),
        TargetStatus::Deleted => r.verb == "delete",
    };
    let last = case.requests().rfind(|r| r.is_target_write() && r.succeeded() && about_it(r) && for_it(r));
    last.is_some_and(|r| r.life != case.life_of(said) && was_beside_another(case, said))
}

/// Whether another process has changed the record after the one that has said this had begun to work on it.
pub fn was_changed_by_another(case: &Case<'_>, claim: Claim<'_, '_>) -> bool {
    let bulk = claim.bulk;
    let maker = case.life_of(claim.said_first());
    let mut own = case.about("bulkupdates", bulk.namespace, bulk.name).iter();
    let begun = own.find(|e| Some(e.life) == maker).map(|e| e.sent.at);
    let by_another =
        |r: &Record<'_>| case.life_of(r.version.revision).is_some_and(|life| Some(life) != maker);
    begun.is_some_and(|begun| bulk.records.iter().any(|r| r.version.at > begun && by_another(r)))
}
