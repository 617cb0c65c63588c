//! kubectl and the operator, started with the same files and variables.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc,
    time::Instant,
};

use support::{DEADLINE, control_plane::ControlPlane, operator::output};

/// The configuration of both.
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub variables: Vec<(&'static str, String)>,
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<&'static str>,
    pub folder: Option<PathBuf>,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The API server answers.
    Works,
    /// It exits, with this code and this line.
    Ends(Option<i32>, String),
    /// It keeps retrying; the first line that says so.
    Waits(String),
}

/// The expected outcome of both.
#[derive(Clone, Copy, Debug)]
pub enum Expected<'a> {
    /// Both reach the API server.
    Works,
    /// The operator exits with code 2 and one sentence with these words; kubectl fails as well.
    Neither(&'a [&'a str]),
    /// The same, but kubectl gets an answer.
    KubectlAlone(&'a [&'a str]),
    /// The operator waits, and says why; kubectl fails.
    Waits(&'a [&'a str]),
}

impl Given {
    pub fn kubeconfig(path: PathBuf) -> Self {
        Self { kubeconfig: Some(path), ..Self::default() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    fn set(&self, command: &mut Command) {
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        if let Some(path) = &self.kubeconfig {
            command.arg("--kubeconfig").arg(path);
        }
        if let Some(name) = self.context {
            command.args(["--context", name]);
        }
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
    }

    /// Whether kubectl gets an answer, and its output.
    pub fn kubectl(&self) -> (bool, String) {
        let mut command = Command::new(&ControlPlane::get().kubectl);
        command.args(["get", "--raw", "/version", "--request-timeout=10s"]);
        self.set(&mut command);
        let output = command.output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    }

    /// How far the operator (or the gateway) gets.
    pub fn operator(&self, subcommand: &[&str]) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ai-api-operator"));
        command.args(subcommand);
        self.set(&mut command);
        command.env("AI_API_METRICS_BIND_ADDRESS", "127.0.0.1:0").env("AI_API_BIND_ADDRESS", "127.0.0.1:0");
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let end = Instant::now() + DEADLINE;
        let mut ended = Vec::new();
        loop {
            let line = receiver.recv_timeout(end.saturating_duration_since(Instant::now()));
            let outcome = match line {
                Ok(line) if line.contains("the API server answers") => Outcome::Works,
                // If a server refuses only after the handshake, it may have closed the connection before its alert is
                // read: the next attempt reads it.
                Ok(line) if line.contains("connection was not ready") => continue,
                Ok(line) if line.contains("cannot be reached yet") => Outcome::Waits(line),
                Ok(line) => {
                    ended.push(line);
                    continue;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    // Info lines are not an outcome, and the output of an exec plugin is its own.
                    ended.retain(|line| !line.contains(" INFO ") && !line.starts_with("plugin:"));
                    assert_eq!(ended.len(), 1, "one sentence is enough: {ended:#?}");
                    return Outcome::Ends(process.wait().unwrap().code(), ended.remove(0));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("nothing within {DEADLINE:?}, but {ended:#?}"),
            };
            process.kill().unwrap();
            process.wait().unwrap();
            return outcome;
        }
    }

    /// How the operator ends, which may reach the API server first.
    pub fn ends(&self) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ai-api-operator"));
        command.arg("controller");
        self.set(&mut command);
        command.env("AI_API_METRICS_BIND_ADDRESS", "127.0.0.1:0");
        let output = output(&mut command);
        let log = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), log.lines().last().unwrap_or_default().to_owned())
    }

    /// Compares both.
    pub fn compare(&self, row: &str, expected: Expected) {
        self.compare_as(row, expected, &["controller"]);
    }

    pub fn compare_as(&self, row: &str, expected: Expected, subcommand: &[&str]) {
        let (answered, said) = self.kubectl();
        let outcome = self.operator(subcommand);
        let shown = match &outcome {
            Outcome::Works => "works".to_owned(),
            Outcome::Ends(_, line) | Outcome::Waits(line) => line.clone(),
        };
        println!("{row}: kubectl {}, operator: {shown}", if answered { "works" } else { "fails" });
        let words = match (expected, &outcome) {
            (Expected::Works, Outcome::Works) => &[][..],
            (Expected::Neither(words) | Expected::KubectlAlone(words), Outcome::Ends(Some(2), _))
            | (Expected::Waits(words), Outcome::Waits(_)) => words,
            _ => panic!("{row}: {outcome:?}, expected {expected:?}; kubectl: {said}"),
        };
        for word in words {
            assert!(shown.contains(word), "{row}: {word:?} is not in: {shown}");
        }
        assert!(!shown.contains("hidden"), "{row}: {shown}");
        let expected = matches!(expected, Expected::Works | Expected::KubectlAlone(_));
        assert_eq!(answered, expected, "{row}: kubectl: {said}");
    }
}
