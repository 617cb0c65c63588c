//! The capability flag: a ConfigMap that says whether bulk updates are on, for each kind.
//!
//! It has two sources. Only a live read can switch it on; a watch can only switch it off earlier than the next read
//! would.

use std::{fmt::Display, sync::Mutex, time::Duration};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Client, Resource, runtime::watcher::Event};
use serde::{Deserialize, Deserializer};
use tokio::{sync::watch, time::Instant};

use crate::{
    api::{Kind, bare_metadata},
    client::{Failure, requests},
    decode::{json, text::cut},
    observed::target::not_older,
    tasks::lock,
};

pub const KEY: &str = "bulkUpdates";

/// How old a read may be for a write that has not waited for it.
const FRESH: Duration = Duration::from_secs(1);

/// The longest explanation of an invalid flag, in bytes.
const LONGEST_COMPLAINT: usize = 200;

/// How many YAML events aliases may repeat: the flag has two fields.
const MOST_REPLAYED: usize = 100;

/// What the ConfigMap says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flags {
    /// Whether each kind may be updated in bulk. If the ConfigMap does not exist, neither may.
    Valid { executions: bool, deployments: bool },
    /// It cannot be parsed, which counts as false for both.
    Invalid(InvalidFlag),
}

/// Why the flag cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFlag {
    #[error("it is empty")]
    Empty,
    #[error("it is not a string")]
    NotAString,
    /// What the parser says.
    #[error("{0}")]
    Malformed(String),
}

impl InvalidFlag {
    fn malformed(error: impl Display) -> Self {
        Self::Malformed(cut(error.to_string().lines().next().unwrap_or_default(), LONGEST_COMPLAINT))
    }
}

impl Flags {
    /// What no ConfigMap means.
    pub const OFF: Self = Self::Valid { executions: false, deployments: false };

    fn parse(text: &str) -> Self {
        if text.trim().is_empty() {
            return Self::Invalid(InvalidFlag::Empty);
        }
        Self::parse_yaml(text).unwrap_or_else(Self::Invalid)
    }

    fn parse_yaml(text: &str) -> Result<Self, InvalidFlag> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[serde(default)]
            executions: bool,
            #[serde(default)]
            deployments: bool,
        }
        // `yes`, `on` and "true" are strings, a list is not an object, and a flag that allows deletions is no place to guess.
        // Nor is it a place for aliases of aliases: one line of them keeps a parser busy for seconds.
        let options = serde_saphyr::options! {
            strict_booleans: true,
            with_snippet: false,
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MOST_REPLAYED },
        };
        let fields: serde_json::Map<_, _> =
            serde_saphyr::from_str_with_options(text, options).map_err(InvalidFlag::malformed)?;
        let Fields { executions, deployments } =
            Fields::deserialize(serde_json::Value::Object(fields)).map_err(InvalidFlag::malformed)?;
        Ok(Self::Valid { executions, deployments })
    }

    pub fn on(&self, kind: Kind) -> bool {
        match self {
            Self::Valid { executions, deployments } => kind.pick(*executions, *deployments),
            Self::Invalid(_) => false,
        }
    }
}

/// The flag's ConfigMap as the API server sends it, whatever else it contains: of its data only the flag is kept.
#[derive(Clone, Debug, Resource)]
#[resource(inherit = "ConfigMap")]
pub struct FlagMap {
    metadata: ObjectMeta,
    flags: Flags,
}

impl FlagMap {
    /// What it says.
    pub fn into_flags(self) -> Flags {
        self.flags
    }
}

impl<'de> Deserialize<'de> for FlagMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = json::anything(deserializer)?;
        let [metadata, data] = json::members(&raw, ["metadata", "data"]).unwrap_or_default();
        let metadata = bare_metadata(metadata);
        // Deleting it switches the flag off, even while a finalizer keeps it.
        let data = data.filter(|_| metadata.deletion_timestamp.is_none());
        let flags = match data.and_then(|data| json::member(data, KEY)) {
            None => Flags::OFF,
            Some(text) => json::text(text)
                .map_or_else(|| Flags::Invalid(InvalidFlag::NotAString), |text| Flags::parse(&text)),
        };
        Ok(Self { metadata, flags })
    }
}

struct Sources {
    /// The last live read, and when it was started.
    live: Option<(Instant, Result<Flags, Failure>)>,
    /// Until when the API server has asked not to be read again.
    not_before: Option<Instant>,
    /// The newest version that either source has brought: its resource version and the flag.
    newest: (String, Flags),
}

