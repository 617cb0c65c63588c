//! What can go wrong, and where. Every plan's name is made of these names.

use std::fmt;

use http::{Method, request::Parts};

/// What the operator watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    Executions,
    Deployments,
    BulkUpdates,
    ConfigMaps,
    /// The ValidatingAdmissionPolicy.
    Policies,
    /// Its binding.
    Bindings,
    /// The Lease of the replicas.
    Leases,
}

impl Resource {
    const ALL: [Self; 7] = [
        Self::Executions,
        Self::Deployments,
        Self::BulkUpdates,
        Self::ConfigMaps,
        Self::Policies,
        Self::Bindings,
        Self::Leases,
    ];

    /// What is watched whatever the operator's settings are.
    pub const WORK: [Self; 4] = [Self::Executions, Self::Deployments, Self::BulkUpdates, Self::ConfigMaps];

    /// What is watched besides if the admission policy is required.
    pub const GUARDS: [Self; 2] = [Self::Policies, Self::Bindings];

    /// In the names of plans.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::Bindings => "bindings",
            other => other.plural(),
        }
    }

    /// In paths.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Executions => "executions",
            Self::Deployments => "deployments",
            Self::BulkUpdates => "bulkupdates",
            Self::ConfigMaps => "configmaps",
            Self::Policies => "validatingadmissionpolicies",
            Self::Bindings => "validatingadmissionpolicybindings",
            Self::Leases => "leases",
        }
    }

    /// Whether it is a kind of target.
    pub const fn is_target(self) -> bool {
        matches!(self, Self::Executions | Self::Deployments)
    }
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    List(Resource),
    Watch(Resource),
    ReadFlag,
    ReadBulkUpdate,
    ReadTarget,
    /// The status of a BulkUpdate.
    Record,
    /// The DELETE of a BulkUpdate after its TTL.
    Expire,
    Stop,
    Delete,
    Event,
    ReadLease,
    CreateLease,
    /// The update of the Lease: a renewal, a takeover, a release.
    RenewLease,
    /// What a replica asks at its start: what is served, and what it may do.
    Preflight,
    /// What the operator has no business to ask.
    Unknown,
}

impl Call {
    /// What a request is.
    pub fn of(head: &Parts) -> Self {
        let segments: Vec<_> = head.uri.path().split('/').filter(|s| !s.is_empty()).collect();
        let (group, base) = match segments.as_slice() {
            ["api", ..] => ("", 2),
            ["apis", group, ..] => (*group, 3),
            _ => return Self::Unknown,
        };
        let at = segments.iter().position(|s| *s == "namespaces").map_or(base, |at| at + 2);
        let resource = segments.get(at).copied().unwrap_or_default();
        let named = segments.len() > at + 1;
        let query = head.uri.query().unwrap_or_default();
        if group == "authorization.k8s.io" || resource.is_empty() || query.contains("dryRun=All") {
            return Self::Preflight;
        }
        if group == "events.k8s.io" {
            return Self::Event;
        }
        let Some(resource) = Resource::ALL.into_iter().find(|r| r.plural() == resource) else {
            return Self::Unknown;
        };
        match (&head.method, resource, named) {
            (&Method::GET, r, false) => {
                if query.contains("watch=true") {
                    Self::Watch(r)
                } else {
                    Self::List(r)
                }
            }
            (&Method::GET, Resource::ConfigMaps, true) => Self::ReadFlag,
            (&Method::GET, Resource::BulkUpdates, true) => Self::ReadBulkUpdate,
            (&Method::GET, Resource::Executions | Resource::Deployments, true) => Self::ReadTarget,
            (&Method::GET, Resource::Leases, true) => Self::ReadLease,
            (&Method::POST, Resource::Leases, false) => Self::CreateLease,
            (&Method::PUT | &Method::PATCH, Resource::Leases, true) => Self::RenewLease,
            (&Method::DELETE, Resource::BulkUpdates, true) => Self::Expire,
            (&Method::DELETE, Resource::Executions | Resource::Deployments, true) => Self::Delete,
            (&Method::PUT, Resource::BulkUpdates, true) => Self::Record,
            (&Method::PATCH, Resource::Executions | Resource::Deployments, true) => Self::Stop,
            _ => Self::Unknown,
        }
    }

    /// Whether it changes anything that a user asked about.
    pub const fn is_write(self) -> bool {
        matches!(self, Self::Record | Self::Expire | Self::Stop | Self::Delete)
    }

    pub const fn is_target_write(self) -> bool {
        matches!(self, Self::Stop | Self::Delete)
    }

