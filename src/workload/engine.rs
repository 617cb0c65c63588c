//! What an engine is: a kind of object that runs what an Execution or Deployment asks for, and a pure function from such an
//! object to what is [`Seen`] of it. It sends nothing, and knows nothing of Executions: what follows from what is seen is the
//! same for all engines.

use k8s_openapi::jiff::Timestamp;
use serde_json::value::RawValue;

use crate::{api::EngineKind, decode::json::Malformed};

/// One kind of object that can run what an Execution or Deployment asks for.
#[derive(Debug)]
pub struct Engine {
    /// Its row in the table of the API: group, version, kind and plural.
    pub kind: EngineKind,
    /// Which names its objects, and what is made of them, can have.
    pub names: Names,
    /// Whether Kueue, where it runs, decides when its objects run: those with the label of a queue.
    pub queued_by_kueue: bool,
    /// Why a stop that was requested may not take hold, and what to do; absent where that may take any time.
    pub ignored: Option<&'static str>,
    /// The Pods that an object with this name may have left behind if it is gone; absent where its end is no stop.
    pub left_behind: Option<fn(&str) -> PodSelector>,
    /// Reads an object.
    pub observe: fn(&Parts<'_>) -> Result<Seen, Malformed>,
    /// Which Pods are an object's: those of any of these.
    pub pods: fn(&Parts<'_>) -> Result<Vec<PodSelector>, Malformed>,
}

/// Which names an engine's objects can have. (All are names of Kubernetes objects.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// The longest, in bytes.
    pub longest: usize,
    /// Whether it has to be a DNS label that begins with a letter (RFC 1035).
    pub letter_first: bool,
}

/// The parts of an object that an engine reads.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    pub name: &'a str,
    pub uid: &'a str,
    pub metadata: Option<&'a RawValue>,
    pub spec: Option<&'a RawValue>,
    pub status: Option<&'a RawValue>,
}

/// What is seen of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub phase: Phase,
    /// Why it has this phase, in the engine's own words: a reason, a sentence, or both; at most 512 bytes.
    pub message: Option<Box<str>>,
    /// When it started to run, as far as the object still says so.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// Where a model is served.
    pub url: Option<Box<str>>,
    pub stop: Stop,
    pub pods: Pods,
}

/// How far the work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It does not run yet.
    Pending,
    /// It runs, or serves.
    Running,
    /// It has ended successfully; final.
    Completed,
    /// It has failed; final.
    Dead,
    /// A stop has taken hold, as far as the object says; its Pods may still be there.
    Stopped,
}

/// Whether a stop was requested of the object, and how to request it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It was not: this patch requests it.
    By(&'static StopPatch),
    /// It was.
    Requested,
    /// It cannot be stopped: why, and how to end it.
    Impossible(&'static str),
}

/// The JSON merge patch that requests a stop; uid and resourceVersion are added when it is sent.
#[derive(Debug, PartialEq, Eq)]
pub struct StopPatch {
    /// The subresource that it is sent to; the object itself if absent.
    pub subresource: Option<&'static str>,
    /// The patch, as JSON.
    pub merge: &'static str,
}

/// Whether Pods are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pods {
    /// None is.
    Gone,
    /// Some are.
    Left,
    /// The object does not say: no Pod of any of these may be left, those that have ended aside ([`NOT_ENDED`]).
    Listed(Vec<PodSelector>),
}

/// The field selector of Pods that have not ended. One that has ended holds no GPU, and some engines keep it for its logs.
pub const NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Which Pods are an object's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSelector {
    /// A label selector.
    pub labels: String,
    /// Where Pods of others can have the same labels: the kind of the Pods' controller, and the name that its name was generated
    /// from.
    pub controller: Option<(&'static str, String)>,
}

impl PodSelector {
    /// All that match a label selector.
    pub fn labels(labels: String) -> Self {
        Self { labels, controller: None }
    }

    /// Whether a Pod that matches the labels is the object's, by kind and name of the Pod's controller.
    pub fn takes(&self, controller: Option<(&str, &str)>) -> bool {
        let Some((kind, name)) = &self.controller else { return true };
        controller.is_some_and(|(its_kind, its_name)| its_kind == *kind && generated_from(its_name, name))
    }
}

/// The longest name of a Kubernetes object, in bytes.
const LONGEST_NAME: usize = 253;

/// Whether `name` was generated from `base`: it is `base`, which may have been cut to fit, a hyphen, and a suffix without one.
fn generated_from(name: &str, base: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(begin, suffix)| {
        !suffix.is_empty() && (begin == base || name.len() == LONGEST_NAME && base.starts_with(begin))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_is_known_by_its_beginning() {
        assert!(generated_from("model-5d8f7c", "model"));
        assert!(generated_from("my-model-5d8f7c", "my-model"));
        for other in ["model", "model-", "model-canary-5d8f7c", "models-5d8f7c", "del-5d8f7c", ""] {
            assert!(!generated_from(other, "model"), "{other}");
        }
        let longest = "m".repeat(LONGEST_NAME);
        assert!(generated_from(&format!("{}-5d8f7c", &longest[7..]), &longest));
        assert!(!generated_from("m-5d8f7c", &longest));
    }

    #[test]
    fn the_controller_of_a_pod_counts_where_one_is_asked_for() {
        let labels = PodSelector::labels("app=model".into());
        assert!(labels.takes(None) && labels.takes(Some(("Job", "migration"))));
        let of_model = PodSelector { controller: Some(("ReplicaSet", "model".into())), ..labels };
        assert!(of_model.takes(Some(("ReplicaSet", "model-5d8f7c"))));
        for other in [None, Some(("Job", "model-5d8f7c")), Some(("ReplicaSet", "model-canary-5d8f7c"))] {
            assert!(!of_model.takes(other), "{other:?}");
        }
    }
}
