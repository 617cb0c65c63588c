//! The controller of what runs: which Execution or Deployment is due for a pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::runtime::watcher::Event;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    api::{Kind, State},
    bulk_update::Context,
    client::slots::Slots,
    observed::target::Target,
    tasks::{lock, resume_panic},
    workload::{
        attempts::Attempts,
        engine::Engine,
        owner::is_over,
        pass::{Ended, Key, Pass},
        work::Object,
        works::{Scope, Wake, Works},
    },
};

/// How many passes may run at once.
const AT_ONCE: usize = 8;

/// How long what was tried is remembered of what has ended: a stop that is undone over and over is requested less and less often.
const REMEMBERED: Duration = Duration::from_mins(2);

/// What has happened.
#[derive(Debug)]
pub enum News {
    /// An Execution or Deployment that something runs for is new or changed, and has this resourceVersion.
    Owner(Key, Box<str>),
    /// What runs for it has changed, and says that no stop was requested of it, if so.
    Work(Key, bool),
}

/// Where the controller learns what has changed.
#[derive(Clone)]
pub struct Inbox {
    shared: Arc<Shared>,
    news: mpsc::UnboundedSender<News>,
}

impl Inbox {
    /// Takes in a target that is new or changed.
    pub fn target(&self, kind: Kind, namespace: &str, name: &str, target: &Target) {
        if target.work.is_some()
            && !target.managed_by_other
            && !target.terminating
            && is_under_way(kind, target)
        {
            let key = Key { kind, namespace: namespace.into(), name: name.into() };
            self.send(News::Owner(key, target.resource_version.clone()));
        }
    }

    /// Takes in an event of the watch of an engine's objects.
    pub fn work(&self, scope: &Scope, engine: &'static Engine, event: Event<Object>) {
        for Wake { namespace, owner, undone } in self.shared.works.take_in(scope, engine, event) {
            self.send(News::Work(Key { kind: engine.kind.of(), namespace, name: owner }, undone));
        }
    }

    fn send(&self, news: News) {
        // The receiver lives as long as the operator.
        let _ = self.news.send(news);
    }
}

/// Whether its state can still change by itself.
fn is_under_way(kind: Kind, target: &Target) -> bool {
    target.state.as_ref().is_ok_and(|state| !is_over(kind, *state))
}

/// The controller.
pub struct Controller {
    shared: Arc<Shared>,
    news: mpsc::UnboundedReceiver<News>,
    entries: BTreeMap<Key, Entry>,
    due: BTreeSet<(Instant, Key)>,
    passes: JoinSet<(Key, Attempts, Ended)>,
}

struct Shared {
    ctx: Arc<Context>,
    works: Works,
    slots: Slots,
    /// The engines whose objects are watched.
    watched: Mutex<BTreeSet<&'static str>>,
    serve: mpsc::UnboundedSender<&'static Engine>,
}

#[derive(Debug, Default)]
struct Entry {
    attempts: Attempts,
    /// The resourceVersion at which the last pass left it.
    handled: Box<str>,
    running: bool,
    /// What arrived while a pass was running: a change of the work, and the newest version of the owner.
    again: bool,
    arrived: Option<Box<str>>,
    /// When it is looked at again, or forgotten if it has ended.
    due: Option<Instant>,
    finished: bool,
}

impl Controller {
    /// One that has nothing to do yet; where it learns what has changed; and the engines whose objects are to be watched, each once.
    pub fn new(ctx: Arc<Context>) -> (Self, Inbox, mpsc::UnboundedReceiver<&'static Engine>) {
        let (sender, news) = mpsc::unbounded_channel();
        let (serve, served) = mpsc::unbounded_channel();
        let (works, watched) = Default::default();
        let shared = Arc::new(Shared { ctx, works, slots: Slots::new(AT_ONCE), watched, serve });
        let inbox = Inbox { shared: Arc::clone(&shared), news: sender };
        let (entries, due, passes) = Default::default();
        (Self { shared, news, entries, due, passes }, inbox, served)
    }

