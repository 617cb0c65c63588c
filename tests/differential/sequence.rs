//! One sequence of requests, sent to both servers.

use std::fmt::Write as _;

use api_server::{Answer, Server};
use bytes::Bytes;
use http::Request;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::{
    compare::{Comparison, Difference},
    differences,
    edits::Chosen,
    generate::{Generator, Step},
    sides::{Answered, Sides, send_simulated},
    watches::{Until, Watched},
};

/// How many requests a sequence has.
const LENGTH: usize = 50;

pub struct Outcome {
    pub steps: usize,
    pub difference: Option<Found>,
}

/// A difference, of a kind that may occur in several sequences, and how it came to be.
pub struct Found {
    pub kind: String,
    pub account: String,
}

struct Sequence<'a> {
    sides: &'a Sides,
    namespace: String,
    simulated: Server,
    chosen: Chosen,
    watches: Vec<Watched>,
    account: String,
}

/// Sends the sequence of this seed.
pub async fn run(sides: &Sides, seed: u64) -> Outcome {
    let namespace = format!("d{seed:x}");
    let simulated = sides.prepare(&namespace).await;
    let mut generator = Generator { rng: fastrand::Rng::with_seed(seed), namespace: &namespace };
    let mut sequence = Sequence {
        sides,
        namespace: namespace.clone(),
        simulated,
        chosen: Chosen::default(),
        watches: Vec::new(),
        account: String::new(),
    };
    let mut outcome = Outcome { steps: 0, difference: None };
    for at in 1..=LENGTH {
        let step = generator.step(&sequence.chosen);
        outcome.steps += 1;
        let mut sent = sequence.send(&step).await;
        if at == LENGTH && sent.is_ok() {
            sent = sequence.events(Until::Quiet).await;
        }
        if let Err((place, simulated, real)) = sent {
            let kind = format!("{place}: {} / {}", plain(&simulated), plain(&real));
            let account =
                format!("{}    {place}\n    simulated: {simulated}\n    real:      {real}", sequence.account);
            outcome.difference = Some(Found { kind, account });
            break;
        }
    }
    sides.leave(&namespace).await;
    outcome
}

/// A text without what differs from case to case.
fn plain(text: &str) -> String {
    let part = text.chars().filter(|c| !c.is_ascii_digit());
    part.take(300).collect()
}

