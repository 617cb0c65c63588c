//! Output that nobody reads, or for which there is no space.

use std::{
    fs::File,
    process::{Command, Stdio},
};

use support::World;

use super::folder;

const BINARY: &str = env!("CARGO_BIN_EXE_ai-api-operator");

/// Runs it in a shell; returns its own exit code and its standard error.
fn shell(line: &str) -> (i32, String) {
    let script = format!("set -o pipefail; {line}");
    let output =
        Command::new("bash").args(["-c", &script]).env("BIN", BINARY).stdin(Stdio::null()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_closed_pipe_ends_it_in_silence_and_a_full_disk_with_a_sentence() {
    for arguments in ["crds", "--help", "controller --help", "gateway --help", "--version", "help"] {
        // Only when the reader has exited, it is certain that the pipe is closed.
        let closed = format!(
            "mkfifo $$.pipe; (exec <$$.pipe) & exec 3>$$.pipe; wait; rm $$.pipe; $BIN {arguments} >&3"
        );
        let place = folder("pipes");
        let (code, said) = shell(&format!("cd {}; {closed}", place.display()));
        assert_eq!((code, &*said), (141, ""), "{arguments}");
        let (code, said) = shell(&format!("$BIN {arguments} >/dev/full"));
        assert_eq!(code, 1, "{arguments}: {said}");
        assert!(
            said.starts_with("error: standard output cannot be written: No space left"),
            "{arguments}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert_eq!(shell("$BIN crds | head -1 >/dev/null").1, "");
    for nowhere in ["/no/such/folder", "/dev/null", "/proc"] {
        let (code, said) = shell(&format!("$BIN crds --out-dir {nowhere}"));
        assert!(
            code == 1 && said.starts_with(&format!("error: {nowhere}/")) && said.lines().count() == 1,
            "{said}"
        );
    }
    // Both are full.
    assert_eq!(shell("$BIN crds >/dev/full 2>/dev/full").0, 1);
    assert_eq!(shell("$BIN --no-such-flag 2>/dev/full").0, 2);
    assert_eq!(shell("$BIN controller --kubeconfig /no/such/file 2>/dev/full").0, 2);
}

#[tokio::test]
async fn an_unwritable_log_does_not_stop_the_operator() {
    for (name, format) in [("full-disk", "text"), ("closed-log", "json")] {
        let world = World::new(name).await;
        let mut command = world.operator.command();
        command.args(["--watch-namespace", name, "--log-format", format]).env("RUST_LOG", "debug");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if name == "full-disk" {
            command.stderr(File::options().write(true).open("/dev/full").unwrap());
        } else {
            command.stderr(Stdio::piped());
        }
        let mut process = command.spawn().unwrap();
        drop(process.stderr.take());
        world.own(ai_api_operator::api::Kind::Execution, "stopped-1", "STOPPED").await;
        let item = serde_json::json!({"executions": [{"id": "stopped-1", "targetStatus": "DELETED"}]});
        world.submit("delete", item).await;
        world.finished("delete").await;
        assert_eq!(process.try_wait().unwrap(), None, "it has ended");
        process.kill().unwrap();
        process.wait().unwrap();
    }
}
