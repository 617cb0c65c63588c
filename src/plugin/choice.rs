//! Which of the listed objects are chosen, and which of those are eligible: the operator's own rules, applied to what the list has
//! shown. The operator decides again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;

use crate::{
    api::{Kind, State, TargetStatus},
    bulk_update::{Ineligible, Rules, applies},
    observed::{Observed, Target},
};

/// An object that was chosen and is eligible, as its user saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub namespace: Arc<str>,
    pub id: Box<str>,
    pub uid: Box<str>,
    pub state: State,
    /// Since when it is in its state, in seconds since 1970, if that is known.
    pub since: Option<i64>,
    /// Whether it has to be stopped before it can be deleted.
    pub stops: bool,
}

/// What to do, and with which of the objects that the API server has selected.
#[derive(Clone, Debug)]
pub struct Criteria {
    pub kind: Kind,
    pub operation: TargetStatus,
    /// The states that were asked for; empty if any.
    pub states: Vec<State>,
    pub older_than: Option<Duration>,
    pub created_before: Option<Timestamp>,
    /// Whether what runs is stopped before it is deleted.
    pub stop_first: bool,
    /// Whether COMPLETED ones are left to the operator, which alone knows whether it deletes them.
    pub delete_completed: bool,
}

/// What is to become of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Eligible(Candidate),
    /// It was chosen, or may have been, and nothing is done to it for this reason.
    LeftOut(String),
    /// It was not asked for.
    NotChosen,
}

impl Criteria {
    /// Any object that is eligible by the AI API's rules.
    pub const fn any(kind: Kind, operation: TargetStatus) -> Self {
        Self {
            kind,
            operation,
            states: Vec::new(),
            older_than: None,
            created_before: None,
            stop_first: false,
            delete_completed: false,
        }
    }

    const fn rules(&self) -> Rules {
        Rules { delete_completed: self.delete_completed }
    }

    /// Decides about one object; `now` is the earliest time that it may be.
    pub fn assess(&self, object: &Observed, now: Timestamp) -> Verdict {
        let target = Target::from(object);
        let state = target.state.clone();
        if !self.states.is_empty() && !state.as_ref().is_ok_and(|state| self.states.contains(state)) {
            return Verdict::NotChosen;
        }
        if self.created_before.is_some_and(|time| target.created >= time.as_second()) {
            return Verdict::NotChosen;
        }
        let since = since(object);
        if let Some(age) = self.older_than {
            let Some(since) = since else {
                return Verdict::LeftOut(
                    "it is not known since when it is in its state (no status.stateTime or completionTime)"
                        .into(),
                );
            };
            if now.duration_since(since).as_secs() < i64::try_from(age.as_secs()).unwrap_or(i64::MAX) {
                return Verdict::NotChosen;
            }
        }
        let verdict = applies(&target, self.kind, self.operation, self.rules());
        let stops = applies(&target, self.kind, TargetStatus::Stopped, self.rules()).is_ok();
        if let Err(why) = verdict
            && !(self.stop_first && (stops || is_stopping(&target)))
        {
            return Verdict::LeftOut(sentence(&why));
        }
        let (namespace, id) = object.key();
        Verdict::Eligible(Candidate {
            namespace: namespace.into(),
            id: id.into(),
            uid: target.uid,
            state: state.unwrap_or(State::Unknown),
            since: since.map(Timestamp::as_second),
            stops,
        })
    }
}

/// Whether it is on its way to be stopped: somebody has asked for it, and it has not come to an end yet.
pub fn is_stopping(target: &Target) -> bool {
    let asked = matches!(target.state, Ok(State::Pending | State::Running)) && target.stop_asked;
    !target.terminating && (target.state == Ok(State::Stopping) || asked)
}

/// Since when it is in its state, if that is known.
pub fn since(object: &Observed) -> Option<Timestamp> {
    let time = |name| object.status_text(name)?.parse::<Timestamp>().ok();
    time("stateTime").or_else(|| time("completionTime"))
}

/// Whether what is asked for is on its way, or done.
fn is_under_way(object: &Observed, operation: TargetStatus) -> bool {
    let target = Target::from(object);
    let stopped =
        operation == TargetStatus::Stopped && (is_stopping(&target) || target.state == Ok(State::Stopped));
    target.terminating || stopped
}

