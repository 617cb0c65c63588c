//! Creates the objects of a scenario.

use ai_api_operator::api::Kind;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    fault::Change,
    scenario::{ITS_UID, Made},
};

/// Creates a BulkUpdate.
pub async fn bulk_update(cluster: &Cluster, name: &str, mut spec: Value) {
    for kind in Kind::ALL {
        for item in spec[kind.plural()].as_array_mut().into_iter().flatten() {
            if item["uid"] == ITS_UID {
                let target = cluster.world.find(kind, item["id"].as_str().unwrap()).await;
                item["uid"] = target.unwrap().uid().into();
            }
        }
    }
    // `spec` has both lists here, an absent one as null.
    spec.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    cluster.world.submit_at_once(name, spec).await;
}

/// Creates targets.
pub async fn targets(cluster: &Cluster, targets: &[Made]) {
    for target in targets {
        let spec =
            if target.managed_by_other { json!({"managedBy": "example.com/other"}) } else { json!({}) };
        cluster.world.target(target.kind, target.name, spec, json!({})).await;
        if target.kept {
            cluster.act(Change::Finalize, target.kind, target.name).await;
        }
        // It may already be gone: without a state it may be deleted.
        if !target.state.is_empty() {
            let change = Change::State(target.state);
            cluster.act(change, target.kind, target.name).await;
        }
    }
}