/// Reads the flag; there is one for the whole process.
pub struct CapabilityFlag {
    client: Client,
    namespace: String,
    name: String,
    sources: Mutex<Sources>,
    reading: tokio::sync::Mutex<()>,
    changed: watch::Sender<()>,
}

impl CapabilityFlag {
    /// The flag in the ConfigMap `name` in `namespace`.
    pub fn new(client: Client, namespace: String, name: String) -> Self {
        let sources = Sources { live: None, not_before: None, newest: (String::new(), Flags::OFF) };
        let (reading, changed) = Default::default();
        Self { client, namespace, name, sources: Mutex::new(sources), reading, changed }
    }

    /// Where the flag is, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{KEY} of ConfigMap {}/{}", self.namespace, self.name)
    }

    /// Namespace and name of the ConfigMap.
    pub(crate) fn key(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }

    /// The flag by a live read that was started at `since` or later and is fresh, unless the watch has something newer that
    /// switches it off. Concurrent callers share one request. That the ConfigMap does not exist is no failure.
    pub(crate) async fn read_since(&self, since: Instant) -> Result<Flags, Failure> {
        let wanted = Instant::now();
        let _one_at_a_time = self.reading.lock().await;
        if let Some(cached) = self.cached_since(since.max(oldest(wanted))) {
            return cached;
        }
        let begun = Instant::now();
        let url = ConfigMap::url_path(&(), Some(&self.namespace));
        let answer = requests::get::<FlagMap>(&self.client, url, &self.name).await;
        let mut sources = lock(&self.sources);
        let read = match answer {
            Ok(FlagMap { metadata, flags }) => {
                sources.take_in(metadata.resource_version.unwrap_or_default(), flags.clone());
                Ok(flags)
            }
            Err(failure) if failure.is_not_found() => Ok(Flags::OFF),
            Err(failure) => Err(failure),
        };
        let wait = read.as_ref().err().and_then(Failure::retry_after);
        sources.not_before = wait.map(|wait| Instant::now() + wait);
        sources.live = Some((begun, read));
        sources.gate()
    }

    /// The flag without a request: if it was read at `since` or later, or if the API server has asked to be left alone.
    fn cached_since(&self, since: Instant) -> Option<Result<Flags, Failure>> {
        let sources = lock(&self.sources);
        let (begun, _) = sources.live.as_ref()?;
        let may_not_ask = sources.not_before.is_some_and(|time| Instant::now() < time);
        (may_not_ask || *begun >= since).then(|| sources.gate())
    }

    /// Takes in an event of the watch of the ConfigMap.
    pub(crate) fn take_in(&self, event: &Event<FlagMap>) {
        let (map, flags) = match event {
            Event::Apply(map) | Event::InitApply(map) => (map, map.flags.clone()),
            Event::Delete(map) => (map, Flags::OFF),
            Event::Init | Event::InitDone => return,
        };
        let version = map.metadata.resource_version.clone().unwrap_or_default();
        if lock(&self.sources).take_in(version, flags) {
            self.changed.send_replace(());
        }
    }

    /// Notified whenever the watch has brought a change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

/// When a read must have been started to count for a caller that has waited since `wanted`: its result may be as old as its
/// request, so one that was in flight already may be from before the flag was switched off. One that was started after
/// `wanted` counts however long it took: with a server that always takes longer than [`FRESH`], no read would ever count
/// otherwise.
fn oldest(wanted: Instant) -> Instant {
    Instant::now().checked_sub(FRESH).map_or(wanted, |fresh| fresh.min(wanted))
}

impl Sources {
    fn take_in(&mut self, version: String, flags: Flags) -> bool {
        if !not_older(&version, &self.newest.0) {
            return false;
        }
        let (_, before) = std::mem::replace(&mut self.newest, (version, flags));
        before != self.newest.1
    }

    /// A kind is on only if both sources say so.
    fn gate(&self) -> Result<Flags, Failure> {
        let live = match &self.live {
            None => &Flags::OFF,
            Some((_, read)) => read.as_ref().map_err(Clone::clone)?,
        };
        Ok(match (live, &self.newest.1) {
            // Where the last read has found nothing, what was invalid is gone.
            (&Flags::OFF, Flags::Invalid(_)) => Flags::OFF,
            (Flags::Invalid(why), _) | (_, Flags::Invalid(why)) => Flags::Invalid(why.clone()),
            (live, newest) => Flags::Valid {
                executions: live.on(Kind::Execution) && newest.on(Kind::Execution),
                deployments: live.on(Kind::Deployment) && newest.on(Kind::Deployment),
            },
        })
    }
}

#[cfg(test)]
mod tests;
