//! A story: all that happens in one life of the world beside what the operator does, as a list from which events can be taken
//! out.

mod faults;
mod others;
mod works;

use std::fmt;

use ai_api_operator::api::Kind;
use api_server::Kubernetes;
use serde_json::Value;
use strum::{IntoStaticStr, VariantNames};
use support::call::{Call, Resource};

use crate::process::Clocks;

pub use faults::{Calls, Fault, Moment, View};
pub use others::{Act, Admin, BulkAct, Controller, GuardAct, Guarded, Odd, Weakness, Who};
pub use works::{By, Course, End, Propagation, Run, WorkAct};

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
    /// Whether nothing happens beside one BulkUpdate, of which it is known what it has to come to.
    pub calm: bool,
    pub kubernetes: Kubernetes,
    /// The clocks of the machine of each replica.
    pub replicas: Vec<Clocks>,
    /// The same of each gateway.
    pub gateways: Vec<Clocks>,
    /// Whether objects have `managedFields`, which make everything slower.
    pub managed_fields: bool,
    /// Whether the processes write a log, for the judge to read.
    pub logs: bool,
    /// Whether the operator runs its preflight checks, which are most of the requests of a life in which processes crash.
    pub preflight: bool,
    /// Whether the CRDs take anything, as those of a later version may.
    pub loose: bool,
    /// Whether something runs for Executions and Deployments: the engines' controllers and the policy for it are there.
    pub works: bool,
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
#[derive(Clone, Debug, IntoStaticStr, VariantNames)]
pub enum What {
    /// A user creates a target.
    Create(Made),
    /// A user creates a target that something runs for.
    Run(Run),
    /// Somebody does something to what runs for a target, or to what has its name.
    Work {
        namespace: &'static str,
        kind: Kind,
        name: String,
        act: WorkAct,
    },
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
    /// The API server is away for so long: its connections are cut.
    Restart {
        lasts: u64,
    },
    /// The API server's clock is set.
    StepClock {
        by: i64,
    },
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

/// A request to the gateway.
#[derive(Clone, Debug)]
pub struct Called {
    /// Which gateway.
    pub gateway: usize,
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
        self.setup.works || self.events.iter().any(owned)
    }
}

impl What {
    /// Whether it is a fault, as opposed to what people ordinarily do.
    pub const fn is_fault(&self) -> bool {
        !matches!(self, Self::Create(_) | Self::Run(_) | Self::Submit { .. } | Self::Call(_))
    }
}
