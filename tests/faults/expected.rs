//! What the judge cannot know, because it is about the plan: while something fails for a while, the status says why; and
//! the admission policy covers the BulkUpdate if nothing was done to it.

use judge::{Bulk, Case, Facts, Violation};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::{
    fault::{Call, Fault, Lasts, Place},
    plan::Plan,
};

/// The time between the plan and the first report.
const REPORT_DELAY: SignedDuration = SignedDuration::from_millis(1500);

/// The delay between the API server and the observer.
const OBSERVER_DELAY: SignedDuration = SignedDuration::from_millis(500);

/// All violations of a run; `lasted` is when a fault that lasts hit the first and the last request.
pub fn violations(plan: &Plan, facts: &Facts, lasted: Option<[Timestamp; 2]>) -> Vec<String> {
    let case = Case::of(facts);
    let mut violations: Vec<_> = judge::judge_case(&case).iter().map(Violation::to_string).collect();
    for bulk in &case.bulks {
        violations.extend(unexplained(plan, bulk, lasted));
        if plan.shipped {
            violations.extend(authorized(plan, &case, bulk));
        }
    }
    violations
}

/// While something is blocked for longer than the interval between reports, the message names the cause, and not before
/// it occurs.
fn unexplained(plan: &Plan, bulk: &Bulk<'_>, lasted: Option<[Timestamp; 2]>) -> Option<String> {
    let aside = |place: &Place| matches!(place, Place::Nth(call, _) | Place::InTheMiddle(call) if call.is_in_the_background());
    let mut lasting = plan.injections.iter().filter(|injection| injection.lasts != Lasts::Once);
    let injection = lasting.find(|injection| !aside(&injection.place))?;
    let reports: Vec<_> = bulk
        .records
        .iter()
        .filter_map(|record| {
            let message = record.status.condition("Ready")?.message.clone();
            Some((record.version.at, message, record.status.summary.is_some()))
        })
        .collect();
    let [began, ended] = lasted?;
    if let Some((_, message, _)) = reports.iter().find(|(at, m, _)| *at < began && m.contains("waiting:")) {
        return Some(format!("nothing was blocked, and it says: {message}"));
    }
    // A status that cannot be written cannot report anything.
    let can_report = !matches!(injection.place, Place::Nth(Call::Record, _));
    let why = match injection.fault {
        Fault::Answer { code, .. } if code != 409 => format!("made up: {code}"),
        _ => String::new(),
    };
    let says = |(at, message, planned): &(Timestamp, String, bool)| {
        began <= *at
            && *at <= ended + OBSERVER_DELAY
            && (!planned || message.contains("waiting:"))
            && message.contains(&why)
    };
    (can_report && ended.duration_since(began) > REPORT_DELAY && !reports.iter().any(says))
        .then(|| format!("from {began} to {ended} the status did not say what it waits for: {reports:?}"))
}

/// The policy covers what was created, unless the plan has changed it; and only then it is carried out.
fn authorized(plan: &Plan, case: &Case<'_>, bulk: &Bulk<'_>) -> Vec<String> {
    let midway = plan.loses_its_policy_midway();
    // What it was covered by when it was created is gone when it is decided about again.
    let covered = judge::is_covered(case, bulk) && !midway;
    let mut violations = Vec::new();
    if covered == plan.guard.is_some() {
        violations.push(format!("the plan is about something else: the policy covers it: {covered}"));
    }
    let status = &bulk.last().status;
    let refused = status.condition("Ready").is_some_and(|ready| ready.reason == "NotAuthorized");
    if status.completion_time.is_some() && refused == covered {
        violations.push(format!("covered by the policy: {covered}, rejected as not authorized: {refused}"));
    }
    violations
}
