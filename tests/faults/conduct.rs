//! What must not be sent, judged on the wire at the moment when it is sent: afterwards nobody could tell what the
//! operator knew by then.

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
    /// The targets that a read has shown (or shown not to be there), one after the other.
    looked_at: watch::Sender<Vec<String>>,
}

#[derive(Default)]
struct Inner {
    /// Whether there is one BulkUpdate only, so that who writes again is who wrote before.
    alone: bool,
    /// The objects of which it can't know whether the last write to them was carried out.
    open: HashSet<String>,
    /// The objects that it has to read because a write met a conflict.
    conflicts: HashSet<String>,
    /// Until when the server has asked a life to wait.
    not_before: HashMap<(usize, Call, String), Instant>,
    called_off: bool,
    /// Only this kind is.
    called_off_for: Option<Resource>,
    wrong: Vec<String>,
}

impl Conduct {
    pub fn of(plan: &Plan) -> Arc<Self> {
        let one_kind = plan.switches_off() && !plan.switches_off_for(Kind::Execution);
        let called_off_for = one_kind.then_some(Resource::Deployments);
        let inner = Inner { alone: plan.is_alone(), called_off_for, ..Inner::default() };
        Arc::new(Self { inner: Mutex::new(inner), looked_at: watch::Sender::default() })
    }

    /// It sends a request.
    pub fn asks(&self, life: usize, call: Call, path: &str) {
        let mut inner = self.inner.lock().unwrap();
        if call == Call::Unknown {
            inner.wrong.push(format!("a request that it has no business to send: {path}"));
        }
        let early =
            inner.not_before.remove(&(life, call, path.to_owned())).is_some_and(|time| Instant::now() < time);
        // Each BulkUpdate waits for itself; what they share is the reading of the flag.
        if early && (inner.alone || call == Call::ReadFlag) {
            inner.wrong.push(format!("{call} of {path} before the time that Retry-After says"));
        }
        match call {
            Call::Stop | Call::Delete => {
                if inner.alone && inner.open.contains(path) {
                    inner.wrong.push(format!(
                        "{call} of {path} again, and the outcome of the last one was not looked up"
                    ));
                }
                if inner.alone && inner.conflicts.contains(path) {
                    inner.wrong.push(format!("{call} of {path} again after a conflict, without a look"));
                }
                let other = |kind: Resource| path.rsplit('/').nth(1) != Some(kind.word());
                if inner.called_off && !inner.called_off_for.is_some_and(other) {
                    inner
                        .wrong
                        .push(format!("{call} of {path}, and it had been seen that it was called off"));
                }
            }
            _ => {}
        }
    }

    /// A fault strikes one of its requests.
    pub fn is_struck(&self, life: usize, call: Call, path: &str, fault: Fault) {
        let mut inner = self.inner.lock().unwrap();
        if matches!(call, Call::Stop | Call::Delete) && fault.leaves_the_outcome_open() {
            inner.open.insert(path.to_owned());
        }
        // kube's watcher has a back-off of its own, and does not see the header. Each event is sent once. The Lease would be lost
        // by waiting.
        let heedless =
            matches!(call, Call::List(_) | Call::Watch(_) | Call::Event) || call.is_in_the_background();
        if let Fault::Answer { retry_after: Some(seconds), .. } = fault
            && !heedless
        {
            let time = Instant::now() + Duration::from_secs(seconds.into());
            inner.not_before.insert((life, call, path.to_owned()), time);
        }
    }

    /// It is given an answer.
    pub fn is_told(&self, call: Call, path: &str, code: u16) {
        let mut inner = self.inner.lock().unwrap();
        if matches!(call, Call::Stop | Call::Delete) && code == 409 {
            inner.conflicts.insert(path.to_owned());
        }
        if call == Call::ReadTarget && matches!(code, 200 | 404) {
            inner.open.remove(path);
            inner.conflicts.remove(path);
            self.looked_at.send_modify(|looked_at| looked_at.push(path.to_owned()));
        }
        inner.called_off |= inner.alone && matches!(call, Call::ReadBulkUpdate | Call::Record) && code == 404;
    }

    /// Waits until it has looked at the target, however often it had before.
    pub async fn looks_again_at(&self, path: &str) {
        let count = |looked_at: &Vec<String>| looked_at.iter().filter(|p| *p == path).count();
        let mut looked_at = self.looked_at.subscribe();
        let before = count(&looked_at.borrow_and_update());
        // The sender is a part of self.
        let _ = looked_at.wait_for(|now| count(now) > before).await;
    }

    /// It has seen that nothing more is to be written, in what `resource` says; the BulkUpdate that is gone is the only one,
    /// or the others go on.
    pub fn sees_that_it_is_called_off(&self, resource: Resource) {
        let mut inner = self.inner.lock().unwrap();
        inner.called_off |= inner.alone || resource != Resource::BulkUpdates;
    }

    pub fn wrong(&self) -> Vec<String> {
        self.inner.lock().unwrap().wrong.clone()
    }
}
