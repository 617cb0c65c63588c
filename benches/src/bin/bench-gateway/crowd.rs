//! Many callers at once, each with one request of 100 items: who is refused waits as long as the response says.

use std::time::{Duration, Instant};

use futures::future::join_all;
use support::{
    World,
    gateway::{Caller, Gateway, http_client},
};

use crate::requests::{self, Request};

/// So many callers, evenly on so many gateways.
pub async fn measure(world: &World, gateways: usize, callers: usize) {
    let round = format!("crowd{gateways}-{callers}");
    let mut started = Vec::new();
    for _ in 0..gateways {
        started.push(Gateway::start(world).await);
    }
    let one = started[0].caller(world, &round).await;
    requests::make(world, &round, callers).await;
    let began = Instant::now();
    let refused = join_all((0..callers).map(async |number| {
        let base = format!("http://{}", started[number % gateways].address);
        let caller = Caller { base, http: http_client(None), ..one.clone() };
        until_admitted(&caller, Request { round: &round, number }).await
    }))
    .await;
    let took = began.elapsed().as_secs_f64();
    requests::all_gone(world).await;
    let most = refused.iter().max().copied().unwrap_or_default();
    let peak = started.iter().map(|gateway| gateway.resident("VmHWM")).max().unwrap_or_default();
    println!(
        "{callers} callers at {gateways} gateway{}: all carried out after {took:.0} s; {} responses 429, at most {most} for one \
         caller; a gateway's peak {peak} kB resident",
        if gateways == 1 { "" } else { "s" },
        refused.iter().sum::<usize>(),
    );
}

/// Sends a request until it is admitted, each time after as long as the response says, and checks what becomes of it: no item may
/// have missed its deadline. Returns how often it was refused.
pub async fn until_admitted(caller: &Caller, request: Request<'_>) -> usize {
    let body = request.body();
    let mut refused = 0;
    loop {
        let answer = caller.patch("/v2/lm/executions", &body).await;
        if answer.status != 429 {
            request.check(&answer.ok(202));
            return refused;
        }
        refused += 1;
        tokio::time::sleep(Duration::from_secs(answer.header("retry-after").parse().unwrap())).await;
    }
}
