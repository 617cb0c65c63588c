//! Writes a second: 64 callers at once, beside as many clients that create the BulkUpdates and follow them to their end.

use std::time::Instant;

use futures::{StreamExt, stream};
use support::{
    World,
    gateway::{Caller, Gateway, http_client},
};

use crate::{
    crowd::until_admitted,
    direct,
    requests::{self, EXIST, Request},
};

const CALLERS: usize = 64;
const ROUNDS: usize = 5;
const REQUESTS: usize = 200;

pub async fn measure(world: &World, gateway: &Gateway, one: &Caller) {
    let api = direct::bulk_updates(world, one).await;
    // Each has a connection of their own.
    let callers: Vec<_> = (0..CALLERS).map(|_| Caller { http: http_client(None), ..one.clone() }).collect();
    println!("{CALLERS} at once, {REQUESTS} requests of 100 items: writes a second");
    println!("round   gateway  directly   ratio   refused   resident kB");
    let mut ratios = Vec::new();
    for number in 0..ROUNDS {
        let gateway_first = number.is_multiple_of(2);
        let (mut through, mut directly, mut refused) = (0.0, 0.0, 0);
        for with_gateway in [gateway_first, !gateway_first] {
            let round = format!("{}{number}", if with_gateway { "through" } else { "directly" });
            requests::make(world, &round, REQUESTS).await;
            let began = Instant::now();
            let each = stream::iter(0..REQUESTS).map(|number| {
                let (request, callers, api) = (Request { round: &round, number }, &callers, &api);
                async move {
                    if with_gateway {
                        return until_admitted(&callers[number % CALLERS], request).await;
                    }
                    direct::carry_out(api, request).await;
                    0
                }
            });
            refused += each.buffer_unordered(CALLERS).fold(0, async |all, one| all + one).await;
            let writes = u32::try_from(REQUESTS * EXIST).unwrap();
            let rate = f64::from(writes) / began.elapsed().as_secs_f64();
            *(if with_gateway { &mut through } else { &mut directly }) = rate;
            requests::all_gone(world).await;
        }
        let ratio = through / directly;
        ratios.push(ratio);
        let resident = gateway.resident("VmRSS");
        println!("{number:5}  {through:8.0}  {directly:8.0}  {ratio:6.2}  {refused:8}   {resident}");
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "median of the ratios {:.2}; gateway: peak {} kB resident",
        percentile(&ratios, 50),
        gateway.resident("VmHWM")
    );
}

pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}