/// Why nothing is done, for people.
fn sentence(why: &Ineligible) -> String {
    match why {
        Ineligible::WrongState { state, takes } => format!("{}: {takes}", state.word()),
        Ineligible::StopPending => "a stop was requested already".into(),
        Ineligible::Terminating => "being deleted already".into(),
        Ineligible::Unreadable(why) => format!("cannot be understood: {why}"),
        why => why.message().unwrap_or_else(|| why.reason().to_string()),
    }
}

/// What was chosen.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// What is eligible, by namespace and name once all is listed.
    pub candidates: Vec<Candidate>,
    /// How many were left out, for each reason; with their names if these are kept.
    pub left_out: BTreeMap<String, LeftOut>,
    /// Whether a name that was given could not be found.
    pub incomplete: bool,
    names_kept: bool,
}

/// What was left out for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub count: usize,
    pub names: Vec<String>,
}

impl Choice {
    /// Nothing yet; keeps the names of what is left out only if they are to be shown.
    pub fn new(names_kept: bool) -> Self {
        Self { names_kept, ..Self::default() }
    }

    pub fn add(&mut self, verdict: Verdict, namespace: &str, id: &str) {
        match verdict {
            Verdict::Eligible(candidate) => self.candidates.push(self.shared(candidate)),
            Verdict::LeftOut(why) => self.leave_out(why, namespace, id),
            Verdict::NotChosen => {}
        }
    }

    /// Adds one that was named, and so is meant to be done: one that is left out is missing, unless that is being done already.
    pub fn add_named(&mut self, criteria: &Criteria, object: &Observed, now: Timestamp) {
        let (verdict, (namespace, id)) = (criteria.assess(object, now), object.key());
        self.incomplete |=
            matches!(verdict, Verdict::LeftOut(_)) && !is_under_way(object, criteria.operation);
        self.add(verdict, namespace, id);
    }

    pub fn leave_out(&mut self, why: String, namespace: &str, id: &str) {
        let left = self.left_out.entry(why).or_default();
        left.count += 1;
        if self.names_kept {
            left.names.push(format!("{namespace}/{id}"));
        }
    }

    /// One text for the namespace of neighbours: a hundred thousand candidates have few.
    fn shared(&self, mut candidate: Candidate) -> Candidate {
        if let Some(last) = self.candidates.last()
            && last.namespace == candidate.namespace
        {
            candidate.namespace = Arc::clone(&last.namespace);
        }
        candidate
    }

    /// Sorts by namespace and name, and leaves out what two pages of a list have brought twice.
    pub fn complete(&mut self) {
        self.candidates.sort_by(|a, b| (&a.namespace, &a.id, &a.uid).cmp(&(&b.namespace, &b.id, &b.uid)));
        // Of one that was replaced meanwhile, only one of the two can be meant, and nobody knows which: the operator would refuse one.
        self.candidates.dedup_by(|a, b| (&a.namespace, &a.id) == (&b.namespace, &b.id));
        self.candidates.shrink_to_fit();
    }

