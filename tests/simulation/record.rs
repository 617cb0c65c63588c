//! What is recorded of a life: for its log, for the judge and for the coverage.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Response, header::RETRY_AFTER, request::Parts};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use support::call::{Call, is_about_work_policy, verb};

use crate::{
    line::Reply,
    process::Ended,
    story::{Asked, Called},
};

/// A time, and an order.
pub type Moment = judge::Moment;

/// A process from start to end.
#[derive(Clone, Debug)]
pub struct Life {
    pub name: String,
    pub slot: usize,
    pub is_gateway: bool,
    pub started: Moment,
    pub ended: Option<Moment>,
    pub killed: bool,
    pub asked_to_end: Option<Moment>,
    pub pauses: Vec<[Moment; 2]>,
    pub log: Vec<String>,
    pub end: Option<Ended>,
}

impl Life {
    pub fn new(name: String, slot: usize, is_gateway: bool) -> Self {
        Self {
            name,
            slot,
            is_gateway,
            started: Moment::default(),
            ended: None,
            killed: false,
            asked_to_end: None,
            pauses: Vec::new(),
            log: Vec::new(),
            end: None,
        }
    }
}

/// A request as its process sees it.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub life: usize,
    /// Its number in its process.
    pub number: usize,
    pub head: Head,
    pub body: Bytes,
    pub sent: Moment,
    pub ended: Option<(Moment, judge::Answer)>,
}

/// What a request is, by its head.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub verb: &'static str,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub dry_run: bool,
}

impl Head {
    fn of(call: Call, head: &Parts) -> Self {
        let segments: Vec<_> = head.uri.path().split('/').filter(|s| !s.is_empty()).collect();
        let base = if segments.first() == Some(&"api") { 2 } else { 3 };
        let namespaced = segments.get(base) == Some(&"namespaces") && segments.len() > base + 2;
        let at = if namespaced { base + 2 } else { base };
        let text = |at: usize| segments.get(at).map(ToString::to_string).unwrap_or_default();
        let query = head.uri.query().unwrap_or_default();
        let named = segments.len() > at + 1;
        Self {
            verb: verb(head, named),
            resource: match call {
                _ if is_about_work_policy(query) => format!("work-{}", text(at)),
                Call::RecordWork => format!("work-{}", text(at)),
                _ if segments.get(1) == Some(&"apps") => format!("{}.apps", text(at)),
                _ => text(at),
            },
            subresource: text(at + 2),
            namespace: if namespaced { text(base + 1) } else { String::new() },
            name: text(at + 1),
            dry_run: query.contains("dryRun=All"),
        }
    }
}

impl Exchange {
    pub fn new(life: usize, number: usize, (call, head): (Call, &Parts), body: &Bytes) -> Self {
        let body = body.clone();
        Self { life, number, head: Head::of(call, head), body, sent: Moment::default(), ended: None }
    }
}

/// The parts of an object that a sight has.
#[derive(Deserialize, Default)]
struct Seen<'a> {
    #[serde(borrow, default)]
    metadata: SeenMetadata<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SeenMetadata<'a> {
    namespace: &'a str,
    name: std::borrow::Cow<'a, str>,
    uid: &'a str,
    resource_version: &'a str,
}

#[derive(Deserialize)]
struct SeenEvent<'a> {
    #[serde(borrow, rename = "type")]
    type_: &'a str,
    #[serde(borrow)]
    object: Seen<'a>,
}

#[derive(Deserialize)]
struct SeenList<'a> {
    #[serde(borrow, default)]
    items: Vec<Seen<'a>>,
}

/// A call of the gateway.
#[derive(Clone, Debug)]
pub struct CallRecord {
    pub life: usize,
    pub called: Called,
    pub sent: Timestamp,
    pub answered: Option<(Timestamp, Response<Bytes>)>,
}

#[derive(Default)]
pub struct Recorded {
    pub lives: Vec<Life>,
    pub exchanges: Vec<Exchange>,
    pub sights: Vec<judge::Sight>,
    pub calls_made: Vec<CallRecord>,
    /// The exchange of each request that the server has handled; none for those of others.
    pub of_requests: Vec<Option<usize>>,
    /// The answers to what others did, by their status.
    pub acts: BTreeMap<u16, usize>,
    /// How many requests had a fault, watch events a view, and how much else happened.
    pub faults: usize,
    pub views: usize,
    pub events_of_faults: usize,
    pub end: Option<Timestamp>,
    numbers: BTreeMap<(usize, usize), usize>,
    moments: u64,
    log: Option<Vec<String>>,
}

