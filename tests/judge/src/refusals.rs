//! Promise 5: a write that was refused has failed only once the object was looked at. Promise 2: no refusal from a cache. A
//! refusal, a failure because of what an object is, and an absence are based on a read that this process made since it knew the
//! BulkUpdate, or on what a watch has shown after that; only after an accepted write the DELETED event for that uid is enough.

use ai_api_operator::api::{ItemResult, Kind, Reason, TargetStatus};
use k8s_openapi::jiff::Timestamp;

use crate::{
    Violations,
    bulk::{Bulk, Claim},
    case::Case,
    exchanges::ToTarget,
    facts::{Exchange, Version},
    reasons::speaks_for,
};

/// Whether the reason is about the live object (or its absence), which has to be read.
pub const fn about_the_object(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NotFound
            | Reason::Gone
            | Reason::Replaced
            | Reason::CreatedLater
            | Reason::Terminating
            | Reason::Unreadable
            | Reason::StopPending
            | Reason::WrongState
    )
}

/// Whether an object can have this name.
pub fn is_a_name(id: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    id.split('.').all(|label| {
        let ends = label.as_bytes().first().zip(label.as_bytes().last());
        label.bytes().all(inner) && ends.is_some_and(|(first, last)| *first != b'-' && *last != b'-')
    })
}

/// Whether the API server has answered a read of an object since the BulkUpdate was made.
pub fn was_read(case: &Case<'_>, bulk: &Bulk<'_>, kind: Kind, id: &str, until: Timestamp) -> bool {
    let created = bulk.made_at();
    case.requests().any(|r| {
        let read = r.verb == "get" && r.resource == kind.plural() && r.name == id;
        let shown = r.succeeded() || r.code == 404;
        read && shown && r.namespace == bulk.namespace && r.received >= created && r.answered <= until
    })
}

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    if !case.knows_exchanges() {
        return;
    }
    for claim in case.bulks.iter().flat_map(Bulk::claims).filter(|claim| !case.is_foreign(claim.record)) {
        let item = claim.item;
        let against = matches!(item.result, ItemResult::Refused | ItemResult::Failed)
            && item.reason.is_some_and(about_the_object)
            && is_a_name(&item.id);
        let is_unconfirmed = matches!(item.reason, Some(Reason::WriteFailed | Reason::Forbidden))
            && !senders(case, claim).iter().all(|e| was_looked_at(case, claim, e));
        if is_unconfirmed {
            let (at, said) = (claim.revision(), claim.words());
            violations.say("5", format!("at {at} {} is {said}, and was not looked at since", item.id));
        }
        let absent = item.result == ItemResult::Settled && item.target_status == TargetStatus::Deleted;
        if !(against || absent) {
            continue;
        }
        let sent = senders(case, claim);
        let is_based = |e: &&Exchange| {
            if absent { absence_was_seen(case, claim, e) } else { shows(case, claim, e) }
        };
        if !sent.is_empty() && !sent.iter().any(is_based) {
            let (at, said) = (claim.revision(), claim.words());
            violations.say("2", format!("at {at} {} is {said}, and no read has shown that", item.id));
        }
    }
}

/// The status writes that said this first, in each process.
fn senders<'a>(case: &Case<'a>, claim: Claim<'_, '_>) -> Vec<&'a Exchange> {
    let Claim { bulk, record, kind, item } = claim;
    if let Some(e) = case.exchange_that_made(record.version.revision) {
        return vec![e];
    }
    let result = format!("{:?}", item.result);
    let says = |e: &&&Exchange| {
        let items = e.body.pointer(&format!("/status/{}", kind.plural())).and_then(|items| items.as_array());
        let says = |items: &Vec<serde_json::Value>| {
            items.iter().any(|i| i["id"] == *item.id && i["result"] == *result)
        };
        e.is_record() && items.is_some_and(says)
    };
    case.about("bulkupdates", bulk.namespace, bulk.name).iter().filter(says).copied().collect()
}

/// Whether a read of the target, or what a watch has shown after it, is what the reason says.
fn shows(case: &Case<'_>, claim: Claim<'_, '_>, sent: &Exchange) -> bool {
    let Claim { bulk, kind, item, .. } = claim;
    let life = sent.life;
    let since = case.first_shown(life, bulk.uid);
    let reads = case.about(kind.plural(), bulk.namespace, &item.id).iter().filter(|e| {
        e.life == life
            && e.verb == "get"
            && since.is_none_or(|since| e.sent > since)
            && e.ended_at().is_some_and(|ended| ended < sent.sent)
            && e.has_shown()
    });
    let fits = |revision: Option<(&str, u64)>| {
        let version = revision.and_then(|(uid, revision)| case.version_at(uid, revision));
        speaks_for(case, claim, version.filter(|v| !v.deleted))
    };
    let mut newest: Option<u64> = None;
    for read in reads {
        let object = read.answer().and_then(|answer| answer.object.as_ref());
        if fits(object.map(|(uid, revision)| (&**uid, *revision))) {
            return true;
        }
        newest = newest.max(Some(object.map_or(0, |(_, revision)| *revision)));
    }
    // What a watch has shown since is as good.
    let Some(read) = newest else { return false };
    case.facts
        .sights
        .iter()
        .filter(|s| s.life == life && s.when < sent.sent && s.revision > read && !s.deleted)
        .filter(|s| s.resource == kind.plural() && s.namespace == bulk.namespace && *s.name == *item.id)
        .any(|s| fits(Some((&s.uid, s.revision))))
}

