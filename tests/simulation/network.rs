//! The network between the processes and the API server: what it does to requests, answers and watches.

use api_server::{Answer, User};
use bytes::Bytes;
use futures::channel::mpsc;
use http::{
    Request, Response, StatusCode,
    header::{AUTHORIZATION, DATE, RETRY_AFTER},
};
use k8s_openapi::jiff::SignedDuration;
use serde_json::json;
use support::call::Call;

use crate::{
    cluster::{HOME, time_at, user_of},
    line::{Crossed, Reply, Sent},
    occurred::Place,
    process::Process,
    record::Exchange,
    story::{Fault, Moment, What, When},
    world::{Due, Open, Pending, World},
};

/// The policy for what runs and its binding, as the judge names them.
const WORK_GUARDS: [&str; 2] = ["work-validatingadmissionpolicies", "work-validatingadmissionpolicybindings"];

/// What the network has to remember.
#[derive(Debug, Default)]
pub struct Outages {
    /// Until when the API server is away.
    away_until: u64,
    /// Requests of processes that have died, with the path of their object: they arrive once another process asks for it.
    overtaken: Vec<(usize, String)>,
}

impl World {
    /// Takes what a process has sent. Returns when the first of it arrives, which is how far the process may run ahead.
    pub fn take_sent(&mut self, slot: usize, process: &Process) -> Option<u64> {
        let life = self.slots[slot].life;
        let mut first = None;
        for crossed in process.line.with(|outbox| std::mem::take(&mut outbox.crossed)) {
            match crossed {
                Crossed::Sent(sent) => {
                    let arrives = self.send(slot, process, *sent);
                    first = [first, arrives].into_iter().flatten().min();
                }
                Crossed::GivenUp(number, at) => {
                    let at = process.world(at);
                    self.recorded.given_up(life, number, at, time_at(at));
                }
            }
        }
        first
    }

    fn send(&mut self, slot: usize, process: &Process, sent: Sent) -> Option<u64> {
        let at = process.world(sent.at);
        let (head, body) = sent.request.into_parts();
        let call = Call::of_whole(&head, &body);
        let life = self.slots[slot].life;
        let number = self.pending.len();
        let (event, fault) = self.fault_of(slot, call).unzip();
        self.recorded.sent(Exchange::new(life, sent.number, (call, &head), &body), time_at(at));
        self.pending.push(Pending {
            slot,
            life,
            call,
            event,
            fault,
            request: Some(Request::from_parts(head, body)),
            reply: Some(sent.reply),
        });
        self.recorded.note(|| {
            format!("{at} life-{life} sends {number}: {} {fault:?}", self_line(&self.pending[number]))
        });
        if let (Some(event), Some(fault)) = (event, fault) {
            self.recorded.faults += 1;
            // A race counts if it is won.
            if !matches!(fault, Fault::Race(_) | Fault::BulkRace(_)) {
                self.occurred.note(event, Place::At(call));
            }
        }
        self.depart(number, at)
    }

