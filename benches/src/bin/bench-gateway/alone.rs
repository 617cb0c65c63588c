//! One caller: from the request to the response, beside the client that creates the BulkUpdate and follows it to its end.

use std::time::Instant;

use ai_api_operator::api::BulkUpdate;
use kube::Api;
use support::{World, gateway::Caller};

use crate::{
    direct,
    requests::{self, Request},
    throughput::percentile,
};

const ROUNDS: usize = 20;

pub async fn measure(world: &World, caller: &Caller) {
    let api = direct::bulk_updates(world, caller).await;
    let (mut through, mut directly) = (Vec::new(), Vec::new());
    // The first round, with its connections, does not count.
    for number in 0..=ROUNDS {
        let round = format!("alone{number}");
        requests::make(world, &round, 2).await;
        let [first, second] = [0, 1].map(|number| Request { round: &round, number });
        let times = if number.is_multiple_of(2) {
            [with_gateway(caller, first).await, without(&api, second).await]
        } else {
            let directly = without(&api, first).await;
            [with_gateway(caller, second).await, directly]
        };
        if number > 0 {
            through.push(times[0]);
            directly.push(times[1]);
        }
    }
    let mut ratios: Vec<_> =
        through.iter().zip(&directly).map(|(through, directly)| through / directly).collect();
    for all in [&mut through, &mut directly, &mut ratios] {
        all.sort_by(f64::total_cmp);
    }
    println!(
        "one caller, {ROUNDS} requests of 100 items: {:.0} ms (median), created and followed to its end {:.0} ms, ratio {:.2} \
         ({:.2} to {:.2})",
        percentile(&through, 50),
        percentile(&directly, 50),
        percentile(&ratios, 50),
        ratios[0],
        percentile(&ratios, 100),
    );
}

async fn with_gateway(caller: &Caller, request: Request<'_>) -> f64 {
    let body = request.body();
    let began = Instant::now();
    let answer = caller.patch("/v2/lm/executions", &body).await;
    let took = began.elapsed().as_secs_f64() * 1000.0;
    request.check(&answer.ok(202));
    took
}

async fn without(api: &Api<BulkUpdate>, request: Request<'_>) -> f64 {
    let began = Instant::now();
    direct::carry_out(api, request).await;
    began.elapsed().as_secs_f64() * 1000.0
}
