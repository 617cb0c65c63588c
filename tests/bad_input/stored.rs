//! Objects written directly into etcd that the API server still serves.

use std::time::SystemTime;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};
use serde_json::{Value, json};
use support::{World, etcd};

use super::{
    hostile::{mutated, odd},
    inputs::{BULK_UPDATE, DEPLOYMENT, EXECUTION, NAME, Sort, ids, named, pick, spec, status},
    metadata,
    schema::Care,
    send::{Created, Way, get, path},
    tally::Tally,
};

/// An object, and the name under which the API server finds it, whatever its metadata say.
#[derive(Clone, Debug)]
pub struct Stored {
    pub sort: Sort,
    pub name: String,
    pub object: Value,
}

/// Placeholders for the time at which it is stored, and for the namespace.
const NOW: &str = "$NOW";
const NAMESPACE: &str = "$WHERE";

/// This many: as many targets as BulkUpdates, whose items name the targets.
pub fn generate(random: &mut TestRunner, round: &str, count: usize) -> Vec<Stored> {
    let targets = count / 2;
    let ids = ids(round, targets);
    let of = |sort| objects(sort, &ids);
    let (executions, deployments, bulk_updates) = (of(EXECUTION), of(DEPLOYMENT), of(BULK_UPDATE));
    let mut all = Vec::new();
    for n in 0..targets {
        let (sort, name) = named(round, n);
        all.push(make(random, if n % 2 == 0 { &executions } else { &deployments }, sort, name));
    }
    for n in 0..count - targets {
        all.push(make(random, &bulk_updates, BULK_UPDATE, format!("bulk-{round}-{n}")));
    }
    all
}

/// With this change at a JSON pointer to a member of an object; `None` removes it.
pub fn changed(sort: Sort, name: &str, spec: &Value, at: &str, value: Option<Value>) -> Stored {
    let status =
        if sort == BULK_UPDATE { json!({"observedGeneration": -1}) } else { json!({"state": "STOPPED"}) };
    let mut object = whole(sort, name, uuid::Uuid::new_v4(), spec, &status);
    let (parent, field) = at.rsplit_once('/').unwrap();
    set(object.pointer_mut(parent).unwrap(), field, value);
    Stored { sort, name: name.to_owned(), object }
}

/// Stores them, and checks how the API server serves each.
pub async fn store(world: &World, objects: Vec<Stored>, tally: &mut Tally) -> Vec<Created> {
    let now = Timestamp::try_from(SystemTime::now()).unwrap();
    let second = |ago| {
        let time = now - SignedDuration::from_secs(ago);
        json!(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).to_string()
    };
    // Targets are older for certain.
    let (now, before) = (second(0), second(2));
    let namespace = json!(world.namespace).to_string();
    let texts = |stored: &Stored| {
        let text = stored.object.to_string();
        let time = if stored.sort == BULK_UPDATE { &now } else { &before };
        let text = text.replace(&json!(NOW).to_string(), time);
        let text = metadata::nested(text.replace(&json!(NAMESPACE).to_string(), &namespace));
        (etcd::key(stored.sort.plural, &world.namespace, &stored.name), text)
    };
    let (targets, bulk_updates): (Vec<_>, Vec<_>) =
        objects.iter().partition(|stored| stored.sort != BULK_UPDATE);
    let mut created = Vec::new();
    for part in [targets, bulk_updates] {
        etcd::put(world.plane, part.iter().copied().map(texts)).await;
        for Stored { sort, name, object } in part {
            let answer = get(&world.client, &format!("{}/{name}", path(world, *sort))).await;
            let ends = !object["metadata"]["deletionTimestamp"].is_null()
                || object["spec"]["ttlSecondsAfterFinished"].is_number();
            tally.sent(&format!("{} in etcd", sort.kind), 201);
            if answer.code == 404 && *sort == BULK_UPDATE && ends {
                // Its status said that it had finished, and it has expired.
                tally.expired += 1;
                continue;
            }
            assert_eq!(answer.code, 200, "the API server does not serve {name}: {}", answer.body);
            let (sort, name) = (*sort, name.clone());
            created.push(Created { sort, name, object: answer.body, status: None, way: Way::Stored });
        }
    }
    created
}

fn make(random: &mut TestRunner, objects: &BoxedStrategy<Value>, sort: Sort, name: String) -> Stored {
    let mut object = pick(random, objects);
    let text = object.to_string().replace(NAME, &name);
    object = serde_json::from_str(&text).unwrap();
    Stored { sort, name, object }
}

fn whole(sort: Sort, name: &str, uid: uuid::Uuid, spec: &Value, status: &Value) -> Value {
    json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": sort.kind, "metadata": {"name": name,
        "namespace": NAMESPACE, "uid": uid.to_string(), "creationTimestamp": NOW, "generation": 1},
        "spec": spec, "status": status})
}

fn objects(sort: Sort, ids: &BoxedStrategy<String>) -> BoxedStrategy<Value> {
    let good = spec(sort, Care::Keeps, ids);
    let specs =
        prop_oneof![30 => good.clone(), 2 => spec(sort, Care::Strays, ids), 2 => mutated(good), 1 => odd()];
    let kept = status(sort, Care::Keeps);
    let usual = if sort == BULK_UPDATE {
        Just(json!({"observedGeneration": -1})).boxed()
    } else {
        let states =
            select(vec!["UNKNOWN", "PENDING", "RUNNING", "COMPLETED", "DEAD", "STOPPING", "STOPPED"]);
        states.prop_map(|state| json!({"state": state})).boxed()
    };
    let statuses = prop_oneof![12 => usual, 2 => kept.clone(), 2 => mutated(kept), 1 => odd()];
    let kinds = prop_oneof![60 => Just(sort.kind), 1 => select(vec!["Pod", "BulkUpdateList"])];
    (any::<u128>(), specs, statuses, metadata::changes(), kinds)
        .prop_map(move |(uid, spec, status, changes, kind)| {
            let uid = uuid::Builder::from_random_bytes(uid.to_le_bytes()).into_uuid();
            let mut object = whole(sort, NAME, uid, &spec, &status);
            object["kind"] = kind.into();
            for (field, value) in changes {
                set(&mut object["metadata"], field, value);
            }
            object
        })
        .boxed()
}

fn set(object: &mut Value, field: &str, value: Option<Value>) {
    let object = object.as_object_mut().unwrap();
    match value {
        Some(value) => _ = object.insert(field.to_owned(), value),
        None => _ = object.remove(field),
    }
}