    /// Puts a request on its way, with its fault. Returns when something comes of it, if anything does: until then the process
    /// may run ahead, and no longer, or what it sends meanwhile would come late.
    fn depart(&mut self, number: usize, at: u64) -> Option<u64> {
        let Pending { slot, life, fault, .. } = self.pending[number];
        let (there, back) = (at + self.latency(), self.latency());
        match fault {
            Some(Fault::Crash { moment: Moment::Before, back_after }) => {
                self.due(at, Due::Kill { slot, life, back_after });
                return Some(at);
            }
            Some(Fault::Crash { moment: Moment::Sent, back_after }) => {
                self.due(at, Due::Kill { slot, life, back_after });
                self.due(there, Due::Arrive(number));
                return Some(at);
            }
            Some(Fault::Suspend { moment: Moment::Before, lasts }) => {
                self.due(at, Due::Suspend { slot, life, lasts });
                self.due(there + lasts, Due::Arrive(number));
                return Some(at);
            }
            Some(Fault::Suspend { moment: Moment::Sent, lasts }) => {
                self.due(at, Due::Suspend { slot, life, lasts });
                self.due(there, Due::Arrive(number));
                return Some(at);
            }
            Some(Fault::Terminate { back_after }) => {
                self.due(at, Due::Terminate { slot, life, back_after });
                self.due(there, Due::Arrive(number));
                return Some(at);
            }
            Some(Fault::Crash { moment: Moment::Overtaken, back_after }) => {
                self.due(at, Due::Kill { slot, life, back_after });
                let path =
                    self.pending[number].request.as_ref().map(|request| object_of(request.uri().path()));
                self.outages.overtaken.push((number, path.unwrap_or_default()));
                return Some(at);
            }
            _ if at < self.outages.away_until => self.due(there, Due::Reply(number, Reply::Refused)),
            Some(Fault::Refuse) => self.due(there, Due::Reply(number, Reply::Refused)),
            Some(Fault::Reset { passed_on: false }) => {
                return Some(self.comes_back(number, there + back, Reply::Reset));
            }
            Some(Fault::Silence { passed_on: false }) => return None,
            // To callers of the gateway a 429 means that nothing was done: no proxy in front of its API server passes such a
            // request on.
            Some(Fault::Answer { code, retry_after, passed_on })
                if !passed_on || (code == 429 && self.slots[slot].is_gateway) =>
            {
                return Some(self.comes_back(number, there + back, Reply::Whole(made_up(code, retry_after))));
            }
            Some(Fault::Dated { code, by }) => {
                let mut answer = made_up(code, None);
                let time = self.server_time() + SignedDuration::from_millis(by);
                let date = time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
                answer.headers_mut().insert(DATE, date.parse().unwrap());
                return Some(self.comes_back(number, there + back, Reply::Whole(answer)));
            }
            Some(Fault::Nonsense { passed_on: false }) => {
                return Some(self.comes_back(number, there + back, Reply::Whole(nonsense())));
            }
            Some(Fault::Late(late)) => {
                self.due(there + back, Due::Reply(number, Reply::Whole(made_up(504, None))));
                self.due(there + late, Due::Arrive(number));
                return Some(there + back.min(late));
            }
            Some(Fault::Delay(delay)) => {
                self.due(there + delay, Due::Arrive(number));
                return Some(there + delay);
            }
            Some(Fault::LoseLease(late)) => {
                self.due(at, Due::TakeLease);
                self.due(there + late, Due::Arrive(number));
                return Some(at);
            }
            Some(Fault::Repeat(late)) => {
                self.due(there, Due::Arrive(number));
                self.due(there + late, Due::Arrive(number));
            }
            _ => self.due(there, Due::Arrive(number)),
        }
        Some(there)
    }

    /// An answer that is not the server's reaches the process at this time. Returns when: nothing comes of the request before.
    fn comes_back(&mut self, number: usize, at: u64, reply: Reply) -> u64 {
        self.due(at, Due::Reply(number, reply));
        at
    }

    /// What is to happen to the next request of this kind.
    fn fault_of(&mut self, slot: usize, call: Call) -> Option<(usize, Fault)> {
        *self.counts.entry((slot, call)).or_default() += 1;
        let of_all: usize = (0..self.slots.len()).filter_map(|slot| self.counts.get(&(slot, call))).sum();
        let own = self.counts[&(slot, call)];
        let mut hit = None;
        let [any_write, any] = self.impatient_after;
        let takes_any = self.now > any_write && call.is_write()
            || self.now > any
                && !matches!(call, Call::Watch(_) | Call::List(_) | Call::Unknown | Call::WorkPolicy);
        let events = &self.story.events;
        let mut others = Vec::new();
        self.waiting.retain(|number| {
            let When::On { slot: only, call: of, nth } = events[*number].when else { return false };
            let count = if only.is_some() { own } else { of_all };
            let is_it = of == call && only.is_none_or(|only| only == slot) && count >= nth;
            if !is_it && !takes_any {
                return true;
            }
            match events[*number].what {
                // One fault for each request: another one waits for the next.
                What::Fault(_) if hit.is_some() => return true,
                What::Fault(fault) => hit = Some((*number, fault)),
                _ => others.push(*number),
            }
            false
        });
        for number in others {
            self.due(self.now, Due::Story(number));
        }
        hit.or_else(|| {
            self.weather.iter().find_map(|number| match self.story.events[*number].what {
                What::Weather { slot: only, calls, fault, .. }
                    if calls.include(call) && only.is_none_or(|only| only == slot) =>
                {
                    Some((*number, fault))
                }
                _ => None,
            })
        })
    }

