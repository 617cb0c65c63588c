use kube::{Client, Config, runtime::events::Recorder};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{bulk_update::decide::Rules, index::Index, meta::Meta};

/// A registry whose API server does not answer.
fn registry() -> Registry {
    let client = Client::try_from(Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
    Registry::new(Arc::new(Context {
        index: Index::new([]),
        meta: Meta::new(client.clone(), "ai-api-system".into(), "ai-api-meta".into()),
        slots: Arc::new(Semaphore::new(1)),
        rules: Rules::default(),
        recorder: Recorder::new(client.clone(), "test".into()),
        tracker: TaskTracker::new(),
        shutdown: CancellationToken::new(),
        client,
    }))
}

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
    let mut registry = registry();
    registry.apply(bulk("first"), 0);
    assert_eq!(registry.tasks.len(), 1);
    // Its task has read that it is gone, before the watch says so.
    registry.ended(Ok((key(Some("team-a"), Some("bulk")), "first".into(), false)));
    registry.apply(bulk("first"), 0);
    assert_eq!(registry.tasks.len(), 1, "it was taken up again");
    registry.apply(bulk("second"), 0);
    assert_eq!(registry.tasks.len(), 2, "one made anew under the name is another");
}
