//! Executions and Deployments as the AI API shows them: one, a list of them, or how many there are.

use std::{borrow::Cow, fmt::Write as _};

use axum::{BoxError, body::Body, extract};
use futures::{StreamExt, stream};
use http::request::Parts;
use k8s_openapi::jiff::Timestamp;
use kube::{api::ListParams, core::Request as ApiRequest};
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::warn;

use crate::{
    api::{Kind, State, is_dns_subdomain},
    client::{Failure, requests, send},
    decode::text::cut,
    gateway::{
        caller::Caller,
        modification::{AN_ID, check_id, is_id},
        problem::{Problem, bad_request},
    },
    observed::target::{self, Observed, Target},
};

/// The longest `statusMessage`, in bytes.
const LONGEST_MESSAGE: usize = 256;
/// The most objects in one answer, and how many without `$top`.
const MAX_TOP: usize = 100_000;
const DEFAULT_TOP: usize = 10_000;
/// The highest `$skip`.
const MAX_SKIP: usize = 2_147_483_647;
/// The most `executableIds`.
const MAX_EXECUTABLES: usize = 1000;
/// How many objects are requested at once: as many lists may be in progress as callers wait for one.
const PAGE: u32 = 250;
/// What `$select=status` leaves of an object.
const STATUS: [&str; 5] = ["id", "configurationId", "status", "createdAt", "modifiedAt"];
/// The filter by the schedule that started an execution.
const SCHEDULE: &str = "executionScheduleId";

/// The longest name of a parameter in a message, in bytes.
const LONGEST_NAME: usize = 64;
/// What selects objects, in a list and in their number.
const FILTERS: [&str; 4] = ["executableIds", "configurationId", "scenarioId", "status"];
/// What selects a part of a list.
const PAGING: [&str; 3] = ["top", "skip", "select"];

/// What a GET asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    One,
    List,
    Count,
}

/// The query of a GET.
#[derive(Debug, PartialEq, Eq)]
pub struct Selection {
    /// The names of its parameters.
    names: Vec<String>,
    /// Fields, and the values of which an object has one in each.
    filter: Vec<(&'static str, Vec<String>)>,
    /// Whether only [`STATUS`] is shown: `$select=status`.
    pub status_only: bool,
    /// How many of those that match are left out at the beginning.
    skip: usize,
    /// The most that are shown.
    top: usize,
}

impl<S: Send + Sync> extract::FromRequestParts<S> for Selection {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match extract::Query::<Vec<_>>::from_request_parts(parts, state).await {
            Ok(extract::Query(pairs)) => Self::parse(&pairs),
            Err(error) => bad_request(format!("the query is invalid: {error}")),
        }
    }
}

impl Selection {
    fn parse(pairs: &[(String, String)]) -> Result<Self, Problem> {
        // The AI API knows some parameters by two names.
        let plain = |(key, _): &(String, String)| key.strip_prefix('$').unwrap_or(key).to_owned();
        let names: Vec<_> = pairs.iter().map(plain).collect();
        let repeated = (1..names.len()).find(|at| names[..*at].contains(&names[*at]));
        if let Some(at) = repeated {
            let name = cut(&names[at], LONGEST_NAME);
            return bad_request(format!("{name} is repeated in the query: send it once"));
        }
        let one = |name: &str| {
            let at = names.iter().position(|given| given == name)?;
            pairs.get(at).map(|(_, value)| value.as_str())
        };
        let number = |name: &str, default: usize, max: usize| match one(name).map(str::parse) {
            None => Ok(default),
            Some(Ok(number)) if number <= max => Ok(number),
            Some(_) => bad_request(format!("{name} must be a number from 0 to {max}")),
        };
        let select = one("select");
        if select.is_some_and(|part| part != "status") {
            return bad_request("$select must be status");
        }
        let mut filter = Vec::new();
        if let Some(list) = one("executableIds") {
            let ids: Vec<_> = list.split(',').map(ToOwned::to_owned).collect();
            if ids.len() > MAX_EXECUTABLES || !ids.iter().all(|id| is_id(id)) {
                let most = MAX_EXECUTABLES;
                return bad_request(format!(
                    "executableIds must be a list of 1 to {most} ids, separated by commas: {AN_ID}"
                ));
            }
            filter.push(("executableId", ids));
        }
        if let Some(word) = one("status") {
            if State::ALL.iter().all(|state| state.word() != word) {
                let words: Vec<_> = State::ALL.iter().map(|state| state.word()).collect();
                return bad_request(format!("status must be one of {}", words.join(", ")));
            }
            filter.push(("status", vec![word.to_owned()]));
        }
        for name in ["configurationId", "scenarioId", SCHEDULE] {
            if let Some(id) = one(name) {
                check_id(name, id)?;
                filter.push((name, vec![id.to_owned()]));
            }
        }
        let (top, skip) = (number("top", DEFAULT_TOP, MAX_TOP)?, number("skip", 0, MAX_SKIP)?);
        let status_only = select.is_some();
        Ok(Self { names, filter, status_only, skip, top })
    }

