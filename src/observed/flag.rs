//! The capability flag: a ConfigMap that says whether bulk updates are on, for each kind.
//!
//! Two sources speak of it. A live reading is what switches it on; a watch can only switch it off sooner than the
//! next reading would.

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Client, Resource, runtime::watcher::Event};
use serde::{Deserialize, Deserializer};
use tokio::{sync::watch, time::Instant};

use crate::{
    api::{Kind, bare_metadata},
    client::{Failure, requests},
    decode::{json, text::cut},
    observed::target::not_older,
};

/// The key of the ConfigMap under which the flag stands.
pub const KEY: &str = "bulkUpdates";

/// How old a reading may be when a write rests on it that did not have to wait for it.
const FRESH: Duration = Duration::from_secs(1);

/// The longest explanation of an invalid flag, in bytes.
const LONGEST_COMPLAINT: usize = 200;

/// How many parts of the text aliases may repeat: the flag has two fields.
const MOST_REPLAYED: usize = 100;

/// What the ConfigMap says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flags {
    /// It can be read (or is not there: both false).
    Valid {
        /// Whether Executions may be updated in bulk.
        executions: bool,
        /// Whether Deployments may be updated in bulk.
        deployments: bool,
    },
    /// Its text can't be understood, which is false for both; why.
    Invalid(String),
}

impl Flags {
    const OFF: Self = Self::Valid { executions: false, deployments: false };

    fn parse(text: &str) -> Self {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[serde(default)]
            executions: bool,
            #[serde(default)]
            deployments: bool,
        }
        if text.trim().is_empty() {
            return Self::Invalid("it is empty".into());
        }
        // `yes`, `on` and "true" are strings, a list is no object, and a flag that deletes things is no place to guess.
        // Nor is it one for aliases of aliases: a line of them takes a parser seconds.
        let options = serde_saphyr::options! {
            strict_booleans: true,
            with_snippet: false,
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MOST_REPLAYED },
        };
        let value = serde_saphyr::from_str_with_options::<serde_json::Map<_, _>>(text, options)
            .map_err(|error| error.to_string());
        match value.and_then(|value| {
            Fields::deserialize(serde_json::Value::Object(value)).map_err(|error| error.to_string())
        }) {
            Ok(Fields { executions, deployments }) => Self::Valid { executions, deployments },
            Err(error) => Self::Invalid(cut(error.lines().next().unwrap_or_default(), LONGEST_COMPLAINT)),
        }
    }

    /// Whether it is on for a kind.
    #[must_use]
    pub const fn on(&self, kind: Kind) -> bool {
        match (self, kind) {
            (Self::Valid { executions, .. }, Kind::Execution) => *executions,
            (Self::Valid { deployments, .. }, Kind::Deployment) => *deployments,
            (Self::Invalid(_), _) => false,
        }
    }
}

/// The flag's ConfigMap as the API server sends it, whatever else it holds: of its data only the flag is kept.
#[derive(Clone, Debug)]
pub struct FlagMap {
    metadata: ObjectMeta,
    flags: Flags,
}

impl<'de> Deserialize<'de> for FlagMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = json::anything(deserializer)?;
        let [metadata, data] = json::members(&raw, ["metadata", "data"]).unwrap_or_default();
        let metadata = bare_metadata(metadata);
        // Who deletes it switches it off, whatever finalizer still keeps it.
        let data = data.filter(|_| metadata.deletion_timestamp.is_none());
        let flags = match data.and_then(|data| json::member(data, KEY)) {
            None => Flags::OFF,
            Some(text) => json::text(text)
                .map_or_else(|| Flags::Invalid("it is no text".into()), |text| Flags::parse(&text)),
        };
        Ok(Self { metadata, flags })
    }
}

impl Resource for FlagMap {
    type DynamicType = ();
    type Scope = <ConfigMap as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        <ConfigMap as Resource>::kind(&())
    }
    fn group((): &()) -> Cow<'_, str> {
        <ConfigMap as Resource>::group(&())
    }
    fn version((): &()) -> Cow<'_, str> {
        <ConfigMap as Resource>::version(&())
    }
    fn plural((): &()) -> Cow<'_, str> {
        <ConfigMap as Resource>::plural(&())
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[derive(Debug)]
struct Known {
    /// The last live reading, and when it was begun.
    live: Option<(Instant, Result<Flags, Failure>)>,
    /// The server has asked that it is not read before.
    not_before: Option<Instant>,
    /// The newest that either source has said, and its resource version.
    newest: (String, Flags),
}

/// Reads the flag; one for the whole operator.
pub struct CapabilityFlag {
    client: Client,
    namespace: String,
    name: String,
    known: Mutex<Known>,
    reading: tokio::sync::Mutex<()>,
    changed: watch::Sender<()>,
}

