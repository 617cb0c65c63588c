//! What can go wrong, and where. The names of the plans consist of these names.

use std::fmt;

pub use support::call::{Call, Resource};

/// When the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the request is sent.
    Before,
    /// After the server has committed it, before the answer.
    Committed,
    /// After the answer, before the next request.
    Answered,
    /// Before the answer; the server commits the request only after the next life has looked at the same object.
    Overtaken,
}

/// When a request that was answered 504 is carried out after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// After the operator's next request about the same object was answered.
    OneRequest,
    /// After the request that follows that one.
    TwoRequests,
    /// After the operator has recorded something else, or a second has passed.
    Recorded,
    /// After everything has finished.
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
    /// Deleted, and created again under the same name in the same state.
    Recreate,
    Finalize,
    /// Deleted, but kept by a finalizer.
    Terminate,
    DeleteBulkUpdate,
    /// Deleted, and created again under the same name.
    RecreateBulkUpdate,
    /// Deleted, but kept by somebody's finalizer.
    KeepBulkUpdate,
    RelabelBulkUpdate,
    /// The same, and the admission policy or its binding is deleted, which the operator is shown.
    RelabelUnguarded(Resource),
    /// Its TTL is raised, which the operator is shown.
    RaiseTtl,
    SecondBulkUpdate,
    /// Its status has an item planned that its spec does not have.
    WidenStatus,
    FlagOff,
    /// The flag is switched off for one of the kinds.
    DeploymentsOff,
    /// Somebody who is not a replica takes the Lease.
    TakeLease,
    /// The Lease has no holder.
    FreeLease,
    DeleteLease,
    /// The admission policy, or its binding, changes.
    Guard(Guard),
}

/// What somebody does to the admission policy or its binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// It is deleted.
    Gone(Resource),
    /// It is deleted and created again.
    Renewed(Resource),
    /// It checks nobody, or only warns.
    Weak(Resource),
    /// It checks nobody for a moment, and is then restored.
    WeakForAMoment(Resource),
}

impl Guard {
    pub const fn resource(self) -> Resource {
        match self {
            Self::Gone(r) | Self::Renewed(r) | Self::Weak(r) | Self::WeakForAMoment(r) => r,
        }
    }

    /// Whether authors are checked again afterwards.
    pub const fn is_restored(self) -> bool {
        matches!(self, Self::Renewed(_) | Self::WeakForAMoment(_))
    }
}

/// What happens to one request.
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
    /// Somebody else is faster: between what the operator read and this request.
    Race(Change),
    /// The process is held before the request leaves, or when it has been answered, until another replica leads and has
    /// had time to do the work.
    Pause(Moment),
}

impl Fault {
    /// Whether it ends the process.
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

/// Which request a fault hits, counted within one life of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The n-th of a kind, from 1.
    Nth(Call, usize),
    /// The n-th write of any kind, from 1.
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
pub struct Injection {
    pub life: usize,
    pub place: Place,
    pub fault: Fault,
    pub lasts: Lasts,
}

impl Injection {
    /// One request of the first life.
    pub const fn once(place: Place, fault: Fault) -> Self {
        Self { life: 0, place, fault, lasts: Lasts::Once }
    }
}

impl fmt::Display for Injection {
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

/// How long a fault lasts, from the request at its place on, for requests of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    Once,
    /// For so many of them.
    Requests(usize),
    /// For so long.
    Seconds(u64),
}

impl Lasts {
    /// How many requests it must hit at least.
    pub const fn at_least(self) -> usize {
        match self {
            Self::Once => 1,
            Self::Requests(n) => n,
            Self::Seconds(_) => 2,
        }
    }
}

/// What a watch does while the fault is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Delays events.
    Hold,
    /// Passes on each event a third of a second late.
    Slow,
    /// Ends after each event.
    Close,
    /// Sends 410 instead of an event, three times.
    Expire,
    /// Sends 410; the list that follows is an old one, and its watch makes no progress.
    Back,
    /// As `Back`, from the middle of the work to a time when no target existed.
    Forget,
    /// Sends 410 once a status of the BulkUpdate is stored; the list that follows shows it as it was created, and its
    /// watch makes no progress.
    Before,
    /// Shows the first event again after each event.
    Again,
    /// Loses events, and has to be restarted then.
    Lose,
    /// Sends everything twice.
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