    /// A request reaches the server, which carries it out.
    pub fn arrive(&mut self, number: usize) {
        let Some(mut request) = self.pending[number].request.take() else { return };
        let Pending { slot, life, call, event, fault, .. } = self.pending[number];
        if self.now < self.outages.away_until {
            return self.due(self.now, Due::Reply(number, Reply::Reset));
        }
        let before = self.server.revision();
        match fault.filter(|_| !self.is_calm) {
            Some(Fault::Race(act)) => self.race(call, request.uri().path(), act),
            Some(Fault::BulkRace(act)) => self.race_about_bulk_updates(act),
            _ => {}
        }
        if let (Some(event), Some(Fault::Race(_) | Fault::BulkRace(_))) = (event, fault) {
            self.note_if_changed(event, before, Place::At(call));
        }
        // It has to come twice.
        let repeated = matches!(fault, Some(Fault::Repeat(_))) && !call.is_watch();
        if repeated {
            self.pending[number].request = Some(request.clone());
            self.pending[number].fault = None;
        }
        if let Call::List(resource) = call
            && let Some((view, active)) = self.view(slot, resource)
            && view.goes_back()
        {
            self.occurred.note(active.event, Place::At(call));
            request = of_the_past(request, active.revision);
        }
        let path = (!self.outages.overtaken.is_empty()).then(|| object_of(request.uri().path()));
        let user = self.user(slot, &request);
        let agent = format!("life-{life}");
        self.recorded.handled(number);
        let answer = self.server.handle(&user, &agent, request);
        let revision = self.server.revision();
        self.recorded.note(|| format!("{} server handles {number}, revision {revision}", self.now));
        let back = self.now + self.latency();
        self.overtake(number, path.as_deref());
        match (answer, fault) {
            (answer, _) if repeated => drop(answer),
            (answer, Some(Fault::Crash { moment: Moment::Committed, back_after })) => {
                drop(answer);
                self.due(self.now, Due::Kill { slot, life, back_after });
            }
            (answer, Some(Fault::Late(_) | Fault::Silence { .. })) => drop(answer),
            (_, Some(Fault::Reset { .. })) => self.due(back, Due::Reply(number, Reply::Reset)),
            (_, Some(Fault::Answer { code, retry_after, .. })) => {
                self.due(back, Due::Reply(number, Reply::Whole(made_up(code, retry_after))));
            }
            (_, Some(Fault::Nonsense { .. })) => self.due(back, Due::Reply(number, Reply::Whole(nonsense()))),
            (Answer::Whole(answer), Some(Fault::Cut)) => {
                self.due(back, Due::Reply(number, Reply::Cut(answer.map(|body| half(&body)))));
            }
            (Answer::Whole(answer), fault) => {
                let slow = if let Some(Fault::Slow(slow)) = fault { slow } else { 0 };
                self.due(back + slow, Due::Reply(number, Reply::Whole(answer)));
                if let Some(Fault::Crash { moment: Moment::Answered, back_after }) = fault {
                    self.due(back + 1, Due::Kill { slot, life, back_after });
                }
                if let Some(Fault::Suspend { moment, lasts }) = fault {
                    if moment == Moment::Unconnected {
                        self.keep_from_connecting(slot, back + 1 + lasts);
                    }
                    self.due(back + 1, Due::Suspend { slot, life, lasts });
                }
            }
            (Answer::Watch(head, watch), _) => {
                let (pieces, body) = mpsc::unbounded();
                let resource = self.recorded.exchanges[number].head.resource.as_str();
                let work_guard = WORK_GUARDS.into_iter().find(|guard| *guard == resource);
                let ends = watch.timeout();
                let open = self.watches.len();
                let held_back = Vec::new();
                self.watches.push(Open {
                    slot,
                    life,
                    call,
                    work_guard,
                    watch,
                    pieces,
                    last: back,
                    held_back,
                    listens: true,
                    has_lost: false,
                });
                self.due(back, Due::Reply(number, Reply::Pieces(head, body)));
                if let Some(ends) = ends {
                    self.due(self.now + u64::try_from(ends.as_millis()).unwrap(), Due::EndWatch(open));
                }
            }
        }
        self.spread();
    }