    /// Whether its answer goes on for ever.
    pub const fn is_watch(self) -> bool {
        matches!(self, Self::Watch(_))
    }

    /// Whether it is about the Lease.
    pub const fn is_about_the_lease(self) -> bool {
        matches!(
            self,
            Self::ReadLease
                | Self::CreateLease
                | Self::RenewLease
                | Self::List(Resource::Leases)
                | Self::Watch(Resource::Leases)
        )
    }

    /// Whether a replica sends it that has nothing to do: it asks who leads, and looks whether all is there.
    pub const fn is_in_the_background(self) -> bool {
        self.is_about_the_lease() || matches!(self, Self::Preflight)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(resource) => write!(f, "list-{}", resource.word()),
            Self::Watch(resource) => write!(f, "watch-{}", resource.word()),
            Self::ReadFlag => f.write_str("read-flag"),
            Self::ReadBulkUpdate => f.write_str("read-bulkupdate"),
            Self::ReadTarget => f.write_str("read-target"),
            Self::Record => f.write_str("record"),
            Self::Expire => f.write_str("expire"),
            Self::Stop => f.write_str("stop"),
            Self::Delete => f.write_str("delete"),
            Self::Event => f.write_str("event"),
            Self::ReadLease => f.write_str("read-lease"),
            Self::CreateLease => f.write_str("create-lease"),
            Self::RenewLease => f.write_str("renew-lease"),
            Self::Preflight => f.write_str("preflight"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// When the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the request is sent.
    Before,
    /// After the server has carried it out, before the answer.
    Committed,
    /// After the answer, before the next request.
    Answered,
    /// Before the answer; and the server carries the request out only after the next life has looked at the same object.
    Overtaken,
}

/// When a request is carried out after all that was answered 504 long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// After the operator's next request about the same object was answered.
    OneRequest,
    /// After the one that follows.
    TwoRequests,
    /// After the operator has recorded something else, or a second has passed.
    Recorded,
    /// After all is over.
    TwentySeconds,
}

/// What somebody else does at the worst moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Relabel,
    Complete,
    Run,
    Stop,
    /// Puts it into this state.
    State(&'static str),
    AskToStop,
    Delete,
    /// Deleted, and made anew under the same name, in the same state.
    Recreate,
    Finalize,
    /// Deleted, but kept by a finalizer.
    Terminate,
    DeleteBulkUpdate,
    /// Deleted, and made anew under the same name.
    RecreateBulkUpdate,
    /// Deleted, but kept by somebody's finalizer.
    KeepBulkUpdate,
    RelabelBulkUpdate,
    SecondBulkUpdate,
    /// Its status has an item planned that its spec does not have.
    WidenStatus,
    FlagOff,
    /// The flag is switched off for one of the kinds.
    DeploymentsOff,
    /// Somebody who is no replica has the Lease from now on.
    TakeLease,
    /// The Lease is held by nobody.
    FreeLease,
    DeleteLease,
    /// The admission policy, or its binding, changes.
    Guard(Guard),
}

/// What somebody does to the admission policy or to its binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// It is deleted.
    Gone(Resource),
    /// It is deleted, and made again.
    Renewed(Resource),
    /// It checks nobody, or only warns.
    Weak(Resource),
    /// It checks nobody for a moment, and then is again as it was.
    WeakForAMoment(Resource),
}

impl Guard {
    pub const fn resource(self) -> Resource {
        match self {
            Self::Gone(r) | Self::Renewed(r) | Self::Weak(r) | Self::WeakForAMoment(r) => r,
        }
    }

    /// Whether authors are checked again, once it is done.
    pub const fn is_put_back(self) -> bool {
        matches!(self, Self::Renewed(_) | Self::WeakForAMoment(_))
    }
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Crash(Moment),
    /// The process is asked to end when it sends the request.
    Sigterm,
    /// An answer that is not the server's own.
    Answer {
        code: u16,
        retry_after: Option<u32>,
        passed_on: bool,
    },
    Late(Late),
    /// No answer, ever.
    Silence {
        passed_on: bool,
    },
    /// Half an answer.
    CutShort,
    /// Somebody else is quicker: between what the operator read and this request.
    Race(Change),
    /// The process is held before the request leaves, or when it has been answered, until another leads and has had time to
    /// do the work.
    Pause(Moment),
}

