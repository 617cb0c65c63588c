//! What can go wrong, and where. Every plan's name is made of these names.

use std::fmt;

pub use crate::call::{Call, Resource};

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
