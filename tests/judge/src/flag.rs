//! The capability flag (`flag`, and promise 10): it is read before each write, and the reading is no older than a
//! second; the first write rests on a reading that was begun when the plan was written; once the flag is seen to be off,
//! no write starts.

use ai_api_operator::api::Kind;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    Violations,
    bulk::Bulk,
    case::Case,
    exchanges::ToTarget,
    facts::{Exchange, Version},
    versions::kind_of,
};

/// How old a reading may be, from its start.
const FRESH: SignedDuration = SignedDuration::from_secs(1);

/// How late a write may arrive after the flag was switched off, if only that is known: the reading may be a second old.
const EMERGENCY_STOP: SignedDuration = SignedDuration::from_millis(1500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    On,
    Off,
    Invalid,
}

/// The flag of one kind from a revision on.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub revision: u64,
    pub at: Timestamp,
    pub is: Setting,
}

/// What a version of the ConfigMap says.
fn setting(version: &Version, kind: Kind) -> Setting {
    if version.deleted || version.terminating() {
        return Setting::Off;
    }
    match version.object.pointer("/data/bulkUpdates") {
        None => Setting::Off,
        Some(Value::String(text)) => parsed(text, kind),
        Some(_) => Setting::Invalid,
    }
}

/// Of YAML, only a list of fields is understood here.
fn parsed(text: &str, kind: Kind) -> Setting {
    let fields: Option<Vec<(String, Value)>> = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(fields)) => Some(fields.into_iter().collect()),
        Ok(_) => None,
        Err(_) => {
            let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
            let field = |line: &str| {
                let (key, value) = line.split_once(": ")?;
                Some((key.to_owned(), serde_json::from_str(value.trim()).ok()?))
            };
            lines.map(field).collect()
        }
    };
    let Some(fields) = fields.filter(|fields| !fields.is_empty() || text.trim() == "{}") else {
        return Setting::Invalid;
    };
    let known = |(key, value): &(String, Value)| {
        value.is_boolean() && Kind::ALL.into_iter().any(|kind| kind.plural() == key)
    };
    if !fields.iter().all(known) {
        return Setting::Invalid;
    }
    let on = fields.iter().any(|(key, value)| key == kind.plural() && *value == Value::Bool(true));
    if on { Setting::On } else { Setting::Off }
}

/// The flag of one kind over time; before the first, it is off.
pub fn settings(case: &Case<'_>, kind: Kind) -> Vec<Change> {
    let facts = case.facts;
    let of_flag =
        |v: &&Version| v.name == facts.settings.meta_configmap && v.namespace == facts.settings.namespace;
    let versions = case.of_plural("configmaps").filter(of_flag);
    versions.map(|v| Change { revision: v.revision, at: v.at, is: setting(v, kind) }).collect()
}

/// Whether the history of the flag is known.
pub fn is_known(case: &Case<'_>) -> bool {
    case.of_plural("configmaps").any(|v| v.name == case.facts.settings.meta_configmap)
}

/// Whether it was ever like this between two times.
pub fn was(case: &Case<'_>, kind: Kind, [from, to]: [Timestamp; 2], is: &[Setting]) -> bool {
    if !is_known(case) {
        let off = case.facts.others.switched_off.contains(&kind);
        let began = case.facts.others.cancelled.is_some_and(|time| time <= to);
        return is.contains(&Setting::On) || (off && began);
    }
    let settings = settings(case, kind);
    let before = settings.iter().rfind(|change| change.at <= from).map_or(Setting::Off, |change| change.is);
    let since = settings.iter().filter(|change| change.at > from && change.at <= to);
    is.contains(&before) || since.into_iter().any(|change| is.contains(&change.is))
}

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    for write in case.writes_sent() {
        let Some(kind) = kind_of(&write.resource) else { continue };
        if let Some(why) = not_allowed(case, write, kind) {
            violations.say("flag", format!("{}: {why}", write.words()));
        }
    }
    if !case.knows_exchanges() {
        late(case, violations);
    }
}

fn slack(case: &Case<'_>) -> SignedDuration {
    case.facts.tolerances.operator
}

/// Why the flag does not allow this write about a target of this kind.
pub fn not_allowed(case: &Case<'_>, write: &Exchange, kind: Kind) -> Option<String> {
    let readings: Vec<_> = case
        .sent()
        .filter(|e| e.life == write.life && e.is_flag_read() && e.name == case.facts.settings.meta_configmap)
        .filter(|e| e.ended_at().is_some_and(|ended| ended < write.sent) && e.has_shown())
        .collect();
    let slack = slack(case);
    let sent = write.sent.at;
    let planned = plan_sent(case, write);
    // When it resumes, it has looked at its clock before it was suspended.
    let pauses = || case.facts.lives.get(write.life).into_iter().flat_map(|life| &life.pauses);
    let soon = |from: Timestamp, to: Timestamp| from <= to && to.duration_since(from) <= slack;
    let at_once = |since: Timestamp| {
        soon(since, sent) || pauses().any(|[from, to]| soon(to.at, sent) && soon(since, from.at))
    };
    let fresh = |reading: &&&Exchange| {
        sent.duration_since(reading.sent.at) <= FRESH + slack
            || reading.ended_at().is_some_and(|ended| at_once(ended.at))
    };
    let Some(reading) = readings.iter().rfind(fresh) else {
        return Some("without a reading of the flag within a second".into());
    };
    if planned.is_some_and(|planned| reading.sent.at + slack < planned) {
        return Some("the flag was not read since the plan was written".into());
    }
    if !is_known(case) {
        return None;
    }
    // What it was shown a moment ago need not have been noticed.
    let off = [sent - slack, sent].into_iter().all(|until| was_seen_off(case, write, kind, &readings, until));
    off.then(|| "the flag had been seen to be off".into())
}

