//! Which requests are expected again, and when: in an order in which no namespace is far ahead of another one (self-clocked fair queueing,
//! Golestani 1994, with items for bytes).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

/// How much later than in time a caller may come again.
const GRACE: Duration = Duration::from_secs(5);

/// How many requests are remembered.
const MOST: usize = 4096;

/// The requests that are expected, first those that are to be taken first.
#[derive(Default)]
pub struct Queue {
    expected: BTreeMap<Place, Expected>,
    /// By the hash of the request.
    places: HashMap<u64, Place>,
    /// The tag of what was taken last.
    served: u64,
    counter: u64,
}

/// What is asked for, and for whom it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The hash of all that makes it this request: the same one, sent again, has the same.
    pub hash: u64,
    /// Empty for all whose tokens are not known.
    pub namespace: Arc<str>,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// How many items its namespace will have had by then, counted from those of what is taken now.
    tag: u64,
    /// The order in which they came.
    number: u64,
}

struct Expected {
    request: Request,
    items: u32,
    due: Instant,
    /// How often it was refused when it was due, and the first time.
    times: u32,
}

impl Queue {
    /// Forgets those that have not come.
    pub fn forget_late(&mut self, now: Instant) {
        let places = &mut self.places;
        self.expected.retain(|_, expected| {
            let remains = now <= expected.due + GRACE;
            if !remains {
                places.remove(&expected.request.hash);
            }
            remains
        });
        if self.expected.is_empty() {
            self.served = 0;
        }
    }

    /// The place of a request that is expected.
    pub fn known_place(&self, request: u64) -> Option<Place> {
        self.places.get(&request).copied()
    }

    /// How often a request was refused, not counting when it came before it was due.
    pub fn times(&self, request: u64) -> u32 {
        self.get(request).map_or(0, |expected| expected.times)
    }

    /// When a request is to come again.
    pub fn due(&self, request: u64) -> Option<Instant> {
        self.get(request).map(|expected| expected.due)
    }

    fn get(&self, request: u64) -> Option<&Expected> {
        self.known_place(request).and_then(|place| self.expected.get(&place))
    }

    /// The items of those who come until then, by namespace; only of those before this place, if there is one.
    pub fn due_by(&self, then: Instant, before: Option<Place>) -> HashMap<&str, f64> {
        let mut due: HashMap<&str, f64> = HashMap::new();
        let expected =
            self.expected.iter().take_while(|(place, _)| before.is_none_or(|before| **place < before));
        for (_, expected) in expected.filter(|(_, expected)| expected.due <= then) {
            *due.entry(&expected.request.namespace).or_default() += f64::from(expected.items);
        }
        due
    }

    /// The place of a request: that which it has, or one behind the others of its namespace.
    pub fn place(&mut self, request: &Request, items: u32) -> Place {
        if let Some(place) = self.known_place(request.hash) {
            return place;
        }
        self.counter += 1;
        let of_namespace =
            |(_, expected): &(&Place, &Expected)| expected.request.namespace == request.namespace;
        let last = self.expected.iter().rev().find(of_namespace).map_or(0, |(place, _)| place.tag);
        Place { tag: last.max(self.served) + u64::from(items), number: self.counter }
    }

    /// The items of those before this place, and those of this namespace among them.
    pub fn before(&self, place: &Place, namespace: &str) -> (f64, f64) {
        self.expected.range(..place).fold((0.0, 0.0), |(all, own), (_, expected)| {
            let items = f64::from(expected.items);
            (all + items, if &*expected.request.namespace == namespace { own + items } else { own })
        })
    }

    /// Expects a request. One more of a namespace than it leaves to others is not remembered, and will be like a new one.
    pub fn put(&mut self, place: Place, request: Request, items: u32, due: Instant) {
        let times = self.times(request.hash) + 1;
        if times == 1 {
            let own =
                self.expected.values().filter(|expected| expected.request.namespace == request.namespace);
            if own.count() >= MOST - self.expected.len() {
                return;
            }
        }
        self.places.insert(request.hash, place);
        self.expected.insert(place, Expected { request, items, due, times });
    }

    /// A request is expected no longer, because it was taken.
    pub fn remove(&mut self, request: u64) {
        if let Some(place) = self.places.remove(&request) {
            self.served = self.served.max(place.tag);
            self.expected.remove(&place);
        }
    }

    /// How many are expected.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.expected.len()
    }
}
