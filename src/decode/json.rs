//! Reading what the API server has stored without ever failing: JSON as text, of which only what is asked for is looked at.
//!
//! A list or a watch brings many objects in one document. So an object is taken as it is first ([`RawValue`]: the parser goes over
//! it without a limit on depth, numbers or times), and then its few fields one by one: what is wrong in one of them is wrong in
//! that object alone.

use std::{borrow::Cow, fmt};

use k8s_openapi::jiff::{Timestamp, civil};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The members of these names, of a JSON object; null counts as absent, and of two of one name the last counts. `None` if it is no
/// object.
#[must_use]
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
        while let Some(name) = map.next_key_seed(Position(&self.0))? {
            match name {
                Some(at) => found[at] = Some(map.next_value()?),
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(found)
    }
}

/// Which of the names a text is.
struct Position<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Position<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Position<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == text))
    }
}

/// One member; as [`members`].
#[must_use]
pub fn member<'a>(raw: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    let [found] = members(raw, [name])?;
    found
}

/// The elements of a list; `None` if it is none.
#[must_use]
pub fn elements(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// A text; `None` if it is none.
#[must_use]
pub fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|text| text.0)
}

/// A text that is a time of RFC 3339: as [`moment`].
#[must_use]
pub fn time(raw: &RawValue) -> Option<Timestamp> {
    moment(&text(raw)?)
}

/// The first moment of the year 1, in seconds since 1970: what is earlier counts as this, which can be written down again.
const FIRST: i64 = -62_135_596_800;

/// The time itself, or the first moment of the year 1 if it is earlier: the API server takes no year with a sign.
#[must_use]
pub fn writable(time: Timestamp) -> Timestamp {
    Timestamp::from_second(FIRST).map_or(time, |first| time.max(first))
}

/// A time of RFC 3339. The last hours of the year 9999 are later than can be held and count as the last moment that can; what lies
/// before the year 1 counts as its first. `None` if there is no such time, such as the 30th of February.
#[must_use]
pub fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(writable(time));
    }
    let (local, hours, minutes) = if let Some(local) = text.strip_suffix(['Z', 'z']) {
        (local, "00", "00")
    } else {
        let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
        let (hours, minutes) = offset.strip_prefix(['+', '-'])?.split_once(':')?;
        (local, hours, minutes)
    };
    let below = |digits: &str, end: u8| digits.len() == 2 && digits.parse::<u8>().is_ok_and(|n| n < end);
    if !below(hours, 24) || !below(minutes, 60) {
        return None;
    }
    let local: civil::DateTime = local.parse().ok()?;
    (local.year() == 9999).then_some(Timestamp::MAX)
}

/// A part of an object as a type, for which all that the type does not name is skipped.
///
/// # Errors
/// What is wrong, in words, and where: `spec.managedBy: invalid type: ...`.
pub fn part<T: Default + DeserializeOwned>(raw: Option<&RawValue>, name: &str) -> Result<T, String> {
    let Some(raw) = raw else { return Ok(T::default()) };
    // A list of the values of its fields would do for serde.
    if !raw.get().starts_with('{') {
        return Err(format!("{name}: it is no object"));
    }
    let mut document = serde_json::Deserializer::from_str(raw.get());
    serde_path_to_error::deserialize(&mut document).map_err(|error| {
        let place = error.path().to_string();
        let why = error.into_inner().to_string();
        // The text is this part alone, so that lines and columns say nothing to anybody.
        let why = why.rsplit_once(" at line ").map_or(&*why, |(why, _)| why);
        if place == "." { format!("{name}: {why}") } else { format!("{name}.{place}: {why}") }
    })
}

/// Takes any JSON value, whatever it is: the way in for all that must not fail. (In an event of a watch its type has to stand before
/// its object, as the API server writes it.)
///
/// # Errors
/// When it is no JSON at all.
pub fn anything<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<RawValue>, D::Error> {
    Box::<RawValue>::deserialize(deserializer)
}

#[cfg(test)]
pub(crate) mod tests;
