//! Executions and Deployments as the AI API shows them, and which of them a list has. Pure, but for the reading.

use std::borrow::Cow;

use axum::{
    BoxError,
    body::Body,
    extract::{FromRequestParts, Query},
};
use futures::{StreamExt, stream};
use http::request::Parts;
use k8s_openapi::jiff::Timestamp;
use kube::{api::ListParams, core::Request as ApiRequest};
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::warn;

use crate::{
    api::{Kind, State},
    client::{requests, send},
    decode::text::cut,
    gateway::{
        caller::Caller,
        modification::{AN_ID, is_id},
        problem::Problem,
    },
    observed::target::{self, Observed, Target},
};

/// What stands where the object does not say and the AI API wants an id.
const UNKNOWN: &str = "unknown";

/// The longest `statusMessage`, in bytes.
const LONGEST_MESSAGE: usize = 256;

/// The most objects that a list gives at once, and how many if the caller does not say.
const MOST: usize = 100_000;
const USUAL: usize = 10_000;

/// The most that can be left out at the beginning.
const MOST_SKIPPED: usize = 2_147_483_647;

/// The most `executableIds`.
const MOST_EXECUTABLES: usize = 1000;

/// How many objects are asked for at once: as many lists may be under way as there are callers who wait for one.
const PAGE: u32 = 250;

/// Which part of each object is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// All.
    #[default]
    All,
    /// `$select=status`.
    Status,
}

/// What a list or a count is of.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filter {
    executables: Option<Vec<String>>,
    configuration: Option<String>,
    scenario: Option<String>,
    schedule: Option<String>,
    status: Option<State>,
}

/// What the query of a GET says.
#[derive(Debug, PartialEq, Eq)]
pub struct Selection {
    /// Which objects.
    pub filter: Filter,
    /// Which parts of them.
    pub select: Select,
    /// How many of those that match are left out at the beginning.
    pub skip: usize,
    /// How many there may be at the most.
    pub top: usize,
}

impl<S: Send + Sync> FromRequestParts<S> for Selection {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) =
            pairs.map_err(|e| Problem::bad_request(format!("the query can't be read: {e}")))?;
        Self::parse(&pairs)
    }
}

impl Selection {
    fn parse(pairs: &[(String, String)]) -> Result<Self, Problem> {
        let one = |name: &str| {
            // The AI API knows some parameters by two names.
            let mut found = pairs.iter().filter(|(key, _)| key.strip_prefix('$').unwrap_or(key) == name);
            match (found.next(), found.next()) {
                (found, None) => Ok(found.map(|(_, value)| value.as_str())),
                _ => Err(Problem::bad_request(format!("{name} may stand in the query once only"))),
            }
        };
        let id = |name: &str| match one(name)? {
            Some(id) if !is_id(id) => Err(Problem::bad_request(format!("{name} is no id: {AN_ID}"))),
            id => Ok(id.map(ToOwned::to_owned)),
        };
        let number =
            |name: &str, usual: usize, most: usize| match one(name)? {
                None => Ok(usual),
                Some(text) => text.parse().ok().filter(|number| *number <= most).ok_or_else(|| {
                    Problem::bad_request(format!("{name} has to be a number from 0 to {most}"))
                }),
            };
        let select = match one("select")? {
            None => Select::All,
            Some("status") => Select::Status,
            Some(_) => return Err(Problem::bad_request("$select can only be status")),
        };
        let executables: Option<Vec<_>> =
            one("executableIds")?.map(|list| list.split(',').map(ToOwned::to_owned).collect());
        let fits = |ids: &Vec<_>| ids.len() <= MOST_EXECUTABLES && ids.iter().all(|id: &String| is_id(id));
        if !executables.iter().all(fits) {
            return Err(Problem::bad_request(format!(
                "executableIds has to be a list of up to {MOST_EXECUTABLES} ids with commas: {AN_ID}"
            )));
        }
        let status = one("status")?.map(|word| {
            State::ALL.into_iter().find(|state| state.word() == word).ok_or_else(|| {
                let words = State::ALL.map(State::word).join(", ");
                Problem::bad_request(format!("status has to be one of {words}"))
            })
        });
        let filter = Filter {
            executables,
            configuration: id("configurationId")?,
            scenario: id("scenarioId")?,
            schedule: id("executionScheduleId")?,
            status: status.transpose()?,
        };
        let (top, skip) = (number("top", USUAL, MOST)?, number("skip", 0, MOST_SKIPPED)?);
        Ok(Self { filter, select, skip, top })
    }
}

