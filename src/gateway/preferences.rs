//! How a modification is to be answered: headers that the AI API does not have.

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request::Parts};
use k8s_openapi::jiff::Timestamp;
use uuid::Uuid;

use crate::gateway::{
    headers::only,
    problem::{Invocation, Problem, bad_request, key_until},
};

const PREFER: &str = "Prefer";
const RESPOND_ASYNC: &str = "respond-async";
const KEY: &str = "Idempotency-Key";
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How a modification is to be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Preferences {
    /// Once it is planned, and not only when its outcome is known: `Prefer: respond-async` (RFC 7240).
    pub respond_async: bool,
    /// As the same request as an earlier one with this key: `Idempotency-Key`.
    pub key: Option<Uuid>,
}

impl<S: Send + Sync> FromRequestParts<S> for Preferences {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.headers)
    }
}

impl Preferences {
    /// Unknown preferences are ignored, as RFC 7240 has it: they ask for a form of the answer and narrow nothing.
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut preferred = headers
            .get_all(PREFER)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        let respond_async = preferred
            .any(|one| one.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(RESPOND_ASYNC));
        let key = match only(headers, KEY, StatusCode::BAD_REQUEST)? {
            None => None,
            // The draft of the header has it in quotes, and its users mostly do not.
            Some(value) => match value.to_str().map(|key| Uuid::try_parse(key.trim().trim_matches('"'))) {
                Ok(Ok(key)) => Some(key),
                _ => {
                    return bad_request(format!("the header {KEY} is not a UUID; nothing was done"));
                }
            },
        };
        Ok(Self { respond_async, key })
    }

    /// The name of the BulkUpdate of such a request. It is ours and not the API server's, so that a creation without an answer can
    /// be repeated: there is one at most.
    pub fn bulk_update_name(&self, of: &Invocation) -> String {
        match self.key {
            Some(key) => format!("request-{key}"),
            None => format!("request-{}", of.id),
        }
    }

    /// The headers of the answer: what was honoured, and how long a key holds, at least.
    pub fn applied(&self, kept_until: Timestamp) -> HeaderMap {
        let asynchronous = self.respond_async.then_some((APPLIED, HeaderValue::from_static(RESPOND_ASYNC)));
        let until = self.key.and_then(|_| key_until(kept_until));
        asynchronous.into_iter().chain(until).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &str)]) -> Result<Preferences, Problem> {
        let pairs = headers.iter().map(|(name, value)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        });
        let mut all = HeaderMap::new();
        for (name, value) in pairs {
            all.append(name, value);
        }
        Preferences::of(&all)
    }

    #[test]
    fn preferences_are_read_as_rfc_7240_writes_them() {
        for (headers, expected) in [
            (vec![], false),
            (vec![("prefer", "respond-async")], true),
            (vec![("prefer", "wait=5, Respond-Async ; foo=bar")], true),
            (vec![("prefer", "return=minimal"), ("prefer", "respond-async")], true),
            (vec![("prefer", "respond-asynchronously")], false),
            (vec![("prefer", "")], false),
        ] {
            assert_eq!(of(&headers).unwrap().respond_async, expected, "{headers:?}");
        }
    }

    #[test]
    fn a_key_is_a_uuid_and_there_is_one() {
        let key = "0e02b2c3-d479-4372-a567-0e02b2c3d479";
        for text in [key, &format!("\"{key}\""), &key.to_uppercase()] {
            assert_eq!(of(&[("idempotency-key", text)]).unwrap().key, Uuid::try_parse(key).ok(), "{text}");
        }
        for headers in [
            vec![("idempotency-key", "again")],
            vec![("idempotency-key", "")],
            vec![("idempotency-key", key), ("idempotency-key", key)],
        ] {
            assert_eq!(of(&headers).unwrap_err().code.status(), StatusCode::BAD_REQUEST, "{headers:?}");
        }
    }

    #[test]
    fn the_answer_says_what_was_honoured() {
        let until = "2026-01-02T03:04:05.5Z".parse().unwrap();
        assert!(Preferences::default().applied(until).is_empty());
        let all = Preferences { respond_async: true, key: Some(Uuid::nil()) }.applied(until);
        assert_eq!(
            (&all[APPLIED], &all["idempotency-key-until"]),
            (&"respond-async".parse().unwrap(), &"2026-01-02T03:04:05Z".parse().unwrap())
        );
    }
}
