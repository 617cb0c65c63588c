//! Runs lives: one, or as many as there is time for, on all cores.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    sync::{
        Mutex, Once,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use crate::{
    coverage::Coverage,
    story::Story,
    world::{FAULTS, World},
};

thread_local! {
    /// What has panicked on this thread since the last life.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What has panicked, if anything has.
pub fn panicked() -> Option<String> {
    PANIC.with_borrow_mut(Option::take)
}

/// Notes panics of the operator's tasks, which tokio would only report to those who wait for them.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANIC.with_borrow_mut(|panic| *panic = Some(info.to_string()));
            before(info);
        }));
    });
}

/// What the server has recorded.
pub struct History {
    pub versions: Vec<api_server::Version>,
    pub requests: Vec<api_server::Request>,
}

/// What has come of a life.
pub struct Outcome {
    pub violations: Vec<String>,
    pub coverage: Coverage,
    pub requests: usize,
    pub faults: usize,
    pub crashes: usize,
    /// How many of the story's faults have occurred; none if it is to have none.
    pub occurred: Option<usize>,
    /// How many items each BulkUpdate had.
    pub items: Vec<usize>,
    pub log: Vec<String>,
}

/// Runs a story.
pub fn live(story: &Story, log: bool) -> Outcome {
    note_panics();
    let mut world = World::new(story.clone(), log);
    let mut violations = world.run();
    let (versions, requests) = world.server.take_history();
    let coverage = Coverage::of(&world, &versions);
    let items = items(&versions);
    let answered = requests.len();
    let judged = judge::judge(&world.facts(History { versions, requests }));
    violations.extend(judged.iter().map(ToString::to_string));
    let crashes = world.recorded.lives.iter().filter(|life| life.killed).count();
    Outcome {
        violations,
        coverage,
        requests: answered,
        faults: world.recorded.faults + world.recorded.events_of_faults + world.recorded.views,
        crashes,
        occurred: (!story.setup.calm).then(|| world.occurred.faults(story)),
        items,
        log: world.recorded.log().to_vec(),
    }
}

/// How many items each BulkUpdate has.
fn items(versions: &[api_server::Version]) -> Vec<usize> {
    let mut known = HashSet::new();
    let bulks = versions.iter().filter(|version| version.plural == "bulkupdates");
    let first = bulks.filter(|version| known.insert(version.uid.clone()));
    let count = |version: &api_server::Version| {
        let list = |plural| version.object["spec"][plural].as_array().map_or(0, Vec::len);
        list("executions") + list("deployments")
    };
    first.map(count).collect()
}

/// A range of seeds, on all cores; each thread has a world of its own.
pub struct Range {
    pub first: u64,
    pub count: u64,
    pub time: Option<Duration>,
    pub progress: bool,
    /// Whether it ends with the first life that breaks a promise. All lives of smaller seeds are run, so which one that is does
    /// not depend on the number of threads.
    pub until_violation: bool,
}

/// From how many lives on their number of faults, crashes and items is no chance.
const ENOUGH: u64 = 1000;

/// How often progress is printed.
const PROGRESS: Duration = Duration::from_secs(5);

/// A life that takes longer never ends: something in it goes on without any time passing there.
const LONGEST_LIFE: Duration = Duration::from_mins(1);

/// What has come of many lives.
#[derive(Default)]
pub struct Sum {
    pub lives: u64,
    pub requests: u64,
    pub faults: u64,
    pub crashed: u64,
    /// Lives in which nothing is to go wrong; those in which at least three faults have occurred; and of these those with a
    /// crash.
    pub calm: u64,
    pub faulty: u64,
    pub faulty_and_crashed: u64,
    /// How many BulkUpdates had so many items.
    pub items: BTreeMap<usize, u64>,
    pub violated: Vec<(u64, Vec<String>)>,
    pub coverage: Coverage,
}

