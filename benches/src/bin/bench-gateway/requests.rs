//! What is requested: the deletion of 100 Executions, of which 90 exist.

use ai_api_operator::api::{BulkUpdate, Execution, ExecutionSpec};
use futures::{StreamExt, stream};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use support::World;

pub const ITEMS: usize = 100;
/// Of each request's items, these exist and can be deleted.
pub const EXIST: usize = 90;

/// How many are created at once.
const AT_ONCE: usize = 64;

/// One request of a round of this name.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub round: &'a str,
    pub number: usize,
}

impl Request<'_> {
    fn id(&self, item: usize) -> String {
        format!("{}-{:04}-{item:02}", self.round, self.number)
    }

    fn items(&self) -> Value {
        // The two sorts alternate, so that an answer out of order is noticed.
        (0..ITEMS).map(|item| json!({"id": self.id(item), "targetStatus": "DELETED"})).collect()
    }

    /// The body of the PATCH.
    pub fn body(&self) -> Value {
        json!({"executions": self.items()})
    }

    /// The BulkUpdate that the gateway makes of it, but for its name.
    pub fn bulk_update(&self) -> BulkUpdate {
        let bulk = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
            "metadata": {"name": format!("{}-{:04}", self.round, self.number)},
            "spec": {"executions": self.items(), "notAfter": "2100-01-01T00:00:00Z",
                "startingDeadlineSeconds": 30, "ttlSecondsAfterFinished": 600}});
        serde_json::from_value(bulk).unwrap()
    }

    /// Checks that there is an entry for each item, in the order of the request, with the expected content.
    pub fn check(&self, answer: &Value) {
        let entries = answer["executions"].as_array().unwrap();
        assert_eq!(entries.len(), ITEMS);
        for (item, entry) in entries.iter().enumerate() {
            assert_eq!(entry["id"], json!(self.id(item)));
            if exists(item) {
                assert_eq!(entry["message"], "Execution modification scheduled", "{entry}");
            } else {
                assert_eq!(entry["error"]["code"], "01010020", "{entry}");
            }
        }
    }
}

fn exists(item: usize) -> bool {
    !item.is_multiple_of(ITEMS / (ITEMS - EXIST))
}

/// Creates what a round deletes, in so many requests.
pub async fn make(world: &World, round: &str, requests: usize) {
    let executions: Api<Execution> = Api::namespaced(world.client.clone(), &world.namespace);
    let wanted = (0..requests).flat_map(|number| (0..ITEMS).map(move |item| (number, item)));
    stream::iter(wanted.filter(|(_, item)| exists(*item)))
        .for_each_concurrent(AT_ONCE, |(number, item)| {
            let object = Execution::new(&Request { round, number }.id(item), ExecutionSpec::default());
            let executions = &executions;
            async move {
                executions.create(&PostParams::default(), &object).await.unwrap();
            }
        })
        .await;
    // What was created in the second of a request counts as created later.
    world.next_second().await;
}

/// All that was to be deleted is gone.
pub async fn all_gone(world: &World) {
    let executions: Api<Execution> = Api::namespaced(world.client.clone(), &world.namespace);
    let left = executions.list(&ListParams::default().limit(1)).await.unwrap().items.len();
    assert_eq!(left, 0, "some Executions remain that were reported as scheduled for deletion");
}
