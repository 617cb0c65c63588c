//! The machine, and how busy it was with other things.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::{lab::Lab, process::cpu_seconds};

pub struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: f64,
    kernel: String,
    kubernetes: String,
    fsync: bool,
    profile: &'static str,
    operator_bytes: u64,
    load: (String, String),
    /// How many cores were busy with other things, on average.
    others: f64,
}

/// How busy the machine and the bench's own processes have been so far, in seconds of a core.
pub struct Moment {
    load: String,
    all: f64,
    own: f64,
    at: std::time::Instant,
}

impl Moment {
    /// `own` are the seconds of the processes that belong to the bench.
    pub fn now(own: f64) -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let cpu = stat.lines().next().unwrap();
        let ticks: Vec<f64> = cpu.split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
        // user, nice, system, (idle, iowait), irq, softirq, steal
        let busy = ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7];
        let load = fs::read_to_string("/proc/loadavg").unwrap();
        let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        Self { load, all: busy / 100.0, own, at: std::time::Instant::now() }
    }
}

impl Machine {
    pub async fn since(before: &Moment, lab: &Lab) -> Self {
        let after = Moment::now(own_seconds(lab));
        let wall = (after.at - before.at).as_secs_f64();
        let line = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = line("/proc/meminfo", "MemTotal");
        let memory: f64 = memory.split_whitespace().next().unwrap().parse().unwrap();
        let kernel = Command::new("uname").arg("-sr").output().unwrap().stdout;
        Self {
            cpu: line("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().unwrap().get(),
            memory_gib: memory / 1024.0 / 1024.0,
            kernel: String::from_utf8(kernel).unwrap().trim().to_owned(),
            kubernetes: lab.admin.apiserver_version().await.unwrap().git_version,
            fsync: Lab::fsync(),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
            operator_bytes: fs::metadata(&lab.binary).unwrap().len(),
            load: (before.load.clone(), after.load),
            others: ((after.all - before.all) - (after.own - before.own)).max(0.0) / wall,
        }
    }

    pub fn sentence(&self) -> String {
        format!(
            "{} cores of {}, {:.0} GiB, {}; API server {}, etcd {}; ai-api-operator {} ({}). Load average {} at the start \
             and {} at the end, of which others than this bench kept {:.2} cores busy on average.",
            self.cores,
            if self.cpu.is_empty() { "an unnamed CPU" } else { &self.cpu },
            self.memory_gib,
            self.kernel,
            self.kubernetes,
            if self.fsync { "with fsync" } else { "without fsync" },
            env!("CARGO_PKG_VERSION"),
            self.profile,
            self.load.0,
            self.load.1,
            self.others
        )
    }

    pub fn json(&self) -> Value {
        json!({
            "cpu": self.cpu, "cores": self.cores, "memoryGiB": self.memory_gib, "kernel": self.kernel,
            "kubernetes": self.kubernetes, "etcd": if self.fsync { "with fsync" } else { "without fsync" },
            "operator": {"version": env!("CARGO_PKG_VERSION"), "profile": self.profile,
                "bytes": self.operator_bytes},
            "loadAverage": {"start": self.load.0, "end": self.load.1}, "coresBusyWithOthers": self.others,
        })
    }
}

/// What the bench and the servers have used, and operators that have ended.
pub fn own_seconds(lab: &Lab) -> f64 {
    let of_nodes = seconds_of(lab, &["kube-controller-manager", "kube-scheduler", "kwok"]);
    server_seconds(lab) + of_nodes + cpu_seconds("self") + lab.spent()
}

/// What the API server and etcd have used.
pub fn server_seconds(lab: &Lab) -> f64 {
    seconds_of(lab, &["kube-apiserver", "etcd"])
}

/// What those of these servers that run have used.
fn seconds_of(lab: &Lab, servers: &[&str]) -> f64 {
    let pid = |server| fs::read_to_string(lab.world.plane.folder.join(format!("{server}.pid"))).ok();
    servers.iter().filter_map(pid).map(|pid| cpu_seconds(pid.trim())).sum()
}