impl Filter {
    fn takes(&self, kind: Kind, shown: &Map<String, Value>) -> bool {
        let is =
            |name: &str, wanted: Option<&str>| wanted.is_none_or(|w| shown.get(name).is_some_and(|v| v == w));
        let executable = shown.get("executableId").and_then(Value::as_str);
        // Nothing here was made by a schedule; Deployments have none, so that the word means nothing there.
        (kind == Kind::Deployment || self.schedule.is_none())
            && self
                .executables
                .as_ref()
                .is_none_or(|ids| executable.is_some_and(|e| ids.iter().any(|id| id == e)))
            && is("configurationId", self.configuration.as_deref())
            && is("scenarioId", self.scenario.as_deref())
            && is("status", self.status.map(State::word))
    }
}

/// Reads one object, as the AI API shows it.
///
/// # Errors
/// 404 where there is none, and what else keeps it from being read.
pub async fn get(caller: &Caller, kind: Kind, id: &str, select: Select) -> Result<Value, Problem> {
    let none = || Problem::no_object(kind, id);
    if !crate::api::is_dns_subdomain(id) {
        return Err(none());
    }
    let read = requests::get::<Observed>(&caller.client, target::url(kind, &caller.namespace), id).await;
    match read {
        Ok(object) => Ok(Value::Object(select.part_of(kind, show(kind, &object)))),
        Err(failure) if failure.is_not_found() => Err(none()),
        Err(failure) => Err(failure.into()),
    }
}

/// Reads a list: what the selection wants of all objects of the kind, in the order of their ids, as JSON. The objects are read
/// page by page as the caller reads the answer, so that no more than a page of them is held.
///
/// # Errors
/// What keeps the first page from being read. What keeps a later one from it breaks the body off.
pub async fn list(caller: Caller, kind: Kind, selection: Selection) -> Result<Body, Problem> {
    let mut list = List {
        pages: Pages::new(caller, kind),
        selection,
        matched: 0,
        count: 0,
        text: b"{\"resources\":[".into(),
    };
    let first = list.piece().await?;
    // Whoever reads slowly takes nobody's place.
    list.pages.caller.place = None;
    let rest = stream::try_unfold(list, async |mut list| {
        let piece = list.piece().await.map_err(|problem| {
            let request_id = &*list.pages.caller.invocation.id;
            warn!(
                request_id,
                why = problem.message,
                "a list breaks off, because its next page can't be read"
            );
            BoxError::from(problem.message)
        })?;
        Ok(piece.map(|text| (text, list)))
    });
    Ok(Body::from_stream(stream::iter(first.map(Ok::<_, BoxError>)).chain(rest)))
}

/// A list under way.
struct List {
    pages: Pages,
    selection: Selection,
    matched: usize,
    count: usize,
    text: Vec<u8>,
}

impl List {
    /// Its next piece: what one page has brought. None after the last.
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, Problem> {
        let Some(page) = self.pages.next().await? else { return Ok(None) };
        let Selection { filter, select, skip, top } = &self.selection;
        let kind = self.pages.kind;
        for shown in page.iter().map(|object| show(kind, object)).filter(|shown| filter.takes(kind, shown)) {
            self.matched += 1;
            if self.matched > *skip && self.count < *top {
                if self.count > 0 {
                    self.text.push(b',');
                }
                self.count += 1;
                self.text.extend(Value::Object(select.part_of(kind, shown)).to_string().into_bytes());
            }
        }
        if self.count == *top {
            self.pages.next = None;
        }
        if self.pages.next.is_none() {
            self.text.extend(format!("],\"count\":{}}}", self.count).into_bytes());
        }
        Ok(Some(std::mem::take(&mut self.text)))
    }
}

