//! Reading what the API server has stored without ever failing: JSON as text, of which only what is asked for is decoded.
//!
//! A list or a watch brings many objects in one document. So each object is first taken as raw text ([`RawValue`]: the parser
//! skips over it without a limit on depth, numbers or times), and then its few fields one by one: an error in one of them is an
//! error of that object alone.

use std::{borrow::Cow, fmt};

use k8s_openapi::jiff::{Timestamp, fmt::temporal::Pieces};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The members of a JSON object with these names; null counts as absent, and of two with the same name the last counts. `None` if
/// it is not an object.
pub fn members<'a, const N: usize>(raw: &'a RawValue, names: [&str; N]) -> Option<[Option<&'a RawValue>; N]> {
    let mut document = serde_json::Deserializer::from_str(raw.get());
    let found = document.deserialize_map(Members(names)).ok()?;
    Some(found.map(|value| value.filter(|value| value.get() != "null")))
}

struct Members<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(Text(name)) = map.next_key()? {
            match self.0.iter().position(|wanted| *wanted == name) {
                Some(at) => found[at] = Some(map.next_value()?),
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(found)
    }
}

/// A string, which is borrowed unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// One member, as in [`members`].
pub fn member<'a>(raw: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    let [found] = members(raw, [name])?;
    found
}

/// The elements of a list; `None` if it is not a list.
pub fn elements(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// A string; `None` if it is something else.
pub fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|text| text.0)
}

/// A string that holds a time, as in [`moment`].
pub fn time(raw: &RawValue) -> Option<Timestamp> {
    moment(&text(raw)?)
}

/// The first moment of the year 1, in seconds since 1970.
const FIRST: i64 = -62_135_596_800;

/// The time itself, or the first moment of the year 1 if it is earlier: the API server accepts no year with a sign.
pub fn writable(time: Timestamp) -> Timestamp {
    Timestamp::from_second(FIRST).map_or(time, |first| time.max(first))
}

/// A time of RFC 3339. The last hours of the year 9999 are beyond what a [`Timestamp`] holds and count as its maximum; what is
/// before the year 1 counts as the first moment of that year. `None` if there is no such time, such as the 30th of February.
pub fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(writable(time));
    }
    let pieces = Pieces::parse(text).ok()?;
    let in_a_day = pieces.to_numeric_offset()?.seconds().abs() < 24 * 60 * 60;
    (in_a_day && pieces.time().is_some() && pieces.date().year() == 9999).then_some(Timestamp::MAX)
}

/// What is wrong in an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct Malformed {
    /// Where: the path of a field, such as `spec.managedBy`.
    pub place: String,
    /// What is wrong there, as the parser says it.
    pub why: String,
}

/// A part of an object as a type; fields that the type does not have are skipped.
pub fn part<T: Default + DeserializeOwned>(raw: Option<&RawValue>, name: &str) -> Result<T, Malformed> {
    let Some(raw) = raw else { return Ok(T::default()) };
    // serde would accept a list of the values of the fields.
    if !raw.get().starts_with('{') {
        return Err(Malformed { place: name.into(), why: "it is not an object".into() });
    }
    let mut document = serde_json::Deserializer::from_str(raw.get());
    serde_path_to_error::deserialize(&mut document).map_err(|error| {
        let path = error.path().to_string();
        let why = error.into_inner().to_string();
        // Line and column count within this part, so they mean nothing to a reader.
        let why = why.rsplit_once(" at line ").map_or(&*why, |(why, _)| why).into();
        Malformed { place: if path == "." { name.into() } else { format!("{name}.{path}") }, why }
    })
}

/// Takes any JSON value as it is: what must not fail is decoded through this. (In an event of a watch the type has to come before
/// the object, as the API server writes it.)
///
/// # Errors
/// When it is not JSON at all.
pub fn anything<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<RawValue>, D::Error> {
    Box::<RawValue>::deserialize(deserializer)
}

#[cfg(test)]
pub(crate) mod tests;
