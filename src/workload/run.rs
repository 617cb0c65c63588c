//! The controller of what runs: which Execution or Deployment is due for a pass.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::runtime::watcher::Event;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, interval_at, sleep_until},
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
        engines::{self, ENGINES},
        entries::{Begin, Entries},
        owner::is_over,
        pass::{Ended, Pass},
        queue::Kueue,
        steps::{Key, Steps},
        work::Object,
        works::{Scope, Wake, Works},
    },
};

/// How many passes may run at once.
const AT_ONCE: usize = 8;

/// How often what does not exist any more is forgotten.
const TIDY: Duration = Duration::from_mins(1);

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
        let Some(work) = target.work.filter(|_| !target.managed_by_other && !target.terminating) else {
            return;
        };
        let under_way = is_under_way(kind, target);
        // The stop of one that was stopped may be undone.
        if (under_way || target.state == Ok(State::Stopped))
            && let Some(engine) = work.engine.and_then(engines::of)
        {
            self.shared.watch(engine);
        }
        if under_way || target.unobserved && target.state.is_ok() {
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

    /// The watch of an engine's objects fails, or works again.
    pub fn watched(&self, scope: &Scope, works: bool) {
        self.shared.works.set_watched(scope, works);
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
    entries: Entries,
    passes: JoinSet<(Key, Attempts, Ended)>,
}

struct Shared {
    ctx: Arc<Context>,
    works: Works,
    kueue: Kueue,
    slots: Slots,
    /// The engines whose objects are watched.
    watched: Mutex<BTreeSet<&'static str>>,
    watch: mpsc::UnboundedSender<&'static Engine>,
}

impl Controller {
    /// One that has nothing to do yet; where it learns what has changed; and the engines whose objects are to be watched, each once.
    pub fn new(ctx: Arc<Context>) -> (Self, Inbox, mpsc::UnboundedReceiver<&'static Engine>) {
        let (sender, news) = mpsc::unbounded_channel();
        let (watch, to_watch) = mpsc::unbounded_channel();
        let (works, kueue, watched) = Default::default();
        let shared = Arc::new(Shared { ctx, works, kueue, slots: Slots::new(AT_ONCE), watched, watch });
        let inbox = Inbox { shared: Arc::clone(&shared), news: sender };
        let (entries, passes) = Default::default();
        (Self { shared, news, entries, passes }, inbox, to_watch)
    }

    /// Runs until shutdown, and then until the passes under way have ended.
    pub async fn run(mut self) {
        let shutdown = self.shared.ctx.shutdown.clone();
        let mut tidy = interval_at(Instant::now() + TIDY, TIDY);
        loop {
            let next = self.entries.next();
            let begin = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = self.passes.join_next() => {
                    let (key, attempts, ended) = resume_panic(ended);
                    self.entries.ended(key, attempts, ended, Instant::now())
                }
                Some(news) = self.news.recv() => self.take_in(news),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    self.entries.due(Instant::now())
                }
                _ = tidy.tick() => {
                    self.entries.forget(|key| self.shared.target(key).is_some());
                    self.look_at_unwatched();
                    None
                }
            };
            if let Some(begin) = begin {
                self.start(begin);
            }
        }
        while let Some(ended) = self.passes.join_next().await {
            let _ = resume_panic(ended);
        }
    }

    fn take_in(&mut self, news: News) -> Option<Begin> {
        match news {
            News::Owner(key, version) => self.entries.changed(key, Some(version)),
            News::Work(key, undone) if self.entries.has(&key) || self.shared.matters(&key, undone) => {
                self.entries.changed(key, None)
            }
            News::Work(..) => None,
        }
    }

    /// What nobody would report a change of is looked at.
    fn look_at_unwatched(&mut self) {
        for engine in ENGINES {
            for Wake { namespace, owner, undone } in self.shared.works.unwatched(engine) {
                let key = Key { kind: engine.kind.of(), namespace, name: owner };
                if let Some(begin) = self.take_in(News::Work(key, undone)) {
                    self.start(begin);
                }
            }
        }
    }

    fn start(&mut self, (key, mut attempts): Begin) {
        let shared = Arc::clone(&self.shared);
        self.passes.spawn(async move {
            let _slot = shared.slots.acquire(&key.namespace, &key.name).await;
            let Shared { ctx, works, kueue, .. } = &*shared;
            let steps = Steps { ctx, key: &key, attempts: &mut attempts };
            let ended = Pass { works, kueue, steps }.run().await;
            (key, attempts, ended)
        });
    }
}

impl Shared {
    fn watch(&self, engine: &'static Engine) {
        if lock(&self.watched).insert(engine.kind.plural()) {
            // The receiver lives as long as the operator.
            let _ = self.watch.send(engine);
        }
    }

    fn target(&self, key: &Key) -> Option<Arc<Target>> {
        self.ctx.index.get(key.kind, &key.namespace, &key.name)
    }

    /// Whether a change of what runs matters where no pass is due: not after the end, unless a stop was undone.
    fn matters(&self, key: &Key, undone: bool) -> bool {
        self.target(key).is_some_and(|target| {
            is_under_way(key.kind, &target)
                || undone && target.state == Ok(State::Stopped) && !target.terminating
        })
    }
}
