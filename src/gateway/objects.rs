//! Executions and Deployments as the AI API shows them: one, a list of them, or how many there are.

use std::{borrow::Cow, fmt::Write as _};

use axum::{BoxError, body::Body};
use futures::{StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::{api::ListParams, core::Request as ApiRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tracing::warn;

use crate::{
    api::{Kind, State, WorkloadInUse, is_dns_subdomain},
    client::{Failure, requests, send},
    decode::{json::elements, text::cut},
    gateway::{
        caller::Caller,
        modification::{AN_ID, check_id, is_id},
        problem::{Problem, bad_request},
        query::Query,
    },
    observed::target::{self, Observed, Target},
};

/// The longest `statusMessage`, in bytes.
const LONGEST_MESSAGE: usize = 256;
/// The longest `deploymentUrl`, in bytes: as the schema of the custom resource has it.
const LONGEST_URL: usize = 2048;
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
const STATUS: [&str; 7] =
    ["id", "configurationId", "status", "statusDetails", "details", "createdAt", "modifiedAt"];
/// The filter by the schedule that started an execution.
const SCHEDULE: &str = "executionScheduleId";

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

/// What the query of a GET selects.
#[derive(Debug, PartialEq, Eq)]
pub struct Selection {
    /// Fields, and the values of which an object has one in each.
    filter: Vec<(&'static str, Vec<String>)>,
    /// Whether only [`STATUS`] is shown: `$select=status`.
    pub status_only: bool,
    /// How many of those that match are left out at the beginning.
    skip: usize,
    /// The most that are shown.
    top: usize,
}

impl Selection {
    /// Refuses parameters that a list, the number of its objects, or one object does not have.
    pub fn of(query: &Query, part: Part, kind: Kind) -> Result<Self, Problem> {
        query.only(|name| match part {
            Part::One => name == "select",
            // For deployments the AI API does not have it.
            Part::List | Part::Count if name == SCHEDULE => kind == Kind::Execution,
            Part::List | Part::Count => {
                FILTERS.contains(&name) || (part == Part::List && PAGING.contains(&name))
            }
        })?;
        Self::parse(query)
    }

    fn parse(query: &Query) -> Result<Self, Problem> {
        let select = query.get("select");
        if select.is_some_and(|part| part != "status") {
            return bad_request("$select must be status");
        }
        let mut filter = Vec::new();
        if let Some(list) = query.get("executableIds") {
            let ids: Vec<_> = list.split(',').map(ToOwned::to_owned).collect();
            if ids.len() > MAX_EXECUTABLES || !ids.iter().all(|id| is_id(id)) {
                let most = MAX_EXECUTABLES;
                return bad_request(format!(
                    "executableIds must be a list of 1 to {most} ids, separated by commas: {AN_ID}"
                ));
            }
            filter.push(("executableId", ids));
        }
        if let Some(word) = query.get("status") {
            if State::ALL.iter().all(|state| state.word() != word) {
                let words: Vec<_> = State::ALL.iter().map(|state| state.word()).collect();
                return bad_request(format!("status must be one of {}", words.join(", ")));
            }
            filter.push(("status", vec![word.to_owned()]));
        }
        for name in ["configurationId", "scenarioId", SCHEDULE] {
            if let Some(id) = query.get(name) {
                check_id(name, id)?;
                filter.push((name, vec![id.to_owned()]));
            }
        }
        let top = query.number("top", DEFAULT_TOP, 0..=MAX_TOP)?;
        let skip = query.number("skip", 0, 0..=MAX_SKIP)?;
        let status_only = select.is_some();
        Ok(Self { filter, status_only, skip, top })
    }

    /// What the API server selects, which is all of the filter, or else this sees to the rest; and whether it is all.
    fn field_selector(&self) -> (Option<String>, bool) {
        let fields: Vec<_> = self.filter.iter().filter_map(|(name, values)| field(name, values)).collect();
        let all = fields.len() == self.filter.len();
        ((!fields.is_empty()).then(|| fields.join(",")), all)
    }

    fn takes(&self, shown: &Map<String, Value>) -> bool {
        // No execution here is started by a schedule.
        self.filter.iter().all(|(name, wanted)| {
            let value = shown.get(*name).and_then(Value::as_str);
            value.is_some_and(|value| wanted.iter().any(|one| one == value))
        })
    }
}

/// The field selector of one filter, if there is one.
fn field(name: &str, values: &[String]) -> Option<String> {
    let [value] = values else { return None };
    let field = match name {
        "status" => "status.state",
        // So is shown what has none.
        "scenarioId" | "configurationId" if value == "unknown" => return None,
        "scenarioId" => "spec.scenarioId",
        "configurationId" => "spec.configurationId",
        "executableId" => "spec.executableId",
        _ => return None,
    };
    Some(format!("{field}={value}"))
}

pub async fn get(caller: &Caller, kind: Kind, id: &str, status_only: bool) -> Result<Value, Problem> {
    let object = read(caller, kind, id).await?;
    let mut shown = show(kind, &object);
    shown.extend(status_details(&object).map(|details| ("statusDetails".to_owned(), details)));
    Ok(part(shown, status_only))
}

pub async fn read(caller: &Caller, kind: Kind, id: &str) -> Result<Observed, Problem> {
    let none = || Problem::no_object(kind, id);
    if !is_dns_subdomain(id) {
        return Err(none());
    }
    let read = requests::get(&caller.client, target::url(kind, &caller.namespace), id).await;
    read.map_err(|failure| if failure.is_not_found() { none() } else { failure.into() })
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

/// Counts the objects that match. Without a filter the API server knows how many follow the first.
pub async fn count(caller: Caller, kind: Kind, selection: Selection) -> Result<usize, Failure> {
    let all = selection.filter.is_empty();
    let mut pages = Pages::new(caller, kind, selection);
    let mut count = 0;
    let mut limit = if all { 1 } else { PAGE };
    while let Some(Page { items, metadata }) = pages.next(limit).await? {
        count += items.iter().filter(|object| pages.selection.takes(&show(kind, object))).count();
        if all && let Some(rest) = metadata.remaining_item_count {
            return Ok(count + rest);
        }
        limit = PAGE;
    }
    Ok(count)
}

#[derive(Deserialize)]
struct Page {
    metadata: PageMeta,
    items: Vec<Observed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    r#continue: Option<String>,
    remaining_item_count: Option<usize>,
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
    /// Whether the API server brings only what matches.
    selected: bool,
}

impl Pages {
    fn new(caller: Caller, kind: Kind, selection: Selection) -> Self {
        let (field_selector, selected) = selection.field_selector();
        let next = Some(ListParams { field_selector, ..ListParams::default() });
        Self { caller, kind, selection, next, skipped: 0, count: 0, selected }
    }

    async fn next(&mut self, limit: u32) -> Result<Option<Page>, Failure> {
        let Some(params) = self.next.take().map(|params| params.limit(limit)) else { return Ok(None) };
        let url = target::url(self.kind, &self.caller.namespace);
        let page: Page = send(&self.caller.client, ApiRequest::new(url).list(&params)).await?;
        let token = page.metadata.r#continue.as_deref().filter(|token| !token.is_empty());
        self.next = token.map(|token| params.continue_token(token));
        Ok(Some(page))
    }

    /// How many objects the next page of the list is to have.
    fn limit(&self) -> u32 {
        let wanted = self.selection.skip - self.skipped + self.selection.top - self.count;
        if self.selected { u32::try_from(wanted.max(1)).unwrap_or(PAGE).min(PAGE) } else { PAGE }
    }

    /// `text`, and after it the JSON of the next page of the list.
    async fn json(&mut self, mut text: String) -> Result<Option<String>, Failure> {
        let Some(page) = self.next(self.limit()).await? else { return Ok(None) };
        for shown in page.items.iter().map(|object| show(self.kind, object)) {
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
        Kind::Deployment => {
            ("RUNNING", Some(object.status_text("url").filter(|url| is_url(url)).unwrap_or_default()))
        }
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
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    let details = workload(object)
        .filter(|_| kind == Kind::Deployment)
        .map(|workload| ("details".to_owned(), json!({"resources": {"backendDetails": workload}})));
    fields.chain(details).collect()
}

/// The object that does the work, if it is recorded.
pub fn workload(object: &Observed) -> Option<WorkloadInUse> {
    serde_json::from_str(object.status_part("workload")?.get()).ok()
}

/// What is known of the state besides its word and its sentence: what does the work, and the conditions.
fn status_details(object: &Observed) -> Option<Value> {
    #[derive(Deserialize, Serialize)]
    struct Condition {
        r#type: String,
        status: String,
        reason: String,
    }
    let conditions = object.status_part("conditions").and_then(elements).unwrap_or_default();
    let conditions: Vec<Condition> =
        conditions.into_iter().filter_map(|one| serde_json::from_str(one.get()).ok()).collect();
    let workload = workload(object).map(|workload| ("workload", json!(workload)));
    let conditions = (!conditions.is_empty()).then(|| ("conditions", json!(conditions)));
    let details: Map<_, _> =
        [workload, conditions].into_iter().flatten().map(|(name, value)| (name.to_owned(), value)).collect();
    (!details.is_empty()).then_some(Value::Object(details))
}

/// Whether it is the address of a model, and not anything else that a status may hold there.
fn is_url(url: &str) -> bool {
    let address = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let fits = url.len() <= LONGEST_URL && url.bytes().all(|b| b.is_ascii_graphic());
    fits && address.is_some_and(|address| !address.is_empty())
}

/// A name in the characters that the AI API has for it: printable ASCII without the backtick, and white space.
fn plain(name: &str) -> String {
    let known = |c: char| (c.is_ascii_graphic() && c != '`') || c.is_ascii_whitespace();
    name.chars().map(|c| if known(c) { c } else { '?' }).collect()
}

/// The AI API's clients read at most six digits of a second.
pub fn time(at: Timestamp) -> Cow<'static, str> {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string().into()
}

#[cfg(test)]
mod tests;
