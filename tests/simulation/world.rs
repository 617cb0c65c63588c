//! The world of one life: its time, the API server, the processes, and what is due when.
//!
//! Each process has timers of its own, and runs by itself up to the next thing that is due in the world, or until something that
//! it has sent arrives. What reaches it may come later than it was sent, never earlier, so that a process that has run ahead of
//! another one sees nothing that a slower network would not have shown it.

use std::collections::BTreeMap;

use api_server::{Server, Watch};
use futures::channel::{mpsc, oneshot};
use http::Request;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use support::call::{Call, Resource};
use tower::BoxError;

use crate::{
    cluster,
    controllers::{Controllers, Followed},
    engines::{Engines, Turn},
    line::Reply,
    network::Outages,
    occurred::Occurred,
    process::{Host, Process},
    record::Recorded,
    story::{Admin, Fault, Story, When},
    watches::Active,
};
use bytes::Bytes;

/// How long everything may take to end once there are no more faults, in milliseconds: longer than any deadline, back-off or
/// Lease of the operator takes.
const LONGEST_END: u64 = 400_000;

/// How many faults are to occur in each life, and how long those are waited for that have not, in milliseconds. By then they take any
/// request ([`Story::impatient_after`]): what leads renews its Lease every two seconds, what waits looks at it as often, and the Lease
/// of a process that has died is free after fifteen seconds. So one that has not occurred after twice that never will, as
/// where the only process was killed for good; it would be no fault of a life in which nothing is left to do.
pub const FAULTS: usize = 3;
const LONGEST_WAIT: u64 = 30_000;

/// How many requests that may take.
const MOST_REQUESTS: usize = 20_000;

/// How often the garbage collector looks, and how often bookmarks are sent, in milliseconds.
const GARBAGE_INTERVAL: u64 = 1_000;
const BOOKMARK_INTERVAL: u64 = 15_000;

/// What is due.
pub enum Due {
    Story(usize),
    Start(usize),
    /// The process of this life is killed, and another one is started after so long.
    Kill {
        slot: usize,
        life: usize,
        back_after: u64,
    },
    Terminate {
        slot: usize,
        life: usize,
        back_after: u64,
    },
    Suspend {
        slot: usize,
        life: usize,
        lasts: u64,
    },
    Resume {
        slot: usize,
        life: usize,
    },
    /// A request reaches the server.
    Arrive(usize),
    Reply(usize, Reply),
    /// A part of a watch reaches its process; nothing is its end.
    Piece(usize, Option<Result<Bytes, BoxError>>),
    /// The server ends a watch.
    EndWatch(usize),
    EndView(usize),
    EndWeather(usize),
    /// Somebody else takes the Lease.
    TakeLease,
    /// A controller acts on a target.
    Controller(Followed),
    /// A controller of what runs, or the kubelet, acts.
    Engine(Turn),
    Garbage,
    Bookmarks,
    /// There are no more faults.
    Calm,
}

/// Where a process runs, one after the other.
pub struct Slot {
    pub host: Host,
    pub process: Option<Process>,
    pub is_gateway: bool,
    /// The number of the present or last life.
    pub life: usize,
    pub suspended: bool,
    /// Up to when it has run.
    pub until: u64,
    /// Whether something has reached it since.
    pub reached: bool,
    pub starts: u64,
    /// What has arrived while it was suspended.
    pub parked: Vec<Due>,
    /// How soon another one is started when it ends by itself.
    pub back_after: u64,
}

/// A request on its way, or the place of its answer.
pub struct Pending {
    pub slot: usize,
    pub life: usize,
    pub call: Call,
    /// The number of the event that has the fault.
    pub event: Option<usize>,
    pub fault: Option<Fault>,
    pub request: Option<Request<Bytes>>,
    pub reply: Option<oneshot::Sender<Reply>>,
}

/// A watch that is open.
pub struct Open {
    pub slot: usize,
    pub life: usize,
    pub call: Call,
    /// Of the policy for what runs or its binding: its resource.
    pub work_guard: Option<&'static str>,
    pub watch: Watch,
    pub pieces: mpsc::UnboundedSender<Result<Bytes, BoxError>>,
    /// When the last piece arrives: they do not overtake each other.
    pub last: u64,
    pub held_back: Vec<Bytes>,
    /// Whether its process still listens.
    pub listens: bool,
    /// Whether it has lost events or gone back: it has to start again with a list.
    pub has_lost: bool,
}

