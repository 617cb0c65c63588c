//! A newer operator finishes what an older one has planned: for each released version (and the next one),
//! `tests/planned_by` has what it leaves behind in the middle of a BulkUpdate.

use std::{collections::HashMap, fs, path::Path};

use ai_api_operator::api::Kind;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use support::{World, conditions, outcome};

/// Replaces the names of the objects by their uids.
fn with_uids(entries: &mut Value, uids: &HashMap<String, String>) {
    for entry in entries.as_array_mut().unwrap() {
        let uid = &uids[entry["uid"].as_str().unwrap()];
        entry["uid"] = uid.as_str().into();
    }
}

async fn finish(version: &str, left: &Value) {
    let mut world = World::new(&format!("upgrade-{}", version.replace('.', "-"))).await;
    let bulk = {
        let mut uids = HashMap::new();
        for kind in Kind::ALL {
            for target in left["targets"][kind.plural()].as_array().unwrap() {
                let (name, mut spec) = (target["name"].as_str().unwrap(), json!({}));
                if target["managedBy"].is_string() {
                    spec["managedBy"] = target["managedBy"].clone();
                }
                let uid = world.target(kind, name, spec, json!({"state": target["state"]})).await;
                uids.insert(name.to_owned(), uid);
            }
        }
        let bulk = world.submit("planned", left["spec"].clone()).await;
        for kind in Kind::ALL {
            for target in left["targets"][kind.plural()].as_array().unwrap() {
                if target["sent"] == true {
                    let request = json!({"bulkUpdate": "planned", "uid": bulk.metadata.uid,
                        "time": "2026-11-25T20:00:02Z"});
                    let status = json!({"targetStatus": "STOPPED", "stopRequest": request});
                    world.set_status(kind, target["name"].as_str().unwrap(), status).await;
                }
            }
        }
        let mut status = left["status"].clone();
        for kind in Kind::ALL {
            with_uids(&mut status[kind.plural()], &uids);
        }
        let patch = Patch::Merge(json!({"status": status}));
        world.bulk_updates().patch_status("planned", &PatchParams::default(), &patch).await.unwrap()
    };
    assert!(bulk.status.unwrap().start_time.is_some());

    world.operator.start(&[]);
    world.ready_reason("planned", "Settling").await;
    world.set_status(Kind::Execution, "waits-for-another", json!({"state": "STOPPED"})).await;
    let status = world.finished("planned").await;
    let expected = [
        (Kind::Execution, "planned-stop", "Settled"),
        (Kind::Execution, "planned-delete", "Settled"),
        (Kind::Execution, "sent-stop", "Settled"),
        (Kind::Execution, "waits-for-another", "Settled"),
        (Kind::Execution, "refused", "Refused WrongState"),
        (Kind::Deployment, "settled", "Settled"),
    ];
    for (kind, id, result) in expected {
        assert_eq!(outcome(&status, kind, id), result, "{version}: {id}");
    }
    assert_eq!(conditions(&status)[1], "Ready False ItemsRefused");
    let mut written: Vec<_> = world.writes().into_iter().map(|r| (r.verb, r.name)).collect();
    written.sort();
    let wanted =
        [("delete", "planned-delete"), ("patch", "planned-stop")].map(|(v, n)| (v.to_owned(), n.to_owned()));
    assert_eq!(written, wanted, "{version}: earlier writes are not repeated");
    assert!(world.operator.stop().success());
}

#[tokio::test]
async fn what_any_version_has_planned_is_finished() {
    let folder = Path::new(support::control_plane::PROJECT).join("tests/planned_by");
    let mut versions = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let version = file.file_stem().unwrap().to_str().unwrap().to_owned();
        finish(&version, &serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap()).await;
        versions.push(version);
    }
    let present = env!("CARGO_PKG_VERSION").to_owned();
    assert!(versions.contains(&present), "tests/planned_by lacks {present}");
}
