//! How many requests are carried out at once. Reads, modifications and logs have places of their own, and no namespace takes more
//! of any than it leaves to the others.
//!
//! Anybody can name a namespace. So a request counts for its namespace only once the Kubernetes API has accepted its token
//! there; until then all such requests share what one namespace may take. (So a namespace whose first requests come all at once
//! may have three quarters of the places for a moment.)

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use tokio::{sync::watch, time::Instant};

use crate::{
    api::Kind,
    gateway::{
        load::Request,
        modification::Asked,
        problem::{DEFAULT_RETRY_AFTER, Problem},
    },
    tasks::lock,
};

/// For how long a token is known to be accepted in a namespace.
const ACCEPTED: Duration = Duration::from_mins(10);

/// How many of these are remembered.
const MOST_ACCEPTED: usize = 4096;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Use {
    Reads,
    Modifications,
    /// Reads of logs, which take more memory than others.
    Logs,
}

impl Use {
    /// How many may be in progress at once.
    const fn places(self) -> usize {
        match self {
            Self::Reads => 128,
            Self::Modifications => 256,
            Self::Logs => 16,
        }
    }
}

/// The places of all requests.
#[derive(Default)]
pub struct Places {
    reads: Mutex<Taken>,
    modifications: Mutex<Taken>,
    logs: Mutex<Taken>,
    accepted: Mutex<Accepted>,
    /// How many are taken.
    taken: watch::Sender<usize>,
    hasher: RandomState,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Of those whose tokens are not known to be accepted.
    unknown: usize,
    by_namespace: HashMap<Arc<str>, usize>,
}

/// The hashes of tokens with the namespaces where they were accepted, and when. The tokens themselves are not kept.
#[derive(Default)]
struct Accepted(HashMap<u64, Instant>);

/// The place of a request. It is held for as long as anything is done for it, even after the caller has hung up.
pub struct Place {
    places: Arc<Places>,
    of: Use,
    namespace: Arc<str>,
    /// The hash of the token and the namespace.
    pair: u64,
    /// Whether it counts for its namespace.
    accepted: Mutex<bool>,
}

impl Places {
    /// A place for a request with this token for this namespace.
    ///
    /// # Errors
    /// 429, if all are taken, or its namespace has as many as there are left.
    pub fn take(self: &Arc<Self>, of: Use, namespace: &str, token: &[u8]) -> Result<Place, Problem> {
        let pair = self.hasher.hash_one((token, namespace));
        let accepted = lock(&self.accepted).has(pair);
        let mut all = lock(self.of(of));
        let left = of.places() - all.all;
        // Those that are not known may turn out to be of this namespace.
        let own = all.of_namespace(namespace) + if accepted { 0 } else { all.unknown };
        if own >= left {
            let whose = match (left, accepted) {
                (0, _) => "",
                (_, true) => " for this namespace, and what is left is for others",
                (_, false) => {
                    " for this namespace and tokens that are not known yet, and what is left is for others"
                }
            };
            let message =
                format!("too many {of} are already in progress{whose}: nothing was done, try again");
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(DEFAULT_RETRY_AFTER));
        }
        let namespace: Arc<str> = namespace.into();
        all.count(accepted, &namespace);
        self.taken.send_modify(|taken| *taken += 1);
        Ok(Place { places: Arc::clone(self), of, namespace, pair, accepted: Mutex::new(accepted) })
    }

    /// Waits until none is taken.
    pub async fn empty(&self) {
        // The sender is part of self, so waiting cannot fail.
        let _ = self.taken.subscribe().wait_for(|taken| *taken == 0).await;
    }

    const fn of(&self, of: Use) -> &Mutex<Taken> {
        match of {
            Use::Reads => &self.reads,
            Use::Modifications => &self.modifications,
            Use::Logs => &self.logs,
        }
    }
}

impl Taken {
    fn of_namespace(&self, namespace: &str) -> usize {
        self.by_namespace.get(namespace).copied().unwrap_or_default()
    }

    fn count(&mut self, accepted: bool, namespace: &Arc<str>) {
        self.all += 1;
        if accepted {
            *self.by_namespace.entry(Arc::clone(namespace)).or_default() += 1;
        } else {
            self.unknown += 1;
        }
    }

    fn leave(&mut self, accepted: bool, namespace: &str) {
        self.all -= 1;
        if !accepted {
            self.unknown -= 1;
        } else if let Some(own) = self.by_namespace.get_mut(namespace) {
            *own -= 1;
            if *own == 0 {
                self.by_namespace.remove(namespace);
            }
        }
    }
}

impl Accepted {
    fn has(&self, pair: u64) -> bool {
        self.0.get(&pair).is_some_and(|since| since.elapsed() < ACCEPTED)
    }

    fn remember(&mut self, pair: u64) {
        if self.0.len() >= MOST_ACCEPTED && !self.0.contains_key(&pair) {
            self.0.retain(|_, since| since.elapsed() < ACCEPTED);
            if self.0.len() >= MOST_ACCEPTED {
                // Each is known again after its next request.
                self.0.clear();
            }
        }
        self.0.insert(pair, Instant::now());
    }
}

impl Place {
    /// What is asked for, as it is known again, and for whom it counts.
    pub fn request(&self, kind: Kind, asked: &Asked) -> Request {
        let namespace = if self.is_accepted() { Arc::clone(&self.namespace) } else { "".into() };
        Request { hash: self.places.hasher.hash_one((self.pair, kind, asked)), namespace }
    }

    /// Takes in what the Kubernetes API has answered to the request's token in its namespace.
    pub fn answered(&self, status: StatusCode) {
        if status.is_success() {
            self.accept();
        } else if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status) {
            lock(&self.places.accepted).0.remove(&self.pair);
        }
    }

    /// The Kubernetes API has accepted the request's token in its namespace.
    pub fn accept(&self) {
        lock(&self.places.accepted).remember(self.pair);
        let mut taken = lock(self.places.of(self.of));
        let mut accepted = lock(&self.accepted);
        if !*accepted {
            taken.leave(false, &self.namespace);
            taken.count(true, &self.namespace);
            *accepted = true;
        }
    }

    /// Whether the request's token is known to be accepted in its namespace.
    pub fn is_accepted(&self) -> bool {
        *lock(&self.accepted)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(self.places.of(self.of)).leave(*lock(&self.accepted), &self.namespace);
        self.places.taken.send_modify(|taken| *taken -= 1);
    }
}

#[cfg(test)]
mod tests;
