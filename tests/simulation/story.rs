//! A story: all that happens in one life of the world beside what the operator does, as a list from which events can be taken
//! out.

use std::fmt;

use ai_api_operator::api::Kind;
use api_server::Kubernetes;
use serde_json::Value;
use support::call::{Call, Resource};

use crate::process::Clocks;

/// One life of the world.
#[derive(Clone, Debug)]
pub struct Story {
    pub seed: u64,
    pub setup: Setup,
    pub events: Vec<Event>,
}

/// What is there from the start.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "they are independent")]
pub struct Setup {
    pub kubernetes: Kubernetes,
    /// The clocks of the machine of each replica.
    pub replicas: Vec<Clocks>,
    pub gateway: bool,
    /// Whether objects have `managedFields`, which make everything slower.
    pub managed_fields: bool,
    /// Whether the processes write a log, for the judge to read.
    pub logs: bool,
    /// Whether the CRDs take anything, as those of a later version may.
    pub loose: bool,
    pub max_in_flight: usize,
    pub delete_completed: bool,
    pub require_admission_policy: bool,
    /// The namespaces that the operator watches; all if empty.
    pub watch_namespaces: Vec<String>,
    /// How long a message takes, in milliseconds: at least and at most.
    pub latency: (u64, u64),
    /// How far the processes may be behind each other, in milliseconds.
    pub slack: u64,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    pub when: When,
    pub what: What,
}

/// When it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At this moment, in milliseconds.
    At(u64),
    /// When a replica (or any) sends its nth request of a kind, counted over all its lives.
    On { slot: Option<usize>, call: Call, nth: usize },
}

/// What happens.
#[derive(Clone, Debug)]
pub enum What {
    /// A user creates a target.
    Create(Made),
    /// Somebody creates a BulkUpdate.
    Submit {
        namespace: &'static str,
        name: String,
        spec: Value,
        user: Who,
        uids: bool,
    },
    /// Somebody does something to a target, or to what a BulkUpdate names.
    Act {
        namespace: &'static str,
        kind: Kind,
        name: String,
        act: Act,
    },
    /// The same to a BulkUpdate.
    ActOnBulk {
        namespace: &'static str,
        name: String,
        act: BulkAct,
    },
    Admin(Admin),
    /// What happens to the request that triggers it.
    Fault(Fault),
    /// The same to each request of a kind (or of any) for so long.
    Weather {
        slot: Option<usize>,
        calls: Calls,
        fault: Fault,
        lasts: u64,
    },
    /// What watches of a resource do for so long.
    View {
        slot: Option<usize>,
        resource: Resource,
        view: View,
        lasts: u64,
    },
    Kill {
        slot: usize,
        back_after: u64,
    },
    Terminate {
        slot: usize,
        back_after: u64,
    },
    Suspend {
        slot: usize,
        lasts: u64,
    },
    /// The time of day of a machine is set.
    SetClock {
        slot: usize,
        by: i64,
    },
    /// The API server forgets older revisions: watches that start from these get 410.
    Compact,
    /// Somebody calls the gateway.
    Call(Called),
}

/// A target as it is created.
#[derive(Clone, Debug)]
pub struct Made {
    pub namespace: &'static str,
    pub kind: Kind,
    pub name: String,
    pub status: Value,
    /// Who runs it, if not the operator.
    pub controller: Option<Controller>,
    /// Whether a finalizer keeps it when it is deleted.
    pub kept: bool,
    pub odd: Option<Odd>,
}

/// How another controller follows a request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// After so many milliseconds.
    Stops(u64),
    /// Its work ends before it could be stopped.
    Completes(u64),
    /// Not before the end of all faults.
    Refuses,
}

/// What is odd about the metadata of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    ManyLabels,
    LongAnnotation,
    Owner,
}

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Admin,
    /// May do everything with bulk updates.
    Editor,
    /// May create BulkUpdates and stop, but not delete.
    Stopper,
    /// May only look.
    Viewer,
}

/// What somebody does to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Relabel,
    State(&'static str),
    AskToStop,
    /// Asks for a stop in the name of another BulkUpdate.
    AskToStopForAnother,
    /// Takes the request to stop back.
    TakeBack,
    Garbage,
    Delete,
    Recreate(&'static str),
    Finalize,
    Terminate,
    Free,
}

/// What somebody does to a BulkUpdate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkAct {
    Delete,
    Recreate,
    /// Deletes it, while a finalizer keeps it.
    Keep,
    Finalize,
    Relabel,
    TimeToLive(i32),
    Reorder,
    /// Puts an item of its own into the status.
    Widen,
    /// Takes the entries out of the status.
    Forget,
    /// Says that it has finished.
    Finish,
    /// Says that everything has settled.
    Pretend,
}

