//! The next step of a planned item. The checks are in the order of the tables in docs/architecture.md: the first row
//! that matches applies.

use std::sync::Arc;

use crate::{
    api::{ItemResult, ItemStatus, Reason, TargetStatus},
    bulk_update::{
        decide::eligible::{Ineligible, ItemPlanning, is_older, plan_item, verdict},
        facts::{Deadline, Gate, Lookup, Obstacle, Rules},
        request::{Item, Request},
        work::{Entry, ItemPlan, UnresolvedWrite, about, accepted_delete, accepted_stop},
    },
    observed::target::Target,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing for now, and why if something has to be waited for.
    Hold(Option<Obstacle>),
    Read,
    /// Write to the target as it was seen.
    Write(Arc<Target>),
    /// This is the item's new entry; with the object that a new plan is based on, if it is one.
    Become(ItemPlan),
}

/// What applies to every item of a BulkUpdate.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub request: &'a Request,
    pub deadline: Deadline,
    pub rules: Rules,
}

pub fn next_step(terms: Terms<'_>, entry: &Entry, lookup: &Lookup, gate: &Gate) -> Step {
    let Some(record) = entry.record.as_ref().filter(|_| !entry.progress.in_flight) else {
        return Step::Hold(None);
    };
    let (found, live) = lookup.object();
    if live && found.is_some_and(|found| found.uid.is_empty()) {
        // It may be the object that was planned: it counts neither as that one nor as another.
        let lookup =
            Lookup::Failed(Obstacle::NoUid { kind: entry.item.kind, id: Arc::clone(&entry.item.id) });
        return next_step(terms, entry, &lookup, gate);
    }
    match record.result {
        ItemResult::Planned => {
            let planned = Planned { terms, entry, record };
            planned.by_object(lookup).unwrap_or_else(|| planned.by_gate(lookup, gate))
        }
        ItemResult::Scheduled => scheduled(terms, entry, record, lookup),
        ItemResult::Eligible | ItemResult::Settled | ItemResult::Refused | ItemResult::Failed => {
            Step::Hold(None)
        }
    }
}

struct Planned<'a> {
    terms: Terms<'a>,
    entry: &'a Entry,
    record: &'a ItemStatus,
}

