//! A thousand Executions that are created at once and run to their end, beside as many Jobs that a bare client creates.

use k8s_openapi::jiff::Timestamp;

use super::{
    GROUP, add_by_sort,
    jobs::{Count, clear, create, create_executions},
    requests,
};
use crate::{
    figures::Figures,
    lab::{Lab, millis},
    process::Process,
};

/// How many.
const NUMBER: usize = 1000;

pub async fn measure(lab: &Lab, figures: &mut Figures) {
    let operator = Process::start(lab).await;
    let before = operator.resident();
    let (mut took, mut bare, mut all, mut cpu, mut resident) = (vec![], vec![], vec![], vec![], vec![]);
    for round in 0..lab.rounds.min(2) {
        let namespace = lab.namespace(&lab.new_name("run")).await;
        if round == 0 {
            bare.push(by_themselves(lab, &namespace).await);
        }
        let (from, spent) = (lab.audited(), operator.cpu());
        let mut completed = Count::of_executions(lab, &namespace, "COMPLETED");
        let began = Timestamp::now();
        create_executions(lab, &namespace, NUMBER, true).await;
        took.push(millis(began, completed.is(NUMBER).await) / 1000.0);
        all.push(requests(lab, from, &lab.world.operator.user).await);
        cpu.push(operator.cpu() - spent);
        resident.push(operator.resident());
        clear(lab, &namespace).await;
        if round > 0 {
            bare.push(by_themselves(lab, &namespace).await);
        }
    }
    let title = format!("{NUMBER} Executions created at once");
    let name = format!("{title}: to all COMPLETED, beside as many Jobs");
    figures.compared(GROUP, name, "s", (&took, &bare), None);
    add_by_sort(figures, &title, NUMBER, &all);
    figures.alone(GROUP, format!("{title}: CPU"), "s", &cpu, None);
    figures.alone(GROUP, format!("{title}: RSS before"), "MiB", &[before], None);
    figures.alone(GROUP, format!("{title}: RSS after"), "MiB", &resident, None);
    figures.alone(GROUP, format!("{title}: RSS at the most"), "MiB", &[operator.peak()], None);
    operator.stop();
}

/// How long Jobs of nobody take, in seconds.
async fn by_themselves(lab: &Lab, namespace: &str) -> f64 {
    let mut completed = Count::of_completed_jobs(lab, namespace);
    let began = Timestamp::now();
    create(lab, namespace, NUMBER, true).await;
    let took = millis(began, completed.is(NUMBER).await) / 1000.0;
    clear(lab, namespace).await;
    took
}
