//! Random lives of an Execution that runs as a Job, with crashes, lost answers, and people who delete and edit the Job: whatever
//! happens, the Job is created at most once, what has ended stays as it is, and STOPPED means that no Pod is left.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::{
    api::{EngineKind, time::later},
    client::Failure,
    workload::{
        attempts::Attempts,
        engines,
        facts::{Authorized, Gate},
        owner::Owner,
        work::Object,
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
        Time,
    };
    let answer = prop_oneof![
        8 => Just(Answer::Ok), 1 => Just(Answer::Lost), 1 => Just(Answer::Late), 1 => Just(Answer::Throttled),
        1 => Just(Answer::Forbidden), 1 => Just(Answer::Conflict),
    ];
    prop_oneof![
        12 => answer.prop_map(Step), 1 => Just(Crash), 3 => (1u8..90).prop_map(Time), 3 => Just(JobRuns), 1 => Just(JobEnds),
        1 => Just(JobFails), 2 => Just(PodsEnd), 1 => Just(JobDeleted), 1 => Just(Resumed), 2 => Just(Stop),
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
            "metadata": {"name": "train", "uid": format!("job-{}", self.jobs), "resourceVersion": "1", "ownerReferences": [
                {"controller": true, "kind": "Execution", "name": "train", "uid": UID}]},
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
            queue: None,
            pods: None,
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
                self.found = self.work().map_or(Found::NotCached, Found::Cached);
                return false;
            }
            Step::Record(status) => {
                let Ok(recorded) = self.owner().recorded else { unreachable!() };
                let patch = status.patch(&recorded, self.now).expect("a record that changes something");
                let intends = status.workload.as_ref().is_some_and(|w| w.uid.is_none());
                if intends && recorded.workload != status.workload {
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
                    self.found = self.work().map_or(Found::NotCached, Found::Cached);
                }
            }
            Step::Read => {
                self.found = match failed {
                    Some(failure) => {
                        self.attempts.failed(failure.clone(), Some(1), self.now);
                        Found::Failed(failure)
                    }
                    None => self.look(),
                };
            }
            Step::ListPods(_) | Step::Adopt(_) | Step::Apply(_) | Step::ReadQueue(_) | Step::StopQueue(_) => {
                unreachable!("a Job says whether Pods are left")
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
                if self.job.as_ref().is_some_and(|job| job["metadata"]["uid"] == *work.uid)
                    && matches!(answer, Answer::Ok | Answer::Lost)
                    && let Some(job) = &mut self.job
                {
                    job["spec"]["suspend"] = true.into();
                }
                match failed {
                    None => self.attempts.stopped(self.now),
                    Some(failure) if failure.is_conflict() => {}
                    Some(failure) => self.attempts.failed(failure, Some(1), self.now),
                }
                self.found = self.look();
            }
        }
        true
    }

    /// A live read of the Job.
    fn look(&mut self) -> Found {
        self.looked.clone_from(&self.job);
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
                self.found = Found::NotCached;
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

fn is_over(job: &Value) -> bool {
    job["status"]["conditions"].to_string().contains("Complete")
        || job["status"]["conditions"].to_string().contains("Failed")
}

fn pods(job: &Value) -> u64 {
    job["status"]["active"].as_u64().unwrap_or(0) + job["status"]["terminating"].as_u64().unwrap_or(0)
}

/// The Job controller: it starts the Pods, or ends them.
fn job_goes_on(job: &mut Value) {
    if is_over(job) {
        return;
    }
    if job["spec"]["suspend"] == true {
        let active = job["status"]["active"].as_u64().unwrap_or(0);
        job["status"] = json!({"terminating": active.max(job["status"]["terminating"].as_u64().unwrap_or(0)),
            "conditions": [{"type": "Suspended", "status": "True"}]});
    } else {
        job["status"] = json!({"active": 1, "startTime": "2026-11-30T12:00:00Z", "conditions": []});
    }
}

fn end(job: &mut Value, how: &str) {
    if pods(job) > 0 && job["status"]["active"] == 1 && job["spec"]["suspend"] == false {
        job["status"] =
            json!({"startTime": "2026-11-30T12:00:00Z", "conditions": [{"type": how, "status": "True"}]});
    }
}

/// A JSON merge patch (RFC 7386).
fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    let Value::Object(fields) = value else { unreachable!() };
    for (name, change) in patch {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change);
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
        // No further write.
        prop_assert!(matches!(world.decide(), Step::Rest(_)), "{:?}", world.decide());
    }
}
