//! Values that the schema accepts, or an earlier one has accepted, and that the types cannot hold as they are.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Number;

use crate::decode::json::moment;

/// An optional time; one that is out of range becomes the nearest that is in range.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    moment(&text).map(|time| Some(Time(time))).ok_or_else(|| D::Error::custom("there is no such time"))
}

/// An optional number of seconds; one that is out of range becomes the nearest that is in range.
pub fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    let whole = number.as_f64().filter(|number| number.fract() == 0.0);
    let whole = whole.ok_or_else(|| D::Error::custom("it is not a whole number"))?;
    #[allow(clippy::cast_possible_truncation, reason = "such a cast saturates")]
    let nearest = whole as i32;
    Ok(Some(nearest))
}

#[cfg(test)]
mod tests;
