//! Conditions and messages of engines' objects.

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use crate::decode::{
    json::{Malformed, moment},
    text::cut,
};

/// The longest message that is kept of an object, in bytes.
const LONGEST_MESSAGE: usize = 512;

/// A condition in the usual Kubernetes form.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    r#type: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
    last_transition_time: Option<String>,
}

impl Condition {
    /// Since when it has its status.
    pub fn since(&self) -> Option<Timestamp> {
        time(self.last_transition_time.as_deref())
    }

    /// Its reason and its message.
    pub fn text(&self) -> Option<Box<str>> {
        message(self.reason.as_deref(), self.message.as_deref())
    }
}

/// The condition of this type, if it is True.
pub fn holds<'a>(conditions: &'a [Condition], r#type: &str) -> Option<&'a Condition> {
    with_status(conditions, r#type, "True")
}

/// The condition of this type, if it is False.
pub fn is_false<'a>(conditions: &'a [Condition], r#type: &str) -> Option<&'a Condition> {
    with_status(conditions, r#type, "False")
}

fn with_status<'a>(conditions: &'a [Condition], r#type: &str, status: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.r#type == r#type && condition.status == status)
}

/// A reason and a sentence as one text, cut to 512 bytes; `None` if both are empty.
pub fn message(reason: Option<&str>, sentence: Option<&str>) -> Option<Box<str>> {
    let given =
        |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let whole = match (given(reason), given(sentence)) {
        (Some(reason), Some(sentence)) => format!("{reason}: {sentence}"),
        (reason, sentence) => reason.or(sentence)?,
    };
    Some(cut(&whole, LONGEST_MESSAGE).into())
}

/// A time of RFC 3339; `None` if it is not one.
pub fn time(text: Option<&str>) -> Option<Timestamp> {
    moment(text?)
}

/// That a field has a word that is not known here, such as a newer version's.
pub fn unknown(place: &str, word: &str) -> Malformed {
    Malformed { place: place.into(), why: format!("unknown value {:?}", cut(word, 64)) }
}
