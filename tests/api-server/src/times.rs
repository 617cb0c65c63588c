//! The server's clock, and times as texts.

use k8s_openapi::jiff::{Timestamp, civil::Date};

/// The server's clock, with the texts of the present second.
#[derive(Clone, Debug)]
pub struct Clock {
    pub now: Timestamp,
    second: i64,
    /// As in `creationTimestamp`.
    pub text: String,
    /// As in the header `Date`.
    pub date: http::HeaderValue,
}

impl Clock {
    pub fn at(now: Timestamp) -> Self {
        let mut clock =
            Self { now, second: i64::MIN, text: String::new(), date: http::HeaderValue::from_static("") };
        clock.set(now);
        clock
    }

    pub fn set(&mut self, now: Timestamp) {
        self.now = now;
        let second = now.as_nanosecond().div_euclid(1_000_000_000);
        let second = i64::try_from(second).unwrap();
        if second != self.second {
            self.second = second;
            let whole = Timestamp::from_second(second).unwrap();
            self.text = rfc3339(whole);
            let date = whole.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            self.date = date.try_into().unwrap();
        }
    }
}

/// In whole seconds, rounded down.
pub fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// With the six digits of a `MicroTime`.
pub fn micro(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// The form of a time in Go's words, and its parts: what is before each, how it is written, its range, and its name.
const LOCAL: &str = "2006-01-02T15:04:05";
const PARTS: [(&str, &str, std::ops::RangeInclusive<i16>, &str); 6] = [
    ("", "2006", 0..=9999, "year"),
    ("-", "01", 1..=12, "month"),
    // Whether the month has such a day is looked at last.
    ("-", "02", 0..=99, "day"),
    ("T", "15", 0..=23, "hour"),
    (":", "04", 0..=59, "minute"),
    (":", "05", 0..=59, "second"),
];

/// Why a CEL rule cannot read a text as a time, in Go's words: it may be as in RFC 3339, or without an offset.
pub fn unreadable(text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let why = match local_time(text) {
        Ok((rest, true)) if rest.is_empty() || is_offset(rest) => return None,
        Ok(("", _)) => ": day out of range".to_owned(),
        // The form without an offset is tried last.
        Ok((rest, _)) => format!(": extra text: {rest:?}"),
        Err(why) => why,
    };
    Some(format!("parsing time {text:?}{why}"))
}

/// What comes after the seconds, and whether there is such a day.
fn local_time(text: &str) -> Result<(&str, bool), String> {
    let cannot = |rest: &str, part: &str| format!(" as {LOCAL:?}: cannot parse {rest:?} as {part:?}");
    let mut rest = text;
    let mut numbers = Vec::new();
    for (before, part, range, name) in PARTS {
        rest = rest.strip_prefix(before).ok_or_else(|| cannot(rest, before))?;
        let digits = rest.get(..part.len()).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        let number: i16 = digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| cannot(rest, part))?;
        if !range.contains(&number) {
            return Err(format!(": {name} out of range"));
        }
        numbers.push(number);
        rest = &rest[part.len()..];
    }
    let fraction =
        rest.strip_prefix(['.', ',']).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let rest = fraction.map_or(rest, |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    let short = |at: usize| i8::try_from(numbers[at]).unwrap();
    Ok((rest, Date::new(numbers[0], short(1), short(2)).is_ok()))
}

fn is_offset(text: &str) -> bool {
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = text.strip_prefix(['+', '-']).and_then(|rest| rest.split_once(':'));
    text == "Z" || parts.is_some_and(|(hours, minutes)| digits(hours) && digits(minutes))
}
