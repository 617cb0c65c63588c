//! What this server can do, in the AI API's words.

use serde_json::{Value, json};

use crate::{api::Kind, observed::flag::Flags};

/// The version of the AI API of which a part is served.
const AI_API_VERSION: &str = "2.42.0";

/// The body of `GET /lm/meta`. Nothing is left out: what is missing counts as true, says the AI API.
pub fn capabilities(flags: &Flags) -> Value {
    json!({
        "runtimeIdentifier": "ai-api-operator",
        "runtimeApiVersion": env!("CARGO_PKG_VERSION"),
        "description": "Executions and Deployments on Kubernetes, stopped and deleted in bulk",
        "aiApi": {
            "version": AI_API_VERSION,
            "capabilities": {
                "multitenant": true,
                "shareable": false,
                "staticDeployments": false,
                "userDeployments": false,
                "userExecutions": false,
                "timeToLiveDeployments": false,
                "executionSchedules": false,
                "logs": {"executions": false, "deployments": false},
                "bulkUpdates": {
                    "executions": flags.on(Kind::Execution),
                    "deployments": flags.on(Kind::Deployment),
                },
            },
            "limits": {
                "executions": {"maxRunningCount": -1},
                "deployments": {"maxRunningCount": -1},
            },
        },
        "extensions": {},
    })
}
