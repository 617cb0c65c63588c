//! JSON, piece by piece, without what is not to be kept. It holds what it has not decided on yet, and nothing else: a name of a
//! field, a number.
//!
//! It does not judge: what is no JSON comes out as something that is none either.

/// What is kept of a value.
#[derive(Debug)]
pub enum Keep {
    /// A text of so many bytes, or a number, a word, null; of a list or an object only that it is one.
    Scalar(usize),
    /// These members; all others are left out. What is no object is kept as a short [`Keep::Scalar`].
    Object(&'static [(&'static str, Keep)]),
    /// So many elements, of each this. What is no list is kept as a short [`Keep::Scalar`].
    List(usize, &'static Keep),
}

/// How much is kept of a text that stands where an object or a list is expected.
const SHORT: usize = 64;

/// The longest name of a member that is looked at, as JSON writes it: all that are kept are shorter, six bytes a letter.
const LONGEST_NAME: usize = 256;

/// The longest number that is kept. A longer one is more exact or larger than anything that is read from it.
const LONGEST_NUMBER: usize = 40;

/// What stands for a number that is too long: one that is out of every range, whatever it was.
const NO_NUMBER: &[u8] = b"1e999";

/// Takes JSON in pieces and gives out what is kept of it.
#[derive(Debug)]
pub struct Machine {
    root: &'static Keep,
    /// The containers around this place, of those that are kept.
    within: Vec<Container>,
    state: State,
    /// A name or a number that is not complete.
    pending: Vec<u8>,
}

#[derive(Debug)]
struct Container {
    of: Of,
    /// Whether something was given out in it, that a comma has to follow.
    filled: bool,
}

#[derive(Clone, Copy, Debug)]
enum Of {
    Members(&'static [(&'static str, Keep)]),
    Elements(usize, &'static Keep),
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// A value begins here, and is kept like this, or not at all; or there is none, and the list or the object ends.
    Value(Option<&'static Keep>),
    /// The name of a member begins here, or the object ends.
    Name,
    /// Within that name; after a backslash.
    InName(bool),
    /// The colon behind it, of a member that is kept like this.
    Colon(Option<&'static Keep>),
    /// A comma, or the end of what is around here.
    After,
    /// Within a text of which so many bytes may still be given out.
    Text(usize, Escape),
    /// Within a text that is left out; after a backslash.
    SkippedText(bool),
    /// Within a number or a word.
    Bare { kept: bool },
    /// Within a list or an object that is left out, so many deep; within a text there; after a backslash.
    Skipped { depth: usize, text: bool, escaped: bool },
}

/// Where a text is within what one character is written as: it is never cut in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    No,
    /// After a backslash.
    Begun,
    /// After `\u` and so many digits, which are those of the first half of a pair, or not.
    Digits(u8, Half),
    /// After the first half of a pair: the other one has to follow.
    Pair,
    /// The same, and a backslash.
    PairBegun,
}

/// Whether the digits so far are those of the first half of a pair: d8 to db.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Unknown,
    D,
    First,
    No,
}

impl Machine {
    /// One that keeps this of each document.
    #[must_use]
    pub const fn new(root: &'static Keep) -> Self {
        Self { root, within: Vec::new(), state: State::Value(Some(root)), pending: Vec::new() }
    }

