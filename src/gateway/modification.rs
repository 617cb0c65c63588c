//! Which modifications a caller may request, and each outcome in the AI API's words. Pure.

use std::collections::HashSet;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IntoDeserializer},
};
use serde_json::{Value, json};

use crate::{
    api::{
        ACCEPTED, BulkUpdateItem, BulkUpdateStatus, ItemResult, ItemStatus, Kind, MAX_ITEMS, Reason,
        TargetStatus,
    },
    decode::text::cut,
    gateway::{
        narrow::{Others, refuse_fields},
        preferences::Preferences,
        problem::{Code, Invocation, Problem, bad_request},
    },
};

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Asked {
    /// Items of one kind.
    pub items: Vec<BulkUpdateItem>,
    /// Whether it only wants to know what would be done.
    pub dry_run: bool,
    pub how: Preferences,
}

impl Asked {
    fn new(items: Vec<BulkUpdateItem>, dry_run: Option<bool>) -> Self {
        Self { items, dry_run: dry_run.unwrap_or_default(), how: Preferences::default() }
    }
}

/// How far a modification is that is not turned down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is on record that it will be carried out.
    Planned,
    /// It was accepted, or in a dry run would be.
    Scheduled,
}

pub const AN_ID: &str = "an id has 4 to 64 letters, digits, dots, dashes and underscores";

pub fn is_id(id: &str) -> bool {
    (4..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// Checks an id, which was found at `place`.
pub fn check_id(place: &str, id: &str) -> Result<(), Problem> {
    if is_id(id) { Ok(()) } else { bad_request(format!("{place} is invalid: {AN_ID}")) }
}

/// Reads the body of a bulk PATCH of one kind.
pub fn bulk(kind: Kind, body: &[u8]) -> Result<Asked, Problem> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", expecting = "an object")]
    struct Body {
        executions: Option<Vec<Item>>,
        deployments: Option<Vec<Item>>,
        dry_run: Option<bool>,
        #[serde(flatten)]
        others: Others,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", expecting = "an object")]
    struct Item {
        id: String,
        target_status: Word<TargetStatus>,
        uid: Option<String>,
        #[serde(flatten)]
        others: Others,
    }
    let Body { executions, deployments, dry_run, others } = parse(body)?;
    refuse_fields("", &others)?;
    let (list, unwanted, other) = match kind {
        Kind::Execution => (executions, deployments, Kind::Deployment.plural()),
        Kind::Deployment => (deployments, executions, Kind::Execution.plural()),
    };
    if unwanted.is_some() {
        return bad_request(format!(
            "{other} cannot be modified here: send them to /v2/lm/{other}; nothing was done"
        ));
    }
    let name = kind.plural();
    let Some(list) = list else {
        return bad_request(format!("{name} is missing: send a list of objects with id and targetStatus"));
    };
    if !(1..=MAX_ITEMS).contains(&list.len()) {
        return bad_request(format!("{name} has {} items: send 1 to {MAX_ITEMS}", list.len()));
    }
    let mut seen = HashSet::new();
    for (at, Item { id, others, .. }) in list.iter().enumerate() {
        refuse_fields(&format!("{name}[{at}]."), others)?;
        let place = format!("{name}[{at}].id");
        check_id(&place, id)?;
        if !seen.insert(id) {
            return bad_request(format!("{place}: {id} is repeated; send each id once"));
        }
    }
    let item =
        |item: Item| BulkUpdateItem { id: item.id, target_status: item.target_status.0, uid: item.uid };
    Ok(Asked::new(list.into_iter().map(item).collect(), dry_run))
}

/// Reads the body of a PATCH of one object, which can only ask for a stop.
pub fn stop(kind: Kind, id: String, body: &[u8]) -> Result<Asked, Problem> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", expecting = "an object")]
    struct Body {
        target_status: Option<Word<Stopped>>,
        configuration_id: Option<String>,
        dry_run: Option<bool>,
        uid: Option<String>,
        id: Option<String>,
        #[serde(flatten)]
        others: Others,
    }
    #[derive(Deserialize)]
    enum Stopped {
        #[serde(rename = "STOPPED")]
        Stopped,
    }
    let body: Body = parse(body)?;
    refuse_fields("", &body.others)?;
    if body.id.is_some_and(|other| other != id) {
        return bad_request("id is not the one in the path; nothing was done");
    }
    if kind == Kind::Deployment && body.configuration_id.is_some() {
        return bad_request(
            "configurationId: the configuration of a deployment cannot be changed here; nothing was done",
        );
    }
    match body.target_status {
        Some(Word(Stopped::Stopped)) => {
            let item = BulkUpdateItem { id, target_status: TargetStatus::Stopped, uid: body.uid };
            Ok(Asked::new(vec![item], body.dry_run))
        }
        None => bad_request("targetStatus is missing: send STOPPED"),
    }
}

/// A value of an enumeration as a string, and nothing else: serde would also accept `{"DELETED": null}`.
struct Word<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        T::deserialize(String::deserialize(value)?.into_deserializer()).map(Self)
    }
}

