//! What people, admins and other controllers do.

use strum::{IntoStaticStr, VariantNames};

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
    /// May also run Jobs and Deployments.
    Trainer,
    /// May create BulkUpdates and stop, but not delete.
    Stopper,
    /// May only look.
    Viewer,
}

/// What somebody does to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantNames)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantNames)]
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
    /// Adds a condition of its own, from before the year 1.
    Backdate,
    /// Makes its spec unreadable, and a condition with it, or its spec readable again. Only where the CRDs take anything.
    Spoil,
    /// Puts something else into the place of the record of a plan that is carried out. Only there, too.
    Blot,
}

/// What an admin does.
#[derive(Clone, Debug, IntoStaticStr, VariantNames)]
pub enum Admin {
    /// Sets the flag's text; without one it is deleted.
    Flag(Option<&'static str>),
    /// Deletes the flag's ConfigMap, while a finalizer keeps it; or lets it go, and makes another one.
    KeepFlag(bool),
    Policy(Guarded, GuardAct),
    /// Takes away the binding of the operator's `ClusterRole`.
    Rights(bool),
    /// The same for the Role in the operator's own namespace.
    OwnRights(bool),
    /// The same for what runs.
    EngineRights(bool),
    /// Takes away the roles of a user.
    UserRights(Who, bool),
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
    /// The same of the policy for what runs.
    WorkPolicy,
    WorkBinding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardAct {
    Delete,
    Restore,
    Weaken(Weakness),
    /// Lets the policy check nobody.
    Exempt,
    Recreate,
}

/// In which field it checks less than the shipped one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// The binding only warns; the policy admits what it cannot check.
    Refusal,
    /// Nobody checks updates.
    Operations,
    /// It is about objects of the cluster only.
    Scope,
    /// One validation is always true.
    Validation,
    /// One variable has no items.
    Variable,
}
