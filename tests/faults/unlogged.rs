//! Checks that every write is logged.

use std::sync::Arc;

use crate::{fault::Fault, life::Life, operator::Log, plan::Plan};

/// Each write has one log line, unless the operator dies before it is written.
pub fn of(plan: &Plan, lives: &[Arc<Life>], log: &Log) -> Option<String> {
    // A replica that was held ends before it has logged everything that it has sent.
    if plan.injections.iter().any(|injection| matches!(injection.fault, Fault::Crash(_) | Fault::Pause(_))) {
        return None;
    }
    let counts = lives.iter().flat_map(|life| life.counts());
    let sent: usize = counts.filter(|(call, _)| call.is_target_write()).map(|(_, n)| n).sum();
    let text = log.text();
    let fields = ["bulk_update=", "bulk_update_uid=", "target=", "target_uid=", "verb=", "outcome="];
    let whole =
        |line: &&str| line.contains("wrote to a target") && fields.iter().all(|field| line.contains(field));
    // Writes that the fence has stopped were not sent.
    let sent_on = |line: &&str| whole(line) && !line.contains("outcome=not sent: ");
    let logged = text.lines().filter(sent_on).count();
    let accepted = text.lines().filter(whole).filter(|line| line.contains("outcome=accepted")).count();
    let undisturbed = plan.is_undisturbed() && !plan.scenario.outcomes.is_empty();
    (logged != sent || (undisturbed && accepted != sent))
        .then(|| format!("{sent} writes were sent and {logged} were logged, {accepted} as accepted"))
}