impl Open {
    /// What it shows, as the judge names it.
    pub fn resource(&self) -> Option<&'static str> {
        match self.call {
            Call::Watch(resource) => Some(resource.plural()),
            Call::WorkPolicy => self.work_guard,
            _ => None,
        }
    }
}

/// A step of the API server's clock.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub by: SignedDuration,
    /// The last revision before it.
    pub revision: u64,
    /// How many requests it had handled before.
    pub handled: usize,
}

pub struct World {
    pub story: Story,
    /// In milliseconds.
    pub now: u64,
    pub server: Server,
    pub queue: BTreeMap<(u64, u64), Due>,
    order: u64,
    pub slots: Vec<Slot>,
    pub pending: Vec<Pending>,
    pub watches: Vec<Open>,
    pub random: fastrand::Rng,
    /// The events that wait for a request.
    pub waiting: Vec<usize>,
    pub counts: BTreeMap<(usize, Call), usize>,
    /// The active weather and views: the numbers of their events.
    pub weather: Vec<usize>,
    pub views: Vec<Active>,
    pub outages: Outages,
    pub occurred: Occurred,
    /// The first event that a watch of each resource has shown.
    pub first_events: BTreeMap<Resource, Bytes>,
    /// The revision at the start, and after the last BulkUpdate was created.
    pub first_revision: u64,
    pub created_at: Option<u64>,
    /// See [`Story::impatient_after`].
    pub impatient_after: [u64; 2],
    /// The step of the API server's clock, if it has made one.
    pub step: Option<Step>,
    pub controllers: Controllers,
    /// The controllers of what runs, if anything does.
    pub engines: Option<Engines>,
    /// What was still to be done for what runs when somebody looked last.
    works_left: Vec<String>,
    pub is_calm: bool,
    pub calm_since: Option<u64>,
    pub recorded: Recorded,
    pub calls: usize,
    requests_at_calm: usize,
    pub log: bool,
}

impl World {
    pub fn new(story: Story, log: bool) -> Self {
        fastrand::seed(story.seed);
        let server = cluster::fresh(&story.setup);
        let random = fastrand::Rng::with_seed(story.seed ^ 0x5117);
        let mut world = Self {
            now: 0,
            queue: BTreeMap::new(),
            order: 0,
            slots: Vec::new(),
            pending: Vec::with_capacity(512),
            watches: Vec::new(),
            random,
            waiting: Vec::new(),
            counts: BTreeMap::new(),
            weather: Vec::new(),
            views: Vec::new(),
            outages: Outages::default(),
            occurred: Occurred::default(),
            first_events: BTreeMap::new(),
            first_revision: server.revision(),
            created_at: None,
            step: None,
            impatient_after: story.impatient_after(),
            controllers: Controllers::new(&server, &story.setup.watch_namespaces),
            engines: story.setup.works.then(|| Engines::new(&server, story.seed)),
            works_left: Vec::new(),
            is_calm: false,
            calm_since: None,
            recorded: Recorded::new(log),
            calls: 0,
            requests_at_calm: 0,
            server,
            story,
            log,
        };
        world.prepare();
        world
    }

    fn prepare(&mut self) {
        let replicas = self.story.setup.replicas.clone().into_iter().map(|clocks| (clocks, false));
        let gateways = self.story.setup.gateways.clone().into_iter().map(|clocks| (clocks, true));
        for (slot, (clocks, is_gateway)) in replicas.chain(gateways).enumerate() {
            let host = Host { clocks, ..Host::default() };
            self.slots.push(Slot {
                host,
                process: None,
                is_gateway,
                life: 0,
                suspended: false,
                parked: Vec::new(),
                until: 0,
                reached: false,
                starts: 0,
                back_after: 1000,
            });
            let at = self.random.u64(0..2000);
            self.due(at, Due::Start(slot));
        }
        for number in 0..self.story.events.len() {
            match self.story.events[number].when {
                When::At(time) => self.due(time, Due::Story(number)),
                When::On { .. } => self.waiting.push(number),
            }
        }
        let calm = self.story.faults_end();
        self.due(calm, Due::Calm);
        // It takes time, and without owners there is nothing for it to do.
        if self.story.has_owners() {
            self.due(GARBAGE_INTERVAL, Due::Garbage);
        }
        self.due(BOOKMARK_INTERVAL, Due::Bookmarks);
    }

    pub fn due(&mut self, time: u64, due: Due) {
        self.order += 1;
        self.queue.insert((time.max(self.now), self.order), due);
    }

    /// The API server's time.
    pub fn time(&self) -> Timestamp {
        cluster::time_at(self.now)
    }

