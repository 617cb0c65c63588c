//! Draws a story from a seed. Each seed has a random part of the kinds of events only: what happens together with everything else
//! hides what happens with few others.

mod faults;

use ai_api_operator::api::Kind;
use api_server::Kubernetes;
use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    cluster::{EPOCH, NAMESPACES},
    process::Clocks,
    story::{Asked, Called, Controller, Event, Made, Odd, Setup, Story, What, When, Who},
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
    Compaction,
}

const THEMES: [Theme; 21] = [
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
    Theme::Compaction,
];

struct Draw {
    random: fastrand::Rng,
    themes: Vec<Theme>,
    replicas: usize,
    /// Whether there is what no CRD of this version takes.
    loose: bool,
    events: Vec<Event>,
    /// The BulkUpdates: namespace, name, and when.
    submitted: Vec<(&'static str, String, u64)>,
    made: Vec<(&'static str, Kind, String)>,
}

impl Story {
    /// The story of a seed.
    pub fn of(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let share = random.f64();
        let themes = THEMES.into_iter().filter(|_| random.f64() < 0.1 + share * 0.5).collect::<Vec<_>>();
        let replicas = [1, 1, 1, 2, 2, 3][random.usize(..6)];
        let loose = themes.contains(&Theme::Odd) && random.u8(..3) == 0;
        let (events, submitted, made) = Default::default();
        let mut draw = Draw { random, themes, replicas, loose, events, submitted, made };
        let setup = draw.setup();
        draw.work();
        draw.faults();
        if draw.has(Theme::Gateway) {
            draw.callers();
        }
        Self { seed, setup, events: draw.events }
    }

    /// When all faults end.
    pub fn faults_end(&self) -> u64 {
        let end = |event: &Event| match event.when {
            When::At(time) => match event.what {
                What::Weather { lasts, .. } | What::View { lasts, .. } | What::Suspend { lasts, .. } => {
                    time + lasts
                }
                _ => time,
            },
            When::On { .. } => 0,
        };
        self.events.iter().map(end).max().unwrap_or_default().max(20_000)
    }
}

impl Draw {
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

    fn setup(&mut self) -> Setup {
        let skews = self.has(Theme::Clocks);
        let mut clocks = Vec::new();
        for _ in 0..self.replicas {
            let skew = if skews { self.random.i64(-90_000..=90_000) } else { self.random.i64(-200..=200) };
            let drift = if skews { self.random.i64(-400..=400) } else { 0 };
            clocks.push(Clocks { skew, drift });
        }
        let kubernetes = if self.percent(75) { Kubernetes::V1_37 } else { Kubernetes::V1_33 };
        let all = Vec::new();
        let some = NAMESPACES.map(str::to_owned).to_vec();
        Setup {
            kubernetes,
            replicas: clocks,
            gateway: self.has(Theme::Gateway),
            managed_fields: self.percent(8),
            logs: self.percent(8),
            loose: self.loose,
            max_in_flight: self.one(&[1, 2, 4, 16, 16, 16]),
            delete_completed: self.percent(10),
            require_admission_policy: self.has(Theme::Policy) || self.percent(70),
            watch_namespaces: if self.percent(15) { some } else { all },
            latency: self.one(&[(1, 2), (1, 5), (2, 20), (1, 80), (10, 300)]),
            slack: self.one(&[0, 0, 2, 10]),
        }
    }

    /// Targets, and BulkUpdates that name them.
    fn work(&mut self) {
        let bulk_updates = self.one(&[1, 1, 1, 2, 3]);
        for number in 0..bulk_updates {
            let namespace = if self.percent(80) { NAMESPACES[0] } else { NAMESPACES[1] };
            // Some are there before the operator is.
            let at = if self.percent(15) { self.random.u64(0..2500) } else { self.random.u64(3000..20_000) };
            self.bulk_update(number, namespace, at);
        }
    }

    fn bulk_update(&mut self, number: usize, namespace: &'static str, at: u64) {
        let count = if self.percent(70) { self.random.usize(8..=20) } else { self.random.usize(1..=8) };
        let mut lists = [Vec::new(), Vec::new()];
        let mut taken: Vec<(Kind, String)> = Vec::new();
        for item in 0..count {
            let kind = if self.percent(60) { Kind::Execution } else { Kind::Deployment };
            let known = self.made.iter().filter(|(ns, of, _)| *ns == namespace && *of == kind);
            let known: Vec<_> = known.map(|(_, _, name)| name.clone()).collect();
            let name = if !known.is_empty() && self.percent(15) {
                self.one(&known)
            } else {
                format!("item-{number}-{item}")
            };
            if taken.contains(&(kind, name.clone())) {
                continue;
            }
            taken.push((kind, name.clone()));
            let verb = if self.percent(50) { "STOPPED" } else { "DELETED" };
            if known.contains(&name) {
                lists[usize::from(kind == Kind::Deployment)].push(json!({"id": name, "targetStatus": verb}));
                continue;
            }
            let entry = self.item((namespace, kind, name), verb, at);
            lists[usize::from(kind == Kind::Deployment)].push(entry);
        }
        let [mut executions, deployments] = lists;
        let mut spec = json!({});
        if self.loose && self.percent(30) {
            executions.push(self.one(&[
                json!({"id": "", "targetStatus": "STOPPED"}),
                json!({"id": "restarted", "targetStatus": "RUNNING"}),
                json!("item-0-0"),
                json!({"id": "item-0-1", "targetStatus": "STOPPED", "force": true}),
                Value::Null,
            ]));
        }
        if !executions.is_empty() {
            spec["executions"] = executions.into();
        }
        if !deployments.is_empty() {
            spec["deployments"] = deployments.into();
        }
        self.options(&mut spec, at);
        let user =
            if self.percent(80) { Who::Editor } else { self.one(&[Who::Admin, Who::Stopper, Who::Viewer]) };
        let name = format!("bulk-{number}");
        self.submitted.push((namespace, name.clone(), at));
        self.at(at, What::Submit { namespace, name, spec, user, uids: true });
    }

    /// Makes a target, usually, and the item that names it.
    fn item(
        &mut self,
        (namespace, kind, name): (&'static str, Kind, String),
        verb: &'static str,
        at: u64,
    ) -> Value {
        if self.percent(3) {
            return json!({"id": self.one(&["NOT_A_NAME", "not.a-name-", "...."]), "targetStatus": verb});
        }
        let mut entry = json!({"id": name, "targetStatus": verb});
        if self.percent(15) {
            entry["uid"] = if self.percent(80) { "its".into() } else { "another".into() };
        }
        if self.percent(4) {
            return entry;
        }
        let eligible: &[&str] =
            if verb == "STOPPED" { &["RUNNING", "PENDING"] } else { &["STOPPED", "DEAD", "UNKNOWN", ""] };
        let any = ["UNKNOWN", "PENDING", "RUNNING", "COMPLETED", "DEAD", "STOPPING", "STOPPED", "GARBAGE"];
        let state = if self.percent(80) { self.one(eligible) } else { self.one(&any) };
        let mut status = if state.is_empty() { Value::Null } else { json!({"state": state}) };
        if self.loose && self.percent(20) {
            status = self.one(&[
                json!({"state": 7}),
                json!({"state": "GARBAGE"}),
                json!({"targetStatus": []}),
                json!({}),
            ]);
        } else if self.percent(4) && status.is_object() {
            status["targetStatus"] = self.one(&["STOPPED", "RUNNING", "COMPLETED"]).into();
        }
        let controllers = self.has(Theme::Controllers);
        let controller = (controllers && self.percent(50)).then(|| {
            let after = self.one(&[0, 100, 1000, 5000, 15_000]);
            self.one(&[
                Controller::Stops(after),
                Controller::Stops(after),
                Controller::Completes(after),
                Controller::Refuses,
            ])
        });
        let odd = self.has(Theme::Odd) && self.percent(20);
        let odd = odd.then(|| self.one(&[Odd::ManyLabels, Odd::LongAnnotation, Odd::Owner]));
        let made =
            Made { namespace, kind, name: name.clone(), status, controller, kept: self.percent(5), odd };
        let when = if self.has(Theme::SameMoment) && self.percent(40) {
            // In the same second, before or after.
            (at / 1000 * 1000 + self.random.u64(0..1000)).min(at + 300)
        } else if self.percent(3) {
            at + self.random.u64(0..3000)
        } else {
            at.saturating_sub(1000 + self.random.u64(0..4000))
        };
        self.made.push((namespace, kind, name));
        self.at(when, What::Create(made));
        entry
    }

    fn options(&mut self, spec: &mut Value, at: u64) {
        if self.percent(8) {
            spec["dryRun"] = true.into();
        }
        if self.percent(15) {
            spec["ttlSecondsAfterFinished"] = self.one(&[0, 1, 5, 3600]).into();
        }
        if self.percent(if self.has(Theme::Deadlines) { 50 } else { 5 }) {
            let seconds = self.one(&[1, 2, 5, 15]);
            match self.random.u8(..3) {
                0 => spec["activeDeadlineSeconds"] = seconds.into(),
                1 => spec["startingDeadlineSeconds"] = seconds.into(),
                _ => {
                    let after = i64::try_from(at).unwrap() + seconds * 1000;
                    let end = EPOCH + SignedDuration::from_millis(after);
                    spec["notAfter"] = end.strftime("%FT%TZ").to_string().into();
                }
            }
        }
    }

    fn callers(&mut self) {
        for _ in 0..self.random.usize(1..=4) {
            let (namespace, kind, name) = match self.made.len() {
                0 => (NAMESPACES[0], Kind::Execution, "nothing".to_owned()),
                _ => self.one(&self.made.clone()),
            };
            let items = self.made.iter().filter(|(ns, of, _)| *ns == namespace && *of == kind);
            let names: Vec<String> = items.map(|(_, _, name)| name.clone()).collect();
            let mut items = Vec::new();
            for name in names.iter().take(10) {
                items.push((name.clone(), self.one(&["STOPPED", "DELETED"])));
            }
            let what = self.one(&[
                Asked::Bulk(items.clone()),
                Asked::Bulk(items),
                Asked::Stop(name.clone()),
                Asked::Delete(name.clone()),
                Asked::Get(name),
                Asked::List,
                Asked::Count,
                Asked::Meta,
            ]);
            let user = self.one(&[Who::Editor, Who::Editor, Who::Editor, Who::Viewer]);
            let at = self.moment();
            self.at(at, What::Call(Called { user, namespace, kind, what }));
        }
    }
}
