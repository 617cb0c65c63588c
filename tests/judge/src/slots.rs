//! Promises 10 and 12: no more requests are in flight at once than there are slots, reads of targets and status writes
//! included.

use crate::{
    Violations,
    case::Case,
    facts::{Exchange, Moment},
};

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    let most = case.facts.settings.max_in_flight;
    for life in 0..case.facts.lives.len() {
        let mut moments: Vec<(Moment, isize)> = Vec::new();
        let own = case.sent().filter(|e| e.life == life && takes_a_slot(e));
        // What runs has slots of its own.
        for e in own.filter(|e| !case.may_be_for_what_runs(e)) {
            moments.push((e.sent, 1));
            moments.extend(e.ended_at().map(|ended| (ended, -1)));
        }
        moments.sort_by_key(|(moment, _)| *moment);
        let mut in_flight = 0;
        for (moment, change) in moments {
            in_flight += change;
            if in_flight > most.cast_signed() {
                let at = moment.at;
                violations.say("12", format!("process {life} had {in_flight} requests in flight at {at}"));
                break;
            }
        }
    }
}

pub fn takes_a_slot(e: &Exchange) -> bool {
    let one = !matches!(&*e.verb, "list" | "watch");
    one && (e.is_target() || e.resource == "bulkupdates")
}