impl Sequence<'_> {
    fn request(&self, step: &Step, side: usize) -> Request<Bytes> {
        let uri = self.chosen.fill(&step.uri, side);
        let body = step.body.fill(&self.chosen, side);
        let request = Request::builder().method(step.method).uri(uri);
        let request = request.header("content-type", step.content_type).header("user-agent", step.agent);
        request.header("accept", "application/json").body(body.into()).unwrap()
    }

    async fn send(&mut self, step: &Step) -> Result<(), Difference> {
        let user = format!("{}-{}", self.namespace, step.user);
        let (simulated, real) = (self.request(step, 0), self.request(step, 1));
        let shown = String::from_utf8_lossy(simulated.body()).into_owned();
        writeln!(self.account, "{} {} {} {}", step.user, step.method, simulated.uri(), shown).unwrap();
        if let Some(list) = &step.cached {
            self.sides.update_cache(list).await;
        }
        if step.watch {
            self.watch(step, &user, simulated, real).await?;
        } else {
            self.whole(step, &user, simulated, real).await?;
        }
        self.events(Until::AsExpected).await
    }

    async fn whole(
        &mut self,
        step: &Step,
        user: &str,
        simulated: Request<Bytes>,
        real: Request<Bytes>,
    ) -> Result<(), Difference> {
        let start = Timestamp::now();
        let simulated = match send_simulated(&self.simulated, user, simulated) {
            Answer::Whole(response) => {
                let (head, body) = response.into_parts();
                Answered { code: head.status.as_u16(), headers: head.headers, body }
            }
            Answer::Watch(..) => panic!("{} is no watch", step.uri),
        };
        let mut answered = self.sides.send_real(user, real.clone()).await;
        if differences::is_too_late(step.method, &answered) {
            answered = self.sides.send_real(user, real).await;
        }
        self.chosen.slowest = self.chosen.slowest.max(Timestamp::now().duration_since(start));
        self.answers(step, &simulated, &answered)
    }

    fn answers(&mut self, step: &Step, simulated: &Answered, real: &Answered) -> Result<(), Difference> {
        let body = step.body.fill(&self.chosen, 0).len();
        writeln!(self.account, "    {}", simulated.code).unwrap();
        let text = |answered: &Answered| String::from_utf8_lossy(&answered.body).into_owned();
        if differences::is_before_all(simulated, real) {
            return Ok(());
        }
        if simulated.code != real.code {
            let shown = |answered: &Answered| format!("{} {}", answered.code, text(answered));
            return Err((format!("{} code", step.method), shown(simulated), shown(real)));
        }
        let mut comparison = Comparison { chosen: &mut self.chosen };
        let json = |answered: &Answered| serde_json::from_slice::<Value>(&answered.body).ok();
        match (json(simulated), json(real)) {
            (Some(a), Some(b)) => {
                comparison.lists(&step.uri, &a, &b);
                comparison
                    .documents(&a, &b)
                    .map_err(|(place, a, b)| (format!("{} {} {place}", step.method, simulated.code), a, b))?;
                comparison.remember(&step.uri, &a, &b);
            }
            _ if text(simulated) == text(real) => {}
            _ => return Err((format!("{} body", step.method), text(simulated), text(real))),
        }
        Comparison::headers(&simulated.headers, &real.headers, body > differences::LARGE)
    }

    async fn watch(
        &mut self,
        step: &Step,
        user: &str,
        simulated: Request<Bytes>,
        real: Request<Bytes>,
    ) -> Result<(), Difference> {
        let real = self.sides.watch_real(user, real).await;
        match send_simulated(&self.simulated, user, simulated) {
            Answer::Watch(head, watch) if real.status() == head.status() => {
                Comparison::headers(head.headers(), real.headers(), false)?;
                self.watches.push(Watched::new(step.uri.clone(), watch, real));
                Ok(())
            }
            Answer::Watch(..) => {
                let body = http_body_util::BodyExt::collect(real.into_body()).await.unwrap().to_bytes();
                Err(("a watch".into(), "200".into(), String::from_utf8_lossy(&body).into_owned()))
            }
            Answer::Whole(response) => {
                let (head, body) = response.into_parts();
                let simulated = Answered { code: head.status.as_u16(), headers: head.headers, body };
                if real.status().is_success() {
                    let body = String::from_utf8_lossy(&simulated.body).into_owned();
                    return Err(("a watch".into(), body, "200".into()));
                }
                let (head, body) = real.into_parts();
                let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
                let real = Answered { code: head.status.as_u16(), headers: head.headers, body };
                self.answers(step, &simulated, &real)
            }
        }
    }

    /// Compares the events of all watches so far.
    async fn events(&mut self, until: Until) -> Result<(), Difference> {
        let mut watches = std::mem::take(&mut self.watches);
        let events = futures::future::join_all(watches.iter_mut().map(|watched| watched.events(until))).await;
        for (watched, [simulated, real]) in watches.iter().zip(events) {
            let shown =
                |events: &[Value]| events.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            let place = |place: &str| format!("event {place}");
            if simulated.len() != real.len() {
                let (simulated, real) = (shown(&simulated), shown(&real));
                writeln!(self.account, "    watch {}", watched.uri).unwrap();
                return Err((place("count"), simulated, real));
            }
            let mut comparison = Comparison { chosen: &mut self.chosen };
            for (a, b) in simulated.iter().zip(&real) {
                if let Err((at, a, b)) = comparison.documents(a, b) {
                    writeln!(self.account, "    watch {}", watched.uri).unwrap();
                    return Err((place(&at), a, b));
                }
            }
        }
        self.watches = watches;
        Ok(())
    }
}