    /// The same by its own clock, which may have been set.
    pub fn server_time(&self) -> Timestamp {
        self.time() + self.step.map_or(SignedDuration::ZERO, |step| step.by)
    }

    /// Sets the API server's clock.
    pub fn step_clock(&mut self, by: i64) {
        let by = SignedDuration::from_millis(by);
        let handled = self.recorded.of_requests.len();
        self.step = Some(Step { by, revision: self.server.revision(), handled });
        self.server.set_time(self.server_time());
    }

    /// Runs the life to its end. Returns what was wrong with it that the judge cannot see.
    pub fn run(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        while let Some(time) = self.queue.keys().next().map(|(time, _)| *time) {
            self.catch_up(time);
            // What was sent meanwhile may arrive earlier.
            let Some(((time, _), due)) = self.queue.pop_first() else { break };
            self.now = self.now.max(time);
            self.server.set_time(self.server_time());
            self.perform(due);
            if let Some(panic) = crate::run::panicked() {
                wrong.push(format!("[panic] {panic}"));
                break;
            }
            if self.is_calm {
                let works_have_ended = self.works_left.is_empty();
                if self.controllers.all_have_ended() && self.recorded.calls_are_answered() && works_have_ended
                {
                    break;
                }
                let requests = self.pending.len() - self.requests_at_calm;
                if self.now > self.story.faults_end() + LONGEST_END || requests > MOST_REQUESTS {
                    wrong.push(format!(
                        "[end] not everything has ended {} ms and {requests} requests after the last fault: {}",
                        self.now - self.story.faults_end(),
                        [self.controllers.not_ended(), self.works_left.join(", ")].join("; ")
                    ));
                    break;
                }
            }
        }
        self.recorded.end(self.time());
        wrong
    }

    pub fn perform(&mut self, due: Due) {
        match due {
            Due::Story(number) => self.tell(number),
            Due::Start(slot) => self.start(slot),
            Due::Kill { slot, life, back_after } => self.kill(slot, life, back_after),
            Due::Terminate { slot, life, back_after } => self.terminate(slot, life, back_after),
            Due::Suspend { slot, life, lasts } => self.suspend(slot, life, lasts),
            Due::Resume { slot, life } => self.resume(slot, life),
            Due::Arrive(number) => self.arrive(number),
            Due::Reply(number, reply) => self.reply(number, reply),
            Due::Piece(number, piece) => self.piece(number, piece),
            Due::EndWatch(number) => self.end_watch(number),
            Due::EndView(number) => self.end_view(number),
            Due::EndWeather(number) => self.weather.retain(|active| *active != number),
            Due::TakeLease => {
                self.administer(&Admin::TakeLease);
                self.spread();
            }
            Due::Controller(followed) => self.controller_acts(&followed),
            Due::Engine(turn) => self.engine_acts(turn),
            Due::Garbage => {
                self.server.collect_garbage();
                if self.is_calm {
                    self.works_left = self.works_not_ended();
                }
                self.due(self.now + GARBAGE_INTERVAL, Due::Garbage);
                self.spread();
            }
            Due::Bookmarks => {
                self.server.bookmark();
                self.due(self.now + BOOKMARK_INTERVAL, Due::Bookmarks);
                self.spread();
            }
            Due::Calm => self.calm(),
        }
    }

    /// Ends all faults, and puts everything into a state in which everything can end.
    fn calm(&mut self) {
        let too_few = !self.story.setup.calm && self.occurred.faults(&self.story) < FAULTS;
        if too_few && !self.waiting.is_empty() && self.now < self.story.faults_end() + LONGEST_WAIT {
            return self.due(self.now + 1000, Due::Calm);
        }
        self.is_calm = true;
        if self.story.setup.works {
            self.works_left.push("nobody has looked".into());
        }
        self.calm_since = Some(self.now);
        self.waiting.clear();
        self.weather.clear();
        for active in std::mem::take(&mut self.views) {
            self.release(active.event);
        }
        self.clear_up();
        for slot in 0..self.slots.len() {
            self.resume(slot, self.slots[slot].life);
        }
        self.requests_at_calm = self.pending.len();
        self.restore();
        self.spread();
    }

    /// How long the next message takes.
    pub fn latency(&mut self) -> u64 {
        let (least, most) = self.story.setup.latency;
        // One in fifty is slow.
        if self.random.u8(..50) == 0 {
            self.random.u64(least..=most * 10)
        } else {
            self.random.u64(least..=most)
        }
    }
}
