use serde_json::json;

use super::*;
use crate::bulk_update::fixtures::context;

fn bulk(uid: &str) -> Arc<BulkUpdate> {
    let bulk = json!({
        "apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
        "metadata": {"namespace": "team-a", "name": "bulk", "uid": uid},
        "spec": {"executions": [{"id": "exec-1", "targetStatus": "STOPPED"}]},
    });
    Arc::new(serde_json::from_value(bulk).unwrap())
}

#[tokio::test]
async fn what_is_gone_is_not_taken_up_again_by_an_old_event() {
    let mut registry = Registry::new(context());
    registry.apply(bulk("first"), 0);
    assert_eq!(registry.tasks.len(), 1);
    // Its task has read that it is gone, before the watch says so.
    registry.ended(Ok((key(Some("team-a"), Some("bulk")), "first".into(), false)));
    registry.apply(bulk("first"), 0);
    assert_eq!(registry.tasks.len(), 1, "it was taken up again");
    registry.apply(bulk("second"), 0);
    assert_eq!(registry.tasks.len(), 2, "one made anew under the name is another");
}
