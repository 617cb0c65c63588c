//! Draws a story from a seed. Each seed has a random part of the kinds of events only: what happens together with everything else
//! hides what happens with few others.

mod faults;
mod scenes;
mod together;
mod unseen;
mod work;
mod works;

pub use faults::CODES;

use ai_api_operator::api::Kind;
use api_server::Kubernetes;

use crate::{
    cluster::NAMESPACES,
    process::Clocks,
    story::{Event, Setup, Story, What, When},
};

/// Kinds of events, of which each seed has some.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Theme {
    Crashes,
    Suspensions,
    Answers,
    Lost,
    Late,
    Races,
    BulkRaces,
    Views,
    Weather,
    Flag,
    Policy,
    Rights,
    Leases,
    Clocks,
    Forgery,
    Controllers,
    SameMoment,
    Deadlines,
    Odd,
    Gateway,
    /// What happens to the API server.
    Server,
    /// The Lease is lost while a write is in flight.
    Fencing,
}

const THEMES: [Theme; 22] = [
    Theme::Crashes,
    Theme::Suspensions,
    Theme::Answers,
    Theme::Lost,
    Theme::Late,
    Theme::Races,
    Theme::BulkRaces,
    Theme::Views,
    Theme::Weather,
    Theme::Flag,
    Theme::Policy,
    Theme::Rights,
    Theme::Leases,
    Theme::Clocks,
    Theme::Forgery,
    Theme::Controllers,
    Theme::SameMoment,
    Theme::Deadlines,
    Theme::Odd,
    Theme::Gateway,
    Theme::Server,
    Theme::Fencing,
];

struct Draw {
    random: fastrand::Rng,
    themes: Vec<Theme>,
    replicas: usize,
    /// Whether there is what no CRD of this version takes.
    loose: bool,
    /// Whether something runs for targets.
    works: bool,
    events: Vec<Event>,
    /// The BulkUpdates: namespace, name, and when.
    submitted: Vec<(&'static str, String, u64)>,
    made: Vec<(&'static str, Kind, String)>,
    /// About how many stops and deletions there will be, and whether a BulkUpdate is deleted after its end.
    stops: usize,
    deletions: usize,
    expires: bool,
}

/// In one of so many lives nothing goes wrong: then it is known what comes of it, and what it may cost.
const CALM: u64 = 50;

impl Story {
    /// The story of a seed.
    pub fn of(seed: u64) -> Self {
        let is_calm = seed % CALM == CALM - 1;
        if works::are_in(seed) && !is_calm {
            return Self::with_works(seed);
        }
        let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let share = random.f64();
        let themes = THEMES.into_iter().filter(|_| random.f64() < 0.1 + share * 0.5).collect::<Vec<_>>();
        let mut draw = Draw::new(random, themes);
        if is_calm {
            draw.themes.clear();
            draw.loose = false;
        }
        let mut setup = draw.setup();
        if is_calm {
            // What it may cost holds where writing takes less than a second.
            setup.calm = true;
            (setup.max_in_flight, setup.latency) = (16, draw.one(&[(1, 2), (1, 5), (2, 20)]));
            draw.calm_work();
        } else {
            draw.work();
            draw.faults();
        }
        if draw.has(Theme::Gateway) {
            draw.callers(setup.gateways.len());
        }
        if !is_calm {
            draw.together();
            draw.scenes(&mut setup);
            draw.watches_one(&mut setup);
        }
        Self { seed, setup, events: draw.events }
    }

    /// When the last BulkUpdate is created.
    fn last_submitted(&self) -> u64 {
        let time = |event: &Event| match (event.when, &event.what) {
            (When::At(time), What::Submit { .. }) => Some(time),
            _ => None,
        };
        self.events.iter().filter_map(time).max().unwrap_or_default()
    }

    /// From when on events that wait for a certain request take any write, and then any request but a watch: the one that
    /// they wait for may never come.
    pub fn impatient_after(&self) -> [u64; 2] {
        let last = self.last_submitted();
        [last + 1500, last + 4000]
    }

    /// When all faults end.
    pub fn faults_end(&self) -> u64 {
        let end = |event: &Event| match event.when {
            When::At(time) => match event.what {
                What::Weather { lasts, .. }
                | What::View { lasts, .. }
                | What::Suspend { lasts, .. }
                | What::Restart { lasts } => time + lasts,
                _ => time,
            },
            When::On { .. } => 0,
        };
        let last = self.impatient_after()[1] + 7000;
        self.events.iter().map(end).max().unwrap_or_default().max(20_000).max(last)
    }
}

impl Draw {
    fn new(mut random: fastrand::Rng, themes: Vec<Theme>) -> Self {
        let replicas = [1, 1, 1, 2, 2, 3][random.usize(..6)];
        let loose = themes.contains(&Theme::Odd) && random.u8(..3) == 0;
        let (events, submitted, made, works) = Default::default();
        let (stops, deletions, expires) = Default::default();
        Self { random, themes, replicas, loose, works, events, submitted, made, stops, deletions, expires }
    }

    fn has(&self, theme: Theme) -> bool {
        self.themes.contains(&theme)
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.random.usize(..of.len())].clone()
    }

    /// Whether it happens, in so many of a hundred cases.
    fn percent(&mut self, percent: u8) -> bool {
        self.random.u8(..100) < percent
    }

    fn at(&mut self, time: u64, what: What) {
        self.events.push(Event { when: When::At(time), what });
    }

    fn clocks(&mut self) -> Clocks {
        let skews = self.has(Theme::Clocks);
        let skew = if skews { self.random.i64(-90_000..=90_000) } else { self.random.i64(-200..=200) };
        let drift = if skews { self.random.i64(-400..=400) } else { 0 };
        Clocks { skew, drift }
    }

    /// An operator that does not watch all namespaces may watch one only.
    fn watches_one(&mut self, setup: &mut Setup) {
        if !setup.watch_namespaces.is_empty() && self.percent(50) {
            setup.watch_namespaces.truncate(1);
        }
    }

    fn setup(&mut self) -> Setup {
        let replicas = (0..self.replicas).map(|_| self.clocks()).collect();
        let gateways = if self.has(Theme::Gateway) { self.one(&[1, 1, 2]) } else { 0 };
        let gateways = (0..gateways).map(|_| self.clocks()).collect();
        let kubernetes = if self.percent(75) { Kubernetes::V1_37 } else { Kubernetes::V1_33 };
        // Only there a write may take fields away from who manages them.
        let managed_fields = self.percent(if kubernetes == Kubernetes::V1_33 { 30 } else { 5 });
        let all = Vec::new();
        let some = NAMESPACES.map(str::to_owned).to_vec();
        Setup {
            calm: false,
            kubernetes,
            replicas,
            gateways,
            managed_fields,
            logs: self.percent(8),
            loose: self.loose,
            works: self.works,
            max_in_flight: self.one(&[1, 2, 4, 16, 16, 16]),
            delete_completed: self.percent(10),
            require_admission_policy: self.has(Theme::Policy) || self.percent(70),
            watch_namespaces: if self.percent(15) { some } else { all },
            latency: self.one(&[(1, 2), (1, 5), (2, 20), (1, 80), (10, 300)]),
            slack: self.one(&[0, 0, 2, 10]),
            preflight: self.percent(if self.has(Theme::Rights) { 25 } else { 4 }),
        }
    }
}
