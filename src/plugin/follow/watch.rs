//! The BulkUpdates of a run as the API server shows them: by watches of the run's label, and by reading each that these do not show
//! any more, for anybody who may change one can remove its label.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    time::Duration,
};

use futures::{
    Stream, StreamExt,
    future::LocalBoxFuture,
    stream::{FuturesUnordered, select_all},
};
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};

use super::seen::{Key, Seen};
use crate::{
    client::{Failure, Next},
    plugin::{batches::RUN, problem::Problem, session::Session},
};

/// In how many namespaces a run is followed one by one. More than that needs the right to watch in all.
pub const WATCHES: usize = 16;
/// How long to wait before one that the watches do not show is read again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Events, each with the namespace that is watched; with none if all are.
type Events = Pin<Box<dyn Stream<Item = (Option<String>, watcher::Result<Event<Seen>>)>>>;

/// The read of one that the watches do not show.
type Look<'a> = LocalBoxFuture<'a, (Key, Result<Option<Seen>, Failure>)>;

/// What has become known.
pub enum Change {
    /// As one is now.
    Shown(Seen),
    /// One is not shown any more, since this version.
    NotShown(Key, u64),
    /// A list of all that there are in the namespace, or in all.
    Listed { namespace: Option<String>, all: BTreeSet<Key> },
    /// What a read has brought.
    Read(Key, Option<Seen>),
    /// It does not work at the moment, which is said once.
    Fails(String),
    /// Nothing that matters.
    Nothing,
}

pub struct Watch<'a> {
    session: &'a Session,
    events: Events,
    /// What a list has brought so far, by the namespace that is watched.
    listed: BTreeMap<Option<String>, BTreeSet<Key>>,
    /// Those that the watches have shown last, and not the end of.
    shown: BTreeSet<Key>,
    /// Those that are read.
    looked_for: BTreeSet<Key>,
    looks: FuturesUnordered<Look<'a>>,
    failed: bool,
}

impl<'a> Watch<'a> {
    /// Watches the BulkUpdates of this run in these namespaces.
    pub fn new(session: &'a Session, run: &str, namespaces: &BTreeSet<String>) -> Self {
        let (client, resource) = (&session.client, Seen::resource());
        let apis: Vec<(Option<String>, Api<Seen>)> = if namespaces.len() <= WATCHES {
            let of = |namespace: &String| {
                (Some(namespace.clone()), Api::namespaced_with(client.clone(), namespace, &resource))
            };
            namespaces.iter().map(of).collect()
        } else {
            vec![(None, Api::all_with(client.clone(), &resource))]
        };
        let config = watcher::Config::default().labels(&format!("{RUN}={run}"));
        let events = |(namespace, api): (Option<String>, _)| {
            let events = watcher::watcher(api, config.clone()).default_backoff();
            events.map(move |event| (namespace.clone(), event)).boxed_local()
        };
        let events = select_all(apis.into_iter().map(events)).boxed_local();
        Self {
            session,
            events,
            listed: BTreeMap::new(),
            shown: BTreeSet::new(),
            looked_for: BTreeSet::new(),
            looks: FuturesUnordered::new(),
            failed: false,
        }
    }

    /// The next change. Losing the future loses nothing.
    ///
    /// # Errors
    /// If its user may not watch them.
    pub async fn next(&mut self) -> Result<Change, Problem> {
        tokio::select! {
            Some((key, read)) = self.looks.next() => {
                self.looked_for.remove(&key);
                Ok(match read {
                    Ok(found) => Change::Read(key, found),
                    // Who may not read it takes the watch's word for it.
                    Err(failure) if failure.next() == Next::RetryForbidden => Change::Read(key, None),
                    Err(_) => {
                        self.look_again(key);
                        Change::Nothing
                    }
                })
            }
            Some((namespace, event)) = self.events.next() => self.event(namespace, event),
        }
    }

    fn event(
        &mut self,
        namespace: Option<String>,
        event: watcher::Result<Event<Seen>>,
    ) -> Result<Change, Problem> {
        Ok(match event {
            Ok(Event::Init) => {
                self.listed.insert(namespace, BTreeSet::new());
                Change::Nothing
            }
            Ok(Event::Apply(seen) | Event::InitApply(seen)) => {
                if let Some(listed) = self.listed.get_mut(&namespace) {
                    listed.insert(seen.key());
                }
                self.shown.insert(seen.key());
                Change::Shown(seen)
            }
            Ok(Event::Delete(seen)) => {
                self.shown.remove(&seen.key());
                Change::NotShown(seen.key(), seen.version())
            }
            Ok(Event::InitDone) => match self.listed.remove(&namespace) {
                Some(all) => {
                    let is_listed = |key: &Key| namespace.as_ref().is_none_or(|watched| *watched == key.0);
                    self.shown.retain(|key| !is_listed(key) || all.contains(key));
                    Change::Listed { namespace, all }
                }
                None => Change::Nothing,
            },
            Err(
                watcher::Error::InitialListFailed(kube::Error::Api(status))
                | watcher::Error::WatchStartFailed(kube::Error::Api(status)),
            ) if matches!(status.code, 401 | 403 | 404) => {
                return Err(Problem::Failed(format!("the run cannot be followed: {}", status.message)));
            }
            Err(error) if !self.failed => {
                self.failed = true;
                Change::Fails(format!(
                    "the run cannot be followed at the moment, which is tried again: {error}"
                ))
            }
            Err(_) => Change::Nothing,
        })
    }

    /// Reads one that is not shown any more.
    pub fn look_for(&mut self, key: Key) {
        self.look(key, Duration::ZERO);
    }

    /// The same, a moment later, unless it is shown again.
    pub fn look_again(&mut self, key: Key) {
        if !self.shown.contains(&key) {
            self.look(key, LOOK_AGAIN);
        }
    }

    fn look(&mut self, key: Key, after: Duration) {
        if !self.looked_for.insert(key.clone()) {
            return;
        }
        let session = self.session;
        self.looks.push(Box::pin(async move {
            tokio::time::sleep(after).await;
            let found = session.read::<Seen>(&Seen::url(Some(&key.0)), &key.1).await;
            (key, found)
        }));
    }
}
