//! Watches that show the operator something that is not true.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use http::{Response, request::Parts};
use kube::client::DynBody;
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    answer::{lines, of_lines},
    fault::{Call, Injection, Place, Resource, View},
    plan::Plan,
};

/// The API server's answer when a watch is too far behind.
const GONE: &str = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
    r#""message":"too old resource version","reason":"Expired","code":410}}"#,
    "\n"
);

/// How long to wait for a change to appear in a watch.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long it may take from the wire to the operator's caches.
const TO_PROCESS: Duration = Duration::from_millis(100);

/// Whether the fault is active.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    NotYet,
    /// Active, since this resource version.
    On(String),
    Over,
}

/// The view of one plan, over all lives of the operator.
pub struct Views {
    view: Option<(View, Resource)>,
    begins_at_the_record: bool,
    begins_after_a_race: bool,
    /// The number of records after which it begins, if it begins there.
    begins_after_records: Option<usize>,
    records: AtomicUsize,
    /// The revision of the first BulkUpdate that was shown, and the event.
    first: Mutex<Option<(u64, String)>>,
    phase: watch::Sender<Phase>,
    expired: AtomicUsize,
    /// The newest revision that each watch has shown.
    shown: watch::Sender<HashMap<Resource, u64>>,
    /// How many events were affected by the fault.
    affected: Mutex<usize>,
}

impl Views {
    pub fn of(plan: &Plan) -> Arc<Self> {
        let phase = watch::Sender::new(Phase::NotYet);
        let after = |injection: &Injection| match injection.place {
            Place::Nth(Call::Record, n) => Some(n),
            _ => None,
        };
        let begins_after_records = matches!(plan.view, Some((View::Before, _)))
            .then(|| plan.injections.iter().find_map(after).unwrap_or(1));
        Arc::new(Self {
            view: plan.view,
            begins_at_the_record: plan.view_begins_at_the_record(),
            begins_after_a_race: plan.hides_its_end(),
            begins_after_records,
            records: AtomicUsize::new(0),
            first: Mutex::default(),
            phase,
            expired: AtomicUsize::new(0),
            shown: watch::Sender::default(),
            affected: Mutex::default(),
        })
    }

    /// Activates it; `present` is the present resource version.
    pub fn begin(&self, present: String) {
        self.phase.send_replace(Phase::On(present));
    }

    /// The operator has been shown what somebody else has done.
    pub fn have_shown_a_race(&self) {
        if self.begins_after_a_race {
            self.begin(String::new());
        }
    }

    pub fn end(&self) {
        self.phase.send_replace(Phase::Over);
    }

    pub fn affected(&self) -> usize {
        *self.affected.lock().unwrap()
    }

    /// A list as it was when the fault began, if the fault is about lists.
    pub fn rewritten(&self, call: Call, head: &Parts) -> Parts {
        let mut head = head.clone();
        if call == Call::Record && self.begins_at_the_record && *self.phase.borrow() == Phase::NotYet {
            self.begin(String::new());
        }
        if let (Some((view, resource)), Phase::On(past)) = (self.view, &*self.phase.borrow())
            && view.goes_back()
            && call == Call::List(resource)
        {
            *self.affected.lock().unwrap() += 1;
            let query = head.uri.query().unwrap_or_default();
            let others =
                query.split('&').filter(|part| !part.is_empty() && !part.starts_with("resourceVersion"));
            let query = others.collect::<Vec<_>>().join("&");
            let path = head.uri.path();
            let uri = format!("{path}?{query}&resourceVersion={past}&resourceVersionMatch=Exact");
            head.uri = uri.parse().unwrap();
        }
        head
    }

    /// Waits until the operator has been shown everything up to `revision`, and has had time to process it; times out
    /// if the watch has to be restarted.
    pub async fn have_shown(&self, resource: Resource, revision: u64) -> bool {
        let mut shown = self.shown.subscribe();
        let new = |shown: &HashMap<Resource, u64>| shown.get(&resource).is_some_and(|r| *r >= revision);
        let seen = tokio::time::timeout(TIMEOUT, shown.wait_for(new)).await.is_ok_and(|seen| seen.is_ok());
        tokio::time::sleep(TO_PROCESS).await;
        seen
    }

    /// A list was shown.
    pub fn have_listed(&self, resource: Resource, list: &Value) {
        let revision = list.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        if let Some(revision) = revision.and_then(|revision| revision.parse().ok()) {
            self.has_shown(resource, revision);
        }
    }

