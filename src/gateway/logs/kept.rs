//! Which lines of several logs are shown: the first or the last by their time, as many as were asked for and fit.

use std::collections::BTreeMap;

use super::lines::Line;

/// The most bytes of text that are kept; a line of any length counts [`FOR_EACH`] more.
pub const MOST_BYTES: usize = 1 << 20;

/// What a line takes besides its text.
const FOR_EACH: usize = 64;

/// In which order lines are shown, and so which are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    EarliestFirst,
    LatestFirst,
}

/// The place of a line among all: its time, and within the same time its log, and its number there.
type Key = (i64, usize, usize);

/// The lines that are kept. There is no gap among them: once a line was left out, no later one is taken (with
/// [`Order::LatestFirst`]: no earlier one).
#[derive(Debug)]
pub struct Kept {
    order: Order,
    most: usize,
    lines: BTreeMap<Key, Box<str>>,
    bytes: usize,
    /// The nearest line that was left out.
    bound: Option<Key>,
    /// Whether any was left out because there was no room for it.
    too_large: bool,
}

impl Kept {
    /// At most so many lines.
    pub fn new(order: Order, most: usize) -> Self {
        Self { order, most, lines: BTreeMap::new(), bytes: 0, bound: None, too_large: false }
    }

    /// Takes in the line with this number of a log. False if neither it nor, in the order of time, what follows it is kept.
    pub fn push(&mut self, (log, number): (usize, usize), line: Line) -> bool {
        let key = (line.at, log, number);
        if self.is_beyond(key) {
            return self.order == Order::LatestFirst;
        }
        self.bytes += line.text.len() + FOR_EACH;
        self.lines.insert(key, line.text);
        while self.lines.len() > self.most || self.bytes > MOST_BYTES {
            let last = match self.order {
                Order::EarliestFirst => self.lines.pop_last(),
                Order::LatestFirst => self.lines.pop_first(),
            };
            let Some((key, text)) = last else { break };
            self.too_large |= self.lines.len() < self.most;
            self.bytes -= text.len() + FOR_EACH;
            self.bound = Some(key);
        }
        true
    }

    fn is_beyond(&self, key: Key) -> bool {
        self.bound.is_some_and(|bound| match self.order {
            Order::EarliestFirst => key > bound,
            Order::LatestFirst => key < bound,
        })
    }

    /// Whether there are fewer than were asked for because of their size.
    pub const fn is_cut(&self) -> bool {
        self.too_large
    }

    /// The lines in their order: the time, the log and the text of each.
    pub fn into_lines(self) -> impl Iterator<Item = (i64, usize, Box<str>)> + Send {
        let order = self.order;
        let mut lines = self.lines.into_iter();
        std::iter::from_fn(move || {
            let next = match order {
                Order::EarliestFirst => lines.next(),
                Order::LatestFirst => lines.next_back(),
            };
            next.map(|((at, log, _), text)| (at, log, text))
        })
    }
}
