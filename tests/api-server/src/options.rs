//! The options of requests, in the query or in the body, and what is wrong with them.

use std::time::Duration;

use serde_json::Value;

use crate::{
    Kubernetes,
    handle::Asked,
    invalid::{Flaw, refusal},
    refusal::{Outcome, Refusal},
    request::Call,
};

/// What is done about fields that a kind does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    Ignore,
    Warn,
    Refuse,
}

/// The options of a write.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub manager: String,
    pub unknown: Unknown,
}

impl WriteOptions {
    /// `of` names the kind of options in messages.
    pub fn read(asked: &Asked, kubernetes: Kubernetes, of: &str) -> Outcome<Self> {
        let (call, agent) = (asked.call, asked.agent);
        let mut flaws = Vec::new();
        let manager = call.parameter("fieldManager").unwrap_or_default();
        if manager.len() > 128 {
            flaws.push(Flaw::too_long("fieldManager", 128));
        }
        if of == "PatchOptions" && call.parameter("force").is_some() {
            flaws.push(Flaw::forbidden("force", "may not be specified for non-apply patch"));
        }
        let dry_runs: Vec<&str> =
            call.query.iter().filter(|(k, _)| k == "dryRun").map(|(_, v)| v.as_str()).collect();
        flaws.extend(dry_run_flaw(&dry_runs));
        let validation = call.parameter("fieldValidation").unwrap_or_default();
        let unknown = match validation {
            "" | "Warn" => Unknown::Warn,
            "Ignore" => Unknown::Ignore,
            "Strict" => Unknown::Refuse,
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"].map(ToOwned::to_owned);
                flaws.push(Flaw::not_supported("fieldValidation", &other.into(), &supported));
                Unknown::Warn
            }
        };
        if !flaws.is_empty() {
            return Err(refusal(kubernetes, ("meta.k8s.io", of), "", &flaws));
        }
        // Without a name, it is the beginning of the user agent.
        let of_agent = || agent.split('/').next().unwrap_or_default().chars().take(128).collect();
        let manager = if manager.is_empty() { of_agent() } else { manager.to_owned() };
        Ok(Self { dry_run: !dry_runs.is_empty(), manager, unknown })
    }
}

fn dry_run_flaw(values: &[&str]) -> Option<Flaw> {
    let bad = values.iter().any(|value| *value != "All");
    let value = Value::from(values.iter().map(|value| Value::from(*value)).collect::<Vec<_>>());
    bad.then(|| Flaw::texts_not_supported("dryRun", &value, "All"))
}

/// The options of a deletion.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    pub dry_run: bool,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub propagation: Option<String>,
    /// The older form of the propagation policy.
    pub orphan: Option<bool>,
    /// How long it may take to end, in seconds.
    pub grace: Option<i64>,
}

impl DeleteOptions {
    pub fn read(asked: &Asked, kubernetes: Kubernetes) -> Outcome<Self> {
        let (call, body) = (asked.call, &asked.body);
        let given: Value = if body.is_empty() {
            let dry_run: Vec<Value> =
                call.query.iter().filter(|(k, _)| k == "dryRun").map(|(_, v)| v.as_str().into()).collect();
            let mut given = serde_json::json!({"dryRun": dry_run});
            if let Some(policy) = call.parameter("propagationPolicy") {
                given["propagationPolicy"] = policy.into();
            }
            if let Some(seconds) = call.parameter("gracePeriodSeconds").and_then(|s| s.parse::<i64>().ok()) {
                given["gracePeriodSeconds"] = seconds.into();
            }
            if call.parameter("orphanDependents").is_some() {
                given["orphanDependents"] = call.flag("orphanDependents").into();
            }
            given
        } else {
            serde_json::from_slice(body).map_err(|error| {
                Refusal::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
            })?
        };
        let text = |at: &str| given.pointer(at).and_then(Value::as_str).map(ToOwned::to_owned);
        let options = Self {
            dry_run: given["dryRun"].as_array().is_some_and(|values| !values.is_empty()),
            uid: text("/preconditions/uid"),
            resource_version: text("/preconditions/resourceVersion"),
            propagation: text("/propagationPolicy"),
            orphan: given["orphanDependents"].as_bool(),
            grace: given["gracePeriodSeconds"].as_i64(),
        };
        let flaws = options.flaws(&given);
        if flaws.is_empty() {
            Ok(options)
        } else {
            Err(refusal(kubernetes, ("meta.k8s.io", "DeleteOptions"), "", &flaws))
        }
    }

    fn flaws(&self, given: &Value) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        if let Some(policy) = &self.propagation {
            let value = policy.as_str().into();
            if self.orphan.is_some() {
                let detail = "orphanDependents and deletionPropagation cannot be both set";
                flaws.push(Flaw::invalid("propagationPolicy", &value, detail));
            }
            if !["Foreground", "Background", "Orphan"].contains(&policy.as_str()) {
                let supported = ["Foreground", "Background", "Orphan", "nil"].map(ToOwned::to_owned);
                flaws.push(Flaw::not_supported("propagationPolicy", &value, &supported));
            }
        }
        let dry_runs: Vec<&str> =
            given["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        flaws.extend(dry_run_flaw(&dry_runs));
        flaws
    }
}