impl CapabilityFlag {
    /// The flag in the ConfigMap `name` in `namespace`.
    #[must_use]
    pub fn new(client: Client, namespace: String, name: String) -> Self {
        let known = Known { live: None, not_before: None, newest: (String::new(), Flags::OFF) };
        Self {
            client,
            namespace,
            name,
            known: Mutex::new(known),
            reading: tokio::sync::Mutex::default(),
            changed: watch::Sender::default(),
        }
    }

    /// Where the flag is, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{KEY} of ConfigMap {}/{}", self.namespace, self.name)
    }

    /// Namespace and name of the ConfigMap.
    #[must_use]
    pub fn key(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }

    /// What a live reading says that was begun at `since` or later and is fresh, where the watch has nothing newer that
    /// switches it off. Callers at the same time share one request.
    ///
    /// # Errors
    /// When the ConfigMap can't be read; that it does not exist is no error.
    pub async fn read_since(&self, since: Instant) -> Result<Flags, Failure> {
        let wanted = Instant::now();
        let _one_at_a_time = self.reading.lock().await;
        if let Some(known) = self.known_since(since.max(oldest(wanted))) {
            return known;
        }
        let begun = Instant::now();
        let url = ConfigMap::url_path(&(), Some(&self.namespace));
        let answer = requests::get::<FlagMap>(&self.client, url, &self.name).await;
        let mut known = self.known();
        let read = match answer {
            Ok(FlagMap { metadata, flags }) => {
                known.take_in(metadata.resource_version.unwrap_or_default(), flags.clone());
                Ok(flags)
            }
            Err(failure) if failure.is_not_found() => Ok(Flags::OFF),
            Err(failure) => Err(failure),
        };
        let wait = read.as_ref().err().and_then(Failure::retry_after);
        known.not_before = wait.map(|wait| Instant::now() + wait);
        known.live = Some((begun, read));
        known.gate()
    }

    /// What is known without a request: if it was read at `since` or later, or if the last attempt was put off.
    fn known_since(&self, since: Instant) -> Option<Result<Flags, Failure>> {
        let known = self.known();
        let (begun, _) = known.live.as_ref()?;
        let may_not_ask = known.not_before.is_some_and(|time| Instant::now() < time);
        (may_not_ask || *begun >= since).then(|| known.gate())
    }

    /// Takes in what the watch of the ConfigMap says.
    pub fn take_in(&self, event: &Event<FlagMap>) {
        let (map, flags) = match event {
            Event::Apply(map) | Event::InitApply(map) => (map, map.flags.clone()),
            Event::Delete(map) => (map, Flags::OFF),
            Event::Init | Event::InitDone => return,
        };
        let version = map.metadata.resource_version.clone().unwrap_or_default();
        if self.known().take_in(version, flags) {
            self.changed.send_replace(());
        }
    }

    /// Is told whenever the watch has something new.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a reading must have been begun that counts now for who has waited since `wanted`. What it says may be as old as
/// its request: one that was under way already and took long may come from before the flag was switched off. What was
/// begun since counts however long it took: of a server that always takes longer than [`FRESH`] nobody could use another's
/// answer, nor trust their own.
fn oldest(wanted: Instant) -> Instant {
    Instant::now().checked_sub(FRESH).map_or(wanted, |fresh| fresh.min(wanted))
}

impl Known {
    fn take_in(&mut self, version: String, flags: Flags) -> bool {
        let newer = not_older(&version, &self.newest.0);
        let changed = newer && self.newest.1 != flags;
        if newer {
            self.newest = (version, flags);
        }
        changed
    }