    pub fn left_out_count(&self) -> usize {
        self.left_out.values().map(|left| left.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn criteria(operation: TargetStatus) -> Criteria {
        Criteria::any(Kind::Execution, operation)
    }

    fn object(status: &serde_json::Value) -> Observed {
        let metadata = json!({"namespace": "team-a", "name": "run-1", "uid": "u-1", "resourceVersion": "5",
            "creationTimestamp": "2026-11-01T00:00:00Z"});
        serde_json::from_value(json!({"metadata": metadata, "spec": {}, "status": status})).unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-30T00:00:00Z".parse().unwrap()
    }

    fn is_eligible(criteria: &Criteria, status: &serde_json::Value) -> bool {
        matches!(criteria.assess(&object(status), now()), Verdict::Eligible(_))
    }

    #[test]
    fn what_the_operator_would_refuse_is_left_out_with_the_reason() {
        let (stop, delete) = (criteria(TargetStatus::Stopped), criteria(TargetStatus::Deleted));
        for (state, stops, deletes) in [
            ("UNKNOWN", false, true),
            ("PENDING", true, false),
            ("RUNNING", true, false),
            ("COMPLETED", false, false),
            ("DEAD", false, true),
            ("STOPPING", false, false),
            ("STOPPED", false, true),
            ("NEWER", false, false),
        ] {
            let status = || json!({"state": state});
            assert_eq!(
                (is_eligible(&stop, &status()), is_eligible(&delete, &status())),
                (stops, deletes),
                "{state}"
            );
        }
        let why = |status: &_| stop.assess(&object(status), now());
        let completed = "COMPLETED: only PENDING or RUNNING can be stopped";
        assert_eq!(why(&json!({"state": "COMPLETED"})), Verdict::LeftOut(completed.into()));
        let asked = json!({"state": "RUNNING", "targetStatus": "STOPPED"});
        assert_eq!(why(&asked), Verdict::LeftOut("a stop was requested already".into()));
    }

    #[test]
    fn who_names_the_state_completed_leaves_the_decision_to_the_operator() {
        let mut delete = criteria(TargetStatus::Deleted);
        (delete.states, delete.delete_completed) = (vec![State::Completed], true);
        assert!(is_eligible(&delete, &json!({"state": "COMPLETED"})));
        assert_eq!(delete.assess(&object(&json!({"state": "DEAD"})), now()), Verdict::NotChosen);
    }

    #[test]
    fn the_age_is_that_of_the_state_and_never_that_of_the_object() {
        let mut delete = criteria(TargetStatus::Deleted);
        delete.older_than = Some(Duration::from_hours(7 * 24));
        let dead = |time: &str, value: &str| json!({"state": "DEAD", time: value});
        assert!(is_eligible(&delete, &dead("stateTime", "2026-11-23T00:00:00Z")));
        assert!(is_eligible(&delete, &dead("completionTime", "2026-11-23T00:00:00Z")));
        let younger = dead("stateTime", "2026-11-23T00:00:01Z");
        assert_eq!(delete.assess(&object(&younger), now()), Verdict::NotChosen);
        // That it ended long ago says nothing about when it became DEAD.
        let both = json!({"state": "DEAD", "stateTime": "2026-11-29T00:00:00Z", "completionTime": "2026-11-01T00:00:00Z"});
        assert_eq!(delete.assess(&object(&both), now()), Verdict::NotChosen);
        for unknown in [json!({"state": "DEAD"}), dead("stateTime", "long ago")] {
            assert!(
                matches!(delete.assess(&object(&unknown), now()), Verdict::LeftOut(why) if why.contains("stateTime"))
            );
        }
    }

    #[test]
    fn what_was_created_in_the_second_of_the_bound_or_later_is_not_chosen() {
        let mut delete = criteria(TargetStatus::Deleted);
        for (bound, chosen) in [("2026-11-01T00:00:00Z", false), ("2026-11-01T00:00:01Z", true)] {
            delete.created_before = Some(bound.parse().unwrap());
            assert_eq!(is_eligible(&delete, &json!({"state": "DEAD"})), chosen, "{bound}");
        }
    }

    #[test]
    fn what_can_be_stopped_can_be_deleted_after_that() {
        let mut delete = criteria(TargetStatus::Deleted);
        delete.stop_first = true;
        let stopping = json!({"state": "RUNNING", "targetStatus": "STOPPED"});
        for status in
            [json!({"state": "RUNNING"}), json!({"state": "STOPPING"}), stopping, json!({"state": "DEAD"})]
        {
            assert!(is_eligible(&delete, &status), "{status}");
        }
        assert!(!is_eligible(&delete, &json!({"state": "COMPLETED"})));
        assert!(!is_eligible(&delete, &json!({"state": "NEWER"})));
    }

    #[test]
    fn what_has_stopped_is_not_stopping_even_if_that_was_asked_for() {
        let stopping = |status: &_| is_stopping(&Target::from(&object(status)));
        for (state, asked, wanted) in [
            ("RUNNING", true, true),
            ("PENDING", true, true),
            ("STOPPING", false, true),
            ("RUNNING", false, false),
            ("STOPPED", true, false),
            ("COMPLETED", true, false),
            ("NEWER", true, false),
        ] {
            let mut status = json!({"state": state});
            if asked {
                status["targetStatus"] = "STOPPED".into();
            }
            assert_eq!(stopping(&status), wanted, "{state}");
        }
    }

    #[test]
    fn an_object_is_chosen_once_and_in_order() {
        let mut choice = Choice::new(false);
        for id in ["run-2", "run-1", "run-2"] {
            let (namespace, uid) = ("team-a".into(), "u".into());
            let candidate =
                Candidate { namespace, id: id.into(), uid, state: State::Dead, since: None, stops: false };
            choice.add(Verdict::Eligible(candidate), "team-a", id);
        }
        choice.complete();
        assert_eq!(choice.candidates.iter().map(|c| &*c.id).collect::<Vec<_>>(), ["run-1", "run-2"]);
    }
}
