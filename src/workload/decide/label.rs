//! The label of what runs, by which its watch selects it.

use std::{sync::Arc, time::Duration};

use crate::{
    api::time::{later, until},
    workload::{decide::subject::Subject, facts::Step, work::Work},
};

/// How long to wait before the label is put back once more, in seconds: who takes it off may do so again.
const PUT_BACK_AFTER: i64 = 60;

/// `then`, unless that is to wait, and the work has lost its label: it is put back, for no change would be seen without it.
pub fn labelled(subject: &Subject<'_>, work: &Arc<Work>, then: Step) -> Step {
    let Step::Rest(wait) = then else { return then };
    if work.labelled || work.terminating {
        return then;
    }
    let (attempts, now) = (subject.facts.attempts, subject.facts.now);
    let next = attempts.labelled_at.map_or(Duration::ZERO, |last| until(later(last, PUT_BACK_AFTER), now));
    if next.is_zero() {
        return Step::Label(Arc::clone(work));
    }
    Step::Rest(Some(wait.map_or(next, |wait| wait.min(next))))
}
