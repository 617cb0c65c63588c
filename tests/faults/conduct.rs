//! What must not be sent, judged on the wire when it is sent: afterwards it is unknown what the operator knew at that
//! time.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ai_api_operator::api::Kind;
use tokio::sync::watch;

use crate::{
    fault::{Call, Fault, Resource},
    plan::Plan,
};

/// The conduct of one operator over all its lives.
pub struct Conduct {
    inner: Mutex<Inner>,
    /// The targets that a read has shown (or shown to be missing), in order.
    looked_at: watch::Sender<Vec<String>>,
}

#[derive(Default)]
struct Inner {
    /// Whether there is only one BulkUpdate, so that consecutive writes come from the same one.
    alone: bool,
    /// The objects for which it cannot know whether the last write was carried out.
    open: HashSet<String>,
    /// The objects that it has to read because a write met a conflict.
    conflicts: HashSet<String>,
    /// The time until which the server has asked a life to wait.
    not_before: HashMap<(usize, Call, String), Instant>,
    cancelled: bool,
    /// Applies to this kind only.
    cancelled_for: Option<Resource>,
    violations: Vec<String>,
}

impl Conduct {
    pub fn of(plan: &Plan) -> Arc<Self> {
        let one_kind = plan.switches_off() && !plan.switches_off_for(Kind::Execution);
        let cancelled_for = one_kind.then_some(Resource::Deployments);
        let inner = Inner { alone: plan.is_alone(), cancelled_for, ..Inner::default() };
        Arc::new(Self { inner: Mutex::new(inner), looked_at: watch::Sender::default() })
    }

    /// It sends a request.
    pub fn asks(&self, life: usize, call: Call, path: &str) {
        let mut inner = self.inner.lock().unwrap();
        if call == Call::Unknown {
            inner.violations.push(format!("a request that the operator must not send: {path}"));
        }
        let early =
            inner.not_before.remove(&(life, call, path.to_owned())).is_some_and(|time| Instant::now() < time);
        // Each BulkUpdate waits for itself; they share only the reading of the flag.
        if early && (inner.alone || call == Call::ReadFlag) {
            inner.violations.push(format!("{call} of {path} before the time that Retry-After says"));
        }
        match call {
            Call::Stop | Call::Delete => {
                if inner.alone && inner.open.contains(path) {
                    inner.violations.push(format!(
                        "{call} of {path} again, without reading the object after a lost answer"
                    ));
                }
                if inner.alone && inner.conflicts.contains(path) {
                    inner
                        .violations
                        .push(format!("{call} of {path} again after a conflict, without reading the object"));
                }
                let other = |kind: Resource| path.rsplit('/').nth(1) != Some(kind.word());
                if inner.cancelled && !inner.cancelled_for.is_some_and(other) {
                    inner.violations.push(format!("{call} of {path} after the cancellation had been seen"));
                }
            }
            _ => {}
        }
    }

    /// A fault hits one of its requests.
    pub fn on_fault(&self, life: usize, call: Call, path: &str, fault: Fault) {
        let mut inner = self.inner.lock().unwrap();
        if matches!(call, Call::Stop | Call::Delete) && fault.leaves_the_outcome_open() {
            inner.open.insert(path.to_owned());
        }
        // kube's watcher has its own back-off and ignores the header. Events are sent once. Waiting would lose the
        // Lease.
        let ignores_it =
            matches!(call, Call::List(_) | Call::Watch(_) | Call::Event) || call.is_in_the_background();
        if let Fault::Answer { retry_after: Some(seconds), .. } = fault
            && !ignores_it
        {
            let time = Instant::now() + Duration::from_secs(seconds.into());
            inner.not_before.insert((life, call, path.to_owned()), time);
        }
    }

    /// It gets an answer.
    pub fn on_answer(&self, call: Call, path: &str, code: u16) {
        let mut inner = self.inner.lock().unwrap();
        if matches!(call, Call::Stop | Call::Delete) && code == 409 {
            inner.conflicts.insert(path.to_owned());
        }
        if call == Call::ReadTarget && matches!(code, 200 | 404) {
            inner.open.remove(path);
            inner.conflicts.remove(path);
            self.looked_at.send_modify(|looked_at| looked_at.push(path.to_owned()));
        }
        inner.cancelled |= inner.alone && matches!(call, Call::ReadBulkUpdate | Call::Record) && code == 404;
    }

    /// Waits until it has read the target, in addition to earlier reads.
    pub async fn looks_again_at(&self, path: &str) {
        let count = |looked_at: &Vec<String>| looked_at.iter().filter(|p| *p == path).count();
        let mut looked_at = self.looked_at.subscribe();
        let before = count(&looked_at.borrow_and_update());
        // The sender is a part of self.
        let _ = looked_at.wait_for(|now| count(now) > before).await;
    }

    /// It has seen that nothing more may be written because of `resource`: the only BulkUpdate is gone, or the flag is
    /// off. With several BulkUpdates, the others go on.
    pub fn on_cancellation(&self, resource: Resource) {
        let mut inner = self.inner.lock().unwrap();
        inner.cancelled |= inner.alone || resource != Resource::BulkUpdates;
    }

    pub fn violations(&self) -> Vec<String> {
        self.inner.lock().unwrap().violations.clone()
    }
}
