//! Promise 11: the cost is bounded. Without faults: a write for each item that is written, a read for each that is
//! refused or not settled in time, and five others.

use ai_api_operator::api::{ItemResult, ItemStatus, Kind, Reason};

use crate::{Violations, case::Case};

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    let [bulk] = &*case.bulks else { return };
    if !case.facts.calm.as_ref().is_some_and(|calm| calm.undisturbed) {
        return;
    }
    let items = || Kind::ALL.into_iter().flat_map(|kind| bulk.last().status.items(kind));
    let looked_at =
        |i: &&ItemStatus| i.result == ItemResult::Refused || i.reason == Some(Reason::NotSettledInTime);
    let refused = items().filter(looked_at).count();
    let expired = case.requests().filter(|r| r.resource == "bulkupdates" && r.verb == "delete").count();
    let others = case.requests().filter(|r| r.is_overhead()).count();
    if others > 5 + refused + expired {
        let what = format!("{others} requests besides the writes, {refused} items refused or not settled");
        violations.say("11", what);
    }
    let written = |i: &&ItemStatus| {
        matches!(i.result, ItemResult::Settled | ItemResult::Scheduled)
            || i.reason == Some(Reason::NotSettledInTime)
    };
    let (eligible, writes) =
        (items().filter(written).count(), case.requests().filter(|r| r.is_target_write()).count());
    if writes != eligible {
        violations.say("11", format!("{writes} writes for {eligible} items"));
    }
}