/// Whether the flag was off by what the process had been shown until then. Only a read can switch it on; a watch can
/// switch it off.
fn was_seen_off(
    case: &Case<'_>,
    write: &Exchange,
    kind: Kind,
    readings: &[&Exchange],
    until: Timestamp,
) -> bool {
    let settings = settings(case, kind);
    let at = |revision: u64| {
        settings.iter().rfind(|change| change.revision <= revision).map_or(Setting::Off, |change| change.is)
    };
    let mut newest: Option<(u64, Setting)> = None;
    let mut take_in = |revision: u64, is: Setting| {
        if newest.is_none_or(|(known, _)| known <= revision) {
            newest = Some((revision, is));
        }
    };
    let mut last = None;
    for reading in readings.iter().filter(|e| e.ended_at().is_some_and(|ended| ended.at <= until)) {
        let object = reading.answer().and_then(|answer| answer.object.as_ref());
        let is = object.map_or(Setting::Off, |(_, revision)| at(*revision));
        last = Some(is);
        if let Some((_, revision)) = object {
            take_in(*revision, is);
        }
    }
    let name = &case.facts.settings.meta_configmap;
    let own = case.facts.sights.iter().filter(|s| s.life == write.life && s.when < write.sent);
    for sight in own.filter(|s| s.resource == "configmaps" && s.name == *name && s.when.at <= until) {
        take_in(sight.revision, if sight.deleted { Setting::Off } else { at(sight.revision) });
    }
    let is_off = |is: Setting| is != Setting::On;
    last.is_some_and(is_off) || newest.is_some_and(|(_, is)| is_off(is))
}

/// When the process that writes has sent the plan, if it was the one.
fn plan_sent(case: &Case<'_>, write: &Exchange) -> Option<Timestamp> {
    let for_it = case.bulks.iter().filter(|bulk| {
        let item = || kind_of(&write.resource).and_then(|kind| bulk.item(kind, &write.name));
        let names = || bulk.namespace == write.namespace && item().is_some();
        write.asker().map_or_else(names, |uid| uid == bulk.uid)
    });
    let mut earliest: Option<Timestamp> = None;
    for bulk in for_it {
        let sent = plan_sent_by(case, bulk, write.life)?;
        earliest = Some(earliest.map_or(sent, |earliest| earliest.min(sent)));
    }
    earliest
}

/// When this process has first sent the plan, if it was the one that planned.
pub fn plan_sent_by(case: &Case<'_>, bulk: &Bulk<'_>, life: usize) -> Option<Timestamp> {
    let own = case.about("bulkupdates", bulk.namespace, bulk.name).iter();
    // What is guarded by the plan, or by a later record, is a report. (The API server need not say who made the plan:
    // of a process that was killed it may have carried out a request whose connection was closed.)
    let planned_at = bulk.plan().map(|plan| plan.version.revision);
    let is_report =
        |e: &Exchange| planned_at.zip(e.guard_number()).is_some_and(|(plan, guard)| guard >= plan);
    let plans = |e: &&&Exchange| {
        e.life == life
            && e.is_record()
            && !is_report(e)
            && e.body.pointer("/metadata/uid").is_none_or(|uid| uid == bulk.uid)
            && e.body.pointer("/status/summary/planned").is_some_and(|n| *n != 0)
    };
    // One that was planned by an earlier process has no plan of this one.
    let maker = bulk.plan().and_then(|record| case.maker(record.version.revision));
    let is_own = maker.is_none_or(|maker| maker.life == Some(life));
    own.into_iter().find(plans).filter(|_| is_own).map(|plan| plan.sent.at)
}

/// Writes that arrive long after the flag was switched off.
fn late(case: &Case<'_>, violations: &mut Violations) {
    let others = &case.facts.others;
    let Some(time) = others.cancelled.filter(|_| !others.switched_off.is_empty()) else { return };
    let off = |plural: &str| kind_of(plural).is_some_and(|kind| others.switched_off.contains(&kind));
    for r in case.requests().filter(|r| r.is_target_write() && !r.delayed && off(&r.resource)) {
        if r.received > time + EMERGENCY_STOP {
            let (verb, name, at) = (&r.verb, &r.name, r.received);
            violations.say("10", format!("{verb} of {name} at {at}, the flag was switched off at {time}"));
        }
    }
}