impl Recorded {
    pub fn new(log: bool) -> Self {
        Self { log: log.then(Vec::new), ..Self::default() }
    }

    fn moment(&mut self, at: Timestamp) -> Moment {
        self.moments += 1;
        Moment { nth: self.moments, at }
    }

    /// Adds a line to the log, if there is one.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(line());
        }
    }

    pub fn log(&self) -> &[String] {
        self.log.as_deref().unwrap_or_default()
    }

    pub fn started(&mut self, mut life: Life, now: u64, at: Timestamp) {
        life.started = self.moment(at);
        self.note(|| format!("{now} {} starts in {}", life.name, life.slot));
        self.lives.push(life);
    }

    /// By itself, or, without an end, because it was killed.
    pub fn ended(&mut self, life: usize, now: u64, at: Timestamp, end: Option<&Ended>) {
        let moment = self.moment(at);
        let of = &mut self.lives[life];
        (of.ended, of.killed, of.end) = (Some(moment), end.is_none(), end.cloned());
        self.note(|| format!("{now} life-{life} ends: {end:?}"));
    }

    pub fn terminated(&mut self, life: usize, now: u64, at: Timestamp) {
        let moment = self.moment(at);
        self.lives[life].asked_to_end.get_or_insert(moment);
        self.note(|| format!("{now} life-{life} is asked to end"));
    }

    pub fn suspended(&mut self, life: usize, now: u64, at: Timestamp) {
        let moment = self.moment(at);
        self.lives[life].pauses.push([moment, Moment { nth: u64::MAX, at: Timestamp::MAX }]);
        self.note(|| format!("{now} life-{life} is suspended"));
    }

    pub fn resumed(&mut self, life: usize, now: u64, at: Timestamp) {
        let moment = self.moment(at);
        if let Some(pause) = self.lives[life].pauses.last_mut() {
            pause[1] = moment;
        }
        self.note(|| format!("{now} life-{life} continues"));
    }

    pub fn log_of(&mut self, life: usize, lines: Vec<String>) {
        for line in &lines {
            self.note(|| format!("life-{life} {line}"));
        }
        self.lives[life].log.extend(lines);
    }

    pub fn sent(&mut self, mut exchange: Exchange, at: Timestamp) {
        exchange.sent = self.moment(at);
        self.numbers.insert((exchange.life, exchange.number), self.exchanges.len());
        self.exchanges.push(exchange);
    }

    pub fn handled(&mut self, exchange: usize) {
        self.of_requests.push(Some(exchange));
    }

    pub fn handled_for_others(&mut self) {
        self.of_requests.push(None);
    }

    /// A process does not wait for an answer any more.
    pub fn given_up(&mut self, life: usize, number: usize, now: u64, at: Timestamp) {
        let Some(exchange) = self.numbers.get(&(life, number)).copied() else { return };
        if self.exchanges[exchange].ended.is_none() {
            let moment = self.moment(at);
            self.exchanges[exchange].ended = Some((moment, judge::Answer::None));
            self.note(|| format!("{now} life-{life} gives up {exchange}"));
        }
    }

    pub fn answered(&mut self, exchange: usize, reply: &Reply, now: u64, at: Timestamp) {
        let moment = self.moment(at);
        let life = self.exchanges[exchange].life;
        let answer = match reply {
            Reply::Refused => judge::Answer::NotSent,
            Reply::Reset | Reply::Cut(_) => judge::Answer::None,
            Reply::Pieces(head, _) => {
                judge::Answer::Whole(judge::Whole { code: head.status().as_u16(), ..judge::Whole::default() })
            }
            Reply::Whole(answer) => {
                if self.exchanges[exchange].head.verb == "list" && answer.status().is_success() {
                    self.listed(life, exchange, answer.body(), moment);
                }
                whole(answer)
            }
        };
        self.note(|| format!("{now} life-{life} is answered {exchange}: {}", words(reply)));
        self.exchanges[exchange].ended = Some((moment, answer));
    }

    fn listed(&mut self, life: usize, exchange: usize, body: &Bytes, when: Moment) {
        let resource = self.exchanges[exchange].head.resource.clone();
        let Ok(list) = serde_json::from_slice::<SeenList<'_>>(body) else { return };
        self.sights.extend(list.items.iter().map(|seen| sight((life, when), &resource, seen, false, true)));
    }

    /// A watch shows its process a line.
    pub fn shown(&mut self, life: usize, resource: &str, event: &Bytes, at: Timestamp) {
        let when = self.moment(at);
        self.note(|| format!("{at} life-{life} is shown {}", String::from_utf8_lossy(event).trim_end()));
        let Ok(event) = serde_json::from_slice::<SeenEvent<'_>>(event) else { return };
        if matches!(event.type_, "ADDED" | "MODIFIED" | "DELETED") {
            let deleted = event.type_ == "DELETED";
            self.sights.push(sight((life, when), resource, &event.object, deleted, false));
        }
    }

    pub fn calls(&mut self, life: usize, called: &Called, sent: Timestamp) {
        self.note(|| format!("a caller asks {called:?}"));
        self.calls_made.push(CallRecord { life, called: called.clone(), sent, answered: None });
    }

    pub fn called(&mut self, number: usize, now: u64, at: Timestamp, answer: &Response<Bytes>) {
        self.note(|| format!("{now} the caller {number} gets {} {:?}", answer.status(), answer.body()));
        self.calls_made[number].answered = Some((at, answer.clone()));
    }

    /// Whether each caller has an answer, or the gateway was stopped first.
    pub fn calls_are_answered(&self) -> bool {
        self.calls_made.iter().all(|call| call.answered.is_some() || self.lives[call.life].ended.is_some())
    }

    pub fn end(&mut self, at: Timestamp) {
        self.end = Some(at);
    }
}

