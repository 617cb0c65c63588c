//! Which objects a BulkUpdate means that were created in the same second: timestamps have whole seconds, and a wrong
//! delete cannot be undone.

use ai_api_operator::api::{BulkUpdateStatus, ItemResult, Kind};
use futures::{StreamExt, future::join_all};
use kube::{
    Client, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
    runtime::{WatchStreamExt, watcher, watcher::watcher as watch},
};
use serde_json::{Value, json};
use support::{World, count, item, outcome};

use crate::alone;

/// How many rounds of each kind have to happen within one second.
const ROUNDS: usize = 50;

/// The maximum number of attempts.
const MAX_ROUNDS: usize = 200;

/// How many more targets a file has between those that are checked and the BulkUpdate: meanwhile the controller has to
/// write a status.
const BETWEEN: usize = 2;

/// How many targets are created after a BulkUpdate in each round: the operator reads them one after the other.
const LATER: usize = 8;

fn created(object: &impl ResourceExt) -> i64 {
    object.creation_timestamp().unwrap().0.as_second()
}

fn deleted(id: &str) -> Value {
    json!({"id": id, "targetStatus": "DELETED"})
}

/// Somebody else's controller: it writes a status as soon as it sees an object, which often is after the BulkUpdate was
/// created.
async fn keep_status(client: Client, namespace: String) {
    let targets = |kind: Kind| {
        kube::Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &kind.api_resource())
    };
    let each = Kind::ALL.map(|kind| {
        let api = targets(kind);
        async move {
            let events = watch(api.clone(), watcher::Config::default()).default_backoff().applied_objects();
            let mut seen = std::pin::pin!(events);
            while let Some(Ok(object)) = seen.next().await {
                if object.data["status"]["state"] == "UNKNOWN" {
                    let state = if object.name_any().starts_with("stop") { "RUNNING" } else { "STOPPED" };
                    let patch = Patch::Merge(json!({"status": {"state": state}}));
                    // It may already be gone.
                    let _ = api.patch_status(&object.name_any(), &PatchParams::default(), &patch).await;
                }
            }
        }
    });
    join_all(each).await;
}

// kubectl is waited for without yielding to the controller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_applied_in_the_same_file_are_changed_in_fifty_rounds() {
    let _alone = alone().await;
    let world = World::running("in-one-file").await;
    let controller = tokio::spawn(keep_status(world.client.clone(), world.namespace.clone()));
    let mut counted = 0;
    for n in 0..MAX_ROUNDS {
        let (stop, delete) = (format!("stop-{n}"), format!("delete-{n}"));
        let manifest = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let spec = json!({"executions": [{"id": stop, "targetStatus": "STOPPED"}, deleted(&delete)],
            "deployments": [deleted(&delete)]});
        let mut objects = vec![
            manifest("Execution", &stop, json!({})),
            manifest("Execution", &delete, json!({})),
            manifest("Deployment", &delete, json!({})),
        ];
        objects.extend((0..BETWEEN).map(|k| manifest("Execution", &format!("between-{n}-{k}"), json!({}))));
        objects.push(manifest("BulkUpdate", &format!("bulk-{n}"), spec));
        let file = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        world.kubectl_ok(&["apply", "-f", "-"], &file.to_string());
        let status = world.finished(&format!("bulk-{n}")).await;
        for kind in Kind::ALL {
            assert_eq!(outcome(&status, kind, &delete), "Settled", "{status:#?}");
        }
        // It could be planned before the controller had written that it runs.
        if outcome(&status, Kind::Execution, &stop) == "Refused WrongState" {
            continue;
        }
        assert_eq!(outcome(&status, Kind::Execution, &stop), "Settled", "{status:#?}");
        let bulk = world.bulk_updates().get(&format!("bulk-{n}")).await.unwrap();
        let target = world.find(Kind::Execution, &stop).await.unwrap();
        counted += usize::from(created(&bulk) == created(&target));
        if counted == ROUNDS {
            controller.abort();
            return;
        }
    }
    panic!("only {counted} of {MAX_ROUNDS} rounds fell into one second");
}