/// Counts what the filter takes.
///
/// # Errors
/// What keeps them from being read.
pub async fn count(caller: Caller, kind: Kind, filter: &Filter) -> Result<usize, Problem> {
    let mut count = 0;
    let mut pages = Pages::new(caller, kind);
    while let Some(page) = pages.next().await? {
        count += page.iter().filter(|object| filter.takes(kind, &show(kind, object))).count();
    }
    Ok(count)
}

/// The objects of a kind, page by page.
struct Pages {
    caller: Caller,
    kind: Kind,
    /// What to ask for next, unless there are no more.
    next: Option<ListParams>,
}

impl Pages {
    fn new(caller: Caller, kind: Kind) -> Self {
        Self { caller, kind, next: Some(ListParams::default().limit(PAGE)) }
    }

    async fn next(&mut self) -> Result<Option<Vec<Observed>>, Problem> {
        #[derive(Deserialize)]
        struct Page {
            metadata: PageMeta,
            items: Vec<Observed>,
        }
        #[derive(Default, Deserialize)]
        struct PageMeta {
            r#continue: Option<String>,
        }
        let Some(params) = self.next.take() else { return Ok(None) };
        let url = target::url(self.kind, &self.caller.namespace);
        let page: Page = send(&self.caller.client, ApiRequest::new(url).list(&params)).await?;
        let token = page.metadata.r#continue.filter(|token| !token.is_empty());
        self.next = token.map(|token| params.continue_token(&token));
        Ok(Some(page.items))
    }
}

impl Select {
    fn part_of(self, kind: Kind, mut shown: Map<String, Value>) -> Map<String, Value> {
        if self == Self::Status {
            const PART: [&str; 6] =
                ["id", "configurationId", "status", "createdAt", "modifiedAt", "statusDetails"];
            shown.retain(|name, _| {
                PART.contains(&name.as_str()) || (kind == Kind::Deployment && name == "details")
            });
        }
        shown
    }
}

/// An object as the AI API shows it.
fn show(kind: Kind, object: &Observed) -> Map<String, Value> {
    let target = Target::from(object);
    let meta = &object.metadata;
    let created = meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let spec_id = |name| object.spec_text(name).filter(|id| is_id(id));
    let (state, message) = match &target.state {
        Ok(state) => (*state, object.status_text("message").map(Cow::into_owned)),
        Err(why) => (State::Unknown, Some(format!("unreadable: {why}"))),
    };
    let first = match kind {
        Kind::Execution => "COMPLETED",
        Kind::Deployment => "RUNNING",
    };
    let target_status = object.status_text("targetStatus");
    let target_status = match target_status.as_deref() {
        _ if target.terminating => "DELETED",
        Some(word @ ("STOPPED" | "DELETED" | "RUNNING")) => word,
        Some(word @ "COMPLETED") if kind == Kind::Execution => word,
        _ => first,
    };
    let mut shown = Map::new();
    let mut put = |name: &str, value: &str| {
        shown.insert(name.to_owned(), value.into());
    };
    put("id", meta.name.as_deref().unwrap_or_default());
    put("configurationId", spec_id("configurationId").as_deref().unwrap_or(UNKNOWN));
    put("configurationName", &plain(&object.spec_text("configurationName").unwrap_or_default()));
    put("scenarioId", spec_id("scenarioId").as_deref().unwrap_or(UNKNOWN));
    if let Some(id) = spec_id("executableId") {
        put("executableId", &id);
    }
    put("status", state.word());
    put("targetStatus", target_status);
    if let Some(message) = message {
        put("statusMessage", &cut(&message, LONGEST_MESSAGE));
    }
    put("createdAt", &time(created));
    put("modifiedAt", &time(object.modified.unwrap_or(created)));
    for name in ["submissionTime", "startTime", "completionTime"] {
        let at = object.status_text(name).and_then(|text| text.parse::<Timestamp>().ok());
        if let Some(at) = at {
            put(name, &time(at));
        }
    }
    if kind == Kind::Deployment {
        put("deploymentUrl", "");
    }
    shown
}

/// A name in the characters that the AI API has for it: printable ASCII without the backtick, and white space.
fn plain(name: &str) -> String {
    let known = |c: char| (c.is_ascii_graphic() && c != '`') || c.is_ascii_whitespace();
    name.chars().map(|c| if known(c) { c } else { '?' }).collect()
}

/// The AI API's clients read at most six digits of a second.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests;