impl Planned<'_> {
    fn item(&self) -> &Item {
        &self.entry.item
    }

    fn becomes(&self, result: ItemResult, reason: Option<Reason>, message: Option<Arc<str>>) -> Step {
        becomes(ItemStatus { result, reason, message, ..self.record.clone() })
    }

    /// The rows that depend on the object; `None` if none matches.
    fn by_object(&self, lookup: &Lookup) -> Option<Step> {
        if matches!(lookup, Lookup::Failed(_)) {
            return None;
        }
        let (target, live) = lookup.object();
        if !live && self.entry.progress.must_read {
            return Some(Step::Read);
        }
        let planned = target.filter(|t| self.record.uid.as_deref() == Some(&*t.uid));
        let stop = self.item().target == TargetStatus::Stopped;

        if let Some(target) = planned
            && stop
            && target.stop_request.as_deref() == Some(&*self.terms.request.uid)
        {
            return Some(becomes(accepted_stop(self.record, target)));
        }
        if let Some(target) = planned
            && !stop
            && target.terminating
        {
            // The cache may have shown an older object of that name; this one, which is terminating, is live.
            let scheduled = becomes(accepted_delete(self.record, target));
            return Some(if live { scheduled } else { Step::Read });
        }
        let against = match (planned, target) {
            (Some(target), _) => {
                verdict(self.terms.request, self.item(), Some(target), self.terms.rules).err()?
            }
            (None, _) if !live => return Some(Step::Read),
            // The object that was meant: the plan was based on a stale cache.
            (None, Some(other))
                if self.item().uid.is_none()
                    && self.entry.progress.unresolved != UnresolvedWrite::NotFound
                    && is_older(self.terms.request, other) =>
            {
                return Some(self.plan_again(lookup));
            }
            (None, _) if !stop => {
                return Some(self.becomes(ItemResult::Settled, Some(Reason::Gone), None));
            }
            (None, Some(_)) => Ineligible::Replaced,
            (None, None) => Ineligible::Gone,
        };
        if !live {
            return Some(Step::Read);
        }
        let entry = planned.map_or_else(|| self.record.clone(), |t| about(self.record.clone(), t));
        let (reason, message) = (Some(against.reason()), against.message().map(Into::into));
        Some(becomes(ItemStatus { result: ItemResult::Failed, reason, message, ..entry }))
    }

    fn plan_again(&self, lookup: &Lookup) -> Step {
        match plan_item(self.terms.request, self.item(), lookup, self.terms.rules) {
            ItemPlanning::Planned(plan) => Step::Become(plan),
            ItemPlanning::Read => Step::Read,
            ItemPlanning::Wait(why) => Step::Hold(Some(why)),
        }
    }

    /// The rows that depend on whether writes are allowed at all.
    fn by_gate(&self, lookup: &Lookup, gate: &Gate) -> Step {
        let deadline = self.terms.deadline;
        let progress = &self.entry.progress;
        let end: Option<(Reason, Arc<str>)> = match (gate, deadline) {
            (Gate::Closed(why), _) => Some((Reason::BulkUpdatesDisabled, why.to_string().into())),
            (_, Deadline::Active) => {
                Some((Reason::DeadlineExceeded, "activeDeadlineSeconds had passed".into()))
            }
            (_, Deadline::NotAfter) => Some((Reason::DeadlineExceeded, "notAfter had passed".into())),
            _ => progress.failed.refused.clone(),
        };
        let (target, _) = lookup.object();
        if let Some((reason, message)) = end {
            let open = match (progress.unresolved, target) {
                // An unanswered write whose guard is out of date cannot be applied any more.
                (UnresolvedWrite::Guarded(version), Some(target)) => Some(version) == target.version(),
                (UnresolvedWrite::None | UnresolvedWrite::Rejected | UnresolvedWrite::NotFound, _) => false,
                (UnresolvedWrite::Guarded(_) | UnresolvedWrite::Unknown, _) => true,
            };
            let refused =
                matches!(progress.unresolved, UnresolvedWrite::Rejected | UnresolvedWrite::NotFound);
            // Without the right to write, the right to read may be missing, too.
            let can_be_read = reason != Reason::Forbidden;
            return match lookup {
                // The object decides; it is read until that succeeds or a deadline passes.
                Lookup::Cached(_) if open || refused => Step::Read,
                Lookup::Failed(why) if (open || (refused && can_be_read)) && deadline == Deadline::Ahead => {
                    Step::Hold(Some(why.clone()))
                }
                _ if !open => self.becomes(ItemResult::Failed, Some(reason), Some(message)),
                _ => {
                    let message = "a write may have been sent and got no answer; check the object".into();
                    self.becomes(ItemResult::Failed, Some(Reason::OutcomeUnknown), Some(message))
                }
            };
        }
        match (lookup, gate, target) {
            (Lookup::Failed(why), ..) | (_, Gate::Unknown(why), _) => Step::Hold(Some(why.clone())),
            (.., Some(target)) => Step::Write(target.clone()),
            (.., None) => Step::Read,
        }
    }
}

fn becomes(record: ItemStatus) -> Step {
    Step::Become(ItemPlan { record, based_on: None })
}

fn scheduled(terms: Terms<'_>, entry: &Entry, record: &ItemStatus, lookup: &Lookup) -> Step {
    let progress = &entry.progress;
    let stop = entry.item.target == TargetStatus::Stopped;
    let gone = || {
        let message = stop.then(|| "it was deleted before the stop took effect".into());
        becomes(ItemStatus { result: ItemResult::Settled, message, ..record.clone() })
    };

    let (target, live) = lookup.object();
    let ours = target.filter(|t| record.uid.as_deref() == Some(&*t.uid));
    if progress.gone || (live && ours.is_none()) {
        return gone();
    }
    if stop && let Some(target) = ours {
        // An object older than the answer to the write says nothing about it. After a restart the answer's version is
        // not known; an object that shows this BulkUpdate's stop is newer.
        let current = match progress.written {
            Some(version) => target.version().is_none_or(|seen| seen >= version),
            None => live || target.stop_request.as_deref() == Some(&*terms.request.uid),
        };
        let now = accepted_stop(record, target);
        if now.result == ItemResult::Settled && (current || progress.written.is_none()) {
            return if current { becomes(now) } else { Step::Read };
        }
    }
    let passed = terms.deadline == Deadline::Active;
    // Or it is missing from the cache, and no watch reported a deletion.
    if matches!(lookup, Lookup::Cached(_)) && (ours.is_none() || progress.must_read || passed) {
        return Step::Read;
    }
    if passed {
        let message = format!("{} was accepted and may still take effect", entry.item.target.word());
        return becomes(ItemStatus {
            result: ItemResult::Failed,
            reason: Some(Reason::NotSettledInTime),
            message: Some(message.into()),
            ..record.clone()
        });
    }
    Step::Hold(if let Lookup::Failed(why) = lookup { Some(why.clone()) } else { None })
}