fn sight(
    (life, when): (usize, Moment),
    resource: &str,
    seen: &Seen<'_>,
    deleted: bool,
    listed: bool,
) -> judge::Sight {
    let SeenMetadata { namespace, name, uid, resource_version } = &seen.metadata;
    judge::Sight {
        life,
        when,
        resource: resource.into(),
        namespace: (*namespace).into(),
        name: name.to_string(),
        uid: (*uid).into(),
        revision: resource_version.parse().unwrap_or_default(),
        deleted,
        listed,
    }
}

fn whole(answer: &Response<Bytes>) -> judge::Answer {
    let header = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let code = answer.status().as_u16();
    if !answer.status().is_success() {
        let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let in_body = body["details"]["retryAfterSeconds"].as_u64();
        let names_object = body["details"]["name"].as_str().is_some_and(|name| !name.is_empty());
        return judge::Answer::Whole(judge::Whole {
            code,
            retry_after: header.or(in_body),
            object: None,
            names_object,
        });
    }
    let Ok(seen) = serde_json::from_slice::<Seen<'_>>(answer.body()) else { return judge::Answer::None };
    let SeenMetadata { uid, resource_version, .. } = seen.metadata;
    let object =
        resource_version.parse().ok().filter(|_| !uid.is_empty()).map(|version| (uid.to_owned(), version));
    judge::Answer::Whole(judge::Whole { code, retry_after: header, object, names_object: false })
}

fn words(reply: &Reply) -> String {
    match reply {
        Reply::Whole(answer) => {
            format!("{} {}", answer.status().as_u16(), String::from_utf8_lossy(answer.body()).trim_end())
        }
        Reply::Cut(_) => "half an answer".into(),
        Reply::Pieces(head, _) => format!("{}, a watch", head.status().as_u16()),
        Reply::Reset => "the connection is cut".into(),
        Reply::Refused => "there is no connection".into(),
    }
}

impl Called {
    /// The items that it asks for.
    pub fn items(&self) -> Vec<(String, bool)> {
        match &self.what {
            Asked::Bulk(items) => {
                items.iter().map(|(id, status)| (id.clone(), *status == "DELETED")).collect()
            }
            Asked::Stop(id) => vec![(id.clone(), false)],
            Asked::Delete(id) => vec![(id.clone(), true)],
            _ => Vec::new(),
        }
    }
}
