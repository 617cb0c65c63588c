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

/// Runs a command on a terminal of this width, and types this; returns its exit code and all that it showed.
fn on_a_terminal(plugin: &Plugin, line: &str, width: u16, typed: &str) -> (i32, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave: OwnedFd = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    tcsetwinsize(&slave, Winsize { ws_row: 40, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let end = || Stdio::from(slave.try_clone().unwrap());
    let mut command = plugin.command(line);
    command.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end());
    let mut child = command.spawn().unwrap();
    drop((command, slave));
    let mut master = File::from(master);
    // The terminal keeps it until it is asked for.
    master.write_all(typed.as_bytes()).unwrap();
    let mut shown = Vec::new();
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
        let (code, shown) = on_a_terminal(&plugin, "stop execution --all", 60, answer);
        assert_eq!(code, 4, "{answer:?}: {shown}");
        assert!(shown.contains("Stop 1 Execution? [y/N]") && shown.contains("Nothing was sent."), "{shown}");
        // Cut to the width.
        assert!(
            shown.lines().filter(|line| line.contains("plugin-asks")).all(|line| line.chars().count() <= 60),
            "{shown}"
        );
    }
    assert!(sent(&world).await.is_empty());
    let (code, shown) = on_a_terminal(&plugin, "stop execution --all", 120, "y\n");
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("\u{1b}[32mRun ") && shown.contains("1 settled of 1"), "{shown}");
    println!("{shown}");
}
