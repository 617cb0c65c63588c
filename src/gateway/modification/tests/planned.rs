//! What is said of an item that is planned.

use super::*;

#[test]
fn what_is_planned_is_an_answer_to_those_who_do_not_wait() {
    let kind = Kind::Execution;
    let entry = entry("item-0", TargetStatus::Stopped, ItemResult::Planned, None);
    let status = status_of(kind, vec![entry]);
    let stage = |respond_async| stage(kind, "item-0", &status, Preferences { respond_async, key: None });
    assert_eq!(stage(true), Ok(Stage::Planned));
    assert_eq!(stage(false).unwrap_err().code, Code::Reason(Reason::OutcomeUnknown));
    assert_eq!(Stage::Planned.of_modification(kind), "Execution modification planned");
    assert_eq!(Stage::Scheduled.of_deletion(Kind::Deployment), "Deployment deletion scheduled");
}