impl Fault {
    /// Whether the operator can't know whether the request was carried out.
    pub const fn leaves_the_outcome_open(self) -> bool {
        match self {
            Self::Crash(_) | Self::Late(_) | Self::Silence { .. } | Self::CutShort => true,
            Self::Pause(moment) => matches!(moment, Moment::Before),
            Self::Answer { code, .. } => code >= 500,
            Self::Race(_) | Self::Sigterm => false,
        }
    }

    /// Whether the process ends by it.
    pub const fn ends_a_life(self) -> bool {
        matches!(self, Self::Crash(_) | Self::Sigterm | Self::Pause(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kebab = |text: String| {
            let mut name = String::new();
            for c in text.chars().filter(|c| *c != ')').map(|c| if c == '(' { '-' } else { c }) {
                if c.is_uppercase() && !name.is_empty() && !name.ends_with('-') {
                    name.push('-');
                }
                name.push(c.to_ascii_lowercase());
            }
            name
        };
        match self {
            Self::Sigterm => f.write_str("sigterm"),
            Self::Pause(moment) => write!(f, "pause-{}", kebab(format!("{moment:?}"))),
            Self::Crash(moment) => write!(f, "crash-{}", kebab(format!("{moment:?}"))),
            Self::Answer { code, retry_after, passed_on } => {
                write!(f, "{code}")?;
                if let Some(seconds) = retry_after {
                    write!(f, "-retry-after-{seconds}")?;
                }
                f.write_str(if *passed_on { "-passed-on" } else { "" })
            }
            Self::Late(late) => write!(f, "late-by-{}", kebab(format!("{late:?}"))),
            Self::Silence { passed_on: false } => f.write_str("silence"),
            Self::Silence { passed_on: true } => f.write_str("silence-passed-on"),
            Self::CutShort => f.write_str("cut-short"),
            Self::Race(change) => f.write_str(&kebab(format!("{change:?}"))),
        }
    }
}

/// Which request it is that a fault strikes, counted in one life of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The n-th of a kind, from 1.
    Nth(Call, usize),
    /// The n-th write, of whatever kind, from 1.
    Write(usize),
    /// The first of a kind after the first write to a target.
    InTheMiddle(Call),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nth(call, n) => write!(f, "{call}-{n}"),
            Self::Write(n) => write!(f, "write-{n}"),
            Self::InTheMiddle(call) => write!(f, "{call}-in-the-middle"),
        }
    }
}

/// One fault at one place, in one life of the operator (the first is 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    pub life: usize,
    pub place: Place,
    pub fault: Fault,
    pub lasts: Lasts,
}

impl Strike {
    /// One request of the first life.
    pub const fn once(place: Place, fault: Fault) -> Self {
        Self { life: 0, place, fault, lasts: Lasts::Once }
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fault)?;
        match self.lasts {
            Lasts::Once => {}
            Lasts::Requests(n) => write!(f, "-for-{n}")?,
            Lasts::Seconds(n) => write!(f, "-for-{n}s")?,
        }
        write!(f, "-at-{}", self.place)
    }
}

/// How long a fault goes on, from the request at its place on, at requests of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    Once,
    /// For so many of them.
    Requests(usize),
    /// For so long.
    Seconds(u64),
}

impl Lasts {
    /// How many requests it strikes, or it has not lasted.
    pub const fn at_least(self) -> usize {
        match self {
            Self::Once => 1,
            Self::Requests(n) => n,
            Self::Seconds(_) => 2,
        }
    }
}

/// What a watch does while the fault is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Holds events back.
    Hold,
    /// Passes on each event a third of a second late.
    Slow,
    /// Ends after each event.
    Close,
    /// Says 410 in the place of an event, three times.
    Expire,
    /// Says 410; the list that follows is one of the past, and its watch stands still.
    Back,
    /// As `Back`, from the middle of the work to a time when no target was there.
    Forget,
    /// Says 410 once a status of the BulkUpdate is on record; the list that follows shows it as it was made, and its watch
    /// stands still.
    Before,
    /// Shows after each event the first one once more.
    Again,
    /// Loses events, and then has to be begun anew.
    Lose,
    /// Says everything twice.
    Twice,
}

impl View {
    pub const ALL: [Self; 10] = [
        Self::Forget,
        Self::Hold,
        Self::Slow,
        Self::Close,
        Self::Expire,
        Self::Back,
        Self::Before,
        Self::Again,
        Self::Lose,
        Self::Twice,
    ];

    pub fn word(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Whether it shows the past.
    pub const fn goes_back(self) -> bool {
        matches!(self, Self::Back | Self::Before | Self::Forget)
    }
}
