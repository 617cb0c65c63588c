//! What happens to requests and watches.

use strum::{IntoStaticStr, VariantNames};
use support::call::{Call, Resource};

use super::{Act, BulkAct};

/// Which requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    All,
    Leases,
    Targets,
    Writes,
    Reads,
    Watches,
    /// Lists and watches of the admission policy and its binding.
    Guards,
    /// About what runs, and the statuses that say so.
    Works,
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
            Self::Works => {
                call.is_work_write()
                    || matches!(call, Call::ReadWork | Call::ListPods | Call::RecordWork)
                    || matches!(call, Call::List(r) | Call::Watch(r) if r.is_work())
            }
            Self::Guards => matches!(
                call,
                Call::List(Resource::Policies | Resource::Bindings)
                    | Call::Watch(Resource::Policies | Resource::Bindings)
            ),
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
    /// After the answer, and what it sends next gets no connection before it continues.
    Unconnected,
    /// Before the answer; the server carries it out only after another process has sent a request about the same object.
    Overtaken,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantNames)]
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
    /// A proxy refuses it, with the time of another clock, which is so many milliseconds ahead.
    Dated {
        code: u16,
        by: i64,
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
    /// A proxy sends it again so much later, and passes on the second answer.
    Repeat(u64),
    /// Somebody else takes the Lease while it is in flight, and it arrives so much later.
    LoseLease(u64),
    /// Somebody is faster: does this to the target of the request before it is carried out.
    Race(Act),
    /// The same to the BulkUpdate.
    BulkRace(BulkAct),
}

/// What a watch does for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(prefix = "View")]
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
    /// Sends 410; lists show what was there when it began, and watches nothing new.
    Back,
    /// The same, as it was when the last BulkUpdate was created.
    Before,
    /// The same, as it was before anything was created.
    Forget,
    /// Sends each event twice.
    Twice,
    /// Shows the first event again after each event, and sends 410 in the end.
    Again,
    /// Loses events, and sends 410 in the end.
    Lose,
}

impl View {
    pub const ALL: [Self; 11] = [
        Self::Hold,
        Self::Slow(0),
        Self::Close,
        Self::Cut,
        Self::Expire,
        Self::Back,
        Self::Before,
        Self::Forget,
        Self::Twice,
        Self::Again,
        Self::Lose,
    ];

    /// Whether it shows the past.
    pub const fn goes_back(self) -> bool {
        matches!(self, Self::Back | Self::Before | Self::Forget)
    }
}
