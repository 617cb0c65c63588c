//! The Execution or Deployment that something runs for, read live and as a whole.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    api::{EngineKind, Kind, OPERATOR, READY, State, WorkloadTargetStatus, bare_metadata, is_dns_subdomain},
    decode::json::{self, Malformed, members, part},
    workload::{engine::Engine, engines},
};

/// One as the API server sends it. Decoding cannot fail, whatever it contains.
#[derive(Clone, Debug)]
pub struct Owner {
    pub(super) metadata: ObjectMeta,
    /// What it asks to run; `None` if nothing.
    pub asks: Result<Option<Asks>, Box<str>>,
    /// What its status says, or why that cannot be understood.
    pub recorded: Result<Recorded, Box<str>>,
    /// Whether another controller runs it.
    pub managed_by_other: bool,
}

/// What is asked to run.
#[derive(Clone, Debug)]
pub enum Asks {
    /// An object that this operator creates.
    Template { engine: &'static Engine, manifest: Value },
    /// An object that exists already.
    Reference { engine: &'static Engine, name: Box<str>, uid: Box<str> },
}

impl Asks {
    /// The engine that runs it.
    pub fn engine(&self) -> &'static Engine {
        match self {
            Self::Template { engine, .. } | Self::Reference { engine, .. } => engine,
        }
    }
}

/// What a status says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    pub state: Option<State>,
    /// Since when the state is what it is.
    pub state_time: Option<Timestamp>,
    pub target_status: Option<WorkloadTargetStatus>,
    pub message: Option<String>,
    pub submitted: Option<Timestamp>,
    pub started: Option<Timestamp>,
    pub completed: Option<Timestamp>,
    pub url: Option<String>,
    pub observed_generation: Option<i64>,
    /// What runs. Without a uid it is only intended: its creation may have been requested.
    pub workload: Option<Reference>,
    /// All of them, those of others included.
    pub conditions: Vec<Map<String, Value>>,
}

/// An object, as `status.workload` names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    #[serde(default)]
    pub uid: Option<String>,
}

impl Reference {
    /// An engine's object.
    pub fn of(engine: &Engine, name: &str, uid: Option<&str>) -> Self {
        Self {
            api_version: engine.kind.api_version(),
            kind: engine.kind.kind().into(),
            name: name.into(),
            uid: uid.map(Into::into),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecPart {
    managed_by: Option<String>,
    template: Option<Value>,
    workload_ref: Option<Reference>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusPart {
    state: Option<State>,
    state_time: Option<String>,
    target_status: Option<WorkloadTargetStatus>,
    message: Option<String>,
    submission_time: Option<String>,
    start_time: Option<String>,
    completion_time: Option<String>,
    url: Option<String>,
    observed_generation: Option<i64>,
    workload: Option<Reference>,
    conditions: Vec<Map<String, Value>>,
}

impl Owner {
    /// Reads one of this kind.
    fn read(raw: &RawValue) -> Self {
        let [metadata, spec, status] = members(raw, ["metadata", "spec", "status"]).unwrap_or_default();
        let spec = part::<SpecPart>(spec, "spec");
        let status = part::<StatusPart>(status, "status");
        let words = |malformed: Malformed| Box::<str>::from(malformed.to_string());
        Self {
            metadata: bare_metadata(metadata),
            managed_by_other: spec
                .as_ref()
                .is_ok_and(|spec| spec.managed_by.as_deref().is_some_and(|by| by != OPERATOR)),
            asks: spec.map_err(words).and_then(asks),
            recorded: status.map(Recorded::from).map_err(words),
        }
    }

    /// A hash of its template; 0 without one.
    pub fn template_hash(&self) -> u64 {
        let Ok(Some(Asks::Template { manifest, .. })) = &self.asks else { return 0 };
        let mut hasher = DefaultHasher::new();
        manifest.to_string().hash(&mut hasher);
        hasher.finish()
    }

    /// Whether its status is about something that runs as its present generation asks.
    pub fn is_observed(&self) -> bool {
        let recorded = self.recorded.as_ref().ok().filter(|recorded| recorded.workload.is_some());
        recorded.is_some_and(|recorded| recorded.observed_generation == self.metadata.generation)
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// `metadata.namespace`.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// `metadata.resourceVersion`.
    pub fn version(&self) -> &str {
        self.metadata.resource_version.as_deref().unwrap_or_default()
    }

    /// Whether it has a `deletionTimestamp`.
    pub fn terminating(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// The ownerReference of what runs for it. With `blockOwnerDeletion`, a foreground deletion waits for it, and for its Pods.
    pub fn reference(&self, kind: Kind) -> Value {
        serde_json::json!({
            "apiVersion": crate::api::api_version(), "kind": kind.name(), "name": self.name(), "uid": self.uid(),
            "controller": true, "blockOwnerDeletion": true,
        })
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::anything(deserializer).map(|raw| Self::read(&raw))
    }
}

fn asks(spec: SpecPart) -> Result<Option<Asks>, Box<str>> {
    let known = |api_version: &str, kind: &str| {
        EngineKind::find(api_version, kind)
            .and_then(engines::of)
            .ok_or_else(|| Box::<str>::from(format!("this operator cannot run a {api_version} {kind}")))
    };
    match (spec.template, spec.workload_ref) {
        (None, None) => Ok(None),
        (Some(manifest), None) => {
            let word = |field: &str| manifest.get(field).and_then(Value::as_str).unwrap_or_default();
            Ok(Some(Asks::Template { engine: known(word("apiVersion"), word("kind"))?, manifest }))
        }
        // It becomes a part of URLs.
        (None, Some(Reference { name, .. })) if !is_dns_subdomain(&name) => {
            Err("workloadRef.name cannot be the name of an object".into())
        }
        (None, Some(Reference { api_version, kind, name, uid })) => Ok(Some(Asks::Reference {
            engine: known(&api_version, &kind)?,
            name: name.into(),
            uid: uid.unwrap_or_default().into(),
        })),
        (Some(_), Some(_)) => Err("spec has both template and workloadRef".into()),
    }
}

/// Whether one in this state has ended, for good: what serves may fail and recover.
pub fn is_over(kind: Kind, state: State) -> bool {
    match state {
        State::Completed | State::Stopped => true,
        State::Dead => kind == Kind::Execution,
        State::Unknown | State::Pending | State::Running | State::Stopping => false,
    }
}

impl Recorded {
    /// Whether it has ended, for good.
    pub fn is_over(&self, kind: Kind) -> bool {
        self.state.is_some_and(|state| is_over(kind, state))
    }

    /// Whether a stop was requested.
    pub fn stop_asked(&self) -> bool {
        self.target_status == Some(WorkloadTargetStatus::Stopped)
    }

    /// The reason of the condition Ready.
    pub fn reason(&self) -> Option<&str> {
        let is_ready = |c: &&Map<String, Value>| c.get("type").and_then(Value::as_str) == Some(READY);
        self.conditions.iter().find(is_ready)?.get("reason")?.as_str()
    }
}

impl From<StatusPart> for Recorded {
    fn from(status: StatusPart) -> Self {
        let time = |text: Option<String>| json::moment(&text?);
        Self {
            state: status.state,
            state_time: time(status.state_time),
            target_status: status.target_status,
            message: status.message,
            submitted: time(status.submission_time),
            started: time(status.start_time),
            completed: time(status.completion_time),
            url: status.url,
            observed_generation: status.observed_generation,
            workload: status.workload,
            conditions: status.conditions,
        }
    }
}
