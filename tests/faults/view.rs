//! Watches that show the operator something else than what is so.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures::{StreamExt, stream};
use http::{Response, request::Parts};
use kube::client::DynBody;
use tokio::sync::watch;

use crate::{
    fault::{Call, Resource, View},
    wire::{lines, of_lines},
};

/// What the API server says when a watch is too far behind.
const GONE: &str = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
    r#""message":"too old resource version","reason":"Expired","code":410}}"#,
    "\n"
);

/// Whether the fault is on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    NotYet,
    /// On, since this resource version.
    On(String),
    Over,
}

/// The view of one plan, over all lives of the operator.
pub struct Views {
    view: Option<(View, Resource)>,
    phase: watch::Sender<Phase>,
    expired: AtomicUsize,
    /// How many events met the fault.
    met: Mutex<usize>,
}

impl Views {
    pub fn new(view: Option<(View, Resource)>) -> Arc<Self> {
        let phase = watch::Sender::new(Phase::NotYet);
        Arc::new(Self { view, phase, expired: AtomicUsize::new(0), met: Mutex::default() })
    }

    /// From now on; `present` is the present resource version.
    pub fn begin(&self, present: String) {
        self.phase.send_replace(Phase::On(present));
    }

    pub fn end(&self) {
        self.phase.send_replace(Phase::Over);
    }

    pub fn met(&self) -> usize {
        *self.met.lock().unwrap()
    }

    /// A list as it was at the time when the fault began, where that is the fault.
    pub fn rewritten(&self, call: Call, head: &Parts) -> Parts {
        let mut head = head.clone();
        if let (Some((View::Back, resource)), Phase::On(past)) = (self.view, &*self.phase.borrow())
            && call == Call::List(resource)
        {
            *self.met.lock().unwrap() += 1;
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

    /// The answer to a watch, with its faults.
    pub fn seen_through(
        self: &Arc<Self>,
        call: Call,
        answer: Response<Box<DynBody>>,
    ) -> Response<Box<DynBody>> {
        match self.view {
            Some((view, resource)) if call == Call::Watch(resource) && answer.status().is_success() => {
                let (head, body) = answer.into_parts();
                let watched = Watched {
                    views: Arc::clone(self),
                    view,
                    phase: self.phase.subscribe(),
                    lines: lines(body).boxed(),
                    lost: false,
                    ended: false,
                };
                let pieces = stream::unfold(watched, |mut watched| async move {
                    watched.next().await.map(|text| (text, watched))
                });
                of_lines(head, pieces)
            }
            _ => answer,
        }
    }
}

struct Watched {
    views: Arc<Views>,
    view: View,
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
            if self.view == View::Back && self.on() && !self.lost {
                self.lost = true;
                // The watch that follows the list of the past stands still.
                if self.views.expired.fetch_add(1, Ordering::Relaxed) == 0 {
                    self.ended = true;
                    return Some(GONE.into());
                }
            }
            if self.lost && !self.on() && self.view == View::Lose {
                self.ended = true;
                return Some(GONE.into());
            }
            if self.view == View::Back && self.on() {
                self.changed().await;
                continue;
            }
            let line = tokio::select! {
                line = self.lines.next() => line?,
                () = wait(&mut self.phase) => continue,
            };
            if !self.on() || line.contains(r#""type":"BOOKMARK""#) {
                return Some(line);
            }
            *self.views.met.lock().unwrap() += 1;
            match self.view {
                View::Hold => {
                    while self.on() {
                        self.changed().await;
                    }
                    return Some(line);
                }
                View::Slow => {
                    tokio::time::sleep(std::time::Duration::from_millis(333)).await;
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
                View::Lose => self.lost = true,
                View::Back => return Some(line),
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
        std::future::pending().await
    }
}
