//! What must hold for every write of the operator.

use std::collections::{HashMap, HashSet};

use ai_api_operator::api::{BulkUpdateStatus, ItemResult, Kind, MAX_ITEMS};
use serde_json::Value;
use support::{World, audit};

use super::{
    judge::{Known, all_items},
    send::Way,
};

/// The items of a BulkUpdate, as far as they are readable.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its uid; empty if it has none.
    uid: String,
    dry_run: bool,
    /// Kind, id and verb.
    pub items: Vec<(Kind, String, String)>,
}

impl Asked {
    pub fn by(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let spec = &object["spec"];
        let of = |kind: Kind| {
            let items = spec[kind.plural()].as_array().into_iter().flatten();
            items.map(move |item| (kind, text(&item["id"]), text(&item["targetStatus"])))
        };
        Self {
            uid: text(&object["metadata"]["uid"]),
            dry_run: spec["dryRun"] == true,
            items: Kind::ALL.into_iter().flat_map(of).collect(),
        }
    }

    /// Whether the AI API allows this.
    pub fn keeps_to_the_limits(&self) -> bool {
        let mut ids = HashSet::new();
        let odd = |c: char| !(c.is_ascii_alphanumeric() || "_.-".contains(c));
        (1..=MAX_ITEMS).contains(&self.items.len())
            && self.items.iter().all(|(kind, id, _)| {
                (4..=64).contains(&id.len()) && !id.contains(odd) && ids.insert((kind, id))
            })
    }

    /// A status that reports outcomes has one entry for each item, in order. (Items that somebody else has written are
    /// kept as they are.)
    pub fn has_an_answer_for_each(&self, status: &BulkUpdateStatus, way: Way) -> Result<(), String> {
        let reported = all_items(status).map(|(kind, item)| (kind, &*item.id, item.target_status.word()));
        let asked = self.items.iter().map(|(kind, id, verb)| (*kind, &**id, verb.as_str()));
        let (mut reported, mut asked): (Vec<_>, Vec<_>) = (reported.collect(), asked.collect());
        if way != Way::Sent {
            reported.sort_unstable();
            asked.sort_unstable();
        }
        // In etcd the spec of a finished one may have been replaced.
        let replaced = way == Way::Stored && status.completion_time.is_some();
        let ready = status.condition("Ready").is_some_and(|ready| ready.status == "True");
        let all_good = all_items(status)
            .all(|(_, item)| matches!(item.result, ItemResult::Settled | ItemResult::Eligible));
        if (reported != asked && !replaced) || ready != all_good {
            return Err(format!("{self:?} has {status:?}"));
        }
        Ok(())
    }
}

impl Known {
    /// Every write of the operator to a target is one that a BulkUpdate asks for and that was not refused, and none was
    /// made twice for it. Returns how many there were.
    pub fn the_operator_wrote_once_what_was_asked_for(&self, world: &World) -> usize {
        let mut asked: HashMap<(&str, &str, &str), Vec<&str>> = HashMap::new();
        for (key, request) in self.requests.iter().filter(|(_, request)| !request.dry_run) {
            for (kind, id, verb) in &request.items {
                if !self.refused.contains(&(key.clone(), *kind, id.clone())) {
                    asked.entry((kind.plural(), id, verb)).or_default().push(&request.uid);
                }
            }
        }
        let (none, mut done) = (Vec::new(), HashSet::new());
        let mut writes = 0;
        // What runs for a target, or cannot, is reported in its conditions, and in its message, which a stop has overwritten.
        let is_report = |request: &audit::Request| {
            let has = |field: &str| request.body.pointer(&format!("/status/{field}")).is_some();
            request.verb == "patch" && (has("conditions") || has("message")) && !has("stopRequest")
        };
        for request in world.writes().into_iter().filter(|request| !is_report(request)) {
            let at = |verb| asked.get(&(&*request.resource, &*request.name, verb)).unwrap_or(&none);
            writes += 1;
            let key = (request.resource.clone(), request.name.clone());
            assert!(!self.unreadable.contains(&key), "the target is unknown: {request:?}");
            let text = |at: &str| request.body.pointer(at).and_then(Value::as_str).map(str::to_owned);
            let by = text("/status/stopRequest/uid");
            let of = match (request.verb.as_str(), by) {
                ("delete", _) => {
                    assert!(!at("DELETED").is_empty(), "no BulkUpdate asked for {request:?}");
                    text("/preconditions/uid").unwrap()
                }
                ("patch", Some(by)) => {
                    assert!(at("STOPPED").contains(&&*by), "no BulkUpdate asked for {request:?}");
                    by
                }
                _ => panic!("the operator never sends such a write: {request:?}"),
            };
            assert!(done.insert((request.verb.clone(), key, of)), "it was done before: {request:?}");
        }
        writes
    }
}
