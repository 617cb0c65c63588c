//! Histories that are not refused, about what has become of an item.

use super::*;

pub const GENUINE: &[Genuine] = &[
    ("disabled", |s| {
        not_stopped(s, "BulkUpdatesDisabled");
        off(s, 20_111, "{}");
    }),
    ("disabled by the reading that was begun with the plan", |s| {
        not_stopped(s, "BulkUpdatesDisabled");
        off_and_on(s, [20_072, 20_075]);
    }),
    ("refused when a proxy had sent it again", |s| refused_when_repeated(s, 403)),
    ("not settled in time", |s| {
        s.spec(&json!({"activeDeadlineSeconds": 5}));
        not_settled_at(s, 25_030);
        s.facts.calls.clear();
        s.facts.requests.retain(|r| r.name != "Finished");
    }),
    ("it was gone before all could be reported", |s| kept(s, [20_112, 25_000])),
    ("refused for good", |s| {
        not_stopped(s, "WriteFailed");
        refused(s, code(422), 20_101);
        s.sends("get", "executions", "stop-me", Value::Null, [20_104, 20_106], shows("stop-me", 10));
        s.in_order();
    }),
    ("unknown, because the flag was switched off", |s| {
        not_stopped(s, "OutcomeUnknown");
        refused(s, Answer::None, 20_101);
        off(s, 20_111, "{}");
    }),
    ("another has deleted it, and it is refused", |s| {
        s.changes(29, 12, 19_000, json!({}));
        s.at_revision(29).deleted = true;
        s.facts.others = Others::of(&s.facts);
        s.says(31, 2, &json!({"reason": "NotFound", "uid": null, "observedState": null}));
        s.answered("get", "refuse-me", code(404));
        s.facts.calm = None;
        let found = s.at_revision(34).object["status"].clone();
        s.ends_as(&found);
    }),
    ("an object that is looked at again", |s| {
        s.sends("get", "bulkupdates", BULK, Value::Null, [25_000, 25_005], shows(BULK, 34));
        assert!(s.facts.quiet_since.unwrap() > at(0));
        s.facts.calm = None;
    }),
    ("gone before it was known that it had been stopped", |s| {
        gone(s);
        s.answered("patch", "stop-me", Answer::None);
    }),
];
