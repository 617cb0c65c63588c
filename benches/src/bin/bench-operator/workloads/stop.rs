//! A hundred running Jobs that are stopped: by one BulkUpdate of their Executions, by a bare client, and with kubectl.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use k8s_openapi::{api::batch::v1::Job, jiff::Timestamp};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use support::audit::Request;

use super::{
    GROUP, add_by_sort,
    jobs::{Count, clear, create, create_executions},
    requests,
};
use crate::{
    bare::side_by_side,
    figures::Figures,
    lab::{BARE, IN_FLIGHT, Lab, millis, moment},
    process::Process,
};

/// How many.
const NUMBER: usize = 100;

/// Who stops them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The operator, for one BulkUpdate.
    Operator,
    /// A client that sends the same guarded patches, as many at once as the operator, and nothing else.
    Bare,
    /// `kubectl patch` in a loop.
    Loop,
    /// The same with xargs, as many at once.
    Xargs,
}

impl By {
    const ALL: [Self; 4] = [Self::Operator, Self::Bare, Self::Loop, Self::Xargs];

    fn name(self) -> &'static str {
        match self {
            Self::Operator => "one BulkUpdate",
            Self::Bare => "the bare client",
            Self::Loop => "kubectl patch in a loop",
            Self::Xargs => "xargs -P16 kubectl patch",
        }
    }
}

/// What it took, in milliseconds.
#[derive(Default)]
struct Rounds {
    /// Until the last request to stop one was answered.
    asked: Vec<f64>,
    /// Until the last Pod was gone.
    gone: Vec<f64>,
    /// Until the last Execution was recorded as STOPPED.
    recorded: Vec<f64>,
    requests: Vec<Vec<Request>>,
}

impl Rounds {
    fn add(&mut self, began: Timestamp, gone: Timestamp, requests: Vec<Request>) {
        let last = |of: &dyn Fn(&&Request) -> bool| {
            let answered = requests.iter().filter(of).filter(|r| r.succeeded()).map(|r| moment(&r.answered));
            answered.max().map(|last| millis(began, last))
        };
        self.asked.push(last(&|r| r.resource == "jobs" && r.verb == "patch").unwrap());
        self.gone.push(millis(began, gone));
        let recorded = |r: &&Request| r.resource == "executions" && r.body["status"]["state"] == "STOPPED";
        self.recorded.extend(last(&recorded));
        self.requests.push(requests);
    }
}

pub async fn measure(lab: &Lab, figures: &mut Figures) {
    lab.world.may_run_everywhere("engine-job", "bare").await;
    let operator = Process::start(lab).await;
    let mut all = By::ALL.map(|_| Rounds::default());
    // The first round, with its set-up such as connections and caches, does not count.
    for round in 0..=lab.rounds {
        for (by, counted) in By::ALL.into_iter().zip(&mut all) {
            let mut uncounted = Rounds::default();
            stop(lab, by, if round == 0 { &mut uncounted } else { counted }).await;
        }
    }
    operator.stop();
    let [operators, bare, ..] = &all;
    let title = |by: By| format!("{NUMBER} running Jobs stopped by {}", by.name());
    for (by, rounds) in By::ALL.into_iter().zip(&all).filter(|(by, _)| *by != By::Bare) {
        let title = title(by);
        let name = format!("{title}: to the last patch of a Job");
        figures.compared(GROUP, name, "ms", (&rounds.asked, &bare.asked), None);
        figures.compared(
            GROUP,
            format!("{title}: to the last Pod gone"),
            "ms",
            (&rounds.gone, &bare.gone),
            None,
        );
    }
    let name = format!("{}: to all STOPPED, beside its last Pod gone", title(By::Operator));
    figures.compared(GROUP, name, "ms", (&operators.recorded, &operators.gone), None);
    for (by, rounds) in By::ALL.into_iter().zip(&all) {
        add_by_sort(figures, &title(by), NUMBER, &rounds.requests);
    }
}

/// One round: creates some that run, and stops them.
async fn stop(lab: &Lab, by: By, rounds: &mut Rounds) {
    let namespace = lab.namespace(&lab.new_name("stop")).await;
    let mut pods = Count::of_pods(lab, &namespace);
    let made = match by {
        By::Operator => {
            let made = create_executions(lab, &namespace, NUMBER, false).await;
            Count::of_executions(lab, &namespace, "RUNNING").is(NUMBER).await;
            made
        }
        By::Bare | By::Loop | By::Xargs => {
            create(lab, &namespace, NUMBER, false).await;
            vec![]
        }
    };
    Count::of_running_jobs(lab, &namespace).is(NUMBER).await;
    pods.is(NUMBER).await;
    let api: Api<Job> = Api::namespaced(lab.bare.clone(), &namespace);
    let jobs = api.list(&ListParams::default()).await.unwrap().items;
    let (from, began) = (lab.audited(), Timestamp::now());
    let ask = async {
        match by {
            By::Operator => {
                let name = lab.new_name("bulk");
                lab.submit(&name, &made).await;
                lab.end_of(&namespace, &name).await;
            }
            By::Bare => {
                side_by_side(jobs, IN_FLIGHT, |_, job| suspend(api.clone(), job)).await;
            }
            By::Loop => {
                let script = format!("while read -r job; do {}; done", patch(r#""$job""#));
                kubectl(lab, &namespace, &jobs, script).await;
            }
            By::Xargs => {
                let script = format!("xargs -P{IN_FLIGHT} -I JOB {}", patch("JOB"));
                kubectl(lab, &namespace, &jobs, script).await;
            }
        }
    };
    let ((), gone) = tokio::join!(ask, pods.is(0));
    let user = if by == By::Operator { &lab.world.operator.user } else { BARE };
    rounds.add(began, gone, requests(lab, from, user).await);
    clear(lab, &namespace).await;
}

/// The operator's patch of a Job.
async fn suspend(api: Api<Job>, job: Job) {
    let patch = Patch::Merge(
        json!({"metadata": {"uid": job.metadata.uid, "resourceVersion": job.metadata.resource_version},
        "spec": {"suspend": true}}),
    );
    api.patch(&job.name_any(), &PatchParams::default(), &patch).await.unwrap();
}

/// The command that suspends one.
fn patch(job: &str) -> String {
    format!(r#"kubectl -n "$NAMESPACE" patch job {job} --type=merge -p '{{"spec":{{"suspend":true}}}}'"#)
}

/// Runs a script that reads the names of Jobs, with the bare client's permissions.
async fn kubectl(lab: &Lab, namespace: &str, jobs: &[Job], script: String) {
    let names: String = jobs.iter().map(|job| job.name_any() + "\n").collect();
    let plane = lab.world.plane;
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-ec", &script])
        .env("PATH", format!("{}:{path}", plane.tools().display()))
        .env("KUBECONFIG", &lab.bare_kubeconfig)
        .env("KUBECACHEDIR", plane.folder.join("kubectl-cache"))
        .env("NAMESPACE", namespace)
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let run = move || {
        let mut shell = command.spawn().unwrap();
        shell.stdin.take().unwrap().write_all(names.as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success());
    };
    tokio::task::spawn_blocking(run).await.unwrap();
}
