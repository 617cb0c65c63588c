//! Known cases, not random ones: in a namespace of their own, and fast.

use serde_json::{Value, json};
use support::{World, operator::LONG_LEASE};

use super::{
    CRDS, answered,
    inputs::{BULK_UPDATE, EXECUTION, Input},
    judge::Known,
    metadata, midway, restart,
    send::{Created, create, edited, patch, path},
    stored::{Stored, changed, store},
    tally::Tally,
    watches,
};

fn one_of(id: &str) -> Value {
    json!({"executions": [{"id": id, "targetStatus": "DELETED"}]})
}

/// Metadata that anybody with the right to patch objects can write block nothing: neither work in progress nor later
/// objects, neither a running operator nor a restarted one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_from_users_does_no_harm() {
    let _crds = CRDS.read().await;
    let mut world = World::new("odd-metadata").await;
    world.operator.start(&LONG_LEASE);
    let (mut known, mut tally) = (Known::default(), Tally::default());
    let edited = midway::edit(&world, "first", midway::known(), &mut known, &mut tally).await;
    edited.settle(&world, &mut known, &mut tally).await;
    watches::none_has_failed(&world).await;
    let waiting = midway::edit(&world, "second", midway::known(), &mut known, &mut tally).await;
    restart::on_top_of_what_is_there(&mut world, "again", &mut known, &mut tally, async |world, tally| {
        patched_before_they_are_seen(world, tally).await
    })
    .await;
    waiting.settle(&world, &mut known, &mut tally).await;
    watches::none_has_failed(&world).await;
    watches::each_failure_was_a_changed_crd(&world.operator.log());
    assert_eq!(tally.unreadable, 0, "{tally}");
    assert!(known.the_operator_wrote_once_what_was_asked_for(&world) > 0);
}

async fn patched_before_they_are_seen(world: &World, tally: &mut Tally) -> Vec<Created> {
    let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let mut patches = metadata::known_patches();
    patches.push(metadata::deepest_patch());
    let (mut targets, mut bulk_updates) = (Vec::new(), Vec::new());
    for n in 0..patches.len() {
        let id = format!("late-{n}");
        let target = object("Execution", &id, json!({}));
        let status = json!({"status": {"state": "STOPPED"}}).to_string().into_bytes();
        let bulk = object("BulkUpdate", &format!("bulk-{id}"), one_of(&id));
        let of = |sort, object: Value, status| Input {
            sort,
            body: object.to_string().into_bytes(),
            status,
            edit: None,
        };
        targets.push(of(EXECUTION, target, Some(status)));
        bulk_updates.push(of(BULK_UPDATE, bulk, None));
    }
    let mut created = create(world, targets, tally).await;
    world.next_second().await;
    created.extend(create(world, bulk_updates, tally).await);
    for made in &created {
        let n: usize = made.name.rsplit_once('-').unwrap().1.parse().unwrap();
        let body = metadata::nested(patches[n].to_string()).into_bytes();
        let answer =
            patch(&world.client, &format!("{}/{}", path(world, made.sort), made.name), body.clone()).await;
        edited(made.sort.kind, &answer, &body, tally);
        assert_eq!(answer.code, 200, "{}", answer.body);
    }
    created
}

/// Objects that only etcd accepts, however they were stored, do no harm either, and get an answer wherever the API
/// server accepts a status.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_objects_in_etcd_do_no_harm_and_get_an_answer() {
    let _crds = CRDS.read().await;
    let mut world = World::new("odd-store").await;
    world.operator.start(&LONG_LEASE);
    let (mut known, mut tally) = (Known::default(), Tally::default());
    let put = store(&world, odd_ones("seen"), &mut tally).await;
    answered(&world, "seen", put, &mut known, &mut tally).await;
    watches::none_has_failed(&world).await;
    watches::the_unreadable_are_counted(&world, &known).await;
    restart::on_top_of_what_is_there(&mut world, "again", &mut known, &mut tally, async |world, tally| {
        store(world, odd_ones("unseen"), tally).await
    })
    .await;
    watches::the_unreadable_are_counted(&world, &known).await;
    watches::each_failure_was_a_changed_crd(&world.operator.log());
    known.the_operator_wrote_once_what_was_asked_for(&world);
    assert!(
        tally.unreadable > 0 && tally.nameless > 0 && tally.unwritable > 0 && tally.finished > 0,
        "{tally}"
    );
}

