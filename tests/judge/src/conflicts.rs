//! Promise 6: a status write that met a conflict is repeated, if what was read after it has the same status and the same items
//! in any order, or the status that this process has sent without getting an answer (docs/architecture.md, "Record").

use serde_json::Value;

use crate::{
    Violations,
    authors::GUARDS,
    bulk::Bulk,
    case::Case,
    facts::{Exchange, Version},
};

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    // Whose read it is, is not known where several have had its name; and what could not be read at some time starts again.
    let has_its_name_alone = |bulk: &&Bulk<'_>| {
        let mut versions = case.of_name("bulkupdates", bulk.namespace, bulk.name).iter();
        versions.all(|v| *v.uid == *bulk.uid) && !bulk.was_flawed_by(bulk.last())
    };
    for bulk in case.bulks.iter().filter(has_its_name_alone) {
        for life in 0..case.facts.lives.len() {
            let about = case.about("bulkupdates", bulk.namespace, bulk.name).iter();
            let of_the_process: Vec<_> = about.filter(|e| e.life == life).copied().collect();
            for (at, three) in of_the_process.windows(3).enumerate() {
                let &[record, read, next] = three else { continue };
                if next.verb == "get" && means_nothing(case, bulk, [record, read], &of_the_process[..at]) {
                    let what = format!(
                        "{}: nothing but its version had changed since {}, or only by what it had sent itself",
                        next.words(),
                        record.words()
                    );
                    violations.say("6", what);
                }
            }
        }
    }
}

/// Whether a status met a conflict, and the next read shows no reason to begin again.
fn means_nothing(
    case: &Case<'_>,
    bulk: &Bulk<'_>,
    [record, read]: [&Exchange; 2],
    earlier: &[&Exchange],
) -> bool {
    let met_a_conflict = record.verb == "update" && record.is_record() && record.code() == Some(409);
    // A plan rests on the policy as well, and on its being watched.
    let of_guards = |e: &&Exchange| e.life == record.life && GUARDS.contains(&&*e.resource);
    let unsure = || case.facts.others.changed_policy || case.sent().any(|e| of_guards(&e) && !e.succeeded());
    let rests_on_more = record.body.pointer("/status/startTime").is_some() && unsure();
    if !met_a_conflict || rests_on_more || read.verb != "get" || !read.succeeded() {
        return false;
    }
    let of = |revision: Option<u64>| {
        bulk.records.iter().map(|record| record.version).find(|v| Some(v.revision) == revision)
    };
    let shown = read.answer().and_then(|answer| answer.object.as_ref()).map(|(_, revision)| *revision);
    let (Some(before), Some(now)) = (of(record.guard_number()), of(shown)) else { return false };
    let same_status = before.object["status"] == now.object["status"];
    let expected = same_status || is_the_unanswered_one(case, bulk, [before, now], earlier);
    expected && !now.deleted && !now.terminating() && items(before) == items(now)
}

/// Whether all that has changed in the status is what the process has sent itself: in its last status of which it does not know
/// whether that was stored.
fn is_the_unanswered_one(
    case: &Case<'_>,
    bulk: &Bulk<'_>,
    [before, now]: [&Version; 2],
    earlier: &[&Exchange],
) -> bool {
    let unanswered = earlier.iter().rfind(|e| e.verb == "update" && e.is_record() && e.outcome_unknown());
    let range = before.revision..=now.revision;
    let versions: Vec<_> =
        bulk.records.iter().map(|record| record.version).filter(|v| range.contains(&v.revision)).collect();
    let mut changes = versions.windows(2).filter(|pair| pair[0].object["status"] != pair[1].object["status"]);
    let (Some(&[_, change]), None) = (changes.next(), changes.next()) else { return false };
    let made = case.exchange_that_made(change.revision);
    made.zip(unanswered).is_some_and(|(made, unanswered)| std::ptr::eq(made, *unanswered))
}

/// The items of its spec, in one order.
fn items(version: &Version) -> Vec<Vec<String>> {
    let lists = ["executions", "deployments"].map(|kind| version.object["spec"][kind].as_array());
    let of = |list: Option<&Vec<Value>>| {
        let mut items: Vec<_> = list.into_iter().flatten().map(ToString::to_string).collect();
        items.sort();
        items
    };
    lists.into_iter().map(of).collect()
}
