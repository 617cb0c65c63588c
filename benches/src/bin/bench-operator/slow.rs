//! A slow API server, and one that answers writes with 429.

use std::time::{Duration, Instant};

use crate::{
    figures::Figures,
    lab::{Lab, Work, client},
    latency,
    process::Process,
    proxy,
};

const GROUP: &str = "slow server";

pub async fn measure(lab: &Lab, figures: &mut Figures) {
    let began = Instant::now();
    let slow = proxy::slow(lab, Duration::from_millis(50)).await;
    rounds(lab, figures, &slow, "50 ms away", 100).await;
    let throttling = proxy::throttling(lab).await;
    rounds(lab, figures, &throttling, "429 to every third write", 4).await;
    figures.took(GROUP, began);
}

async fn rounds(lab: &Lab, figures: &mut Figures, way: &proxy::Way, name: &str, items: usize) {
    let namespace = lab.namespace("slow-server").await;
    let operator = Process::start_with(lab, &way.operator, &[]).await;
    let bare = client(&way.bare);
    let all = latency::rounds(lab, &bare, &namespace, items, Work::Mixed, lab.rounds).await;
    let what = format!("{name}: {items} items");
    figures.in_turns(GROUP, format!("{what}, to the last write"), (&all.last_write, &all.bare), None);
    figures.in_turns(GROUP, format!("{what}, to completion"), (&all.completion, &all.bare), None);
    operator.stop();
}