/// Reads JSON; an error says where in it.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        // Where the text ends or breaks off within an object, no field is known.
        let path = path.trim_end_matches(['?', '.']);
        let at = if path.is_empty() { String::new() } else { format!("{path}: ") };
        format!("{at}{}", error.into_inner())
    });
    let read = read.and_then(|value| json.end().map(|()| value).map_err(|error| error.to_string()));
    read.or_else(|why| bad_request(format!("the body is invalid: {}; nothing was done", cut(&why, 200))))
}

impl Stage {
    /// What is said of a modification.
    pub fn of_modification(self, kind: Kind) -> String {
        format!("{} modification {}", kind.name(), self.word())
    }

    /// What is said of a deletion by itself.
    pub fn of_deletion(self, kind: Kind) -> String {
        format!("{} deletion {}", kind.name(), self.word())
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Scheduled => "scheduled",
        }
    }
}

/// Why a BulkUpdate was rejected as a whole; `None` if it was not.
pub fn rejected(status: &BulkUpdateStatus) -> Option<Problem> {
    let accepted = status.condition(ACCEPTED).filter(|c| c.status == "False")?;
    Some(Problem::new(Code::Rejected(accepted.reason.clone()), &accepted.message))
}

/// What a dry run says of an item that would be carried out.
pub fn would_be(kind: Kind, target_status: TargetStatus) -> String {
    let done = match target_status {
        TargetStatus::Stopped => "stopped",
        TargetStatus::Deleted => "deleted",
    };
    format!("{} would be {done}", kind.name())
}

/// The answer to a bulk PATCH: an entry for each item, in the order of the request.
pub fn answer(kind: Kind, asked: &Asked, status: &BulkUpdateStatus, of: &Invocation) -> Value {
    let entries = asked.items.iter().map(|BulkUpdateItem { id, target_status, .. }| {
        match stage(kind, id, status, asked.how) {
            Ok(_) if asked.dry_run => json!({"id": id, "message": would_be(kind, *target_status)}),
            Ok(stage) => json!({"id": id, "message": stage.of_modification(kind)}),
            Err(problem) => json!({"id": id, "error": problem.json(of)}),
        }
    });
    json!({kind.plural(): entries.collect::<Vec<_>>()})
}

/// How far the modification of one item is, or why it is not done.
pub fn stage(kind: Kind, id: &str, status: &BulkUpdateStatus, how: Preferences) -> Result<Stage, Problem> {
    let is_planned = |entry: &ItemStatus| *entry.id == *id && entry.result == ItemResult::Planned;
    if how.respond_async && status.items(kind).iter().any(is_planned) {
        return Ok(Stage::Planned);
    }
    outcome(kind, id, status).map(|()| Stage::Scheduled)
}

fn outcome(kind: Kind, id: &str, status: &BulkUpdateStatus) -> Result<(), Problem> {
    let Some(entry) = status.items(kind).iter().find(|entry| *entry.id == *id) else {
        let message = format!("the BulkUpdate's status has no entry for {id}: check the state of the object");
        return Err(Problem::outcome_unknown(message));
    };
    let reason = entry.reason.unwrap_or(Reason::OutcomeUnknown);
    match (entry.result, entry.target_status, reason) {
        (ItemResult::Scheduled | ItemResult::Settled | ItemResult::Eligible, ..)
        // A finalizer keeps what was deleted before: asked for twice, it is the same.
        | (ItemResult::Refused, TargetStatus::Deleted, Reason::Terminating) => return Ok(()),
        (ItemResult::Refused | ItemResult::Failed | ItemResult::Planned, ..) => {}
    }
    let missing = Problem::no_object(kind, id);
    let about = match reason {
        Reason::NotFound => Some(missing.message),
        // As the AI API says it.
        Reason::WrongState => entry.observed_state.map(|state| {
            format!("Current status {} cannot be changed to {}", state.word(), entry.target_status.word())
        }),
        Reason::StopPending => Some("a stop was requested before".into()),
        Reason::Terminating => Some("it is being deleted".into()),
        Reason::CreatedLater => Some("it is not known to be older than the request".into()),
        Reason::Gone => Some("somebody else deleted it".into()),
        Reason::Replaced => Some("another object has the id now".into()),
        _ => None,
    };
    let code = if reason == Reason::NotFound { missing.code } else { Code::Reason(reason) };
    let parts = [about, entry.message.as_deref().map(ToOwned::to_owned)];
    let message = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
    // Without words of anybody's, the reason itself.
    Err(Problem::new(code, if message.is_empty() { format!("{reason:?}") } else { message }))
}

#[cfg(test)]
mod tests;