    /// Both sources have to say yes; where they differ, the one that says no is heard.
    fn gate(&self) -> Result<Flags, Failure> {
        let live = match &self.live {
            None => &Flags::OFF,
            Some((_, read)) => read.as_ref().map_err(Clone::clone)?,
        };
        Ok(match (live, &self.newest.1) {
            (Flags::Invalid(why), _) | (_, Flags::Invalid(why)) => Flags::Invalid(why.clone()),
            (live, newest) => Flags::Valid {
                executions: live.on(Kind::Execution) && newest.on(Kind::Execution),
                deployments: live.on(Kind::Deployment) && newest.on(Kind::Deployment),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    };

    use kube::client::Body;
    use tokio::time::sleep;

    use super::*;

    /// An API server that looks at the flag at once, and answers after `delay`.
    struct Slow {
        on: AtomicBool,
        asked: AtomicUsize,
        delay: Duration,
    }

    impl Slow {
        fn server(delay: Duration) -> (Arc<Self>, CapabilityFlag) {
            let server = Arc::new(Self { on: true.into(), asked: 0.into(), delay });
            let asked = Arc::clone(&server);
            let service = tower::service_fn(move |_: http::Request<Body>| {
                let server = Arc::clone(&asked);
                async move {
                    server.asked.fetch_add(1, Ordering::Relaxed);
                    let text = format!("executions: {}", server.on.load(Ordering::Relaxed));
                    sleep(server.delay).await;
                    let map = serde_json::json!({"data": {KEY: text}, "metadata": {"resourceVersion": "1"}});
                    Ok::<_, tower::BoxError>(http::Response::new(Body::from(map.to_string().into_bytes())))
                }
            });
            (
                server,
                CapabilityFlag::new(
                    Client::new(service, "default"),
                    "ai-api-system".into(),
                    "ai-api-meta".into(),
                ),
            )
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reading_is_not_shared_with_who_came_later_but_serves_who_has_asked_for_it() {
        for (millis, shared) in [(900, true), (9000, false)] {
            let (server, meta) = Slow::server(Duration::from_millis(millis));
            let begin = Instant::now();
            let later = async {
                sleep(Duration::from_millis(200)).await;
                server.on.store(false, Ordering::Relaxed);
                sleep(Duration::from_millis(200)).await;
                tokio::join!(meta.read_since(begin), meta.read_since(begin))
            };
            let (first, (second, third)) = tokio::join!(meta.read_since(begin), later);
            assert_eq!(first, Ok(valid(true, false)), "{millis} ms");
            assert_eq!((&second, &third), (&Ok(valid(shared, false)), &second), "{millis} ms");
            assert_eq!(server.asked.load(Ordering::Relaxed), if shared { 1 } else { 2 }, "{millis} ms");
        }
    }

    fn valid(executions: bool, deployments: bool) -> Flags {
        Flags::Valid { executions, deployments }
    }

    #[test]
    fn json_and_yaml_are_read() {
        assert_eq!(Flags::parse(r#"{"executions": true, "deployments": false}"#), valid(true, false));
        assert_eq!(Flags::parse("executions: true\ndeployments: true\n"), valid(true, true));
        assert_eq!(Flags::parse("{}"), valid(false, false));
        assert_eq!(Flags::parse("deployments: true"), valid(false, true));
    }

    #[test]
    fn anything_else_is_off_for_both_and_says_why() {
        for text in [
            "",
            "  \n",
            "true",
            "[]",
            "executions",
            "{",
            "executions: yes",
            "executions: \"true\"",
            "executions: 1",
            "execution: true",
            "executions: true\nexecutions: true",
            "executions: null",
            r#"{"executions": true, "more": 1}"#,
            "[true, true]",
            "executions: true\n---\nexecutions: true",
        ] {
            match Flags::parse(text) {
                Flags::Invalid(why) => {
                    assert!(!why.is_empty() && why.len() <= LONGEST_COMPLAINT, "{text}: {why}");
                }
                valid @ Flags::Valid { .. } => panic!("{text:?} was read as {valid:?}"),
            }
        }
    }

    #[test]
    fn aliases_of_aliases_are_not_followed_for_long() {
        let line = |(of, name): (char, char)| format!("{name}: &{name} [{}]\n", format!("*{of},").repeat(9));
        let lines: String = "abcdefghi".chars().zip("bcdefghij".chars()).map(line).collect();
        let text = format!("a: &a [x,x,x,x,x,x,x,x,x]\n{lines}");
        let Flags::Invalid(why) = Flags::parse(&text) else { panic!("it was read") };
        assert!(why.contains("101 > 100"), "{why}");
        assert_eq!(Flags::parse("executions: &on true\ndeployments: *on"), valid(true, true));
    }

    #[test]
    fn while_its_config_map_is_being_deleted_it_is_off() {
        let read = |deleted: serde_json::Value| {
            let metadata = serde_json::json!({"name": "ai-api-meta", "deletionTimestamp": deleted});
            let map = serde_json::json!({"metadata": metadata, "data": {KEY: "executions: true"}});
            serde_json::from_value::<FlagMap>(map).unwrap().flags
        };
        assert_eq!(read(serde_json::Value::Null), valid(true, false));
        for deleted in ["2026-01-02T03:04:05Z", "9999-12-31T23:59:59Z", "soon"] {
            assert_eq!(read(deleted.into()), Flags::OFF, "{deleted}");
        }
    }

    #[test]
    fn the_watch_only_ever_closes_the_gate() {
        let mut known = Known { live: None, not_before: None, newest: (String::new(), Flags::OFF) };
        known.take_in("5".into(), valid(true, true));
        assert_eq!(known.gate(), Ok(Flags::OFF), "nothing was read live");
        known.live = Some((Instant::now(), Ok(valid(true, false))));
        assert_eq!(known.gate(), Ok(valid(true, false)));
        known.take_in("4".into(), Flags::OFF);
        assert_eq!(known.gate(), Ok(valid(true, false)), "an older word does not count");
        known.take_in("6".into(), Flags::Invalid("typo".into()));
        assert_eq!(known.gate(), Ok(Flags::Invalid("typo".into())));
    }
}