    /// Runs until shutdown, and then until the passes under way have ended.
    pub async fn run(mut self) {
        let shutdown = self.shared.ctx.shutdown.clone();
        loop {
            let next = self.due.first().map(|(at, _)| *at);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = self.passes.join_next() => {
                    let (key, attempts, ended) = resume_panic(ended);
                    self.ended(key, attempts, ended);
                }
                Some(news) = self.news.recv() => self.take_in(news),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.wake_due(),
            }
        }
        while let Some(ended) = self.passes.join_next().await {
            let _ = resume_panic(ended);
        }
    }

    fn take_in(&mut self, news: News) {
        let (key, version) = match news {
            News::Owner(key, version) => (key, Some(version)),
            News::Work(key, undone) => {
                if !self.entries.contains_key(&key) && !self.shared.matters(&key, undone) {
                    return;
                }
                (key, None)
            }
        };
        let entry = self.entries.entry(key.clone()).or_default();
        match version {
            None if entry.running => entry.again = true,
            Some(_) if entry.running => entry.arrived = version,
            // What the last pass has written itself.
            Some(version) if version == entry.handled => {}
            _ => self.start(key),
        }
    }

    fn wake_due(&mut self) {
        let now = Instant::now();
        while let Some((at, key)) = self.due.first().cloned() {
            if at > now {
                break;
            }
            self.due.remove(&(at, key.clone()));
            if self.entries.get(&key).is_some_and(|entry| entry.finished && !entry.running) {
                self.entries.remove(&key);
            } else {
                self.start(key);
            }
        }
    }

    fn start(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.running {
            entry.again = true;
            return;
        }
        if let Some(at) = entry.due.take() {
            self.due.remove(&(at, key.clone()));
        }
        (entry.running, entry.again, entry.arrived, entry.finished) = (true, false, None, false);
        let mut attempts = entry.attempts.clone();
        let shared = Arc::clone(&self.shared);
        self.passes.spawn(async move {
            let _slot = shared.slots.acquire(&key.namespace, &key.name).await;
            let serve = |engine: &'static Engine| shared.serve(engine);
            let (ctx, works) = (&*shared.ctx, &shared.works);
            let ended = Pass { ctx, works, key: &key, attempts: &mut attempts, serve: &serve }.run().await;
            (key, attempts, ended)
        });
    }

    fn ended(&mut self, key: Key, attempts: Attempts, ended: Ended) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.running = false;
        entry.attempts = attempts;
        let arrived = entry.arrived.take();
        match ended {
            Ended::Over if !entry.again && arrived.is_none() => {
                self.entries.remove(&key);
                return;
            }
            Ended::Finished if !entry.again && entry.attempts.stops == 0 => {
                self.entries.remove(&key);
                return;
            }
            Ended::Over => {}
            Ended::Finished => {
                entry.finished = true;
                entry.wake_at(&key, REMEMBERED, &mut self.due);
            }
            Ended::Waits { version, wait } => {
                entry.handled = version;
                if let Some(wait) = wait {
                    entry.wake_at(&key, wait, &mut self.due);
                }
            }
        }
        if entry.again || arrived.is_some_and(|version| version != entry.handled) {
            self.start(key);
        }
    }
}

impl Entry {
    fn wake_at(&mut self, key: &Key, wait: Duration, due: &mut BTreeSet<(Instant, Key)>) {
        let at = Instant::now() + wait;
        self.due = Some(at);
        due.insert((at, key.clone()));
    }
}

impl Shared {
    fn serve(&self, engine: &'static Engine) {
        if lock(&self.watched).insert(engine.kind.plural()) {
            // The receiver lives as long as the operator.
            let _ = self.serve.send(engine);
        }
    }

    /// Whether a change of what runs matters where no pass is due: not after the end, unless a stop was undone.
    fn matters(&self, key: &Key, undone: bool) -> bool {
        let target = self.ctx.index.get(key.kind, &key.namespace, &key.name);
        target.is_some_and(|target| {
            is_under_way(key.kind, &target) || (undone && target.state == Ok(State::Stopped))
        })
    }
}
