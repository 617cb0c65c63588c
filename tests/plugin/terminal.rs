//! On a terminal: the question, and its answers.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::Stdio,
};

use ai_api_operator::api::Kind;
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use support::World;

use crate::plugin::{Plugin, sent};

/// Runs a command on a terminal of this width, types something ahead and then an answer to its question; returns its exit code and all
/// that it showed. Its standard output is the terminal unless `out` is something else.
fn on_a_terminal(
    plugin: &Plugin,
    line: &str,
    width: u16,
    (ahead, answer): (&str, &str),
    out: Option<Stdio>,
) -> (i32, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave: OwnedFd = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    tcsetwinsize(&slave, Winsize { ws_row: 40, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let end = || Stdio::from(slave.try_clone().unwrap());
    let mut command = plugin.command(line);
    command.env("TERM", "xterm").stdin(end()).stdout(out.unwrap_or_else(end)).stderr(end());
    let mut child = command.spawn().unwrap();
    drop((command, slave));
    let mut master = File::from(master);
    // The terminal keeps it until it is read.
    master.write_all(ahead.as_bytes()).unwrap();
    let (mut shown, mut piece) = (Vec::new(), [0; 1024]);
    while !String::from_utf8_lossy(&shown).contains("[y/N] ") {
        let read = master.read(&mut piece).unwrap();
        shown.extend_from_slice(&piece[..read]);
    }
    master.write_all(answer.as_bytes()).unwrap();
    // When the last one has closed it, reading fails.
    let _ = master.read_to_end(&mut shown);
    (child.wait().unwrap().code().unwrap(), String::from_utf8_lossy(&shown).replace("\r\n", "\n"))
}

#[tokio::test]
async fn nothing_is_sent_unless_the_answer_is_yes() {
    let world = World::running("plugin-asks").await;
    let plugin = Plugin::of_editor(&world).await;
    world.own(Kind::Execution, "a-run-with-a-name-that-is-rather-long", "RUNNING").await;
    for answer in ["n\n", "\n", "yess\n", "\u{4}"] {
        let (code, shown) = on_a_terminal(&plugin, "stop execution --all", 60, ("", answer), None);
        assert_eq!(code, 4, "{answer:?}: {shown}");
        assert!(shown.contains("Stop 1 Execution? [y/N]") && shown.contains("Nothing was sent."), "{shown}");
        // Cut to the width.
        assert!(
            shown.lines().filter(|line| line.contains("plugin-asks")).all(|line| line.chars().count() <= 60),
            "{shown}"
        );
    }
    // What is typed before there is a question is no answer to it.
    let (code, shown) = on_a_terminal(&plugin, "stop execution --all", 60, ("y\ny\n", "n\n"), None);
    assert!(code == 4 && shown.contains("Nothing was sent."), "{shown}");
    // Who sends the table elsewhere sees what the question is about.
    let elsewhere = Some(Stdio::null());
    let (code, shown) = on_a_terminal(&plugin, "stop execution --all", 120, ("", "n\n"), elsewhere);
    assert!(code == 4 && shown.contains("1 Execution eligible"), "{shown}");
    assert!(sent(&world).await.is_empty());
    let (code, shown) = on_a_terminal(&plugin, "stop execution --all", 120, ("", "y\n"), None);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("\u{1b}[32mRun ") && shown.contains("1 settled of 1"), "{shown}");
    println!("{shown}");
}