    /// What was waiting for another process to ask for this object arrives.
    fn overtake(&mut self, number: usize, path: Option<&str>) {
        let Some(path) = path else { return };
        let life = self.pending[number].life;
        let overtaken = std::mem::take(&mut self.outages.overtaken);
        for (waits, object) in overtaken {
            if object == path && self.pending[waits].life != life {
                self.due(self.now, Due::Arrive(waits));
            } else {
                self.outages.overtaken.push((waits, object));
            }
        }
    }

    /// The API server goes away for so long.
    pub fn restart_server(&mut self, lasts: u64) {
        self.outages.away_until = self.now + lasts;
        for number in 0..self.watches.len() {
            if self.watches[number].listens {
                self.cut(number, self.watches[number].last.max(self.now));
            }
        }
    }

    /// All that is on its way arrives.
    pub fn clear_up(&mut self) {
        for (number, _) in std::mem::take(&mut self.outages.overtaken) {
            self.due(self.now, Due::Arrive(number));
        }
        self.outages.away_until = 0;
    }

    fn user(&self, slot: usize, request: &Request<Bytes>) -> User {
        if !self.slots[slot].is_gateway {
            return User::ServiceAccount { namespace: HOME.into(), name: "ai-api-operator".into() };
        }
        let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        match token {
            Some(token) => user_of(token.trim_start_matches("Bearer ")),
            None => User::ServiceAccount { namespace: HOME.into(), name: "ai-api-gateway".into() },
        }
    }

    /// An answer reaches its process.
    pub fn reply(&mut self, number: usize, reply: Reply) {
        let Pending { slot, life, .. } = self.pending[number];
        self.bring_up(slot);
        if self.slots[slot].suspended {
            return self.slots[slot].parked.push(Due::Reply(number, reply));
        }
        let Some(waits) = self.pending[number].reply.take() else { return };
        if !self.lives(slot, life) || waits.is_canceled() {
            return;
        }
        self.recorded.answered(number, &reply, self.now, self.time());
        self.slots[slot].reached = true;
        let _ = waits.send(reply);
    }
}

/// The first half.
pub fn half(bytes: &Bytes) -> Bytes {
    bytes.slice(..bytes.len() / 2)
}

/// An answer with the API server's wording that is not the server's own.
fn made_up(code: u16, retry_after: Option<u32>) -> Response<Bytes> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("made up: {code}"), "reason": "MadeUp", "code": code});
    let mut answer = Response::new(Bytes::from(status.to_string()));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}

/// What a proxy may answer.
fn nonsense() -> Response<Bytes> {
    Response::new(Bytes::from_static(b"<html><body>It works!</body></html>"))
}

/// The same list as it was at a revision.
fn of_the_past(request: Request<Bytes>, revision: u64) -> Request<Bytes> {
    let (mut head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    if !query.contains("continue=") {
        let others = query.split('&').filter(|part| !part.is_empty() && !part.starts_with("resourceVersion"));
        let query = others.collect::<Vec<_>>().join("&");
        let path = head.uri.path();
        head.uri =
            format!("{path}?{query}&resourceVersion={revision}&resourceVersionMatch=Exact").parse().unwrap();
    }
    Request::from_parts(head, body)
}

/// The path of the object that a request is about.
fn object_of(path: &str) -> String {
    path.trim_end_matches("/status").trim_end_matches("/scale").to_owned()
}

/// A request in one line.
fn self_line(pending: &Pending) -> String {
    let Some(request) = &pending.request else { return String::new() };
    let body = String::from_utf8_lossy(request.body());
    format!("{} {} {body}", request.method(), request.uri())
}