/// Each odd value, on a BulkUpdate of an ordinary target and on the target of an ordinary BulkUpdate.
fn odd_ones(round: &str) -> Vec<Stored> {
    let mut changes: Vec<(&str, Option<Value>)> = Vec::new();
    for time in ["9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "1969-12-31T23:59:59Z"] {
        changes.push(("/metadata/creationTimestamp", Some(time.into())));
        changes.push(("/metadata/deletionTimestamp", Some(time.into())));
    }
    for generation in [json!(0), json!(i64::MAX), json!(-1)] {
        changes.push(("/metadata/generation", Some(generation)));
    }
    for field in ["/metadata/uid", "/metadata/creationTimestamp", "/metadata/generation"] {
        changes.push((field, None));
    }
    let deep = json!([{"manager": "m", "operation": "Update", "apiVersion": "aiapi.dev/v1alpha1",
        "time": "9999-12-31T23:59:59Z", "fieldsType": "FieldsV1", "fieldsV1": "$DEEP2000"}]);
    changes.extend([
        ("/metadata/managedFields", Some(deep)),
        ("/metadata/ownerReferences", Some(json!([{}]))),
        ("/metadata/finalizers", Some(json!(["orphan"]))),
        ("/metadata/finalizers", Some(json!(["foregroundDeletion"]))),
        ("/metadata/uid", Some(json!(7))),
        ("/metadata/uid", Some(json!(format!("{round}{}", "u".repeat(64))))),
        ("/metadata/name", Some(json!(format!("\u{1b}[31m\n\"{{{{}}}}{round}")))),
        ("/metadata/name", Some(json!(format!("{round}?b=c#d")))),
        ("/metadata/name", Some(json!(format!("..{round}..")))),
        ("/metadata/name", Some(json!(round.repeat(1000)))),
        ("/metadata/name", Some(json!(format!("{round}-elsewhere")))),
        ("/metadata/namespace", Some(json!("elsewhere"))),
        ("/kind", Some(json!("Pod"))),
        ("/spec", None),
        ("/spec", Some(json!(null))),
        ("/spec", Some(json!({}))),
        ("/spec", Some(json!("$DEEP2000"))),
        ("/spec", Some(json!([7]))),
        ("/status", None),
        ("/status", Some(json!(7))),
        ("/status", Some(json!("STOPPED"))),
        ("/status", Some(json!({"conditions": 7, "state": 7}))),
        ("/status", Some(json!({"conditions": [{"type": "Ready"}], "state": "$DEEP900"}))),
        ("/status", Some(json!({"startTime": "soon", "completionTime": 7, "state": {}}))),
        ("/status", Some(json!("$DEEP2000"))),
    ]);
    let mut all = Vec::new();
    for (n, (at, value)) in changes.into_iter().enumerate() {
        let (own, other) = (format!("{round}-a{n}"), format!("{round}-b{n}"));
        let good = |sort, name: &str, spec: &Value| changed(sort, name, spec, "/unheardOf", None);
        all.push(good(EXECUTION, &own, &json!({})));
        all.push(changed(EXECUTION, &other, &json!({}), at, value.clone()));
        all.push(changed(BULK_UPDATE, &format!("bulk-{own}"), &one_of(&own), at, value));
        all.push(good(BULK_UPDATE, &format!("bulk-{other}"), &one_of(&other)));
    }
    all
}
