//! Values that a schema of ours has taken, or an older one has, and that the types can't hold as they stand.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use crate::decode::json::moment;

/// A time, or none; one that is too far away to hold is the nearest that can be held.
///
/// # Errors
/// When it is no text, or there is no such time.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let time = moment(&text).ok_or_else(|| D::Error::custom("there is no such time"))?;
    Ok(Some(Time(time)))
}

/// A number of seconds, or none; one that is too large or too small to hold is the nearest that can be held.
///
/// # Errors
/// When it is no whole number.
pub fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    Ok(Option::<Seconds>::deserialize(deserializer)?.map(|seconds| seconds.0))
}

struct Seconds(i32);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number)
    }
}

struct Number;

impl Visitor<'_> for Number {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Seconds, E> {
        let nearest = if number < 0 { i32::MIN } else { i32::MAX };
        Ok(Seconds(number.try_into().unwrap_or(nearest)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Seconds, E> {
        Ok(Seconds(number.try_into().unwrap_or(i32::MAX)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Seconds, E> {
        if number.fract() != 0.0 {
            return Err(E::custom("it is no whole number"));
        }
        #[allow(clippy::cast_possible_truncation, reason = "such a cast ends at the bounds")]
        let nearest = number as i32;
        Ok(Seconds(nearest))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::BulkUpdateSpec;

    fn spec(field: &str, value: &serde_json::Value) -> Result<BulkUpdateSpec, String> {
        let text = json!({field: value}).to_string();
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_of_seconds_have_no_bound() {
        for (value, held) in [
            (json!(null), None),
            (json!(0), Some(0)),
            (json!(i32::MAX), Some(i32::MAX)),
            (json!(3_000_000_000_u32), Some(i32::MAX)),
            (json!(u64::MAX), Some(i32::MAX)),
            (json!(-3_000_000_000_i64), Some(i32::MIN)),
            (json!(i64::MIN), Some(i32::MIN)),
            (json!(60.0), Some(60)),
            (json!(1e300), Some(i32::MAX)),
            (json!(-1e300), Some(i32::MIN)),
        ] {
            let held_by = |field| spec(field, &value).unwrap();
            assert_eq!(held_by("startingDeadlineSeconds").starting_deadline_seconds, held, "{value}");
            assert_eq!(held_by("activeDeadlineSeconds").active_deadline_seconds, held, "{value}");
            assert_eq!(held_by("ttlSecondsAfterFinished").ttl_seconds_after_finished, held, "{value}");
        }
        for value in [json!(1.5), json!("60"), json!(true), json!([60]), json!({})] {
            assert!(spec("ttlSecondsAfterFinished", &value).is_err(), "{value}");
        }
    }

    #[test]
    fn the_end_of_time_means_never_and_a_day_that_there_is_not_is_no_time() {
        let at = |text: &str| spec("notAfter", &json!(text)).map(|spec| spec.not_after.unwrap().0);
        let max = k8s_openapi::jiff::Timestamp::MAX;
        assert_eq!(at("9999-12-31T23:59:59Z"), Ok(max));
        assert_eq!(at("9999-12-31T23:59:59-23:59"), Ok(max));
        assert!(at("0000-01-01T00:00:00Z").unwrap() < at("1970-01-01T00:00:00Z").unwrap());
        assert!(at("2026-02-30T00:00:00Z").unwrap_err().contains("there is no such time"));
        assert_eq!(spec("notAfter", &json!(null)).unwrap().not_after, None);
    }
}
