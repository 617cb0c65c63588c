//! What must hold for every BulkUpdate: its conditions say what state it is in.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use ai_api_operator::api::{
    BulkUpdateSpec, BulkUpdateStatus, ItemResult, ItemStatus, Kind, MAX_ITEMS, State,
};
use serde::Deserialize;
use serde_json::Value;
use support::World;

use super::{
    TIMEOUT,
    excuse::{Excuse, Reported},
    inputs::{BULK_UPDATE, DEPLOYMENT, EXECUTION},
    send::{Created, Way, get, list, path},
    tally::Tally,
    writes::Asked,
};

/// What is known of all BulkUpdates and targets that ever existed.
#[derive(Debug, Default)]
pub struct Known {
    /// The items of each BulkUpdate, by its uid (its name, if it has none).
    pub requests: HashMap<String, Asked>,
    /// The items that were refused, by the BulkUpdate's uid.
    pub refused: HashSet<(String, Kind, String)>,
    /// The targets with an unknown word as their state.
    pub unreadable: HashSet<(String, String)>,
    /// The targets whose metadata have another name than their key: it is unknown whether one of them is meant.
    unidentified: HashSet<(String, String)>,
    /// Items whose targets are known to be waited for.
    awaited: HashSet<(Kind, String)>,
    /// How many the present process has found unreadable.
    pub found: usize,
    /// How many of them have no answer in their status: each process reports them again.
    pub unanswered: usize,
}

/// Whether a BulkUpdate is in a state in which it may stay.
enum Verdict {
    Finished(BulkUpdateStatus),
    /// It waits for its targets, and says so; this is correct if all of them are to be waited for.
    Settling(Vec<(Kind, ItemStatus)>),
    /// It cannot be planned yet, and says why.
    Waiting(String),
    /// Its conditions say that it cannot be read.
    Unreadable,
    /// Somebody else has written that it has finished.
    Believed,
    /// It is being deleted, and nothing is done for it any more.
    Terminating,
    /// Its TTL has passed.
    Expired,
    NotYet(String),
}

impl Known {
    /// Adds existing targets.
    pub fn targets(&mut self, created: &[Created]) {
        for made in created {
            let key = || (made.sort.plural.to_owned(), made.name.clone());
            let status = made.status.as_ref().unwrap_or(&made.object["status"]);
            let state = &status["state"];
            if !state.is_null() && State::deserialize(state).is_err() {
                self.unreadable.insert(key());
            }
            if made.object["metadata"]["name"] != *made.name {
                self.unidentified.insert(key());
            }
        }
    }

    /// Adds existing BulkUpdates.
    pub fn bulk_updates(&mut self, created: &[Created]) {
        for made in created {
            self.request(id(made).to_owned(), &made.object);
        }
    }

    /// Adds one.
    pub fn request(&mut self, id: String, object: &Value) {
        self.requests.insert(id, Asked::by(object));
    }

    /// Another process has started.
    pub fn restarted(&mut self) {
        self.found = self.unanswered;
    }

