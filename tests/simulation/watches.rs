//! What the network does to watches: it holds back, repeats, delays and loses what they show.

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use support::call::{Call, Resource};

use crate::{
    cluster::time_at,
    network::half,
    occurred::Place,
    story::{View, What},
    world::{Due, Open, World},
};

/// The API server's event for a watch that is too far behind.
const GONE: &[u8] = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
    r#""message":"too old resource version","reason":"Expired","code":410}}"#,
    "\n"
)
.as_bytes();

/// A view that is active.
#[derive(Clone, Copy, Debug)]
pub struct Active {
    /// The number of its event.
    pub event: usize,
    /// What lists show, if it goes back.
    pub revision: u64,
}

impl World {
    /// The view that a watch or list of this resource has now.
    pub fn view(&self, slot: usize, resource: Resource) -> Option<(View, Active)> {
        self.views.iter().find_map(|active| match self.story.events[active.event].what {
            What::View { slot: only, resource: of, view, .. }
                if of == resource && only.is_none_or(|only| only == slot) =>
            {
                Some((view, *active))
            }
            _ => None,
        })
    }

    /// From now on watches show something else.
    pub fn begin_view(&mut self, event: usize, lasts: u64) {
        let What::View { slot: only, resource, view, .. } = self.story.events[event].what else { return };
        let revision = match view {
            View::Before => self.created_at.unwrap_or(self.first_revision),
            View::Forget => self.first_revision,
            _ => self.server.revision(),
        };
        self.views.push(Active { event, revision });
        self.due(self.now + lasts, Due::EndView(event));
        if !view.goes_back() {
            return;
        }
        for number in 0..self.watches.len() {
            let Open { slot, call, listens, .. } = self.watches[number];
            if listens && call == Call::Watch(resource) && only.is_none_or(|only| only == slot) {
                self.expire(number);
            }
        }
    }

    /// A watch has to start again with a list.
    fn expire(&mut self, number: usize) {
        let at = self.watches[number].last.max(self.now + self.latency());
        self.due(at, Due::Piece(number, Some(Ok(Bytes::from_static(GONE)))));
        self.close(number, at);
    }

    /// Sends what watches have to say on its way.
    pub fn spread(&mut self) {
        for number in 0..self.watches.len() {
            if !self.watches[number].listens {
                continue;
            }
            while let Some(line) = self.watches[number].watch.next().now_or_never() {
                let Some(line) = line else {
                    let at = self.watches[number].last.max(self.now + 1);
                    self.close(number, at);
                    break;
                };
                self.show(number, line);
                if !self.watches[number].listens {
                    break;
                }
            }
        }
        self.follow();
        self.follow_engines();
    }

    /// Sends a line of a watch on its way, as the view of this moment shows it.
    fn show(&mut self, number: usize, line: Bytes) {
        let latency = self.latency();
        let Open { slot, call, last, .. } = self.watches[number];
        let Call::Watch(resource) = call else {
            // There are no views of the policy for what runs.
            let at = last.max(self.now + latency);
            self.watches[number].last = at;
            return self.due(at, Due::Piece(number, Some(Ok(line))));
        };
        let view = self.view(slot, resource);
        if let Some((_, active)) = view {
            self.recorded.views += 1;
            self.occurred.note(active.event, Place::At(call));
        }
        let view = view.map(|(view, _)| view);
        let slow = if let Some(View::Slow(slow)) = view { slow } else { 0 };
        let at = last.max(self.now + latency + slow);
        match view {
            Some(View::Hold | View::Back | View::Before | View::Forget) => {
                return self.watches[number].held_back.push(line);
            }
            // What comes after what was lost is not shown either: the next list shows it.
            Some(View::Lose) => return self.watches[number].has_lost = true,
            Some(View::Cut) => {
                self.watches[number].last = at;
                self.due(at, Due::Piece(number, Some(Ok(half(&line)))));
                return self.cut(number, at);
            }
            Some(View::Expire) => return self.expire(number),
            _ if !self.watches[number].held_back.is_empty() => {
                return self.watches[number].held_back.push(line);
            }
            _ => {}
        }
        self.watches[number].last = at;
        let mut again = None;
        if !line.starts_with(br#"{"type":"BOOKMARK""#) {
            let first = self.first_events.entry(resource).or_insert_with(|| line.clone()).clone();
            match view {
                Some(View::Twice) => again = Some(line.clone()),
                // It cannot go on from the past.
                Some(View::Again) => {
                    again = Some(first);
                    self.watches[number].has_lost = true;
                }
                _ => {}
            }
        }
        for line in [Some(line), again].into_iter().flatten() {
            self.due(at, Due::Piece(number, Some(Ok(line))));
        }
        if view == Some(View::Close) {
            self.close(number, at);
        }
    }

    fn close(&mut self, number: usize, at: u64) {
        self.watches[number].listens = false;
        self.due(at, Due::Piece(number, None));
    }

    /// The connection of a watch is cut.
    pub fn cut(&mut self, number: usize, at: u64) {
        self.due(at, Due::Piece(number, Some(Err("the connection was cut".into()))));
        self.close(number, at);
    }

    pub fn piece(&mut self, number: usize, piece: Option<Result<Bytes, tower::BoxError>>) {
        let Open { slot, life, .. } = self.watches[number];
        self.bring_up(slot);
        if self.slots[slot].suspended && self.lives(slot, life) {
            return self.slots[slot].parked.push(Due::Piece(number, piece));
        }
        if !self.lives(slot, life) {
            return;
        }
        self.slots[slot].reached = true;
        match piece {
            Some(piece) => {
                let line = piece.as_ref().ok().cloned();
                // Nobody may listen any more, and after its end it shows nothing.
                if self.watches[number].pieces.unbounded_send(piece).is_err() {
                    self.watches[number].listens = false;
                } else if let (Some(line), Some(resource)) = (line, self.watches[number].resource()) {
                    // It may have run ahead of who has caused this.
                    let seen = self.now.max(self.slots[slot].until);
                    self.recorded.shown(life, resource, &line, time_at(seen));
                }
            }
            None => self.watches[number].pieces.close_channel(),
        }
    }

    /// The server ends a watch regularly.
    pub fn end_watch(&mut self, number: usize) {
        if self.watches[number].listens {
            let at = self.watches[number].last.max(self.now + self.story.setup.latency.0);
            self.close(number, at);
        }
    }

    pub fn end_view(&mut self, event: usize) {
        if self.views.iter().any(|active| active.event == event) {
            self.views.retain(|active| active.event != event);
            self.release(event);
        }
    }

    /// Passes on what was held back.
    pub fn release(&mut self, event: usize) {
        let What::View { resource, .. } = self.story.events[event].what else { return };
        for number in 0..self.watches.len() {
            if !self.watches[number].listens || self.watches[number].call != Call::Watch(resource) {
                continue;
            }
            if std::mem::take(&mut self.watches[number].has_lost) {
                self.expire(number);
                continue;
            }
            for line in std::mem::take(&mut self.watches[number].held_back) {
                self.show(number, line);
            }
        }
    }
}
