//! Which events of a story have made a difference, and where: a fault that waits for a request that never comes has not.

use std::collections::{BTreeMap, BTreeSet};

use support::call::Call;

use crate::{story::Story, world::World};

/// Where an event has occurred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Between requests.
    Anywhere,
    At(Call),
}

/// The events that have occurred, by their number, and where.
#[derive(Debug, Default)]
pub struct Occurred {
    events: BTreeMap<usize, BTreeSet<Place>>,
    /// What else is worth to be counted.
    pub situations: BTreeSet<&'static str>,
}

impl Occurred {
    pub fn note(&mut self, event: usize, place: Place) {
        self.events.entry(event).or_default().insert(place);
    }

    pub fn all(&self) -> impl Iterator<Item = (usize, &BTreeSet<Place>)> {
        self.events.iter().map(|(event, places)| (*event, places))
    }

    /// How many faults and acts of others have occurred.
    pub fn faults(&self, story: &Story) -> usize {
        self.events.keys().filter(|event| story.events[**event].what.is_fault()).count()
    }
}

impl World {
    /// Notes the event if the server has stored something since this revision.
    pub fn note_if_changed(&mut self, event: usize, since: u64, place: Place) {
        if self.server.revision() > since {
            self.occurred.note(event, place);
        }
    }
}
