//! A slow API server, and one that puts off writes.

use std::time::{Duration, Instant};

use crate::{
    bare,
    figures::Figures,
    lab::{IN_FLIGHT, Lab, Work, client, millis},
    process::Process,
    proxy,
};

const GROUP: &str = "slow server";

pub async fn measure(lab: &Lab, figures: &mut Figures) {
    let began = Instant::now();
    let slow = proxy::slow(lab, Duration::from_millis(50)).await;
    rounds(lab, figures, &slow, "50 ms away", 100).await;
    let reluctant = proxy::reluctant(lab).await;
    rounds(lab, figures, &reluctant, "429 to every third write", 10).await;
    figures.took(GROUP, began);
}

async fn rounds(lab: &Lab, figures: &mut Figures, way: &proxy::Way, name: &str, items: usize) {
    let namespace = lab.namespace("slow-server").await;
    let operator = Process::start_with(lab, &way.operator, &[]).await;
    let bare = client(&way.bare).await;
    let (mut last_write, mut completion, mut bares) = (vec![], vec![], vec![]);
    for round in 0..lab.rounds {
        let targets = lab.make(&namespace, 2 * items, Work::Mixed).await;
        let (of_operator, of_bare) = targets.split_at(items);
        // What was made has to come through the proxy.
        tokio::time::sleep(Duration::from_secs(1)).await;
        if round % 2 == 0 {
            bares.push(bare::write(&bare, of_bare, IN_FLIGHT).await);
        }
        let run = lab.carry_out(&[of_operator]).await;
        last_write.push(millis(run.created[0], run.last_write()));
        completion.push(millis(run.created[0], run.last_end()));
        if round % 2 == 1 {
            bares.push(bare::write(&bare, of_bare, IN_FLIGHT).await);
        }
    }
    figures.beside(
        GROUP,
        format!("{name}: {items} items, to the last write"),
        "ms",
        (&last_write, &bares),
        None,
    );
    figures.beside(GROUP, format!("{name}: {items} items, to completion"), "ms", (&completion, &bares), None);
    lab.clear(&namespace).await;
    operator.stop();
}
