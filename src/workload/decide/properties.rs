//! Random lives of an Execution that runs as a Job, with crashes, lost answers, and people who delete and edit the Job: whatever
//! happens, the Job is created at most once, what has ended stays as it is, and STOPPED means that no Pod is left.

mod job;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use self::job::{end, is_over, job_goes_on, merge, pods};
use super::*;
use crate::{
    api::{EngineKind, time::later},
    client::Failure,
    workload::{
        attempts::{Attempts, Request},
        engines,
        facts::{Authorized, Gate},
        owner::Owner,
        work::{OWNER_UID, Object},
    },
};

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Happens {
    /// A pass takes its next step, and its request is answered like this.
    Step(Answer),
    /// The operator is killed and starts again.
    Crash,
    /// So many seconds pass; a creation that was sent and not answered takes effect.
    Time(u8),
    /// The Job controller goes on.
    JobRuns,
    JobEnds,
    JobFails,
    PodsEnd,
    /// Somebody deletes the Job, or sets its suspend back.
    JobDeleted,
    Resumed,
    /// Somebody takes its label off.
    Unlabelled,
    /// A BulkUpdate stops it.
    Stop,
    GateCloses,
    GateOpens,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Ok,
    /// It was carried out, and nobody knows.
    Lost,
    /// It was not carried out yet: it may be within a minute.
    Late,
    /// It was refused for now.
    Throttled,
    Forbidden,
    Conflict,
}

fn happens() -> impl Strategy<Value = Happens> {
    use Happens::{
        Crash, GateCloses, GateOpens, JobDeleted, JobEnds, JobFails, JobRuns, PodsEnd, Resumed, Step, Stop,
        Time, Unlabelled,
    };
    let answer = prop_oneof![
        8 => Just(Answer::Ok), 1 => Just(Answer::Lost), 1 => Just(Answer::Late), 1 => Just(Answer::Throttled),
        1 => Just(Answer::Forbidden), 1 => Just(Answer::Conflict),
    ];
    prop_oneof![
        12 => answer.prop_map(Step), 1 => Just(Crash), 3 => (1u8..90).prop_map(Time), 3 => Just(JobRuns), 1 => Just(JobEnds),
        1 => Just(JobFails), 2 => Just(PodsEnd), 1 => Just(JobDeleted), 1 => Just(Resumed), 1 => Just(Unlabelled),
        2 => Just(Stop),
        1 => Just(GateCloses), 1 => Just(GateOpens),
    ]
}

struct World {
    kind: Kind,
    now: Timestamp,
    status: Value,
    job: Option<Value>,
    jobs: u32,
    /// When a creation that was sent, and has not taken effect, was sent.
    late: Option<Timestamp>,
    attempts: Attempts,
    found: Found,
    gate: Gate,
    version: u32,
    /// The Job when it was last read live.
    looked: Option<Value>,
    /// Whether a Pod was left when that was last listed in this pass.
    pods: Option<Result<bool, Failure>>,
}

const UID: &str = "5c1d";

