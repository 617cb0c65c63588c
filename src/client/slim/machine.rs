//! A streaming filter for JSON. It buffers only what it cannot decide on yet: the name of a field, or a number.
//!
//! It does not validate: invalid JSON comes out as other invalid JSON.

/// What is kept of a value.
#[derive(Debug)]
pub enum Keep {
    /// A string up to this many bytes, a number, a boolean or null; an object or a list is emptied.
    Scalar(usize),
    /// These members of an object. Anything else is kept as a short [`Keep::Scalar`].
    Object(Members),
    /// This many elements of a list, and this of each. Anything else is kept as a short [`Keep::Scalar`].
    List(usize, &'static Keep),
}

/// What is kept of the members with these names; all others are left out.
pub type Members = &'static [(&'static [&'static str], Keep)];

/// How many bytes are kept of a string where an object or a list is expected.
const SHORT: usize = 64;

/// How many bytes of a member's name are read. The names that are kept are shorter, even at six bytes a letter.
const LONGEST_NAME: usize = 256;

/// The longest number that is kept. A longer one is more exact or larger than anything that is read from it.
const LONGEST_NUMBER: usize = 40;

/// Replaces a longer number: it is out of every range.
const NO_NUMBER: &[u8] = b"1e999";

/// Takes JSON in pieces and returns what is kept of it.
#[derive(Debug)]
pub struct Machine {
    root: &'static Keep,
    /// The kept containers around the current position, outermost first; and whether each has output already, so that a comma
    /// comes before more.
    within: Vec<(Of, bool)>,
    state: State,
    /// An incomplete name or number.
    pending: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Of {
    Members(Members),
    Elements(usize, &'static Keep),
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before a value, which is kept like this or left out; or the list or the object ends.
    Value(Option<&'static Keep>),
    /// Before the name of a member; or the object ends.
    Name,
    /// Within that name.
    InName { escaped: bool },
    /// Before the colon after it.
    Colon(Option<&'static Keep>),
    /// Before a comma, or the end of the list or the object.
    After,
    /// Within a string, of which this many more bytes are kept.
    Text(usize, Escape),
    /// Within a number, a boolean or null.
    Bare { kept: bool },
    /// Within a value that is left out: this many containers deep, and in a string or not.
    Skipped { depth: usize, text: bool, escaped: bool },
}

/// The position within an escape sequence, in which a string is never cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    No,
    /// After a backslash.
    Begun,
    /// After `\u` and this many digits, with the value that they have.
    Digits(u8, u16),
    /// After the first half of a surrogate pair: the second half has to follow.
    Pair,
    /// After the backslash of that second half.
    PairBegun,
}

impl Machine {
    /// Keeps `root` of each document.
    pub const fn new(root: &'static Keep) -> Self {
        Self { root, within: Vec::new(), state: State::Value(Some(root)), pending: Vec::new() }
    }

    /// Takes a piece, and appends what is kept of it to `out`.
    pub fn push(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        while let [first, ..] = *piece {
            let taken = match self.state {
                State::Skipped { depth, text, escaped } => self.skip(piece, depth, text, escaped),
                State::Text(left, escape) => self.text(piece, left, escape, out),
                State::InName { escaped } => self.in_name(piece, escaped, out),
                State::Bare { kept } => self.bare(piece, kept, out),
                _ => {
                    self.between(first, out);
                    1
                }
            };
            piece = &piece[taken..];
        }
    }

    /// Appends what is left at the end of the input.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if let State::Bare { kept } = self.state {
            self.end_bare(kept, out);
        }
    }

    /// Takes a byte between two tokens.
    fn between(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (self.state, byte) {
            // Line breaks separate the events of a watch.
            (_, b'\n') if self.within.is_empty() => out.push(b'\n'),
            (_, b' ' | b'\t' | b'\r' | b'\n') => {}
            (State::Value(_) | State::Name | State::After, b']' | b'}') => {
                self.within.pop();
                out.push(byte);
                self.state = State::After;
            }
            (State::Value(keep), _) => self.begin(keep, byte, out),
            (State::Name, b'"') => self.state = State::InName { escaped: false },
            (State::Colon(keep), b':') => self.state = State::Value(keep),
            (State::After, b',') => self.state = self.next(),
            // The next document.
            (State::After, _) if self.within.is_empty() => self.begin(Some(self.root), byte, out),
            // Not JSON, and neither is the incomplete output so far.
            _ => out.push(byte),
        }
    }

    /// What comes after a comma.
    fn next(&mut self) -> State {
        match self.within.last_mut().map(|(of, _)| of) {
            Some(Of::Members(_)) => State::Name,
            Some(Of::Elements(0, _)) => State::Value(None),
            Some(Of::Elements(left, of)) => {
                *left -= 1;
                State::Value(Some(of))
            }
            None => State::Value(Some(self.root)),
        }
    }

    /// Takes the first byte of a value.
    fn begin(&mut self, keep: Option<&'static Keep>, byte: u8, out: &mut Vec<u8>) {
        let kept = keep.is_some();
        // The comma before an element. (The one before a member is written with its name.)
        if kept
            && let Some((Of::Elements(..), filled)) = self.within.last_mut()
            && std::mem::replace(filled, true)
        {
            out.push(b',');
        }
        if kept && matches!(byte, b'"' | b'{' | b'[') {
            out.push(byte);
        }
        self.state = match (keep, byte) {
            (None, b'"') => State::Skipped { depth: 0, text: true, escaped: false },
            (Some(Keep::Scalar(most)), b'"') => State::Text(*most, Escape::No),
            (Some(_), b'"') => State::Text(SHORT, Escape::No),
            (Some(Keep::Object(members)), b'{') => {
                self.within.push((Of::Members(members), false));
                State::Name
            }
            (Some(Keep::List(most, of)), b'[') => {
                self.within.push((Of::Elements(*most, of), false));
                self.next()
            }
            (_, b'{' | b'[') => {
                if kept {
                    out.push(if byte == b'{' { b'}' } else { b']' });
                }
                State::Skipped { depth: 1, text: false, escaped: false }
            }
            _ => {
                if kept {
                    self.pending.push(byte);
                }
                State::Bare { kept }
            }
        };
    }

    fn in_name(&mut self, piece: &[u8], mut escaped: bool, out: &mut Vec<u8>) -> usize {
        for (at, &byte) in piece.iter().enumerate() {
            if byte == b'"' && !escaped {
                self.named(out);
                return at + 1;
            }
            escaped = byte == b'\\' && !escaped;
            if self.pending.len() <= LONGEST_NAME {
                self.pending.push(byte);
            }
        }
        self.state = State::InName { escaped };
        piece.len()
    }

    /// Takes the end of a name.
    fn named(&mut self, out: &mut Vec<u8>) {
        let mut keep = None;
        if let Some((Of::Members(members), filled)) = self.within.last_mut() {
            keep = find(members, &self.pending);
            if keep.is_some() {
                out.extend_from_slice(if std::mem::replace(filled, true) { b",\"" } else { b"\"" });
                out.extend_from_slice(&self.pending);
                out.extend_from_slice(b"\":");
            }
        }
        self.state = State::Colon(keep);
        self.pending.clear();
    }

    fn text(&mut self, piece: &[u8], mut left: usize, mut escape: Escape, out: &mut Vec<u8>) -> usize {
        for (at, &byte) in piece.iter().enumerate() {
            if escape == Escape::No || escape == Escape::Pair {
                if byte == b'"' {
                    out.push(b'"');
                    self.state = State::After;
                    return at + 1;
                }
                // Not between the bytes of a character in UTF-8, nor between the halves of a surrogate pair.
                let whole = escape == Escape::No && (byte & 0b1100_0000) != 0b1000_0000;
                if left == 0 && whole {
                    out.push(b'"');
                    self.state = State::Skipped { depth: 0, text: true, escaped: false };
                    return at;
                }
            }
            escape = escape.then(byte);
            left = left.saturating_sub(1);
            out.push(byte);
        }
        self.state = State::Text(left, escape);
        piece.len()
    }

    fn skip(&mut self, piece: &[u8], mut depth: usize, mut text: bool, mut escaped: bool) -> usize {
        for (at, &byte) in piece.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if text => escaped = true,
                b'"' => text = !text,
                b'{' | b'[' if !text => depth = depth.saturating_add(1),
                b'}' | b']' if !text => depth -= 1,
                _ => continue,
            }
            if depth == 0 && !text {
                self.state = State::After;
                return at + 1;
            }
        }
        self.state = State::Skipped { depth, text, escaped };
        piece.len()
    }

    fn bare(&mut self, piece: &[u8], kept: bool, out: &mut Vec<u8>) -> usize {
        for (at, &byte) in piece.iter().enumerate() {
            if matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n') {
                self.end_bare(kept, out);
                return at;
            }
            if kept && self.pending.len() <= LONGEST_NUMBER {
                self.pending.push(byte);
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

/// How the member of this name, which may have escape sequences, is kept.
fn find(members: Members, name: &[u8]) -> Option<&'static Keep> {
    let among = |name: &str| members.iter().find(|(known, _)| known.contains(&name)).map(|(_, keep)| keep);
    if !name.contains(&b'\\') {
        return among(std::str::from_utf8(name).ok()?);
    }
    let quoted = [b"\"", name, b"\""].concat();
    among(&serde_json::from_slice::<String>(&quoted).ok()?)
}

impl Escape {
    fn then(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::No, b'\\') => Self::Begun,
            (Self::Begun | Self::PairBegun, b'u') => Self::Digits(0, 0),
            (Self::Digits(count, value), _) => {
                let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
                let value = (value << 4) | digit.unwrap_or_default();
                match (count, value) {
                    (0..3, _) => Self::Digits(count + 1, value),
                    (_, 0xd800..0xdc00) => Self::Pair,
                    _ => Self::No,
                }
            }
            (Self::Pair, b'\\') => Self::PairBegun,
            _ => Self::No,
        }
    }
}