/// Whether a process has asked for the object since its last write to it, before it sent this.
fn was_looked_at(case: &Case<'_>, claim: Claim<'_, '_>, sent: &Exchange) -> bool {
    let Claim { bulk, kind, item, .. } = claim;
    let about = case.about(kind.plural(), bulk.namespace, &item.id).iter();
    let own: Vec<_> = about.filter(|e| e.life == sent.life && e.sent < sent.sent).collect();
    let is_own = |e: &&Exchange| e.is_target_write() && e.asker().is_none_or(|uid| uid == bulk.uid);
    // The last write may be one for another BulkUpdate.
    let alone = case.askers(kind.plural(), bulk.namespace, &item.id) < 2;
    let write = if alone { own.iter().rposition(|e| is_own(e)) } else { own.iter().position(|e| is_own(e)) };
    own[write.map_or(0, |write| write + 1)..].iter().any(|e| e.is_target_read())
}

/// Whether the process has seen that the object with the recorded uid is gone: by a read, or the answer to its DELETE; by
/// an event only after an accepted write, because what a stale watch shows may not be what was meant.
fn absence_was_seen(case: &Case<'_>, claim: Claim<'_, '_>, sent: &Exchange) -> bool {
    let (Claim { bulk, kind, item, .. }, uid) = (claim, claim.uid());
    let by_event = || {
        let mut own = case.facts.sights.iter().filter(|s| s.life == sent.life && s.when < sent.sent);
        own.any(|s| s.deleted && s.uid == uid)
    };
    let before = |e: &&&Exchange| e.life == sent.life && e.ended_at().is_some_and(|ended| ended < sent.sent);
    let own = || case.about(kind.plural(), bulk.namespace, &item.id).iter().filter(before);
    let by_answer = own().any(|e| {
        let object = e.answer().and_then(|answer| answer.object.as_ref());
        let read = e.verb == "get" && e.has_shown() && object.is_none_or(|(of, _)| of != uid);
        let deleted = e.verb == "delete" && e.succeeded();
        read || deleted
    });
    // What a watch has shown since a read is as good.
    let is_another = |v: &Version| v.uid != uid && *v.name == *item.id;
    let replaced = || own().any(|read| was_shown_since(case, claim, read, sent, is_another));
    by_answer || replaced() || (was_accepted(case, claim, own(), sent) && by_event())
}

/// Whether a watch has shown something like this, newer than what a read of the target had shown before.
fn was_shown_since(
    case: &Case<'_>,
    claim: Claim<'_, '_>,
    read: &Exchange,
    sent: &Exchange,
    like: impl Fn(&Version) -> bool,
) -> bool {
    let Claim { bulk, kind, .. } = claim;
    let object = read.answer().and_then(|answer| answer.object.as_ref()).filter(|_| read.verb == "get");
    let Some((_, shown)) = object.filter(|(of, _)| of == claim.uid()) else { return false };
    let sights = case.facts.sights.iter().filter(|s| s.life == sent.life && s.when < sent.sent && !s.deleted);
    let mut newer = sights
        .filter(|s| s.resource == kind.plural() && s.namespace == bulk.namespace && s.revision > *shown);
    newer.any(|s| case.version_at(&s.uid, s.revision).is_some_and(&like))
}

/// Whether the process knew that the object is being deleted: by a record, or by a read that has shown it.
fn was_accepted<'a>(
    case: &Case<'_>,
    claim: Claim<'_, '_>,
    mut own: impl Iterator<Item = &'a &'a Exchange>,
    sent: &Exchange,
) -> bool {
    let Claim { bulk, kind, item, .. } = claim;
    let on_record = bulk.records.iter().take_while(|r| r.version.revision < claim.revision()).any(|r| {
        let mut items = r.status.items(kind).iter().filter(|i| i.id == item.id && i.uid == item.uid);
        items.any(|i| i.result == ItemResult::Scheduled)
    });
    on_record
        || own.any(|e| {
            let object = e.answer().and_then(|answer| answer.object.as_ref()).filter(|_| e.verb == "get");
            let shown = object.filter(|(of, _)| of == claim.uid());
            shown.and_then(|(of, revision)| case.version_at(of, *revision)).is_some_and(Version::terminating)
                || was_shown_since(case, claim, e, sent, |v| v.uid == claim.uid() && v.terminating())
        })
}
