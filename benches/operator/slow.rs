//! A slow API server, and one that puts off writes.

use std::time::{Duration, Instant};

use crate::{
    figures::Figures,
    lab::{Lab, Work, client},
    latency::{Latencies, one_round},
    process::Process,
    proxy,
};

const GROUP: &str = "slow server";

pub async fn measure(lab: &Lab, figures: &mut Figures) {
    let began = Instant::now();
    let slow = proxy::slow(lab, Duration::from_millis(50)).await;
    // What a first round has to make ready, such as connections, is not counted; where seconds are waited it makes no difference.
    rounds(lab, figures, &slow, "50 ms away", 100, 1).await;
    let reluctant = proxy::reluctant(lab).await;
    rounds(lab, figures, &reluctant, "429 to every third write", 4, 0).await;
    figures.took(GROUP, began);
}

async fn rounds(lab: &Lab, figures: &mut Figures, way: &proxy::Way, name: &str, items: usize, warm: usize) {
    let namespace = lab.namespace("slow-server").await;
    let operator = Process::start_with(lab, &way.operator, &[]).await;
    let bare = client(&way.bare).await;
    let mut all = Latencies::default();
    for round in 0..warm + lab.rounds {
        let targets = lab.make(&namespace, 2 * items, Work::Mixed).await;
        lab.spread().await;
        let took = one_round(lab, &bare, &targets, round).await;
        if round >= warm {
            all.add(took);
        }
    }
    let what = format!("{name}: {items} items");
    figures.in_turns(GROUP, format!("{what}, to the last write"), (&all.last_write, &all.bare), None);
    figures.in_turns(GROUP, format!("{what}, to completion"), (&all.completion, &all.bare), None);
    lab.clear(&namespace).await;
    operator.stop();
}
