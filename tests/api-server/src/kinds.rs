//! The kinds of objects that are served.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    refusal::{details, qualified},
    schema::Schema,
};

/// A kind, and where it is served.
#[derive(Clone, Debug)]
pub struct Definition {
    pub group: String,
    pub version: String,
    /// Both, as in objects.
    pub api_version: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub namespaced: bool,
    /// Whether it has the subresource `status`.
    pub status: bool,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub shape: Shape,
}

/// What its objects look like.
#[derive(Clone, Debug)]
pub enum Shape {
    Custom(Arc<Schema>),
    BuiltIn(BuiltIn),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    ConfigMap,
    Namespace,
    ServiceAccount,
    Lease,
    Event,
    Policy,
    PolicyBinding,
    Role,
    ClusterRole,
    RoleBinding,
    ClusterRoleBinding,
    Pod,
    Job,
    ReplicaSet,
    /// `apps/v1`.
    Deployment,
}

impl BuiltIn {
    /// Whether it runs something: see [`workloads`](crate::workloads).
    pub const fn is_workload(self) -> bool {
        matches!(self, Self::Pod | Self::Job | Self::ReplicaSet | Self::Deployment)
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// Group, version, plural, kind, whether it is namespaced, and what it is.
const BUILT_IN: [(&str, &str, &str, &str, bool, BuiltIn); 15] = [
    ("", "v1", "configmaps", "ConfigMap", true, BuiltIn::ConfigMap),
    ("", "v1", "namespaces", "Namespace", false, BuiltIn::Namespace),
    ("", "v1", "serviceaccounts", "ServiceAccount", true, BuiltIn::ServiceAccount),
    ("coordination.k8s.io", "v1", "leases", "Lease", true, BuiltIn::Lease),
    ("events.k8s.io", "v1", "events", "Event", true, BuiltIn::Event),
    (ADMISSION, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", false, BuiltIn::Policy),
    (
        ADMISSION,
        "v1",
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        false,
        BuiltIn::PolicyBinding,
    ),
    (RBAC, "v1", "roles", "Role", true, BuiltIn::Role),
    (RBAC, "v1", "clusterroles", "ClusterRole", false, BuiltIn::ClusterRole),
    (RBAC, "v1", "rolebindings", "RoleBinding", true, BuiltIn::RoleBinding),
    (RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", false, BuiltIn::ClusterRoleBinding),
    ("", "v1", "pods", "Pod", true, BuiltIn::Pod),
    ("batch", "v1", "jobs", "Job", true, BuiltIn::Job),
    ("apps", "v1", "replicasets", "ReplicaSet", true, BuiltIn::ReplicaSet),
    ("apps", "v1", "deployments", "Deployment", true, BuiltIn::Deployment),
];

/// Group and version, as in objects.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// The built-in kinds.
pub fn built_in() -> Vec<Arc<Definition>> {
    let definition =
        |(group, version, plural, kind, namespaced, shape): (&str, &str, &str, &str, bool, _)| {
            Arc::new(Definition {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version: api_version(group, version),
                plural: plural.to_owned(),
                singular: kind.to_lowercase(),
                kind: kind.to_owned(),
                namespaced,
                status: matches!(shape, BuiltIn::Namespace | BuiltIn::Policy) || shape.is_workload(),
                short_names: Vec::new(),
                categories: Vec::new(),
                shape: Shape::BuiltIn(shape),
            })
        };
    BUILT_IN.into_iter().map(definition).collect()
}

impl Definition {
    /// Such as `executions.aiapi.dev`.
    pub fn resource(&self) -> String {
        qualified(&self.plural, &self.group)
    }

    pub fn api_version(&self) -> &str {
        &self.api_version
    }

    /// What a `Status` says about an object.
    pub fn details(&self, name: &str) -> Value {
        details(name, &self.group, &self.plural)
    }

    pub fn schema(&self) -> Option<&Schema> {
        match &self.shape {
            Shape::Custom(schema) => Some(schema),
            Shape::BuiltIn(_) => None,
        }
    }

    pub fn is(&self, built_in: BuiltIn) -> bool {
        matches!(self.shape, Shape::BuiltIn(own) if own == built_in)
    }

    pub fn is_custom(&self) -> bool {
        matches!(self.shape, Shape::Custom(_))
    }

    /// Whether an update may leave out the resource version.
    pub fn allows_unconditional_update(&self) -> bool {
        match self.shape {
            Shape::Custom(_) => false,
            Shape::BuiltIn(kind) => {
                !matches!(kind, BuiltIn::Lease | BuiltIn::Policy | BuiltIn::PolicyBinding)
            }
        }
    }

    /// Whether an update creates an object that does not exist.
    pub fn allows_create_on_update(&self) -> bool {
        match self.shape {
            Shape::Custom(_) => false,
            Shape::BuiltIn(kind) => matches!(
                kind,
                BuiltIn::Lease
                    | BuiltIn::Event
                    | BuiltIn::Role
                    | BuiltIn::ClusterRole
                    | BuiltIn::RoleBinding
                    | BuiltIn::ClusterRoleBinding
            ),
        }
    }

    /// Whether objects have a `generation`.
    pub fn has_generation(&self) -> bool {
        match self.shape {
            Shape::Custom(_) => true,
            Shape::BuiltIn(kind) => matches!(
                kind,
                BuiltIn::Policy
                    | BuiltIn::PolicyBinding
                    | BuiltIn::Job
                    | BuiltIn::ReplicaSet
                    | BuiltIn::Deployment
            ),
        }
    }

    /// The key of an object, which orders lists as etcd does.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced { format!("{namespace}/{name}") } else { name.to_owned() }
    }
}
