//! What the values of flags are read as.

use std::time::Duration;

use k8s_openapi::jiff::{Span, SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};

use crate::api::{EngineKind, State, is_dns_label};

/// The longest time that a flag takes.
const LONGEST: Duration = Duration::from_hours(24 * 366 * 100);

pub fn state(text: &str) -> Result<State, String> {
    let words = || State::ALL.iter().map(|state| state.word()).collect::<Vec<_>>().join(", ");
    let found = State::ALL.iter().find(|state| state.word().eq_ignore_ascii_case(text));
    found.copied().ok_or_else(|| format!("it must be one of {}", words()))
}

pub fn engine(text: &str) -> Result<EngineKind, String> {
    let is = |engine: &&EngineKind| {
        let (kind, plural) = (engine.kind(), engine.plural());
        [kind, plural].iter().any(|name| name.eq_ignore_ascii_case(text))
            || format!("{plural}.{}", engine.group()).eq_ignore_ascii_case(text)
    };
    EngineKind::ALL
        .iter()
        .find(is)
        .copied()
        .ok_or_else(|| format!("it must be one of {}", engines().join(", ")))
}

/// Their names, as one types them.
pub fn engines() -> Vec<String> {
    EngineKind::ALL.iter().map(|engine| engine.kind().to_lowercase()).collect()
}

/// A selector that selects: what is empty but for blanks and commas would select everything.
pub fn selector(text: &str) -> Result<String, &'static str> {
    let selects = text.contains(|c: char| !c.is_whitespace() && c != ',');
    selects.then(|| text.to_owned()).ok_or("it must select something; --all is for all")
}

pub fn namespace_name(text: &str) -> Result<String, &'static str> {
    is_dns_label(text).then(|| text.to_owned()).ok_or("it must be the name of a namespace")
}

/// A duration such as 7d, 12h or 1h30m; a day has 24 hours.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    let wrong = "it must be a duration above zero, such as 7d, 12h or 1h30m";
    let span: Span = text.parse().map_err(|_| wrong)?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong)?;
    let duration = Duration::try_from(duration).map_err(|_| wrong)?;
    (!duration.is_zero() && duration <= LONGEST).then_some(duration).ok_or(wrong)
}

pub fn moment(text: &str) -> Result<Timestamp, &'static str> {
    let wrong = "it must be a day, such as 2026-11-30, or a point in time with its zone, such as 2026-11-30T12:00:00Z";
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    // What has a time but no zone could be meant in several.
    let date =
        Some(text).filter(|text| text.len() == "2026-11-30".len()).and_then(|text| text.parse::<Date>().ok());
    date.and_then(|date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())).ok_or(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_that_selects_nothing_in_particular_is_refused() {
        assert_eq!(selector("a=b, c"), Ok("a=b, c".into()));
        for wrong in ["", " ", ",", " ,\t, "] {
            assert!(selector(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn engines_have_the_names_that_kubectl_users_type() {
        for name in ["job", "Job", "jobs", "jobs.batch"] {
            assert_eq!(engine(name), Ok(EngineKind::Job));
        }
        assert!(engine("pod").unwrap_err().contains("inferenceservice"));
    }

    #[test]
    fn durations_and_points_in_time_that_could_be_misread_are_refused() {
        assert_eq!(duration("7d"), Ok(Duration::from_hours(7 * 24)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        for wrong in ["", "7", "-7d", "0s", "d", "1 fortnight", "999999y", "1mo", "P1D junk"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(moment("2026-11-30").unwrap().to_string(), "2026-11-30T00:00:00Z");
        assert_eq!(moment("2026-11-30T12:00:00+01:00").unwrap().to_string(), "2026-11-30T11:00:00Z");
        for wrong in ["", "2026-11-30T12:00:00", "30.11.2026", "yesterday", "2026-13-01"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