/// What an admin does.
#[derive(Clone, Debug)]
pub enum Admin {
    /// Sets the flag's text; without one it is deleted.
    Flag(Option<&'static str>),
    Policy(Guarded, GuardAct),
    /// Takes away the binding of the operator's `ClusterRole`.
    Rights(bool),
    /// The same for the Role in the operator's own namespace.
    OwnRights(bool),
    TakeLease,
    FreeLease,
    DeleteLease,
    /// Fills the Lease's annotations.
    FillLease,
    /// Puts something into the Lease that is not for there.
    SpoilLease,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    Policy,
    Binding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardAct {
    Delete,
    Restore,
    Weaken,
    Recreate,
}

/// Which requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    All,
    Leases,
    Targets,
    Writes,
    Reads,
    Watches,
}

impl Calls {
    pub fn include(self, call: Call) -> bool {
        match self {
            Self::All => true,
            Self::Leases => call.is_about_the_lease(),
            Self::Targets => {
                call.is_target_write()
                    || matches!(call, Call::ReadTarget)
                    || matches!(call, Call::List(r) | Call::Watch(r) if r.is_target())
            }
            Self::Writes => call.is_write(),
            Self::Reads => matches!(call, Call::ReadTarget | Call::ReadBulkUpdate | Call::ReadFlag),
            Self::Watches => matches!(call, Call::List(_) | Call::Watch(_)),
        }
    }
}

/// When a process dies, or is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the request is sent.
    Before,
    /// After it was sent and before it arrives, which it does.
    Sent,
    /// After the server has carried it out, before the answer.
    Committed,
    /// After the answer.
    Answered,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Crash {
        moment: Moment,
        back_after: u64,
    },
    Terminate {
        back_after: u64,
    },
    Suspend {
        moment: Moment,
        lasts: u64,
    },
    /// There is no connection.
    Refuse,
    Reset {
        passed_on: bool,
    },
    Silence {
        passed_on: bool,
    },
    Cut,
    Answer {
        code: u16,
        retry_after: Option<u32>,
        passed_on: bool,
    },
    /// What is no answer of an API server.
    Nonsense {
        passed_on: bool,
    },
    /// It is answered with 504, and carried out so much later.
    Late(u64),
    /// It arrives so much later.
    Delay(u64),
    /// Its answer does.
    Slow(u64),
    /// Somebody is faster: does this to the target of the request before it is carried out.
    Race(Act),
    /// The same to the BulkUpdate.
    BulkRace(BulkAct),
}

/// What a watch does for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Holds events back until the end.
    Hold,
    /// Passes on each event late.
    Slow(u64),
    /// Ends after each event.
    Close,
    /// Is cut in the middle of each event.
    Cut,
    /// Sends 410 instead of an event.
    Expire,
    /// Lists show the past, and watches nothing new.
    Back,
}

/// A request to the gateway.
#[derive(Clone, Debug)]
pub struct Called {
    pub user: Who,
    pub namespace: &'static str,
    pub kind: Kind,
    pub what: Asked,
}

#[derive(Clone, Debug)]
pub enum Asked {
    Bulk(Vec<(String, &'static str)>),
    Stop(String),
    Delete(String),
    Get(String),
    List,
    Count,
    Meta,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            When::At(time) => write!(f, "at {time} ms: {:?}", self.what),
            When::On { slot, call, nth } => {
                let who = slot.map_or_else(|| "any replica".into(), |slot| format!("replica {slot}"));
                write!(f, "at {call} number {nth} of {who}: {:?}", self.what)
            }
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {:?}", self.seed, self.setup)?;
        self.events.iter().try_for_each(|event| writeln!(f, "  {event}"))
    }
}

impl Story {
    /// Whether any object has an owner.
    pub fn has_owners(&self) -> bool {
        let owned = |event: &Event| matches!(&event.what, What::Create(made) if made.odd == Some(Odd::Owner));
        self.events.iter().any(owned)
    }
}

impl What {
    /// Whether it is a fault, as opposed to what people ordinarily do.
    pub const fn is_fault(&self) -> bool {
        !matches!(self, Self::Create(_) | Self::Submit { .. } | Self::Call(_))
    }
}
