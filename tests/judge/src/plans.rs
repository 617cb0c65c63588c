//! Promise 3: a process carries out a plan that it has recorded itself, or that it has read: what a watch shows may be old,
//! and the BulkUpdate may have finished or be gone since (docs/architecture.md, "Start").

use crate::{Violations, bulk::Bulk, case::Case, facts::Exchange};

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    for write in case.writes_sent() {
        let mut asking = case.bulks.iter().filter(|bulk| case.is_for(bulk, write));
        // Whose write it is, is not known of a deletion that several ask for.
        let Some(bulk) = asking.next() else { continue };
        if !is_known_to(case, bulk, write) {
            let what = format!("{}: its process has neither recorded nor read the plan", write.words());
            violations.say("3", what);
        }
    }
}

/// Whether its process has been answered with the BulkUpdate, as it had recorded or read it.
fn is_known_to(case: &Case<'_>, bulk: &Bulk<'_>, write: &Exchange) -> bool {
    let about = case.about("bulkupdates", bulk.namespace, bulk.name).iter();
    let of_the_process = about.filter(|e| e.life == write.life && (e.is_record() || e.verb == "get"));
    of_the_process
        .filter(|e| e.succeeded() && e.ended_at().is_some_and(|ended| ended < write.sent))
        .any(|e| e.answer().and_then(|answer| answer.object.as_ref()).is_some_and(|(uid, _)| uid == bulk.uid))
}
