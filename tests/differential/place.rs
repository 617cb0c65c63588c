//! What a request is about: a kind, and where it is served.

use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Execution,
    Deployment,
    BulkUpdate,
    Lease,
    ConfigMap,
    Event,
}

impl Kind {
    /// In the proportion in which they are drawn.
    pub const DRAWN: [Self; 12] = [
        Self::Execution,
        Self::Execution,
        Self::Execution,
        Self::Execution,
        Self::Deployment,
        Self::BulkUpdate,
        Self::BulkUpdate,
        Self::BulkUpdate,
        Self::BulkUpdate,
        Self::Lease,
        Self::ConfigMap,
        Self::Event,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Execution => "Execution",
            Self::Deployment => "Deployment",
            Self::BulkUpdate => "BulkUpdate",
            Self::Lease => "Lease",
            Self::ConfigMap => "ConfigMap",
            Self::Event => "Event",
        }
    }

    pub const fn plural(self) -> &'static str {
        match self {
            Self::Execution => "executions",
            Self::Deployment => "deployments",
            Self::BulkUpdate => "bulkupdates",
            Self::Lease => "leases",
            Self::ConfigMap => "configmaps",
            Self::Event => "events",
        }
    }

    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Execution | Self::Deployment | Self::BulkUpdate => "aiapi.dev/v1alpha1",
            Self::Lease => "coordination.k8s.io/v1",
            Self::ConfigMap => "v1",
            Self::Event => "events.k8s.io/v1",
        }
    }

    pub const fn is_custom(self) -> bool {
        matches!(self, Self::Execution | Self::Deployment | Self::BulkUpdate)
    }

    /// The path of its objects in a namespace.
    pub fn path(self, namespace: &str) -> String {
        let prefix = if self == Self::ConfigMap { "api" } else { "apis" };
        format!("/{prefix}/{}/namespaces/{namespace}/{}", self.api_version(), self.plural())
    }

    /// A small valid object, apart from its metadata.
    pub fn example(self, namespace: &str) -> Value {
        let mut object = json!({"apiVersion": self.api_version(), "kind": self.name(), "metadata": {}});
        match self {
            Self::Execution | Self::Deployment => object["spec"] = json!({}),
            Self::BulkUpdate => {
                object["spec"] = json!({"executions": [{"id": "run-1", "targetStatus": "STOPPED"}]});
            }
            Self::Lease => {
                object["spec"] = json!({"holderIdentity": "one", "leaseDurationSeconds": 15,
                    "renewTime": "2026-01-01T00:00:00.000001Z"});
            }
            Self::ConfigMap => object["data"] = json!({"bulkUpdates": "{}"}),
            Self::Event => {
                let event = json!({"action": "Check", "reason": "Check", "type": "Normal",
                    "eventTime": "2026-01-01T00:00:00.000001Z", "regarding": {"namespace": namespace},
                    "reportingController": "differential", "reportingInstance": "differential"});
                object.as_object_mut().unwrap().extend(event.as_object().unwrap().clone());
            }
        }
        object
    }
}
