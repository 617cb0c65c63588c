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
    /// Reads an object.
    pub observe: fn(&Parts<'_>) -> Result<Seen, Malformed>,
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
    /// The object does not say: no Pod may match any of these label selectors.
    Listed(Vec<String>),
}
