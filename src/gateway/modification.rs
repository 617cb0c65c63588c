//! What a caller may ask to be modified, and how each outcome is told in the AI API's words. Pure.

use std::{borrow::Cow, collections::HashSet};

use http::StatusCode;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, IntoDeserializer},
};
use serde_json::{Value, json};

use crate::{
    api::{
        ACCEPTED, BulkUpdateItem, BulkUpdateStatus, ConditionReason, ItemResult, ItemStatus, Kind, MAX_ITEMS,
        Reason, TargetStatus,
    },
    gateway::{
        invocation::Invocation,
        problem::{Problem, error},
    },
};

/// What an id of the AI API looks like.
pub const AN_ID: &str = "an id has 4 to 64 letters, digits, dots, dashes and underscores";

/// Whether it is an id of the AI API.
#[must_use]
pub fn is_id(id: &str) -> bool {
    (4..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// Reads the body of a bulk PATCH of one kind.
///
/// # Errors
/// A 400 whose sentence says what is wrong, and where.
pub fn bulk(kind: Kind, body: &[u8]) -> Result<Vec<BulkUpdateItem>, Problem> {
    #[derive(Deserialize)]
    #[serde(expecting = "an object")]
    struct Body {
        executions: Option<Vec<Item>>,
        deployments: Option<Vec<Item>>,
        #[serde(flatten)]
        _more: More,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", expecting = "an object")]
    struct Item {
        id: String,
        #[serde(deserialize_with = "word")]
        target_status: TargetStatus,
        #[serde(flatten)]
        _more: More,
    }
    let Body { executions, deployments, .. } = parse(body)?;
    let (list, others) = match kind {
        Kind::Execution => (executions, deployments.map(|_| Kind::Deployment)),
        Kind::Deployment => (deployments, executions.map(|_| Kind::Execution)),
    };
    let name = kind.plural();
    if let Some(other) = others.map(Kind::plural) {
        return Err(Problem::bad_request(format!(
            "{other} can't be modified here: send them to /v2/lm/{other}; nothing was done"
        )));
    }
    let Some(list) = list else {
        return Err(Problem::bad_request(format!(
            "{name} is missing: it has to be a list of objects with id and targetStatus"
        )));
    };
    if list.is_empty() || list.len() > MAX_ITEMS {
        return Err(Problem::bad_request(format!(
            "{name} has {} items; it has to be 1 to {MAX_ITEMS}",
            list.len()
        )));
    }
    let mut seen = HashSet::new();
    for (at, item) in list.iter().enumerate() {
        if !is_id(&item.id) {
            return Err(Problem::bad_request(format!("{name}[{at}].id: {AN_ID}")));
        }
        if !seen.insert(&item.id) {
            return Err(Problem::bad_request(format!(
                "{name}[{at}].id: {} stands there before; an id may stand in a request once only",
                item.id
            )));
        }
    }
    let items = list.into_iter().map(|Item { id, target_status, .. }| BulkUpdateItem {
        id,
        target_status,
        uid: None,
    });
    Ok(items.collect())
}

/// Checks the id in a path, once it is decoded.
///
/// # Errors
/// A 400.
pub fn path_id(id: &str) -> Result<&str, Problem> {
    if is_id(id) { Ok(id) } else { Err(Problem::bad_request(format!("the id in the path: {AN_ID}"))) }
}

/// Reads the body of a PATCH of one object, which can only ask for a stop.
///
/// # Errors
/// A 400 whose sentence says what is wrong, and where.
pub fn single(kind: Kind, body: &[u8]) -> Result<TargetStatus, Problem> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", expecting = "an object")]
    struct Body {
        target_status: Option<Stopped>,
        configuration_id: Option<IgnoredAny>,
        #[serde(flatten)]
        _more: More,
    }
    #[derive(Deserialize)]
    struct Stopped(#[serde(deserialize_with = "word")] Word);
    #[derive(Deserialize)]
    enum Word {
        #[serde(rename = "STOPPED")]
        Stopped,
    }
    let body: Body = parse(body)?;
    if kind == Kind::Deployment && body.configuration_id.is_some() {
        return Err(Problem::bad_request(
            "configurationId: the configuration of a deployment can't be changed here; nothing was done",
        ));
    }
    match body.target_status {
        Some(Stopped(Word::Stopped)) => Ok(TargetStatus::Stopped),
        None => Err(Problem::bad_request("targetStatus is missing: it has to be STOPPED")),
    }
}

/// Members that this version does not know, which are valid, says the AI API. Without it serde would take a list for an
/// object as well, by the order of its members.
type More = IgnoredAny;

/// A word of an enumeration, in a string and nothing else: serde would take `{"DELETED": null}` as well.
fn word<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<T, D::Error> {
    T::deserialize(String::deserialize(value)?.into_deserializer())
}

/// Reads JSON; an error says where it is.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        // Where the text ends or breaks off within an object, no member is known.
        let path = path.trim_end_matches(['?', '.']);
        let at = if path.is_empty() { String::new() } else { format!("{path}: ") };
        format!("{at}{}", error.into_inner())
    });
    let read = read.and_then(|value| json.end().map(|()| value).map_err(|error| error.to_string()));
    read.map_err(|why| {
        Problem::bad_request(format!("the body can't be understood: {}", crate::decode::text::cut(&why, 200)))
    })
}

