//! What a plan is based on, as far as the wire shows it.
//!
//! An item that is planned, or eligible in a dry run, may be based on the operator's watches, which may be behind: the
//! write is guarded, and a dry run only reports what the operator would do. So the state need not hold when it is
//! reported, nor when the BulkUpdate was created: a delayed watch shows an old state for as long as it is delayed. But
//! it has to be based on the newest version that the process had been shown of this very object when it started the
//! pass, or on something newer. A pass starts with reading the flag, before any target is looked at; with several
//! BulkUpdates, it is unknown whose pass it is, and the first one since the process knew the BulkUpdate counts. In
//! addition, the answer to a live read stays valid for ten seconds while a plan waits, and while other reads of that plan
//! are in flight, whatever a watch shows in the meantime but that the object is gone; and as long as a watch shows nothing,
//! it is the newest.

use k8s_openapi::jiff::SignedDuration;

use crate::{
    bulk::{Bulk, Claim},
    case::Case,
    facts::{Exchange, Moment, Sight},
};

/// How long the answer to a live read may be used: ten seconds, and the time that another read of the plan may take.
const ANSWER_VALIDITY: SignedDuration = SignedDuration::from_secs(21);

/// The oldest version that a decision may be based on, and those that live reads have shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    oldest: Option<u64>,
    read: Vec<u64>,
}

impl Basis {
    /// Whether a decision may be based on this version.
    pub fn has(&self, revision: u64) -> bool {
        self.oldest.is_some_and(|oldest| revision >= oldest) || self.read.contains(&revision)
    }
}

/// What each status that was sent with this claim may be based on. Empty if none was: then somebody else wrote it.
pub fn of(case: &Case<'_>, claim: Claim<'_, '_>) -> Vec<Basis> {
    let (Claim { bulk, kind, item, .. }, uid) = (claim, claim.uid());
    let sent = case.about("bulkupdates", bulk.namespace, bulk.name).iter();
    let claims = |e: &&&Exchange| {
        let result: &str = &format!("{:?}", item.result);
        let items = e.body.pointer(&format!("/status/{}", kind.plural())).and_then(|i| i.as_array());
        e.is_record()
            && e.body.pointer("/metadata/uid").is_none_or(|of| of == bulk.uid)
            && items.is_some_and(|items| items.iter().any(|i| i["result"] == result && i["uid"] == uid))
    };
    sent.filter(claims).map(|e| basis(case, bulk, e, uid)).collect()
}

fn basis(case: &Case<'_>, bulk: &Bulk<'_>, record: &Exchange, uid: &str) -> Basis {
    let life = record.life;
    let all = case.facts.sights.iter();
    let all: Vec<&Sight> = all.filter(|s| s.life == life && s.uid == uid && s.when < record.sent).collect();
    let begin = begin_of_pass(case, bulk, record);
    // What it knows to be gone does not come back, unless a watch shows it again.
    let gone = all.iter().rfind(|sight| begin.is_some_and(|begin| sight.when < begin));
    let gone = gone.filter(|last| last.deleted).map(|last| last.when);
    let sights: Vec<&Sight> =
        all.into_iter().filter(|s| !s.deleted && gone.is_none_or(|gone| s.when > gone)).collect();
    let before = sights.iter().rfind(|sight| begin.is_some_and(|begin| sight.when < begin));
    let oldest = before.or_else(|| sights.first()).map(|sight| sight.revision);
    let reads = case.sent().filter(|e| e.life == life && e.is_target_read() && e.succeeded());
    let read = reads.filter_map(|e| {
        let ended =
            e.ended_at().filter(|ended| *ended < record.sent && gone.is_none_or(|gone| *ended > gone))?;
        let (of, revision) = e.answer()?.object.as_ref()?;
        let is_newest = || !sights.iter().any(|sight| sight.when > ended);
        let holds = record.sent.at.duration_since(ended.at) < ANSWER_VALIDITY || is_newest();
        (of == uid && holds).then_some(*revision)
    });
    Basis { oldest, read: read.collect() }
}

/// The reading of the flag with which the pass began, or one before it.
fn begin_of_pass(case: &Case<'_>, bulk: &Bulk<'_>, record: &Exchange) -> Option<Moment> {
    let readings = case.sent().filter(|e| e.life == record.life && e.is_flag_read() && e.sent < record.sent);
    if case.is_alone() {
        return readings.map(|e| e.sent).next_back();
    }
    let shown = case.first_shown(record.life, bulk.uid);
    readings.map(|e| e.sent).find(|sent| shown.is_none_or(|shown| *sent > shown))
}