    /// Refuses parameters that a list, the number of its objects, or one object does not have: what is skipped selects more than
    /// was meant.
    pub fn of(self, part: Part, kind: Kind) -> Result<Self, Problem> {
        let known = |name: &str| match part {
            Part::One => name == "select",
            // For deployments the AI API does not have it.
            Part::List | Part::Count if name == SCHEDULE => kind == Kind::Execution,
            Part::List | Part::Count => {
                FILTERS.contains(&name) || (part == Part::List && PAGING.contains(&name))
            }
        };
        match self.names.iter().find(|name| !known(name)) {
            Some(name) => {
                let name = cut(name, LONGEST_NAME);
                bad_request(format!("the query parameter {name} is not known here: see /openapi.yaml"))
            }
            None => Ok(self),
        }
    }

    fn takes(&self, shown: &Map<String, Value>) -> bool {
        // No execution here is started by a schedule.
        self.filter.iter().all(|(name, wanted)| {
            let value = shown.get(*name).and_then(Value::as_str);
            value.is_some_and(|value| wanted.iter().any(|one| one == value))
        })
    }
}

pub async fn get(caller: &Caller, kind: Kind, id: &str, status_only: bool) -> Result<Value, Problem> {
    let none = || Problem::no_object(kind, id);
    if !is_dns_subdomain(id) {
        return Err(none());
    }
    let read = requests::get(&caller.client, target::url(kind, &caller.namespace), id).await;
    let object = read.map_err(|failure| if failure.is_not_found() { none() } else { failure.into() })?;
    Ok(part(show(kind, &object), status_only))
}

/// Reads a list: what the selection wants of all objects of the kind, in the order of their ids, as JSON. The objects are read
/// page by page as the caller reads the answer, so that no more than a page of them is held. If a page after the first cannot be
/// read, the body breaks off.
pub async fn list(caller: Caller, kind: Kind, selection: Selection) -> Result<Body, Problem> {
    let mut pages = Pages::new(caller, kind, selection);
    let first = pages.json("{\"resources\":[".to_owned()).await?;
    let rest = stream::try_unfold(pages, async |mut pages| match pages.json(String::new()).await {
        Ok(text) => Ok(text.map(|text| (text, pages))),
        Err(failure) => {
            let request_id = &*pages.caller.invocation.id;
            warn!(request_id, %failure, "a list breaks off, because its next page cannot be read");
            Err(BoxError::from(failure))
        }
    });
    Ok(Body::from_stream(stream::iter(first.map(Ok)).chain(rest)))
}

/// Counts the objects that match.
pub async fn count(caller: Caller, kind: Kind, selection: Selection) -> Result<usize, Failure> {
    let mut pages = Pages::new(caller, kind, selection);
    let mut count = 0;
    while let Some(page) = pages.next().await? {
        count += page.iter().filter(|object| pages.selection.takes(&show(kind, object))).count();
    }
    Ok(count)
}

