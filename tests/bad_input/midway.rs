//! BulkUpdates in progress, and targets that are waited for, whose metadata somebody edits.

use futures::{StreamExt, stream};
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use support::{World, until_ok};

use super::{
    inputs::{BULK_UPDATE, Input, Sort, named, pick},
    judge::Known,
    metadata,
    schema::Care,
    send::{Created, create, edited, get, list, patch, path},
    tally::Tally,
};

/// A patch of a target and one of its BulkUpdate, for each pair.
#[derive(Debug)]
pub struct Waiting(Vec<[Value; 2]>);

/// This many patches: the known cases, and random ones.
pub fn waiting(random: &mut TestRunner, count: usize) -> Waiting {
    let chance =
        prop_oneof![2 => metadata::patches(Care::Keeps), 1 => metadata::patches(Care::Strays)].boxed();
    let known = metadata::known_patches();
    let pairs = (0..count / 2).map(|n| match known.get(n) {
        Some(known) => [known.clone(), known.clone()],
        None => [pick(random, &chance), pick(random, &chance)],
    });
    Waiting(pairs.collect())
}

/// The known cases.
pub fn known() -> Waiting {
    let patches = metadata::known_patches().into_iter().chain([metadata::deepest_patch()]);
    Waiting(patches.map(|patch| [patch.clone(), patch]).collect())
}

/// A target that does not react by itself: another controller has to stop it, or a finalizer keeps it.
struct Pair {
    sort: Sort,
    name: String,
    stops: bool,
}

impl Pair {
    fn new(round: &str, n: usize) -> Self {
        let (sort, name) = named(round, n);
        Self { sort, name, stops: (n / 2).is_multiple_of(2) }
    }

    fn target(&self) -> Input {
        let mut metadata = json!({"name": self.name});
        if !self.stops {
            metadata["finalizers"] = json!(["example.com/hold"]);
        }
        let object = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": self.sort.kind, "metadata": metadata,
            "spec": {"managedBy": "example.com/other"}});
        let status = json!({"status": {"state": if self.stops { "RUNNING" } else { "STOPPED" }}});
        Input {
            sort: self.sort,
            body: object.to_string().into_bytes(),
            status: Some(status.to_string().into_bytes()),
            edit: None,
        }
    }

    fn bulk_update(&self) -> Input {
        let verb = if self.stops { "STOPPED" } else { "DELETED" };
        let mut spec = json!({});
        spec[self.sort.plural] = json!([{"id": self.name, "targetStatus": verb}]);
        let object = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
            "metadata": {"name": format!("bulk-{}-{}", self.sort.plural, self.name)}, "spec": spec});
        Input { sort: BULK_UPDATE, body: object.to_string().into_bytes(), status: None, edit: None }
    }

    /// The resource of the target, and the name of its BulkUpdate.
    fn paths(&self, world: &World) -> [String; 2] {
        let bulk_update = format!("bulk-{}-{}", self.sort.plural, self.name);
        [
            format!("{}/{}", path(world, self.sort), self.name),
            format!("{}/{bulk_update}", path(world, BULK_UPDATE)),
        ]
    }

    /// Releases the target: it stops, or its finalizer is removed.
    async fn release(&self, world: &World) {
        let [target, _] = self.paths(world);
        let answer = if self.stops {
            let stopped = json!({"status": {"state": "STOPPED"}}).to_string();
            patch(&world.client, &format!("{target}/status"), stopped.into_bytes()).await
        } else {
            let free = json!({"metadata": {"finalizers": null}}).to_string();
            patch(&world.client, &target, free.into_bytes()).await
        };
        // An edit may already have removed the finalizer.
        let gone = answer.code == 404 && !self.stops;
        assert!(answer.code == 200 || gone, "{target}: {}", answer.body);
    }
}

/// The pairs that wait, and have been edited.
pub struct Edited {
    pairs: Vec<Pair>,
    bulk_updates: Vec<Created>,
}

/// Creates pairs, waits until each target is waited for, and patches all.
pub async fn edit(
    world: &World,
    round: &str,
    waiting: Waiting,
    known: &mut Known,
    tally: &mut Tally,
) -> Edited {
    let pairs: Vec<_> = (0..waiting.0.len()).map(|n| Pair::new(round, n)).collect();
    let targets = create(world, pairs.iter().map(Pair::target).collect(), tally).await;
    assert_eq!(targets.len(), pairs.len());
    known.targets(&targets);
    world.next_second().await;
    let bulk_updates = create(world, pairs.iter().map(Pair::bulk_update).collect(), tally).await;
    known.bulk_updates(&bulk_updates);
    until_all(world, &bulk_updates, "Settling").await;
    let patches = pairs.iter().zip(waiting.0).flat_map(|(pair, patches)| {
        let kinds = [pair.sort.kind, BULK_UPDATE.kind];
        kinds.into_iter().zip(pair.paths(world)).zip(patches)
    });
    let patches: Vec<_> = patches.collect();
    let answers = stream::iter(patches).map(|((kind, path), body)| async move {
        let body = metadata::nested(body.to_string()).into_bytes();
        (kind, patch(&world.client, &path, body.clone()).await, body)
    });
    for (kind, answer, body) in answers.buffer_unordered(16).collect::<Vec<_>>().await {
        edited(kind, &answer, &body, tally);
    }
    Edited { pairs, bulk_updates }
}

impl Edited {
    /// Releases the targets, and waits until all have succeeded.
    pub async fn settle(self, world: &World, known: &mut Known, tally: &mut Tally) {
        stream::iter(&self.pairs).for_each_concurrent(16, |pair| pair.release(world)).await;
        until_all(world, &self.bulk_updates, "Settled").await;
        known.until_each_has_its_answer(world, &self.bulk_updates, tally).await;
        for pair in self.pairs.iter().filter(|pair| !pair.stops) {
            assert_eq!(
                get(&world.client, &pair.paths(world)[0]).await.code,
                404,
                "{} is still there",
                pair.name
            );
        }
    }
}

async fn until_all(world: &World, bulk_updates: &[Created], reason: &str) {
    until_ok(&format!("each is {reason}"), || async {
        let listed = list(world, &path(world, BULK_UPDATE), "").await;
        let ready = |object: &Value| {
            let conditions = object["status"]["conditions"].as_array()?;
            let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
            ready["reason"].as_str().map(str::to_owned)
        };
        let reached = |made: &&Created| {
            let now = listed.iter().find(|object| object["metadata"]["uid"] == made.uid());
            now.and_then(ready).as_deref() == Some(reason)
        };
        let late: Vec<_> = bulk_updates.iter().filter(|made| !reached(made)).collect();
        match late.first() {
            None => Ok(()),
            Some(first) => {
                let now = listed.iter().find(|object| object["metadata"]["uid"] == first.uid());
                Err(format!(
                    "{} are not: {}",
                    late.len(),
                    now.map_or("gone".into(), |o| o["status"].to_string())
                ))
            }
        }
    })
    .await;
}