/// What the options of a list or a watch have in common.
fn list_flaws(call: &Call, kubernetes: Kubernetes) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let watch = call.verb == "watch";
    let initial = call.query.iter().any(|(key, _)| key == "sendInitialEvents");
    let forbidden = |detail: &str| Flaw::forbidden("resourceVersionMatch", detail);
    let matched = call.parameter("resourceVersionMatch");
    if watch && initial {
        if matched != Some("NotOlderThan") {
            flaws.push(forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
        }
        if kubernetes == Kubernetes::V1_33 {
            let detail =
                "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
            flaws.push(Flaw::forbidden("sendInitialEvents", detail));
        }
    }
    if let Some(matched) = matched {
        let version = call.parameter("resourceVersion");
        let mut supported = vec!["NotOlderThan".to_owned()];
        if watch && !initial {
            flaws.push(forbidden(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        if !watch {
            supported = vec!["Exact".to_owned(), "NotOlderThan".to_owned(), String::new()];
            if version.is_none() {
                flaws.push(forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"));
            }
        }
        if call.parameter("continue").is_some() {
            flaws.push(forbidden("resourceVersionMatch is forbidden when continue is provided"));
        }
        if !supported.iter().any(|one| one == matched) {
            flaws.push(Flaw::not_supported("resourceVersionMatch", &matched.into(), &supported));
        }
        if !watch && matched == "Exact" && version == Some("0") {
            flaws.push(forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
        }
    }
    if !watch && initial {
        flaws.push(Flaw::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    flaws
}

fn checked(call: &Call, kubernetes: Kubernetes) -> Outcome<()> {
    let flaws = list_flaws(call, kubernetes);
    if flaws.is_empty() {
        Ok(())
    } else {
        Err(refusal(kubernetes, ("meta.k8s.io", "ListOptions"), "", &flaws))
    }
}

/// A number in the query.
fn number(call: &Call, name: &str) -> Outcome<Option<u64>> {
    let Some(text) = call.parameter(name) else { return Ok(None) };
    let parsed = text.parse::<i64>();
    let number = parsed
        .map_err(|_| Refusal::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))?;
    Ok(u64::try_from(number).ok())
}

/// A resource version in the query.
fn revision(call: &Call, kubernetes: Kubernetes) -> Outcome<Option<u64>> {
    let Some(text) = call.parameter("resourceVersion") else { return Ok(None) };
    let is_old_list = kubernetes == Kubernetes::V1_33 && call.verb == "list";
    let start = if is_old_list { "invalid resource version: " } else { "" };
    text.parse().map(Some).map_err(|_| {
        let why = format!("Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax");
        Refusal::bad_request(format!("{start}resourceVersion: {why}"))
    })
}

/// The options of a list.
#[derive(Clone, Debug)]
pub struct ListOptions {
    pub limit: Option<usize>,
    pub token: Option<String>,
    pub revision: Option<u64>,
    pub exact: bool,
}

impl ListOptions {
    pub fn read(call: &Call, kubernetes: Kubernetes) -> Outcome<Self> {
        checked(call, kubernetes)?;
        let limit = number(call, "limit")?.and_then(|limit| usize::try_from(limit).ok());
        // What is selected by its name has no pages.
        let limit = limit.filter(|limit| *limit > 0 && call.name.is_empty());
        let revision = revision(call, kubernetes)?;
        let exact = match call.parameter("resourceVersionMatch") {
            Some(matched) => matched == "Exact",
            // As it has always been for pages.
            None => limit.is_some() && revision.is_some_and(|revision| revision > 0),
        };
        Ok(Self { limit, token: call.parameter("continue").map(ToOwned::to_owned), revision, exact })
    }
}

/// The options of a watch.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// None if it begins with the present objects, or now.
    pub since: Option<u64>,
    pub initial_events: bool,
    pub bookmarks: bool,
    pub initial_events_end: bool,
    pub timeout: Option<Duration>,
}

impl WatchOptions {
    pub fn read(call: &Call, kubernetes: Kubernetes) -> Outcome<Self> {
        checked(call, kubernetes)?;
        let initial =
            call.query.iter().find(|(key, _)| key == "sendInitialEvents").map(|(_, value)| value == "true");
        let asked = call.parameter("resourceVersion");
        // The newest server begins with the present objects, and says so, where that is what always happened.
        let is_legacy =
            asked.is_none_or(|version| version == "0") && call.parameter("resourceVersionMatch").is_none();
        let initial = initial.or((is_legacy && kubernetes == Kubernetes::V1_37).then_some(true));
        let since = revision(call, kubernetes)?.filter(|since| *since > 0);
        let since = match initial {
            Some(true) => None,
            _ => since,
        };
        Ok(Self {
            since,
            initial_events: initial != Some(false),
            bookmarks: call.flag("allowWatchBookmarks"),
            initial_events_end: initial == Some(true),
            timeout: number(call, "timeoutSeconds")?.filter(|seconds| *seconds > 0).map(Duration::from_secs),
        })
    }
}