impl Range {
    pub fn run(&self) -> Sum {
        let (next, end) = (AtomicU64::new(0), AtomicU64::new(self.count));
        let (lives, requests) = (AtomicU64::new(0), AtomicU64::new(0));
        let start = Instant::now();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let over = || self.time.is_some_and(|time| start.elapsed() > time);
        // The seed that each worker runs, and since when.
        let running: Vec<_> = (0..threads).map(|_| Mutex::new(None)).collect();
        let worker = |running: &Mutex<Option<(u64, Instant)>>| {
            let mut sum = Sum::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end.load(Ordering::Relaxed) || over() {
                    return sum;
                }
                let seed = self.first + number;
                *running.lock().unwrap() = Some((seed, Instant::now()));
                let outcome = live(&Story::of(seed), false);
                *running.lock().unwrap() = None;
                sum.lives += 1;
                sum.requests += outcome.requests as u64;
                sum.faults += outcome.faults as u64;
                sum.take_in(&outcome);
                sum.coverage.add(&outcome.coverage);
                lives.fetch_add(1, Ordering::Relaxed);
                requests.fetch_add(outcome.requests as u64, Ordering::Relaxed);
                if !outcome.violations.is_empty() {
                    eprintln!("seed {seed}: {}", outcome.violations.join("\n  "));
                    sum.violated.push((seed, outcome.violations));
                    if self.until_violation {
                        end.fetch_min(number, Ordering::Relaxed);
                    }
                }
            }
        };
        // Nothing is sent: it is closed once the last worker has ended, however that was.
        let (at_work, ended) = mpsc::channel::<()>();
        let run = |running, _at_work: mpsc::Sender<()>| worker(running);
        std::thread::scope(|scope| {
            let workers: Vec<_> = running
                .iter()
                .map(|running| {
                    let at_work = at_work.clone();
                    scope.spawn(move || run(running, at_work))
                })
                .collect();
            drop(at_work);
            while ended.recv_timeout(PROGRESS) != Err(RecvTimeoutError::Disconnected) {
                for (seed, since) in running.iter().filter_map(|running| *running.lock().unwrap()) {
                    if since.elapsed() > LONGEST_LIFE {
                        self.end_by_force(seed);
                    }
                }
                if !self.progress {
                    continue;
                }
                let (lives, requests) = (lives.load(Ordering::Relaxed), requests.load(Ordering::Relaxed));
                let seconds = start.elapsed().as_secs_f64();
                #[allow(clippy::cast_precision_loss, reason = "it is for people")]
                let (rate, per_second) = (lives as f64 / seconds, requests as f64 / seconds);
                eprintln!(
                    "{seconds:.0} s: {lives} lives, {rate:.0} a second; {per_second:.0} requests a second"
                );
            }
            let mut sum = Sum::default();
            for worker in workers {
                sum.add(worker.join().unwrap());
            }
            sum.violated.sort();
            sum
        })
    }

    /// Nothing else can end the thread of a life that does not end.
    fn end_by_force(&self, seed: u64) -> ! {
        println!("life {}, seed {seed}, breaks a promise: [watch] it does not end", seed - self.first + 1);
        std::process::exit(1);
    }
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.lives += other.lives;
        self.requests += other.requests;
        self.faults += other.faults;
        self.crashed += other.crashed;
        self.calm += other.calm;
        self.faulty += other.faulty;
        self.faulty_and_crashed += other.faulty_and_crashed;
        for (items, count) in other.items {
            *self.items.entry(items).or_default() += count;
        }
        self.violated.extend(other.violated);
        self.coverage.add(&other.coverage);
    }

    fn take_in(&mut self, outcome: &Outcome) {
        let (crashed, faulty) = (outcome.crashes > 0, outcome.occurred.is_some_and(|n| n >= FAULTS));
        self.crashed += u64::from(crashed);
        self.calm += u64::from(outcome.occurred.is_none());
        self.faulty += u64::from(faulty);
        self.faulty_and_crashed += u64::from(faulty && crashed);
        for items in &outcome.items {
            *self.items.entry(*items).or_default() += 1;
        }
    }

    /// The median number of items of a BulkUpdate.
    pub fn median_items(&self) -> usize {
        let all: u64 = self.items.values().sum();
        let mut below = 0;
        let median = self.items.iter().find(|(_, count)| {
            below += **count;
            2 * below >= all
        });
        median.map_or(0, |(items, _)| *items)
    }

    /// What so many lives have too little of: faults, crashes, items.
    pub fn shortfalls(&self) -> Vec<&'static str> {
        let with_faults = self.lives - self.calm;
        if with_faults < ENOUGH {
            return Vec::new();
        }
        let checks = [
            (self.faulty * 100 >= with_faults * 99, "at least three faults in nearly each life"),
            (self.faulty_and_crashed * 2 >= self.faulty, "a crash in each second life"),
            (self.median_items() >= 8, "eight items in the median BulkUpdate"),
        ];
        checks.into_iter().filter(|(is_there, _)| !is_there).map(|(_, what)| what).collect()
    }

    pub fn report(&self) -> String {
        let mut text = String::new();
        let _ = write!(
            text,
            "{} lives, {} requests, {} faults and changes by others, a crash in {} lives; {} with a violation\n\
             at least {FAULTS} faults that have occurred in {} of {} lives, with a crash in {} of these; {} undisturbed\n\
             {} items in the median BulkUpdate\n{}",
            self.lives,
            self.requests,
            self.faults,
            self.crashed,
            self.violated.len(),
            self.faulty,
            self.lives - self.calm,
            self.faulty_and_crashed,
            self.calm,
            self.median_items(),
            self.coverage.report(),
        );
        text
    }
}
