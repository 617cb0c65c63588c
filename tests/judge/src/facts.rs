//! The input of the judge: what is known of a run, from anybody but the operator. What is not known
//! stays empty, and then what depends on it is not judged.
//!
//! All times are of one clock, the API server's. [`Moment`]s are of what crosses the wire of the processes, and have an
//! order even where time does not pass.

use ai_api_operator::api::{Kind, TargetStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::json::Json;

/// All that is known of one run.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub settings: Settings,
    pub tolerances: Tolerances,
    /// Every stored version of BulkUpdates, Executions and Deployments, of the flag's ConfigMap, and, where the shipped
    /// setup runs, of the Lease, the admission policy and its binding, and Events; in the order of their revisions.
    pub versions: Vec<Version>,
    /// Every request that the API server has answered, of the operator and, if they are known, of all others; in the
    /// order in which they were received.
    pub requests: Vec<Request>,
    /// The processes, in the order in which they started.
    pub lives: Vec<Life>,
    /// What these have sent, in order. Empty if that is not known.
    pub exchanges: Vec<Exchange>,
    /// The objects that lists and watches have shown them, in order. Empty if that is not known.
    pub sights: Vec<Sight>,
    /// What callers of the gateway got.
    pub calls: Vec<Call>,
    pub others: Others,
    /// What has to be the outcome, if only the operator has changed anything and no fault took time that an item needed.
    pub calm: Option<Calm>,
    /// Since when nothing has failed any more, a process was running, and nobody but the operator has changed anything.
    pub quiet_since: Option<Timestamp>,
    /// When the run was over. After this nothing is known.
    pub end: Option<Timestamp>,
}

/// How the operator was started.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "they are independent")]
pub struct Settings {
    /// Its own namespace, with the flag and the Lease.
    pub namespace: String,
    pub meta_configmap: String,
    /// The namespaces that it watches. Empty if it watches all.
    pub watch_namespaces: Vec<String>,
    pub delete_completed: bool,
    /// Whether nothing is planned that the admission policy does not cover.
    pub require_admission_policy: bool,
    /// Whether replicas elect a leader by a Lease.
    pub elects: bool,
    /// Whether nothing is stored that the shipped CRDs refuse.
    pub keeps_the_schema: bool,
    pub max_in_flight: usize,
    pub lease_duration: SignedDuration,
    pub renew_deadline: SignedDuration,
    pub retry_period: SignedDuration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: "ai-api-system".into(),
            meta_configmap: "ai-api-meta".into(),
            watch_namespaces: Vec::new(),
            delete_completed: false,
            require_admission_policy: true,
            elects: true,
            keeps_the_schema: false,
            max_in_flight: 16,
            lease_duration: SignedDuration::from_secs(15),
            renew_deadline: SignedDuration::from_secs(10),
            retry_period: SignedDuration::from_secs(2),
        }
    }
}

/// How inexact the times are. (Nearly) zero in a simulation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tolerances {
    /// How much later than it happened a version's time may be.
    pub observer: SignedDuration,
    /// How long a request may take from the operator's last check to the API server. Not used for a request whose
    /// [`Exchange`] is known.
    pub in_transit: SignedDuration,
    /// How long it may take from the wire to the operator's decisions: what it was shown within this time before it sends
    /// something need not have been noticed. Where it is not known what it was shown: from the observer.
    pub operator: SignedDuration,
    /// How far the operator's estimate of the API server's clock may be from it, beyond the second that the `Date` of an
    /// answer leaves open.
    pub clock: SignedDuration,
}

/// A time, and an order among all moments of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Moment {
    /// What happened earlier has a smaller number.
    pub nth: u64,
    pub at: Timestamp,
}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nth.cmp(&other.nth)
    }
}

/// An object at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// The revision that made this change.
    pub revision: u64,
    /// The plural, such as `executions`.
    pub plural: String,
    /// Empty for an object of the cluster.
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The object is gone from here on, and was like this.
    pub deleted: bool,
    pub object: Json,
    /// When it was stored, or seen to be.
    pub at: Timestamp,
}