    /// Takes a piece, and adds to `out` what is kept of it.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut at = 0;
        while at < piece.len() {
            at = match self.state {
                State::Skipped { depth, text, escaped } => at + self.skip(&piece[at..], depth, text, escaped),
                State::SkippedText(escaped) => at + self.skip_text(&piece[at..], escaped),
                State::Text(left, escape) => at + self.text(&piece[at..], left, escape, out),
                State::InName(escaped) => self.in_name(piece, at, escaped, out),
                State::Bare { kept } => self.bare(piece, at, kept, out),
                _ => {
                    self.between(piece[at], out);
                    at + 1
                }
            };
        }
    }

    /// Adds what is still to come at the end of all pieces.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if let State::Bare { kept } = self.state {
            self.end_bare(kept, out);
        }
    }

    /// One byte that is not within a name, a text, a number or what is left out.
    fn between(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (self.state, byte) {
            // Lines tell the events of a watch apart.
            (_, b'\n') if self.within.is_empty() => out.push(b'\n'),
            (_, b' ' | b'\t' | b'\r' | b'\n') => {}
            (State::Value(_) | State::Name | State::After, b']' | b'}') => self.close(byte, out),
            (State::Value(keep), _) => self.begin(keep, byte, out),
            (State::Name, b'"') => self.state = State::InName(false),
            (State::Colon(keep), b':') => self.state = State::Value(keep),
            (State::After, b',') => self.state = self.next(),
            (State::After, _) if self.within.is_empty() => {
                // The next document.
                self.begin(Some(self.root), byte, out);
            }
            // No JSON. What has come out so far is not complete, and so none either.
            _ => out.push(byte),
        }
    }

    /// What follows a comma.
    fn next(&mut self) -> State {
        match self.within.last_mut().map(|container| &mut container.of) {
            Some(Of::Members(_)) => State::Name,
            Some(Of::Elements(0, _)) => State::Value(None),
            Some(Of::Elements(left, of)) => {
                *left -= 1;
                State::Value(Some(of))
            }
            None => State::Value(Some(self.root)),
        }
    }

    fn close(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.within.pop();
        out.push(byte);
        self.state = State::After;
    }

    /// A value begins with this byte.
    fn begin(&mut self, keep: Option<&'static Keep>, byte: u8, out: &mut Vec<u8>) {
        let Some(keep) = keep else {
            self.state = match byte {
                b'"' => State::SkippedText(false),
                b'{' | b'[' => State::Skipped { depth: 1, text: false, escaped: false },
                _ => State::Bare { kept: false },
            };
            return;
        };
        self.comma(out);
        match (keep, byte) {
            (Keep::Object(members), b'{') => {
                out.push(byte);
                self.within.push(Container { of: Of::Members(members), filled: false });
                self.state = State::Name;
            }
            (Keep::List(most, of), b'[') => {
                out.push(byte);
                self.within.push(Container { of: Of::Elements(*most, of), filled: false });
                self.state = self.next();
            }
            (_, b'{' | b'[') => {
                out.extend_from_slice(if byte == b'{' { b"{}" } else { b"[]" });
                self.state = State::Skipped { depth: 1, text: false, escaped: false };
            }
            (Keep::Scalar(most), b'"') => {
                out.push(byte);
                self.state = State::Text(*most, Escape::No);
            }
            (_, b'"') => {
                out.push(byte);
                self.state = State::Text(SHORT, Escape::No);
            }
            _ => {
                self.pending.clear();
                self.pending.push(byte);
                self.state = State::Bare { kept: true };
            }
        }
    }

    /// The comma before an element. (That before a member is given out with its name.)
    fn comma(&mut self, out: &mut Vec<u8>) {
        if let Some(Container { of: Of::Elements(..), filled }) = self.within.last_mut()
            && std::mem::replace(filled, true)
        {
            out.push(b',');
        }
    }

    fn in_name(&mut self, piece: &[u8], at: usize, mut escaped: bool, out: &mut Vec<u8>) -> usize {
        for (offset, byte) in piece[at..].iter().enumerate() {
            match byte {
                b'"' if !escaped => {
                    self.named(out);
                    return at + offset + 1;
                }
                _ => {
                    escaped = *byte == b'\\' && !escaped;
                    if self.pending.len() <= LONGEST_NAME {
                        self.pending.push(*byte);
                    }
                }
            }
        }
        self.state = State::InName(escaped);
        piece.len()
    }

    /// A name is complete.
    fn named(&mut self, out: &mut Vec<u8>) {
        let name = std::mem::take(&mut self.pending);
        let keep = match self.within.last_mut() {
            Some(Container { of: Of::Members(members), filled }) => {
                let keep = find(members, &name);
                if keep.is_some() {
                    if std::mem::replace(filled, true) {
                        out.push(b',');
                    }
                    out.push(b'"');
                    out.extend_from_slice(&name);
                    out.extend_from_slice(b"\":");
                }
                keep
            }
            _ => None,
        };
        self.state = State::Colon(keep);
        self.pending = name;
        self.pending.clear();
    }

    fn text(&mut self, piece: &[u8], mut left: usize, mut escape: Escape, out: &mut Vec<u8>) -> usize {
        for (offset, byte) in piece.iter().enumerate() {
            if escape == Escape::No || escape == Escape::Pair {
                if *byte == b'"' {
                    out.push(b'"');
                    self.state = State::After;
                    return offset + 1;
                }
                // Not within a character: neither one of several bytes, nor one of two halves.
                let whole = escape == Escape::No && (*byte & 0b1100_0000) != 0b1000_0000;
                if left == 0 && whole {
                    out.push(b'"');
                    self.state = State::SkippedText(false);
                    return offset;
                }
            }
            escape = escape.then(*byte);
            left = left.saturating_sub(1);
            out.push(*byte);
        }
        self.state = State::Text(left, escape);
        piece.len()
    }

    fn skip_text(&mut self, piece: &[u8], mut escaped: bool) -> usize {
        for (offset, byte) in piece.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    self.state = State::After;
                    return offset + 1;
                }
                _ => {}
            }
        }
        self.state = State::SkippedText(escaped);
        piece.len()
    }

    fn skip(&mut self, piece: &[u8], mut depth: usize, mut text: bool, mut escaped: bool) -> usize {
        for (offset, byte) in piece.iter().enumerate() {
            if text {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => text = true,
                b'{' | b'[' => depth = depth.saturating_add(1),
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        self.state = State::After;
                        return offset + 1;
                    }
                }
                _ => {}
            }
        }
        self.state = State::Skipped { depth, text, escaped };
        piece.len()
    }

    fn bare(&mut self, piece: &[u8], at: usize, kept: bool, out: &mut Vec<u8>) -> usize {
        for (offset, byte) in piece[at..].iter().enumerate() {
            if matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n') {
                self.end_bare(kept, out);
                return at + offset;
            }
            if kept && self.pending.len() <= LONGEST_NUMBER {
                self.pending.push(*byte);
            }
        }
        piece.len()
    }

    fn end_bare(&mut self, kept: bool, out: &mut Vec<u8>) {
        if kept {
            let fits = self.pending.len() <= LONGEST_NUMBER;
            out.extend_from_slice(if fits { &self.pending } else { NO_NUMBER });
        }
        self.pending.clear();
        self.state = State::After;
    }
}

