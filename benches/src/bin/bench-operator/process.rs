//! The operator as its own process, and its resource usage.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use support::{
    memory,
    operator::{metrics_address, probe, spawn},
    signal,
};

use crate::lab::Lab;

/// How the operator is started.
pub struct Process<'a> {
    lab: &'a Lab,
    child: Child,
    /// From its start until /readyz succeeds, in milliseconds.
    pub ready_after: f64,
}

impl<'a> Process<'a> {
    /// Starts it for all namespaces, as its ServiceAccount, and waits until it is ready.
    pub async fn start(lab: &'a Lab) -> Self {
        Self::start_with(lab, &lab.world.operator.kubeconfig(), &[]).await
    }

    pub async fn start_with(lab: &'a Lab, kubeconfig: &Path, arguments: &[&str]) -> Self {
        let arguments = [&["--require-admission-policy=false"], arguments].concat();
        Self::start_so(lab, kubeconfig, &arguments).await
    }

    /// Starts it as shipped: it requires the admission policy.
    pub async fn start_as_shipped(lab: &'a Lab) -> Self {
        Self::start_so(lab, &lab.world.operator.kubeconfig(), &[]).await
    }

    async fn start_so(lab: &'a Lab, kubeconfig: &Path, arguments: &[&str]) -> Self {
        let log = lab.world.plane.folder.join("operator.log");
        let began = Instant::now();
        let mut command = Command::new(&lab.binary);
        command
            .args(["controller", "--namespace", &lab.world.namespace, "--kubeconfig"])
            .arg(kubeconfig)
            .args(["--metrics-bind-address", "127.0.0.1:0"])
            .env_remove("RUST_LOG");
        let child = spawn(&mut command, arguments, &[], File::create(&log).unwrap());
        let mut this = Self { lab, child, ready_after: 0.0 };
        let mut address = None;
        loop {
            address = address.or_else(|| metrics_address(&fs::read_to_string(&log).unwrap_or_default()));
            if let Some(address) = &address
                && probe(address, "/readyz").await.0 == 200
            {
                break;
            }
            let ended = this.child.try_wait().unwrap();
            assert!(ended.is_none(), "it has ended:\n{}", fs::read_to_string(&log).unwrap_or_default());
            assert!(
                began.elapsed() < Duration::from_mins(10),
                "it does not become ready: see {}",
                log.display()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        this.ready_after = began.elapsed().as_secs_f64() * 1000.0;
        this
    }

    /// Its memory, in MiB.
    pub fn resident(&self) -> f64 {
        self.mebibytes("VmRSS")
    }

    /// Its peak memory, in MiB.
    pub fn peak(&self) -> f64 {
        self.mebibytes("VmHWM")
    }

    fn mebibytes(&self, line: &str) -> f64 {
        memory(self.child.id(), line) as f64 / 1024.0
    }

    /// The CPU seconds that it has used.
    pub fn cpu(&self) -> f64 {
        cpu_seconds(&self.child.id().to_string())
    }

    /// Sends it a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Terminates it gracefully: it releases its Lease, and the next one need not wait.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.lab.spend(self.cpu());
            self.signal("TERM");
            // It may be suspended, if something has failed meanwhile.
            self.signal("CONT");
            self.child.wait().unwrap();
        }
    }
}

/// The CPU seconds, in user and system mode, of a process (`self` is this one).
pub fn cpu_seconds(pid: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name of the program, in brackets, may hold blanks.
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    // For user space, Linux counts in hundredths of a second.
    (ticks(11) + ticks(12)) / 100.0
}