/// One request as the API server received it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The process that sent it: an index into [`Facts::lives`]. None if it was somebody else.
    pub life: Option<usize>,
    /// What it is for the process that sent it: an index into [`Facts::exchanges`].
    pub exchange: Option<usize>,
    pub user: String,
    pub agent: String,
    pub verb: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    /// Of a request to create an object, the name in the body.
    pub name: String,
    pub body: Json,
    pub dry_run: bool,
    pub code: u16,
    pub received: Timestamp,
    pub answered: Timestamp,
    /// The revision that it made. None if it made none, or if that is not known.
    pub revision: Option<u64>,
    /// Whether somebody on the way held it up, or sent it again: then it says nothing about when it was sent. Not needed
    /// where `exchange` is known.
    pub delayed: bool,
}

/// What runs in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Program {
    #[default]
    Operator,
    Gateway,
}

/// A process, from start to end.
#[derive(Clone, Debug, Default)]
pub struct Life {
    pub program: Program,
    /// Its user agent, and its name in the Lease.
    pub name: String,
    pub started: Moment,
    /// None if it ran until the end.
    pub ended: Option<Moment>,
    /// Whether it ended without being asked: killed, or crashed.
    pub killed: bool,
    /// When it was asked to end.
    pub asked_to_end: Option<Moment>,
    /// When it was suspended, and continued. What it had sent by then had passed all checks.
    pub pauses: Vec<[Moment; 2]>,
    /// Its log, a line each.
    pub log: Option<Vec<String>>,
}

/// One request as a process sent it.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    pub life: usize,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, as the API server names them.
    pub verb: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub body: Json,
    pub dry_run: bool,
    pub sent: Moment,
    /// When the process knew how it ended, and how. None if it never did: it died first. Of a watch, the start of its
    /// answer.
    pub ended: Option<(Moment, Answer)>,
}

/// How a request ended for the process that sent it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Answer {
    Whole(Whole),
    /// None, half of one, or one that cannot be understood; or the process gave up waiting.
    #[default]
    None,
    /// There was no connection: the API server has not seen it.
    NotSent,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Whole {
    pub code: u16,
    /// What it asks to wait, in seconds, in its header or body.
    pub retry_after: Option<u64>,
    /// The object that it has, if it has one: uid and resourceVersion.
    pub object: Option<(String, u64)>,
    /// Of a 404: whether it names the object.
    pub names_object: bool,
}

/// An object that a list or a watch has shown a process.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    pub life: usize,
    pub when: Moment,
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Of a DELETED event: the revision of the deletion.
    pub revision: u64,
    pub deleted: bool,
    /// Whether it was in a list (or the initial events of a watch), and not the news of a running watch.
    pub listed: bool,
}

/// A request to the gateway, and its answer.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub user: String,
    pub namespace: String,
    /// What it asks for; empty for anything but a modification.
    pub items: Vec<(Kind, String, TargetStatus)>,
    /// PATCH of a list, as opposed to PATCH and DELETE of one.
    pub bulk: bool,
    pub request_id: String,
    pub sent: Timestamp,
    /// None if there never was one.
    pub answered: Option<Timestamp>,
    pub code: u16,
    pub body: Value,
}

/// What others than the operator did, and what happened to its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "they are independent")]
pub struct Others {
    /// The objects that others have deleted, by uid.
    pub deleted: Vec<String>,
    /// The BulkUpdates, by uid, whose status somebody else has written.
    pub forged: Vec<String>,
    /// The revisions of these statuses.
    pub forged_at: Vec<u64>,
    /// The kinds whose flag was off, or could not be understood, at some time.
    pub switched_off: Vec<Kind>,
    /// When the flag was first switched off or the only BulkUpdate deleted.
    pub cancelled: Option<Timestamp>,
    /// Whether anything was done to the policy or its binding.
    pub changed_policy: bool,
    /// Whether the Lease was changed by anybody but the replicas.
    pub changed_lease: bool,
    /// Whether any request, watch or process was disturbed.
    pub disturbed: bool,
    /// Whether a watch was disturbed: what it shows may be old.
    pub blind: bool,
}

/// What a run that nothing disturbs has to come to.
#[derive(Clone, Debug, Default)]
pub struct Calm {
    /// Of the only BulkUpdate: `Settled`, `Refused WrongState`, and so on.
    pub outcomes: Vec<(Kind, String, String)>,
    /// The objects that have to be stopped or deleted, each once.
    pub written: Vec<String>,
    /// Whether no fault happened at all, so that the number of requests has its bound.
    pub undisturbed: bool,
}
