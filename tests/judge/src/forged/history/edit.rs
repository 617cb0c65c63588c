//! Changes to a history.

use serde_json::Value;

use super::{BULK, History, at, merge};
use crate::{Answer, Exchange, Request};

impl History {
    /// The exchange of this verb about this object; the first one.
    pub fn exchange(&mut self, verb: &str, name: &str) -> &mut Exchange {
        self.facts.exchanges.iter_mut().find(|e| e.verb == verb && e.name == name).unwrap()
    }

    pub fn request(&mut self, verb: &str, name: &str) -> &mut Request {
        self.facts.requests.iter_mut().find(|r| r.verb == verb && r.name == name).unwrap()
    }

    /// The answer to the first such request.
    pub fn answered(&mut self, verb: &str, name: &str, answer: Answer) {
        let code = if let Answer::Whole(whole) = &answer { whole.code } else { 0 };
        let exchange = self.exchange(verb, name);
        let ended = exchange.ended.as_ref().unwrap().0;
        exchange.ended = Some((ended, answer));
        let request = self.request(verb, name);
        if code != 0 {
            request.code = code;
        }
    }

    /// It was never sent.
    pub fn without(&mut self, verb: &str, name: &str) {
        let at = self.facts.exchanges.iter().position(|e| e.verb == verb && e.name == name).unwrap();
        // The others keep their numbers.
        let life = self.facts.exchanges[at].life;
        self.facts.exchanges[at] =
            Exchange { life, sent: self.facts.exchanges[at].sent, ..Exchange::default() };
        self.facts.requests.retain(|r| r.exchange != Some(at));
    }

    /// The same, if only the process' side is left.
    pub fn without_exchange(&mut self, verb: &str, name: &str) {
        let at = self.facts.exchanges.iter().position(|e| e.verb == verb && e.name == name).unwrap();
        let (life, sent) = (self.facts.exchanges[at].life, self.facts.exchanges[at].sent);
        self.facts.exchanges[at] = Exchange { life, sent, ..Exchange::default() };
    }

    /// When a request was sent.
    pub fn sent_at(&mut self, verb: &str, name: &str, millis: i64) {
        let [sent, ended] = [self.moment(millis), self.moment(millis + 10)];
        let exchange = self.exchange(verb, name);
        exchange.sent = sent;
        if let Some((moment, _)) = &mut exchange.ended {
            *moment = ended;
        }
        let request = self.request(verb, name);
        (request.received, request.answered) = (at(millis + 1), at(millis + 9));
        self.in_order();
    }

    /// Exchanges in the order in which they were sent.
    pub fn in_order(&mut self) {
        let mut order: Vec<_> = (0..self.facts.exchanges.len()).collect();
        order.sort_by_key(|at| self.facts.exchanges[*at].sent);
        let exchanges = order.iter().map(|at| self.facts.exchanges[*at].clone()).collect();
        self.facts.exchanges = exchanges;
        for request in &mut self.facts.requests {
            let before = request.exchange;
            request.exchange = before.and_then(|before| order.iter().position(|at| *at == before));
        }
    }

    /// What the item says, from this revision on.
    pub fn says(&mut self, from: u64, item: usize, change: &Value) {
        let revisions: Vec<_> = self
            .facts
            .versions
            .iter()
            .filter(|v| v.name == BULK && v.revision >= from)
            .map(|v| v.revision)
            .collect();
        for revision in revisions {
            merge(&mut self.at_revision(revision).object["status"]["executions"][item], change.clone());
        }
    }

    pub fn spec(&mut self, change: &Value) {
        for version in self.facts.versions.iter_mut().filter(|v| v.name == BULK) {
            merge(&mut version.object["spec"], change.clone());
        }
    }

    /// The last record says this instead.
    pub fn ends_as(&mut self, status: &Value) {
        self.at_revision(34).object["status"] = status.clone();
        let record = self.facts.requests.iter_mut().rfind(|r| r.is_record()).unwrap();
        record.body["status"] = status.clone();
        let record = self.facts.exchanges.iter_mut().rfind(|e| e.is_record()).unwrap();
        record.body["status"] = status.clone();
    }

    /// Nothing is known but what the API server has recorded.
    pub fn server_only(&mut self) {
        self.facts.exchanges.clear();
        self.facts.sights.clear();
        self.facts.lives[0].log = None;
        self.facts.requests.iter_mut().for_each(|r| r.exchange = None);
    }
}
