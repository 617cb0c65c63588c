//! The lines of a log, as the Kubernetes API sends them.

use k8s_openapi::jiff::Timestamp;

/// The longest line that is read, in bytes; what is more is left out.
pub const LONGEST_LINE: usize = 16 * 1024;

/// A line of a log with its time.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was written, in microseconds since 1970: the AI API's clients read no more digits.
    pub at: i64,
    pub text: Box<str>,
}

impl Line {
    /// Takes the time off the beginning of a line; `None` if there is none, as where the kubelet says why it has no log.
    fn parse(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        let (time, text) = line.split_once(' ').unwrap_or((&line, ""));
        let at = time.parse::<Timestamp>().ok()?.as_microsecond();
        Some(Self { at, text: text.into() })
    }
}

/// What is read of a log in pieces.
#[derive(Default)]
pub struct Lines {
    /// The beginning of a line that is not complete yet.
    begun: Vec<u8>,
}

impl Lines {
    /// Takes in a piece, and calls `each` with the lines that it completes: the line, or what has no time.
    pub fn push(&mut self, piece: &[u8], mut each: impl FnMut(Result<Line, String>)) {
        let mut parts = piece.split(|byte| *byte == b'\n');
        let last = parts.next_back().unwrap_or_default();
        for part in parts {
            self.extend(part);
            self.finish(&mut each);
        }
        self.extend(last);
    }

    /// The end of the log: what is left is a line, too.
    pub fn end(mut self, mut each: impl FnMut(Result<Line, String>)) {
        if !self.begun.is_empty() {
            self.finish(&mut each);
        }
    }

    fn extend(&mut self, part: &[u8]) {
        let fits = part.len().min(LONGEST_LINE - self.begun.len());
        self.begun.extend_from_slice(&part[..fits]);
    }

    fn finish(&mut self, each: &mut impl FnMut(Result<Line, String>)) {
        let line = self.begun.strip_suffix(b"\r").unwrap_or(&self.begun);
        each(Line::parse(line).ok_or_else(|| String::from_utf8_lossy(line).into_owned()));
        self.begun.clear();
    }
}