/// Creates a BulkUpdate and then its targets; returns name and uid of those created in the same second.
async fn create_too_late(world: &World, round: usize) -> Vec<(String, String)> {
    let ids: Vec<_> = (0..LATER).map(|k| format!("later-{round}-{k}")).collect();
    // Half of the names belonged to an older object.
    for id in ids.iter().step_by(2) {
        world.own(Kind::Execution, id, "STOPPED").await;
        world.targets(Kind::Execution).delete(id, &DeleteParams::default()).await.unwrap();
    }
    let items: Vec<_> = ids.iter().map(|id| deleted(id)).collect();
    let bulk = world.submit_at_once(&format!("bulk-{round}"), json!({"executions": items})).await;
    let made = ids.iter().map(async |id| {
        let uid = world.target(Kind::Execution, id, json!({}), json!({})).await;
        (id.clone(), uid)
    });
    let made = join_all(made).await;
    let mut in_the_same_second = Vec::new();
    for (id, uid) in made {
        match world.find(Kind::Execution, &id).await {
            Some(found) if created(&found) > created(&bulk) => {}
            _ => in_the_same_second.push((id, uid)),
        }
    }
    in_the_same_second
}

/// Which of these are gone or changed.
async fn touched(world: &World, made: &[(String, String)]) -> Vec<String> {
    let mut touched = Vec::new();
    for (id, uid) in made {
        let found = world.find(Kind::Execution, id).await;
        let same =
            found.is_some_and(|f| f.uid().as_ref() == Some(uid) && f.metadata.deletion_timestamp.is_none());
        if !same {
            touched.push(id.clone());
        }
    }
    touched
}

fn are_refused(status: &BulkUpdateStatus, made: &[(String, String)]) -> usize {
    let mut later = 0;
    for (id, _) in made {
        let outcome = outcome(status, Kind::Execution, id);
        assert!(["Refused NotFound", "Refused CreatedLater"].contains(&&*outcome), "{id}: {outcome}");
        if outcome == "Refused CreatedLater" {
            later += 1;
            let message = item(status, Kind::Execution, id).message.as_deref();
            assert_eq!(
                message,
                Some(
                    "created in the same second as the BulkUpdate, not known to be older; give its uid if it is meant"
                )
            );
        }
    }
    later
}

#[tokio::test]
async fn what_is_created_later_in_the_same_second_is_not_touched() {
    let _alone = alone().await;
    let world = World::running("later").await;
    let (mut made, mut touched_in_all, mut refused) = (0, Vec::new(), 0);
    for round in 0..MAX_ROUNDS {
        let late = create_too_late(&world, round).await;
        let status = world.finished(&format!("bulk-{round}")).await;
        made += late.len();
        touched_in_all.extend(touched(&world, &late).await);
        if touched_in_all.is_empty() {
            refused += are_refused(&status, &late);
        }
        if round >= ROUNDS && made >= ROUNDS && refused >= ROUNDS {
            break;
        }
    }
    assert_eq!(touched_in_all, Vec::<String>::new(), "{} of {made}", touched_in_all.len());
    assert!(refused >= ROUNDS, "only {refused} of {made} existed when they were read");
}

#[tokio::test]
async fn what_is_created_later_in_the_same_second_is_not_touched_by_an_operator_that_was_away() {
    let _alone = alone().await;
    let mut world = World::new("away").await;
    let (mut rounds, mut late) = (Vec::new(), 0);
    for round in 0..MAX_ROUNDS {
        rounds.push(create_too_late(&world, round).await);
        late += rounds[round].len();
        if late >= ROUNDS * LATER {
            break;
        }
    }
    assert!(late >= ROUNDS, "only {late} were created in the same second");
    world.operator.start(&[]);
    let mut statuses = Vec::new();
    for round in 0..rounds.len() {
        statuses.push(world.finished(&format!("bulk-{round}")).await);
    }
    let made: Vec<_> = rounds.iter().flatten().cloned().collect();
    let touched = touched(&world, &made).await;
    assert_eq!(touched, Vec::<String>::new(), "{} of {late}", touched.len());
    for (status, made) in statuses.iter().zip(&rounds) {
        assert_eq!(are_refused(status, made), made.len());
    }
}

#[tokio::test]
async fn targets_applied_in_the_same_file_are_found_in_fifty_rounds() {
    let _alone = alone().await;
    let world = World::running("at-once").await;
    for n in 0..50 {
        let manifest = |kind: &str, spec: Value| {
            json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": kind, "metadata": {"name": format!("new-{n}")},
                "spec": spec})
        };
        let items = json!([{"id": format!("new-{n}"), "targetStatus": "DELETED"}]);
        let file = json!({"apiVersion": "v1", "kind": "List", "items": [
            manifest("Execution", json!({})),
            manifest("Deployment", json!({})),
            manifest("BulkUpdate", json!({"executions": items, "deployments": items})),
        ]})
        .to_string();
        world.kubectl_ok(&["apply", "-f", "-"], &file);
    }
    for n in 0..50 {
        let status = world.finished(&format!("new-{n}")).await;
        assert_eq!(count(&status, ItemResult::Settled), 2, "{status:#?}");
    }
}