impl World {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            now: "2026-11-30T12:00:00Z".parse().unwrap(),
            status: json!({"state": "UNKNOWN"}),
            job: None,
            jobs: 0,
            late: None,
            attempts: Attempts::default(),
            found: Found::NotCached,
            gate: Gate::Open,
            version: 1,
            looked: None,
            pods: None,
        }
    }

    fn owner(&self) -> Owner {
        let owner = json!({
            "metadata": {"name": "train", "namespace": "team", "uid": UID, "resourceVersion": self.version.to_string(), "generation": 1},
            "spec": {"template": {"apiVersion": "batch/v1", "kind": "Job", "spec": {}}},
            "status": self.status,
        });
        serde_json::from_value(owner).unwrap()
    }

    fn state(&self) -> &str {
        self.status["state"].as_str().unwrap()
    }

    fn work(&self) -> Option<Arc<Work>> {
        let object: Object = serde_json::from_value(self.job.clone()?).unwrap();
        Some(Arc::new(Work::read(engines::of(EngineKind::Job).unwrap(), &object)))
    }

    fn create(&mut self) -> bool {
        if self.job.is_some() {
            return false;
        }
        self.jobs += 1;
        self.job = Some(json!({
            "metadata": {"name": "train", "uid": format!("job-{}", self.jobs), "resourceVersion": "1",
                "labels": {OWNER_UID: UID}, "ownerReferences": [
                    {"controller": true, "apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution", "name": "train", "uid": UID}]},
            "spec": {"suspend": false}, "status": {},
        }));
        true
    }

    fn decide(&self) -> Step {
        let owner = self.owner();
        decide(&Facts {
            kind: self.kind,
            owner: &owner,
            found: self.found.clone(),
            attempts: &self.attempts,
            authorized: Authorized::Yes,
            gate: self.gate.clone(),
            // There is no Kueue.
            queue: Some(Err(Failure::NotServed("404".into()))),
            pods: self.pods.clone(),
            now: self.now,
        })
    }

    /// Takes one step. Whether there was one.
    fn step(&mut self, answer: Answer) -> bool {
        let failure = |code| Failure::Refused { code, message: "no".into(), retry_after: None };
        let failed = match answer {
            Answer::Ok => None,
            Answer::Lost | Answer::Late => Some(Failure::NoAnswer("reset".into())),
            Answer::Throttled => Some(failure(429)),
            Answer::Forbidden => Some(failure(403)),
            Answer::Conflict => Some(failure(409)),
        };
        match self.decide() {
            Step::Rest(_) => {
                (self.found, self.pods) = (self.cached(), None);
                return false;
            }
            Step::Record(status) => {
                let Ok(recorded) = self.owner().recorded else { unreachable!() };
                let patch = status.patch(&recorded, self.now).expect("a record that changes something");
                let intends = status.workload.as_ref().is_some_and(|w| w.uid.is_none());
                if intends && (recorded.workload != status.workload || creation_refused(&recorded)) {
                    self.attempts.intends();
                }
                if matches!(answer, Answer::Ok | Answer::Lost) {
                    let state = self.state().to_owned();
                    merge(&mut self.status, &patch);
                    let over = ["COMPLETED", "STOPPED"].contains(&&*state)
                        || (state == "DEAD" && self.kind == Kind::Execution);
                    assert!(!over || self.state() == state, "{state} became {}", self.state());
                    if self.state() == "STOPPED" && state != "STOPPED" {
                        let left = self.looked.as_ref().map_or(0, pods);
                        assert_eq!(left, 0, "STOPPED with Pods: {:?}", self.looked);
                    }
                    self.version += 1;
                }
                if answer != Answer::Ok {
                    self.found = self.cached();
                }
            }
            Step::Read => {
                self.pods = None;
                self.found = match failed {
                    Some(failure) => {
                        self.attempts.failed(Request::Read, failure.clone(), Some(1), self.now);
                        Found::Failed(failure)
                    }
                    None => self.look(),
                };
            }
            Step::ListPods(_) => {
                let left = self.job.as_ref().is_some_and(|job| pods(job) > 0);
                self.pods = Some(failed.map_or(Ok(left), Err));
            }
            Step::Adopt(_) | Step::Apply(_) | Step::ReadQueue(_) | Step::StopQueue(_) => {
                unreachable!("a Job of a template, without Kueue")
            }
            Step::Create => {
                self.attempts.creating();
                match answer {
                    Answer::Ok | Answer::Lost if self.create() => {}
                    Answer::Late => self.late = Some(self.now),
                    _ => {}
                }
                let conflict = self.job.is_some() && answer == Answer::Conflict;
                self.found = match failed {
                    None => Found::Live(self.work().unwrap()),
                    // It is only said where something has the name.
                    Some(_) if answer == Answer::Conflict && !conflict => {
                        self.attempts.creation_failed(&failure(429), Some(1), self.now);
                        Found::Absent
                    }
                    Some(failure) => {
                        if self.attempts.creation_failed(&failure, Some(1), self.now) {
                            self.look()
                        } else {
                            Found::Absent
                        }
                    }
                };
            }
            Step::Stop(work, _) => {
                assert_eq!(self.gate, Gate::Open);
                self.pods = None;
                if self.job.as_ref().is_some_and(|job| job["metadata"]["uid"] == *work.uid)
                    && matches!(answer, Answer::Ok | Answer::Lost)
                    && let Some(job) = &mut self.job
                {
                    job["spec"]["suspend"] = true.into();
                }
                match failed {
                    None => self.attempts.stopped(self.now),
                    Some(failure) if failure.is_conflict() => {}
                    Some(failure) => self.attempts.failed(Request::Stop, failure, Some(1), self.now),
                }
                self.found = self.look();
            }
            Step::Label(_) => {
                self.attempts.labelled_at = Some(self.now);
                if matches!(answer, Answer::Ok | Answer::Lost) {
                    self.job_status(|job| job["metadata"]["labels"] = json!({OWNER_UID: UID}));
                }
                self.found = self.look();
            }
        }
        true
    }

    /// What the watch has brought: what has its label.
    fn cached(&self) -> Found {
        self.work().filter(|work| work.labelled).map_or(Found::NotCached, Found::Cached)
    }

    /// A live read of the Job.
    fn look(&mut self) -> Found {
        self.looked.clone_from(&self.job);
        self.attempts.succeeded(Request::Read);
        if let Some(work) = self.work() {
            return Found::Live(work);
        }
        self.attempts.absent(self.now);
        Found::Absent
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        if self.late.is_some_and(|sent| later(sent, 60) <= self.now) {
            self.late = None;
            self.create();
        }
    }

    fn job_status(&mut self, change: impl Fn(&mut Value)) {
        if let Some(job) = &mut self.job {
            change(job);
        }
    }

    fn happens(&mut self, what: Happens) {
        match what {
            Happens::Step(answer) => drop(self.step(answer)),
            Happens::Crash => {
                self.attempts = Attempts::default();
                (self.found, self.pods) = (Found::NotCached, None);
            }
            Happens::Time(seconds) => self.pass(seconds.into()),
            Happens::JobRuns => self.job_status(job_goes_on),
            // What serves does not end.
            Happens::JobEnds | Happens::JobFails if self.kind == Kind::Deployment => {}
            Happens::JobEnds => self.job_status(|job| end(job, "Complete")),
            Happens::JobFails => self.job_status(|job| end(job, "Failed")),
            Happens::PodsEnd => self.job_status(|job| job["status"]["terminating"] = 0.into()),
            Happens::JobDeleted => self.job = None,
            Happens::Resumed => self.job_status(|job| job["spec"]["suspend"] = false.into()),
            Happens::Unlabelled => self.job_status(|job| job["metadata"]["labels"] = json!({})),
            Happens::Stop => {
                if ["PENDING", "RUNNING"].contains(&self.state()) && self.status["targetStatus"] != "STOPPED"
                {
                    merge(&mut self.status, &json!({"state": "STOPPING", "targetStatus": "STOPPED"}));
                    self.version += 1;
                }
            }
            Happens::GateCloses => self.gate = Gate::Closed("off".into()),
            Happens::GateOpens => self.gate = Gate::Open,
        }
        if self.kind == Kind::Execution {
            assert!(self.jobs <= 1, "{} Jobs were created", self.jobs);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(kind in prop_oneof![3 => Just(Kind::Execution), 1 => Just(Kind::Deployment)], events in vec(happens(), 0..120)) {
        let mut world = World::new(kind);
        for what in events {
            world.happens(what);
        }
        // Then nothing happens any more but what is asked for.
        world.gate = Gate::Open;
        let asked = world.status["targetStatus"] == "STOPPED";
        for _ in 0..12 {
            while world.step(Answer::Ok) {}
            world.job_status(job_goes_on);
            world.job_status(|job| job["status"]["terminating"] = 0.into());
            world.pass(30);
        }
        let (state, there) = (world.state(), world.job.is_some());
        prop_assert!(["RUNNING", "COMPLETED", "DEAD", "STOPPED"].contains(&state), "{state} {:?} {:?}", world.status, world.job);
        if asked {
            prop_assert!(state != "RUNNING", "{:?} {:?}", world.status, world.job);
        }
        if state == "RUNNING" {
            prop_assert!(there);
        }
        if state == "STOPPED" && let Some(job) = &world.job {
            prop_assert!(pods(job) == 0 && job["spec"]["suspend"] == true || is_over(job), "{job}");
        }
        if let Some(job) = &world.job && ["RUNNING", "STOPPED"].contains(&state) && !is_over(job) {
            prop_assert!(job["metadata"]["labels"][OWNER_UID] == UID, "{job}");
        }
        // No further write.
        prop_assert!(matches!(world.decide(), Step::Rest(_) | Step::Read), "{:?}", world.decide());
    }
}