/// The AI API's words for an accepted modification.
#[must_use]
pub fn scheduled(kind: Kind) -> String {
    format!("{} modification scheduled", kind.name())
}

/// How a BulkUpdate that was turned down as a whole is answered; `None` if it was not.
#[must_use]
pub fn rejected(status: &BulkUpdateStatus) -> Option<Problem> {
    let accepted = status.condition(ACCEPTED).filter(|c| c.status == "False")?;
    let code: Cow<'static, str> = accepted.reason.clone().into();
    Some(match accepted.reason.parse() {
        // The operator came too late; the request as such was good.
        Ok(ConditionReason::DeadlineExceeded) => {
            Problem { code, ..Problem::nothing_done(accepted.message.clone()) }
        }
        Ok(ConditionReason::NotAuthorized) => {
            Problem::new(StatusCode::FORBIDDEN, code, accepted.message.clone())
        }
        _ => Problem { code, ..Problem::bad_request(accepted.message.clone()) },
    })
}

/// The answer to a bulk PATCH: an entry for each item, in the order of the request.
#[must_use]
pub fn answer(kind: Kind, asked: &[String], status: &BulkUpdateStatus, of: &Invocation) -> Value {
    let entries = asked.iter().map(|id| {
        let told = status.items(kind).iter().find(|entry| *entry.id == **id);
        match told.map_or_else(|| Err(lost(id)), |entry| outcome(kind, entry)) {
            Ok(()) => json!({"id": id, "message": scheduled(kind)}),
            Err(problem) => json!({"id": id, "error": error(&problem.code, &problem.message, of)}),
        }
    });
    json!({kind.plural(): entries.collect::<Vec<_>>()})
}

/// What became of the only item of a request.
///
/// # Errors
/// Why it was not done, or may not have been.
pub fn only(kind: Kind, id: &str, status: &BulkUpdateStatus) -> Result<(), Problem> {
    let told = status.items(kind).iter().find(|entry| *entry.id == *id);
    told.map_or_else(|| Err(lost(id)), |entry| outcome(kind, entry))
}

fn lost(id: &str) -> Problem {
    Problem::not_known(format!("the operator's status does not speak of {id}; look at the object"))
}

/// What one item's entry says; as a [`Problem`] whose status counts where it is the only one.
fn outcome(kind: Kind, entry: &ItemStatus) -> Result<(), Problem> {
    match entry.result {
        ItemResult::Scheduled | ItemResult::Settled => return Ok(()),
        ItemResult::Refused | ItemResult::Failed | ItemResult::Planned | ItemResult::Eligible => {}
    }
    let reason = entry.reason.unwrap_or(Reason::OutcomeUnknown);
    let none = Problem::no_object(kind, &entry.id);
    let (status, code): (_, Cow<'static, str>) = match reason {
        Reason::NotFound => (none.status, none.code),
        Reason::WrongState => (StatusCode::PRECONDITION_FAILED, "01010076".into()),
        Reason::Forbidden | Reason::WriteFailed => (StatusCode::FORBIDDEN, name_of(reason)),
        Reason::BulkUpdatesDisabled => (StatusCode::BAD_REQUEST, name_of(reason)),
        Reason::DeadlineExceeded => (StatusCode::SERVICE_UNAVAILABLE, name_of(reason)),
        Reason::OutcomeUnknown | Reason::NotSettledInTime => (StatusCode::GATEWAY_TIMEOUT, name_of(reason)),
        // It was gone, replaced, being deleted or stopped already, or can't be understood.
        _ => (StatusCode::PRECONDITION_FAILED, name_of(reason)),
    };
    let about = match reason {
        Reason::WrongState => entry.observed_state.map(|state| {
            format!("Current status {} cannot be changed to {}", state.word(), entry.target_status.word())
        }),
        Reason::NotFound => Some(none.message),
        Reason::StopPending => Some("a stop was asked for before".into()),
        Reason::Terminating => Some("it is being deleted".into()),
        Reason::CreatedLater => Some("it is not known to be older than the request".into()),
        Reason::Gone => Some("somebody else has deleted it".into()),
        Reason::Replaced => Some("another object has the id by now".into()),
        _ => None,
    };
    let parts = [about, entry.message.as_deref().map(ToOwned::to_owned)];
    let message = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
    let message = if message.is_empty() { name_of(reason).into_owned() } else { message };
    Err(Problem::new(status, code, message))
}

fn name_of(reason: Reason) -> Cow<'static, str> {
    <&str>::from(reason).into()
}

#[cfg(test)]
mod tests;
