//! BulkUpdates whose status cannot be written: they have to be reported elsewhere.

use std::collections::HashSet;

use ai_api_operator::api::is_dns_subdomain;
use serde_json::Value;
use support::World;

use super::{
    judge::Known,
    send::{Created, list, would_take_a_status},
    tally::Tally,
};

/// Why there is no answer in the status: nobody can write it.
#[derive(Debug)]
pub enum Excuse {
    /// The stored name is not a valid name.
    Nameless,
    /// Nothing is found under the name and namespace in its metadata.
    Astray,
    /// The API server accepts no status of it.
    Unwritable,
}

impl Excuse {
    /// Whether nobody can write its status.
    pub async fn of(world: &World, made: &Created, now: &Value) -> Option<Self> {
        let metadata = &now["metadata"];
        if metadata["namespace"] != *world.namespace {
            return Some(Self::Astray);
        }
        if !metadata["name"].as_str().is_some_and(is_dns_subdomain) {
            return Some(Self::Nameless);
        }
        if metadata["name"] != *made.name {
            return Some(Self::Astray);
        }
        let takes = would_take_a_status(world, made.sort, &made.name).await;
        (!takes).then_some(Self::Unwritable)
    }
}

/// Where BulkUpdates are reported besides their status.
#[derive(Debug, Default)]
pub struct Reported {
    /// The names in events with the reason Unreadable.
    names: HashSet<String>,
    /// The uids in the same events.
    uids: HashSet<String>,
    /// The log lines that say that a status cannot be written.
    log: Vec<String>,
}

impl Reported {
    pub async fn now(world: &World) -> Self {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", world.namespace);
        let events = list(world, &path, "reason=Unreadable").await;
        let texts = |field: &str| {
            let text = |event: &Value| event["regarding"][field].as_str().map(str::to_owned);
            events.iter().filter_map(text).collect()
        };
        let log = world.operator.log();
        let lines = log.lines().filter(|line| line.contains("cannot write the status"));
        Self { names: texts("name"), uids: texts("uid"), log: lines.map(str::to_owned).collect() }
    }

    /// Whether the log says that the status of this one cannot be written.
    fn has_failed(&self, name: &str) -> bool {
        let names_it = |word: &str| word.trim_matches('"').ends_with(&format!("/{name}"));
        self.log.iter().any(|line| line.split_whitespace().any(names_it))
    }
}

impl Known {
    /// Whether one that cannot have a status is reported elsewhere.
    pub fn is_excused(
        &mut self,
        made: &Created,
        excuse: &Excuse,
        reported: &Reported,
        tally: &mut Tally,
    ) -> bool {
        let name = &made.name;
        let is_reported = match excuse {
            // Without a uid there is nothing that an event could refer to.
            Excuse::Nameless => made.uid().is_empty() || reported.uids.contains(made.uid()),
            Excuse::Astray => false,
            Excuse::Unwritable => reported.names.contains(name),
        };
        let counts = match excuse {
            Excuse::Nameless if is_reported => &mut tally.nameless,
            Excuse::Astray => &mut tally.astray,
            // A readable one waits until its status can be written.
            Excuse::Unwritable if is_reported || reported.has_failed(name) => &mut tally.unwritable,
            _ => return false,
        };
        *counts += 1;
        // Without a name and a uid it cannot be distinguished from another such object.
        if is_reported && (!made.uid().is_empty() || matches!(excuse, Excuse::Unwritable)) {
            self.found += 1;
            self.unanswered += 1;
        }
        true
    }
}
