//! What the operator requests from the API server, as the fault plans and the simulation name it.

use std::fmt;

use http::{Method, request::Parts};

/// What the operator watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    Executions,
    Deployments,
    BulkUpdates,
    ConfigMaps,
    /// The `ValidatingAdmissionPolicy`.
    Policies,
    /// Its binding.
    Bindings,
    /// The Lease of the replicas.
    Leases,
    /// What Executions and Deployments run.
    Jobs,
    /// The same, of `apps/v1`.
    Apps,
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

    /// Watched with any settings.
    pub const WORK: [Self; 4] = [Self::Executions, Self::Deployments, Self::BulkUpdates, Self::ConfigMaps];

    /// Watched in addition if the admission policy is required.
    pub const GUARDS: [Self; 2] = [Self::Policies, Self::Bindings];

    /// In the names of plans.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::Bindings => "bindings",
            other => other.plural(),
        }
    }

    /// Whether it is a kind of target.
    pub const fn is_target(self) -> bool {
        matches!(self, Self::Executions | Self::Deployments)
    }

    /// In paths; with its group where another kind has the same.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Executions => "executions",
            Self::Deployments => "deployments",
            Self::BulkUpdates => "bulkupdates",
            Self::ConfigMaps => "configmaps",
            Self::Policies => "validatingadmissionpolicies",
            Self::Bindings => "validatingadmissionpolicybindings",
            Self::Leases => "leases",
            Self::Jobs => "jobs",
            Self::Apps => "deployments.apps",
        }
    }

    /// Whether it is a kind of what runs.
    pub const fn is_work(self) -> bool {
        matches!(self, Self::Jobs | Self::Apps)
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
    /// The update of the Lease: renewal, takeover or release.
    RenewLease,
    /// Preflight requests of a replica: discovery and its permissions.
    Preflight,
    /// Anything that the operator should never request.
    Unknown,
    /// A list or watch of the admission policy for what runs, or of its binding.
    WorkPolicy,
    /// What runs: read, created, stopped, adopted, given a changed template.
    ReadWork,
    CreateWork,
    StopWork,
    AdoptWork,
    ApplyWork,
    ListPods,
    /// The status of an Execution or Deployment that something runs for.
    RecordWork,
}

/// Whether a list or watch is of the admission policy for what runs, or of its binding. Its watches show what there is, whatever views others have.
pub fn is_about_work_policy(query: &str) -> bool {
    query.contains("work.aiapi.dev")
}

impl Call {
    /// What a request is.
    pub fn of(head: &Parts) -> Self {
        let segments: Vec<_> = head.uri.path().split('/').filter(|s| !s.is_empty()).collect();
        let (group, base) = match segments.as_slice() {
            ["version"] => return Self::Preflight,
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
        if is_about_work_policy(query) {
            return Self::WorkPolicy;
        }
        let known = match (group, resource) {
            ("", "pods") => return Self::ListPods,
            ("batch", "jobs") => Some(Resource::Jobs),
            ("apps", "deployments") => Some(Resource::Apps),
            _ => Resource::ALL.into_iter().find(|r| r.plural() == resource),
        };
        let Some(resource) = known else { return Self::Unknown };
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
            (&Method::PUT | &Method::PATCH, Resource::BulkUpdates, true) => Self::Record,
            (&Method::PATCH, Resource::Executions | Resource::Deployments, true) => Self::Stop,
            (&Method::GET, Resource::Jobs | Resource::Apps, true) => Self::ReadWork,
            (&Method::POST, Resource::Jobs | Resource::Apps, false) => Self::CreateWork,
            (&Method::PATCH, Resource::Jobs | Resource::Apps, true) => Self::StopWork,
            (&Method::PUT, Resource::Jobs | Resource::Apps, true) => Self::ApplyWork,
            _ => Self::Unknown,
        }
    }

    /// What a request with this body is: a status without who has requested a stop only tells how far the work is.
    pub fn of_whole(head: &Parts, body: &[u8]) -> Self {
        let has = |field: &[u8]| body.windows(field.len()).any(|part| part == field);
        match Self::of(head) {
            Self::Stop if !has(br#""stopRequest""#) => Self::RecordWork,
            Self::StopWork if has(br#""ownerReferences""#) => Self::AdoptWork,
            other => other,
        }
    }

    /// Whether it changes anything that a user asked about.
    pub const fn is_write(self) -> bool {
        matches!(self, Self::Record | Self::Expire | Self::Stop | Self::Delete | Self::RecordWork)
            || self.is_work_write()
    }

    /// Whether it changes what runs.
    pub const fn is_work_write(self) -> bool {
        matches!(self, Self::CreateWork | Self::StopWork | Self::AdoptWork | Self::ApplyWork)
    }

    pub const fn is_target_write(self) -> bool {
        matches!(self, Self::Stop | Self::Delete)
    }

    /// Whether its answer is an endless stream.
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

    /// Whether an idle replica sends it: leader election and preflight checks.
    pub const fn is_in_the_background(self) -> bool {
        self.is_about_the_lease() || matches!(self, Self::Preflight | Self::WorkPolicy)
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
            Self::WorkPolicy => f.write_str("work-policy"),
            Self::ReadWork => f.write_str("read-work"),
            Self::CreateWork => f.write_str("create-work"),
            Self::StopWork => f.write_str("stop-work"),
            Self::AdoptWork => f.write_str("adopt-work"),
            Self::ApplyWork => f.write_str("apply-work"),
            Self::ListPods => f.write_str("list-pods"),
            Self::RecordWork => f.write_str("record-work"),
        }
    }
}

/// The API server's verb of a request; `named` is whether its path has the name of an object.
pub fn verb(head: &Parts, named: bool) -> &'static str {
    let query = head.uri.query().unwrap_or_default();
    match head.method {
        Method::GET if named => "get",
        Method::GET if query.contains("watch=true") => "watch",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        _ => "delete",
    }
}