/// How the member of this name, as JSON writes it, is kept.
fn find(members: &'static [(&'static str, Keep)], name: &[u8]) -> Option<&'static Keep> {
    let among = |name: &str| members.iter().find(|(known, _)| *known == name).map(|(_, keep)| keep);
    if !name.contains(&b'\\') {
        return among(std::str::from_utf8(name).ok()?);
    }
    let quoted = [b"\"", name, b"\""].concat();
    among(&serde_json::from_slice::<String>(&quoted).ok()?)
}

impl Escape {
    const fn then(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::No, b'\\') => Self::Begun,
            (Self::Begun | Self::PairBegun, b'u') => Self::Digits(0, Half::Unknown),
            (Self::Digits(3, Half::First), _) => Self::Pair,
            (Self::Digits(n @ 0..=2, half), _) => Self::Digits(n + 1, half.then(byte)),
            (Self::Pair, b'\\') => Self::PairBegun,
            _ => Self::No,
        }
    }
}

impl Half {
    const fn then(self, digit: u8) -> Self {
        match (self, digit) {
            (Self::Unknown, b'd' | b'D') => Self::D,
            (Self::D, b'8' | b'9' | b'a' | b'b' | b'A' | b'B') | (Self::First, _) => Self::First,
            _ => Self::No,
        }
    }
}