/// The objects of a kind, page by page.
struct Pages {
    caller: Caller,
    kind: Kind,
    selection: Selection,
    /// None after the last.
    next: Option<ListParams>,
    /// How many of those that match were left out so far.
    skipped: usize,
    /// How many are in the list so far.
    count: usize,
}

impl Pages {
    fn new(caller: Caller, kind: Kind, selection: Selection) -> Self {
        Self { caller, kind, selection, next: Some(ListParams::default().limit(PAGE)), skipped: 0, count: 0 }
    }

    async fn next(&mut self) -> Result<Option<Vec<Observed>>, Failure> {
        #[derive(Deserialize)]
        struct Page {
            metadata: PageMeta,
            items: Vec<Observed>,
        }
        #[derive(Deserialize)]
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

    /// `text`, and after it the JSON of the next page of the list.
    async fn json(&mut self, mut text: String) -> Result<Option<String>, Failure> {
        let Some(page) = self.next().await? else { return Ok(None) };
        for shown in page.iter().map(|object| show(self.kind, object)) {
            if !self.selection.takes(&shown) {
                continue;
            }
            if self.skipped < self.selection.skip {
                self.skipped += 1;
            } else if self.count < self.selection.top {
                text += if self.count > 0 { "," } else { "" };
                text += &part(shown, self.selection.status_only).to_string();
                self.count += 1;
            }
        }
        if self.count == self.selection.top {
            self.next = None;
        }
        if self.next.is_none() {
            let _ = write!(text, "],\"count\":{}}}", self.count);
        }
        Ok(Some(text))
    }
}

fn part(mut shown: Map<String, Value>, status_only: bool) -> Value {
    shown.retain(|name, _| !status_only || STATUS.contains(&name.as_str()));
    Value::Object(shown)
}

fn show(kind: Kind, object: &Observed) -> Map<String, Value> {
    let target = Target::from(object);
    let meta = &object.metadata;
    let created = meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let id = |name| object.spec_text(name).filter(|id| is_id(id));
    let required_id = |name| Some(id(name).unwrap_or("unknown".into()));
    let (state, message) = match &target.state {
        Ok(state) => (*state, object.status_text("message")),
        Err(why) => (State::Unknown, Some(format!("unreadable: {why}").into())),
    };
    let (usual, url) = match kind {
        Kind::Execution => ("COMPLETED", None),
        Kind::Deployment => ("RUNNING", Some("".into())),
    };
    let target_status = match object.status_text("targetStatus") {
        _ if target.terminating => "DELETED".into(),
        Some(word) if matches!(&*word, "STOPPED" | "DELETED" | "RUNNING") || word == usual => word,
        _ => usual.into(),
    };
    let time_of = |name| Some(time(object.status_text(name)?.parse().ok()?));
    let fields: [(&str, Option<Cow<str>>); 14] = [
        ("id", Some(meta.name.as_deref().unwrap_or_default().into())),
        ("configurationId", required_id("configurationId")),
        ("configurationName", Some(plain(&object.spec_text("configurationName").unwrap_or_default()).into())),
        ("scenarioId", required_id("scenarioId")),
        ("executableId", id("executableId")),
        ("status", Some(state.word().into())),
        ("targetStatus", Some(target_status)),
        ("statusMessage", message.map(|message| cut(&message, LONGEST_MESSAGE).into())),
        ("createdAt", Some(time(created))),
        ("modifiedAt", Some(time(object.modified.unwrap_or(created)))),
        ("submissionTime", time_of("submissionTime")),
        ("startTime", time_of("startTime")),
        ("completionTime", time_of("completionTime")),
        ("deploymentUrl", url),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
}

/// A name in the characters that the AI API has for it: printable ASCII without the backtick, and white space.
fn plain(name: &str) -> String {
    let known = |c: char| (c.is_ascii_graphic() && c != '`') || c.is_ascii_whitespace();
    name.chars().map(|c| if known(c) { c } else { '?' }).collect()
}

/// The AI API's clients read at most six digits of a second.
fn time(at: Timestamp) -> Cow<'static, str> {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string().into()
}

#[cfg(test)]
mod tests;