    /// Waits until each of them has finished, or waits and says for what, or says that it cannot be read. Fails if one
    /// has no answer while no other one gets an answer either.
    pub async fn until_each_has_its_answer(&mut self, world: &World, created: &[Created], tally: &mut Tally) {
        let mut open: Vec<_> = created.iter().collect();
        let mut excuses = HashMap::new();
        let mut progress = Instant::now();
        loop {
            let (before, mut late) = (open.len(), Vec::new());
            let listed = list(world, &path(world, BULK_UPDATE), "").await;
            let listed: HashMap<_, _> = listed
                .iter()
                .filter_map(|object| Some((object["metadata"]["uid"].as_str()?, object)))
                .collect();
            // The API server reads all events for this.
            let stored = open.iter().any(|made| made.way == Way::Stored);
            let reported = if stored { Reported::now(world).await } else { Reported::default() };
            for made in std::mem::take(&mut open) {
                let listed = listed.get(made.uid()).copied();
                if let Err(why) = self.look(world, made, listed, &reported, &mut excuses, tally).await {
                    late.push(format!("{}: {why}", made.name));
                    open.push(made);
                }
            }
            if open.is_empty() {
                return;
            }
            if open.len() < before {
                progress = Instant::now();
            }
            late.truncate(5);
            for why in &mut late {
                *why = why.chars().take(3000).collect();
            }
            assert!(progress.elapsed() < TIMEOUT, "{} have no answer: {}", open.len(), late.join("; "));
            // Listing thousands of objects takes the API server long enough.
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Whether this one has its answer, in its status or elsewhere.
    #[allow(clippy::too_many_arguments, reason = "it keeps no state of its own")]
    async fn look<'a>(
        &mut self,
        world: &World,
        made: &'a Created,
        listed: Option<&Value>,
        reported: &Reported,
        excuses: &mut HashMap<&'a str, Option<Excuse>>,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let found;
        let mut now = listed;
        // With odd metadata it may be missing from the list.
        if now.is_none() && made.way == Way::Stored {
            let answer = get(&world.client, &format!("{}/{}", path(world, BULK_UPDATE), made.name)).await;
            found = answer.body;
            now = (answer.code == 200).then_some(&found);
        }
        let verdict = self.take_in(world, made, judge(made, now), tally).await;
        let (Err(why), Some(now), Way::Stored) = (&verdict, now, made.way) else { return verdict };
        let excuse = match excuses.remove(&*made.name) {
            Some(known) => known,
            None => Excuse::of(world, made, now).await,
        };
        let holds = excuse.as_ref().is_some_and(|excuse| self.is_excused(made, excuse, reported, tally));
        excuses.insert(&made.name, excuse);
        if holds { Ok(()) } else { Err(why.clone()) }
    }

    /// The minimum that the present process must have counted as unreadable.
    pub fn found_unreadable(&self) -> usize {
        self.found
    }

    async fn take_in(
        &mut self,
        world: &World,
        made: &Created,
        verdict: Verdict,
        tally: &mut Tally,
    ) -> Result<(), String> {
        match verdict {
            Verdict::NotYet(why) => return Err(why),
            Verdict::Unreadable => {
                if may_be_carried_out(made) {
                    return Err(format!("it is readable: {}", made.object));
                }
                self.found += 1;
                tally.unreadable += 1;
            }
            Verdict::Believed => tally.believed += 1,
            Verdict::Terminating => tally.terminating += 1,
            Verdict::Expired => tally.expired += 1,
            Verdict::Settling(items) => {
                // If somebody has written that it was done, the operator believes that, too.
                for (kind, item) in items.iter().filter(|_| made.way == Way::Sent) {
                    self.must_be_waited_for(world, *kind, item).await?;
                }
                tally.waiting("Settling");
            }
            Verdict::Waiting(message) => {
                let asked = Asked::by(&made.object);
                let unidentified =
                    |(kind, id, _): &(Kind, String, String)| self.is_unidentified(*kind, id, &message);
                if !asked.items.iter().any(unidentified) {
                    return Err(format!("it waits for nothing: {message}"));
                }
                tally.waiting("Waiting");
            }
            Verdict::Finished(status) => {
                let accepted = status.condition("Accepted").unwrap();
                if accepted.status == "False" {
                    tally.rejected(&accepted.reason);
                } else {
                    Asked::by(&made.object).has_an_answer_for_each(&status, made.way)?;
                    tally.finished += 1;
                }
                for (kind, item) in all_items(&status) {
                    let reason = || {
                        // If somebody has written that it failed, the operator believes that, even without a reason.
                        assert!(item.reason.is_some() || made.way != Way::Sent, "{}: {item:?}", made.name);
                        item.reason.map_or("none".to_owned(), |reason| format!("{reason:?}"))
                    };
                    match item.result {
                        ItemResult::Refused => {
                            tally.refused(&reason());
                            self.refused.insert((id(made).to_owned(), kind, item.id.to_string()));
                        }
                        ItemResult::Failed => tally.failed(&reason()),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the message correctly says that this item's target cannot be determined.
    fn is_unidentified(&self, kind: Kind, id: &str, message: &str) -> bool {
        self.unidentified.contains(&(kind.plural().to_owned(), id.to_owned())) && message.contains(id)
    }

    /// An item that is waited for has a target whose work has to stop or that another controller has to stop, or that finalizers
    /// keep.
    async fn must_be_waited_for(
        &mut self,
        world: &World,
        kind: Kind,
        item: &ItemStatus,
    ) -> Result<(), String> {
        let key = (kind, item.id.to_string());
        if self.awaited.contains(&key) {
            return Ok(());
        }
        let sort = if kind == Kind::Execution { EXECUTION } else { DEPLOYMENT };
        let answer = get(&world.client, &format!("{}/{}", path(world, sort), item.id)).await;
        let target = answer.body;
        let terminates = !target["metadata"]["deletionTimestamp"].is_null();
        let by = target["spec"]["managedBy"].as_str();
        let others = by.is_some_and(|by| by != "aiapi.dev/operator");
        let has_work = ["template", "workloadRef"].iter().any(|field| !target["spec"][field].is_null());
        let held = if item.target_status.word() == "DELETED" {
            terminates
        } else {
            (others || has_work) && target["status"]["targetStatus"] == "STOPPED"
        };
        if answer.code != 200 || !held {
            return Err(format!("{item:?} waits for {target}"));
        }
        self.awaited.insert(key);
        Ok(())
    }
}

/// Its key: its uid, or its name.
fn id(made: &Created) -> &str {
    if made.uid().is_empty() { &made.name } else { made.uid() }
}

/// Whether a BulkUpdate could be carried out: its spec and its status are readable, and it is within the limits of the
/// AI API, which a loosened CRD does not enforce. Metadata do not matter.
fn may_be_carried_out(made: &Created) -> bool {
    if made.way == Way::Stored {
        return false;
    }
    let status = made.status.as_ref().unwrap_or(&Value::Null);
    BulkUpdateSpec::deserialize(&made.object["spec"]).is_ok()
        && (status.is_null() || BulkUpdateStatus::deserialize(status).is_ok())
        && Asked::by(&made.object).keeps_to_the_limits()
}

fn judge(made: &Created, now: Option<&Value>) -> Verdict {
    let before = made.status.as_ref().unwrap_or(&made.object["status"]);
    let terminates = |object: &Value| !object["metadata"]["deletionTimestamp"].is_null();
    let Some(now) = now else {
        if terminates(&made.object) {
            return Verdict::Terminating;
        }
        let expires = made.object["spec"]["ttlSecondsAfterFinished"].is_number();
        assert!(expires, "it is gone, although nobody has deleted it: {}", made.object);
        return Verdict::Expired;
    };
    // Any end that is recorded there counts.
    let same = |field: &str| now["status"][field] == before[field];
    let over = !before["completionTime"].is_null();
    if made.way != Way::Sent
        && over
        && ["startTime", "completionTime", "executions", "deployments"].iter().all(|f| same(f))
    {
        return Verdict::Believed;
    }
    // If it has been deleted since and a finalizer keeps it, it has expired: it had finished before.
    if terminates(&made.object) {
        let begun = &now["status"]["startTime"];
        if begun.is_null() || *begun == before["startTime"] {
            return Verdict::Terminating;
        }
        return Verdict::NotYet(format!("it was started although it is being deleted: {now}"));
    }
    match answer(now, made.way) {
        Ok(verdict) => verdict,
        Err(why) => Verdict::NotYet(why),
    }
}

/// The content of a status.
fn answer(object: &Value, way: Way) -> Result<Verdict, String> {
    let mut now = object.clone();
    // For the messages.
    now["metadata"].as_object_mut().map(|metadata| metadata.remove("managedFields"));
    let mut status = now["status"].clone();
    if way != Way::Sent && BulkUpdateStatus::deserialize(&status).is_err() {
        // The operator does not change the items that somebody else has recorded, if it cannot read the request.
        for field in ["executions", "deployments", "summary"] {
            status.as_object_mut().map(|status| status.remove(field));
        }
    }
    let status = BulkUpdateStatus::deserialize(&status)
        .map_err(|error| format!("its status cannot be read: {error}: {status}"))?;
    let named = |type_| status.condition(type_).ok_or_else(|| format!("it has no condition {type_}: {now}"));
    let (ready, accepted) = (named("Ready")?.clone(), named("Accepted")?.clone());
    for condition in &status.conditions {
        if condition.message.trim().len() <= 5 || condition.reason.is_empty() {
            return Err(format!("no sentence, or no reason: {now}"));
        }
    }
    let size = now["status"].to_string().len();
    if Asked::by(&now).items.len() <= MAX_ITEMS && size >= 40_000 {
        return Err(format!("a status of {size} bytes: {now}"));
    }
    if ready.reason == "Unreadable" {
        let ends = status.completion_time.is_some() || status.start_time.is_some();
        let says_so = accepted.status != "True" || status.start_time.is_some();
        if !ends || !says_so || ready.status != "False" {
            return Err(format!("unreadable, and neither finished nor planned: {}", now["status"]));
        }
        return Ok(Verdict::Unreadable);
    }
    if status.completion_time.is_some() {
        return Ok(Verdict::Finished(status));
    }
    let scheduled = all_items(&status).filter(|(_, item)| item.result == ItemResult::Scheduled);
    let scheduled: Vec<_> = scheduled.map(|(kind, item)| (kind, item.clone())).collect();
    match ready.reason.as_str() {
        "Settling" if !scheduled.is_empty() => Ok(Verdict::Settling(scheduled)),
        "Waiting" if accepted.status == "Unknown" => Ok(Verdict::Waiting(ready.message)),
        // Somebody has written that this was planned.
        "Applying" if way != Way::Sent && ready.message.contains("; waiting: ") => {
            Ok(Verdict::Waiting(ready.message))
        }
        _ => Err(format!("{}: {}", ready.reason, ready.message)),
    }
}

pub fn all_items(status: &BulkUpdateStatus) -> impl Iterator<Item = (Kind, &ItemStatus)> {
    Kind::ALL.into_iter().flat_map(|kind| status.items(kind).iter().map(move |item| (kind, item)))
}
