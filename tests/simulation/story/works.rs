//! Targets that something runs for, and what people do to that.

use ai_api_operator::api::Kind;
use strum::{IntoStaticStr, VariantNames};

use super::Who;

/// A target that something runs for, as it is created.
#[derive(Clone, Debug)]
pub struct Run {
    pub namespace: &'static str,
    pub kind: Kind,
    pub name: String,
    /// Who creates it.
    pub user: Who,
    pub by: By,
    pub course: Course,
}

/// How it says what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Template,
    /// A template that the engine's API refuses.
    Refused,
    /// One of an engine that the cluster does not serve.
    NotServed,
    /// The object of its name that is there, by its uid.
    Reference,
    /// The same by another uid.
    Stranger,
    /// By a name that no object can have.
    Nameless,
}

/// How the work goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    pub replicas: u8,
    pub end: End,
    /// How long a Pod takes to end once it is asked to, in milliseconds.
    pub grace: u64,
}

/// How a Pod ends by itself, after so many milliseconds. What serves does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Never,
    /// It does not even start.
    Unstarted,
    Completes(u64),
    Fails(u64),
}

/// How an object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
    /// As its kind does if nobody says it.
    Default,
}

/// What somebody does to what runs, or to what has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantNames)]
pub enum WorkAct {
    /// Creates an object of its name.
    Create(Course),
    /// The same, which another controller owns.
    CreateOwned(Course),
    Delete(Propagation),
    /// Deletes it, and creates another one of its name.
    Recreate(Course),
    /// Starts it again, or lets it go on.
    Resume,
    Stop,
    /// Takes its owners away.
    Orphan,
    /// Makes it another one's.
    Own,
    /// Takes away the label by which the operator finds it.
    Unlabel,
    /// Changes something that means nothing.
    Touch,
    /// Changes the template of the Deployment that it serves for.
    Change(Who),
    /// Deletes the Execution or Deployment itself like this.
    DeleteOwner(Propagation),
}
