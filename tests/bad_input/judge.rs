//! What must hold of every BulkUpdate that was accepted, and of every write of the operator.

use std::collections::{HashMap, HashSet};

use ai_api_operator::api::{
    BulkUpdate, BulkUpdateStatus, ItemResult, ItemStatus, Kind, MAX_ITEMS, State, TargetStatus,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use super::{
    inputs::BULK_UPDATE,
    send::{Created, list, path},
    tally::Tally,
};
use crate::support::{World, until_ok};

/// What is known of all BulkUpdates and targets that were ever accepted.
#[derive(Debug, Default)]
pub struct Known {
    /// The BulkUpdates that can be decoded, by uid.
    requests: HashMap<String, BulkUpdate>,
    /// The names of those that can't be.
    undecodable: HashSet<String>,
    /// The items that were refused, by the BulkUpdate's uid.
    refused: HashSet<(String, Kind, String)>,
    /// The targets that were STOPPING at some time: the operator takes them to STOPPED by itself.
    stopping: HashSet<(String, String)>,
    /// The targets whose state was given a word that there is not.
    unreadable: HashSet<(String, String)>,
    /// Items whose targets are known to be waited for.
    awaited: HashSet<(Kind, String)>,
}

/// Whether an accepted BulkUpdate is where it may stay.
enum Verdict {
    Finished(BulkUpdateStatus),
    /// It waits, and says so; it does so rightly if all of these are to be waited for.
    Waiting(String, Vec<(Kind, ItemStatus)>),
    Unreadable,
    /// Its TTL has passed.
    Expired,
    NotYet(String),
}

impl Known {
    /// Takes in targets that were accepted.
    pub fn targets(&mut self, created: &[Created]) {
        for (sort, object, status) in created {
            let key = (sort.plural.to_owned(), name(object).to_owned());
            let state = status.as_ref().map_or(&Value::Null, |status| &status["state"]);
            if state == "STOPPING" {
                self.stopping.insert(key);
            } else if !state.is_null() && State::deserialize(state).is_err() {
                self.unreadable.insert(key);
            }
        }
    }

    /// Takes in a BulkUpdate that is as it should be.
    pub fn request(&mut self, bulk: BulkUpdate) {
        self.requests.insert(bulk.metadata.uid.clone().unwrap(), bulk);
    }

    /// Takes in BulkUpdates that were accepted.
    pub fn bulk_updates(&mut self, created: &[Created]) {
        for (_, object, forged) in created {
            match readable(object) {
                Ok(bulk) => _ = self.requests.insert(uid(object).to_owned(), bulk),
                // What somebody else says about its end is believed.
                Err(_) if forged.is_some() => {}
                Err(_) => _ = self.undecodable.insert(name(object).to_owned()),
            }
        }
    }

    /// Waits until each of them is over, or waits and says for what, or is reported as unreadable.
    pub async fn until_each_has_its_answer(&mut self, world: &World, created: &[Created], tally: &mut Tally) {
        let open: HashMap<_, _> = created.iter().map(|(_, object, _)| (uid(object), object)).collect();
        let state = Mutex::new((self, tally, open));
        until_ok("every accepted BulkUpdate has its answer", || async {
            let (known, tally, open) = &mut *state.lock().await;
            let listed = list(world, &path(world, BULK_UPDATE), "").await;
            let listed: HashMap<_, _> = listed.iter().map(|object| (uid(object), object)).collect();
            let unreadable = reported_as_unreadable(world).await;
            let mut late = Vec::new();
            for (uid, object) in std::mem::take(open) {
                let verdict = judge(object, listed.get(uid).copied(), unreadable.contains(uid));
                if let Err(why) = known.take_in(world, uid, object, verdict, tally).await {
                    late.push(format!("{}: {why}", name(object)));
                    open.insert(uid, object);
                }
            }
            if late.is_empty() { Ok(()) } else { Err(format!("{} of them: {}", late.len(), late[0])) }
        })
        .await;
    }

    /// Waits until there is an event about each that can't be decoded as it stands; what stands in the status of the
    /// others is not the operator's.
    pub async fn until_each_undecodable_is_reported(
        &self,
        world: &World,
        created: &[Created],
        tally: &mut Tally,
    ) {
        let bulk_updates = list(world, &path(world, BULK_UPDATE), "").await;
        let undecodable = bulk_updates.iter().filter(|object| {
            let made = created.iter().any(|(_, made, _)| uid(made) == uid(object));
            made && readable(object).is_err()
        });
        let undecodable: HashSet<_> = undecodable.map(|object| uid(object).to_owned()).collect();
        until_ok("every undecodable status is reported", || async {
            let reported = reported_as_unreadable(world).await;
            let missing = undecodable.difference(&reported).count();
            if missing == 0 { Ok(()) } else { Err(format!("{missing} are not")) }
        })
        .await;
        tally.unreadable += undecodable.len();
    }

    /// Waits until those whose status somebody has forged are over, or wait for what was accepted, whatever was forged.
    pub async fn until_no_forged_one_is_stuck(&self, world: &World, created: &[Created]) {
        let made: HashSet<_> = created.iter().map(|(_, object, _)| uid(object)).collect();
        until_ok("every forged one is over", || async {
            let listed = list(world, &path(world, BULK_UPDATE), "").await;
            let stuck = |object: &&Value| {
                let Ok(bulk) = readable(object) else { return false };
                let status = bulk.status.unwrap_or_default();
                let settling = status.condition("Ready").is_some_and(|ready| ready.reason == "Settling");
                status.completion_time.is_none() && !settling
            };
            let ours = listed.iter().filter(|object| made.contains(uid(object)));
            let stuck: Vec<_> = ours.filter(stuck).collect();
            stuck.first().map_or(Ok(()), |first| Err(format!("{} of them: {first}", stuck.len())))
        })
        .await;
    }

    async fn take_in(
        &mut self,
        world: &World,
        uid: &str,
        object: &Value,
        verdict: Verdict,
        tally: &mut Tally,
    ) -> Result<(), String> {
        match verdict {
            Verdict::NotYet(why) => return Err(why),
            Verdict::Unreadable => tally.unreadable += 1,
            Verdict::Expired => tally.expired += 1,
            Verdict::Waiting(reason, items) => {
                for (kind, item) in items {
                    self.is_to_be_waited_for(world, kind, &item).await?;
                }
                tally.waiting(&reason);
            }
            Verdict::Finished(status) => {
                let request = &self.requests[uid];
                let accepted = status.condition("Accepted").unwrap();
                if accepted.status == "False" {
                    tally.rejected(&accepted.reason);
                } else {
                    tally.finished += 1;
                    answers_each_item(request, &status);
                }
                for (kind, item) in all_items(&status) {
                    let reason = item.reason.map(|reason| format!("{reason:?}"));
                    match item.result {
                        ItemResult::Refused => {
                            tally.refused(&reason.unwrap_or_else(|| panic!("{object}: no reason: {item:?}")));
                            self.refused.insert((uid.to_owned(), kind, item.id.clone()));
                        }
                        ItemResult::Failed => {
                            tally.failed(&reason.unwrap_or_else(|| panic!("{object}: no reason: {item:?}")));
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// An item that is waited for has a target that another controller has to stop, or that finalizers hold.
    async fn is_to_be_waited_for(
        &mut self,
        world: &World,
        kind: Kind,
        item: &ItemStatus,
    ) -> Result<(), String> {
        let key = (kind, item.id.clone());
        if self.awaited.contains(&key) {
            return Ok(());
        }
        let target = world.find(kind, &item.id).await.ok_or_else(|| format!("{item:?} is gone"))?;
        let held = match item.target_status {
            TargetStatus::Deleted => target.metadata.deletion_timestamp.is_some(),
            TargetStatus::Stopped => {
                let by = target.data.pointer("/spec/managedBy").and_then(Value::as_str);
                by.is_some_and(|by| by != "aiapi.dev/operator")
                    && target.data["status"]["targetStatus"] == "STOPPED"
            }
        };
        if !held {
            return Err(format!("{item:?} waits for {target:?}"));
        }
        self.awaited.insert(key);
        Ok(())
    }

    /// Every write of the operator to a target is one that an accepted BulkUpdate asks for and that was not refused; a
    /// BulkUpdate that could never be decoded was not touched.
    pub fn the_operator_wrote_only_what_was_asked_for(&self, world: &World) -> usize {
        let mut asked: HashMap<(&str, &str, TargetStatus), Vec<&str>> = HashMap::new();
        for (uid, bulk) in &self.requests {
            for kind in Kind::ALL.into_iter().filter(|_| bulk.spec.dry_run != Some(true)) {
                for item in bulk.spec.items(kind) {
                    let refused = self.refused.contains(&(uid.clone(), kind, item.id.clone()));
                    if !refused {
                        asked.entry((kind.plural(), &item.id, item.target_status)).or_default().push(uid);
                    }
                }
            }
        }
        let none = Vec::new();
        let mut writes = 0;
        for request in world.requests() {
            let at = |target| asked.get(&(&*request.resource, &*request.name, target)).unwrap_or(&none);
            if request.resource == "bulkupdates" && !matches!(request.verb.as_str(), "list" | "watch") {
                assert!(!self.undecodable.contains(&request.name), "it is to be left alone: {request:?}");
            }
            if !request.is_target_write() || !request.succeeded() {
                continue;
            }
            writes += 1;
            let key = (request.resource.clone(), request.name.clone());
            assert!(!self.unreadable.contains(&key), "nobody can tell what it is: {request:?}");
            let by = request.body.pointer("/status/stopRequest/uid").and_then(Value::as_str);
            match (request.verb.as_str(), by) {
                ("delete", _) => {
                    assert!(!at(TargetStatus::Deleted).is_empty(), "nobody asked for {request:?}");
                }
                ("patch", Some(by)) => {
                    assert!(at(TargetStatus::Stopped).contains(&by), "nobody asked for {request:?}");
                }
                ("patch", None) => {
                    assert!(self.stopping.contains(&key), "nobody asked for {request:?}");
                }
                _ => panic!("the operator never sends such a write: {request:?}"),
            }
        }
        writes
    }
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap()
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// The BulkUpdate, if it can be decoded and keeps to the limits of the AI API, which a loosened CRD does not.
fn readable(object: &Value) -> Result<BulkUpdate, String> {
    let bulk: BulkUpdate = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    if bulk.status.as_ref().is_some_and(|status| status.completion_time.is_some()) {
        return Ok(bulk);
    }
    let mut ids = HashSet::new();
    for kind in Kind::ALL {
        for item in bulk.spec.items(kind) {
            let odd = |c: char| !(c.is_ascii_alphanumeric() || "_.-".contains(c));
            if item.id.len() < 4
                || item.id.len() > 64
                || item.id.contains(odd)
                || !ids.insert((kind, &item.id))
            {
                return Err(format!("the id {:?}", item.id));
            }
        }
    }
    match ids.len() {
        1..=MAX_ITEMS => Ok(bulk),
        count => Err(format!("{count} items")),
    }
}

/// The uids of what the operator has told `Unreadable` about.
async fn reported_as_unreadable(world: &World) -> HashSet<String> {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", world.namespace);
    let events = list(world, &path, "reason=Unreadable").await;
    events.iter().filter_map(|event| event["regarding"]["uid"].as_str()).map(str::to_owned).collect()
}

fn judge(accepted: &Value, now: Option<&Value>, unreadable: bool) -> Verdict {
    let Some(now) = now else {
        let expires = accepted["spec"]["ttlSecondsAfterFinished"].is_number();
        assert!(expires, "it is gone, and nobody has deleted it: {accepted}");
        return Verdict::Expired;
    };
    let bulk = match readable(now) {
        Ok(bulk) => bulk,
        Err(_) if unreadable => return Verdict::Unreadable,
        Err(why) => return Verdict::NotYet(format!("no event says that it can't be decoded: {why}")),
    };
    let status = bulk.status.clone().unwrap_or_default();
    let Some(ready) = status.condition("Ready").cloned() else {
        return Verdict::NotYet("it has no conditions".to_owned());
    };
    for condition in &status.conditions {
        assert!(condition.message.trim().len() > 5, "no sentence: {now}");
        assert!(!condition.reason.is_empty(), "no reason: {now}");
    }
    if Kind::ALL.iter().map(|kind| bulk.spec.items(*kind).len()).sum::<usize>() <= MAX_ITEMS {
        let size = now["status"].to_string().len();
        assert!(size < 40_000, "a status of {size} bytes: {now}");
    }
    if status.completion_time.is_some() {
        return Verdict::Finished(status);
    }
    let scheduled = all_items(&status).filter(|(_, item)| item.result == ItemResult::Scheduled);
    let scheduled: Vec<_> = scheduled.map(|(kind, item)| (kind, item.clone())).collect();
    match ready.reason.as_str() {
        "Settling" if !scheduled.is_empty() => Verdict::Waiting(ready.reason, scheduled),
        _ => Verdict::NotYet(format!("{}: {}", ready.reason, ready.message)),
    }
}

fn all_items(status: &BulkUpdateStatus) -> impl Iterator<Item = (Kind, &ItemStatus)> {
    Kind::ALL.into_iter().flat_map(|kind| status.items(kind).iter().map(move |item| (kind, item)))
}

/// A status that says what became of the items has one entry for each, in order.
fn answers_each_item(request: &BulkUpdate, status: &BulkUpdateStatus) {
    for kind in Kind::ALL {
        let asked = request.spec.items(kind).iter().map(|item| (&item.id, item.target_status));
        let told = status.items(kind).iter().map(|item| (&item.id, item.target_status));
        assert!(asked.eq(told), "{request:?} has {status:?}");
    }
    let ready = status.condition("Ready").unwrap();
    let good = |item: &ItemStatus| matches!(item.result, ItemResult::Settled | ItemResult::Eligible);
    let all_good = all_items(status).all(|(_, item)| good(item));
    assert_eq!(ready.status == "True", all_good, "{request:?} has {status:?}");
}