    fn has_shown(&self, resource: Resource, revision: u64) {
        self.shown.send_modify(|shown| {
            let newest = shown.entry(resource).or_default();
            *newest = revision.max(*newest);
        });
    }

    /// The answer to a watch, with its faults; `shown` is called with each event that passes.
    pub fn filtered(
        self: &Arc<Self>,
        call: Call,
        answer: Response<Box<DynBody>>,
        shown: impl Fn(Resource, &Value) + Send + 'static,
    ) -> Response<Box<DynBody>> {
        if call == Call::Record && answer.status().is_success() {
            let count = self.records.fetch_add(1, Ordering::Relaxed) + 1;
            let first = self.first.lock().unwrap().as_ref().map(|(revision, _)| *revision);
            if let (true, Some(first)) = (self.begins_after_records == Some(count), first) {
                self.begin(first.to_string());
            }
        }
        let Call::Watch(resource) = call else { return answer };
        if !answer.status().is_success() {
            return answer;
        }
        let (head, body) = answer.into_parts();
        let watched = Watched {
            views: Arc::clone(self),
            view: self.view.filter(|(_, of)| *of == resource).map(|(view, _)| view),
            phase: self.phase.subscribe(),
            lines: lines(body).boxed(),
            lost: false,
            ended: false,
        };
        let views = Arc::clone(self);
        let pieces =
            stream::unfold(
                watched,
                |mut watched| async move { watched.next().await.map(|text| (text, watched)) },
            );
        of_lines(
            head,
            pieces.inspect(move |lines| {
                for line in lines.lines() {
                    let event: Value = serde_json::from_str(line).unwrap();
                    views.note(resource, line, &event);
                    shown(resource, &event);
                }
            }),
        )
    }

    fn note(&self, resource: Resource, line: &str, event: &Value) {
        let version = event.pointer("/object/metadata/resourceVersion").and_then(Value::as_str);
        if let Some(revision) = version.and_then(|version| version.parse().ok()) {
            if resource == Resource::BulkUpdates && event["type"] != "BOOKMARK" {
                self.first.lock().unwrap().get_or_insert_with(|| (revision, format!("{line}\n")));
            }
            self.has_shown(resource, revision);
        }
    }
}

struct Watched {
    views: Arc<Views>,
    view: Option<View>,
    phase: watch::Receiver<Phase>,
    lines: stream::BoxStream<'static, String>,
    lost: bool,
    ended: bool,
}

impl Watched {
    fn on(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::On(_))
    }

    /// The next text to show; `None` at the end of the watch.
    async fn next(&mut self) -> Option<String> {
        loop {
            if self.ended {
                return None;
            }
            if self.view.is_some_and(View::goes_back) && self.on() && !self.lost {
                self.lost = true;
                // The watch that follows the old list makes no progress.
                if self.views.expired.fetch_add(1, Ordering::Relaxed) == 0 {
                    self.ended = true;
                    return Some(GONE.into());
                }
            }
            if self.lost && !self.on() && self.view == Some(View::Lose) {
                self.ended = true;
                return Some(GONE.into());
            }
            if self.view.is_some_and(View::goes_back) && self.on() {
                self.changed().await;
                continue;
            }
            let line = tokio::select! {
                line = self.lines.next() => line?,
                () = wait(&mut self.phase) => continue,
            };
            let Some(view) = self.view else { return Some(line) };
            if !self.on() || line.contains(r#""type":"BOOKMARK""#) {
                return Some(line);
            }
            *self.views.affected.lock().unwrap() += 1;
            match view {
                View::Hold => {
                    while self.on() {
                        self.changed().await;
                    }
                    return Some(line);
                }
                View::Slow => {
                    tokio::time::sleep(Duration::from_millis(333)).await;
                    return Some(line);
                }
                View::Close => {
                    self.ended = true;
                    return Some(line);
                }
                View::Expire => {
                    if self.views.expired.fetch_add(1, Ordering::Relaxed) < 3 {
                        self.ended = true;
                        return Some(GONE.into());
                    }
                    return Some(line);
                }
                View::Twice => return Some(line.repeat(2)),
                View::Again => {
                    let first = self.views.first.lock().unwrap().as_ref().map(|(_, first)| first.clone());
                    return Some(line + &first.unwrap_or_default());
                }
                View::Lose => self.lost = true,
                View::Back | View::Before | View::Forget => return Some(line),
            }
        }
    }

    async fn changed(&mut self) {
        wait(&mut self.phase).await;
    }
}

/// The sender outlives the operator.
async fn wait(phase: &mut watch::Receiver<Phase>) {
    if phase.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
