//! The files of a release, and kubectl's own way to a plugin.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use ai_api_operator::api::Kind;
use serde_json::Value;
use support::{World, built};

use crate::plugin::{Plugin, ended};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-aiapi");

fn run(command: &mut Command) -> String {
    let ended = ended(command.output().unwrap());
    assert_eq!(ended.code, 0, "{command:?}: {ended:?}");
    ended.out
}

/// An empty folder of this test.
fn folder(name: &str) -> PathBuf {
    let folder = built::folder().join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn an_archive_has_the_program_its_completion_and_its_man_pages_and_krew_knows_its_checksum() {
    let folder = folder("plugin-release");
    for architecture in ["amd64", "arm64"] {
        let binaries = folder.join("binaries").join(architecture);
        fs::create_dir_all(&binaries).unwrap();
        fs::copy(PROGRAM, binaries.join("kubectl-aiapi")).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("dev/release/plugin");
    let (binaries, files) = (folder.join("binaries"), folder.join("files"));
    let url = "https://example.com/owner/repository/releases/download/v1";
    run(Command::new(script).arg(&binaries).arg(&files).arg(url));
    let krew: Value = serde_saphyr::from_str(&fs::read_to_string(files.join("aiapi.yaml")).unwrap()).unwrap();
    assert_eq!(krew["spec"]["homepage"], "https://example.com/owner/repository");
    for (index, architecture) in ["amd64", "arm64"].into_iter().enumerate() {
        let name = format!("kubectl-aiapi-{}-linux-{architecture}.tar.gz", env!("CARGO_PKG_VERSION"));
        let platform = &krew["spec"]["platforms"][index];
        assert_eq!(platform["uri"], format!("{url}/{name}"));
        let sum = run(Command::new("sha256sum").arg(files.join(&name)));
        assert_eq!(platform["sha256"].as_str(), sum.split(' ').next());
        assert_eq!(platform["selector"]["matchLabels"]["arch"], architecture);
        // krew refuses an archive with anything else.
        let listed = run(Command::new("tar").arg("-tvf").arg(files.join(&name)));
        assert!(listed.lines().all(|line| line.starts_with(['-', 'd'])), "{listed}");
        let unpacked = folder.join(architecture);
        fs::create_dir(&unpacked).unwrap();
        run(Command::new("tar").arg("-xzf").arg(files.join(&name)).arg("-C").arg(&unpacked));
        let version = run(Command::new(unpacked.join(platform["bin"].as_str().unwrap())).arg("--version"));
        assert_eq!(version.trim(), format!("kubectl-aiapi {}", env!("CARGO_PKG_VERSION")));
        let mut completer = Command::new(unpacked.join("kubectl_complete-aiapi"));
        let suggested = run(completer.env("PATH", &unpacked).arg("can"));
        assert!(suggested.starts_with("cancel\tCall off") && suggested.ends_with(":4\n"), "{suggested}");
        for page in ["kubectl-aiapi", "kubectl-aiapi-stop", "kubectl-aiapi-meta-enable"] {
            let text = fs::read_to_string(unpacked.join(format!("man/{page}.1"))).unwrap();
            assert!(text.contains(".SH SYNOPSIS"), "{page}: {text}");
        }
        assert!(!unpacked.join("man/kubectl-aiapi-__complete.1").exists());
        assert!(unpacked.join("LICENSE").is_file());
    }
}

#[tokio::test]
async fn kubectl_finds_the_plugin_and_completes_its_command_line() {
    let world = World::running("plugin-kubectl").await;
    let plugin = Plugin::of_editor(&world).await;
    world.own(Kind::Execution, "run-1", "RUNNING").await;
    world.own(Kind::Execution, "other-1", "RUNNING").await;
    let bin = folder("plugin-bin");
    for name in ["kubectl-aiapi", "kubectl_complete-aiapi"] {
        symlink(PROGRAM, bin.join(name)).unwrap();
    }
    let kubectl = |line: &str| {
        let mut command = Command::new(world.plane.tools().join("kubectl"));
        command.env_clear().env("PATH", &bin).env("KUBECONFIG", &plugin.kubeconfig).env("KUBERC", "off");
        command.args(line.split(' '));
        ended(command.output().unwrap())
    };
    let list = kubectl("plugin list");
    assert!(
        list.code == 0 && list.out.contains("kubectl-aiapi") && !list.said().contains("warning"),
        "{list:?}"
    );
    let got = kubectl("aiapi get execution -o name -n plugin-kubectl");
    assert_eq!(got.out, "execution.aiapi.dev/other-1\nexecution.aiapi.dev/run-1\n", "{got:?}");
    // What the shell asks kubectl for.
    let completes = |line: &str| kubectl(&format!("__complete aiapi {line}")).out;
    assert!(completes("st").starts_with("stop\tStop what is PENDING or RUNNING\nstatus\t"));
    assert_eq!(completes("stop execution -n plugin-kubectl ru"), "run-1\n:4\n");
    assert_eq!(completes("delete execution --state STOPPI"), "STOPPING\n:4\n");
    assert_eq!(completes("explain Repl"), "Replaced\n:4\n");
}
