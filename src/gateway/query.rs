//! The query of a GET. The AI API writes the names of some parameters with a dollar sign, and its clients do not: they count as one.

use std::ops::RangeInclusive;

use axum::extract;
use http::request::Parts;

use crate::{
    decode::text::cut,
    gateway::problem::{Problem, bad_request},
};

/// The longest name of a parameter in a message, in bytes.
const LONGEST_NAME: usize = 64;

/// Names, without the dollar sign and each of them once, and values.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl<S: Send + Sync> extract::FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match extract::Query::<Vec<_>>::from_request_parts(parts, state).await {
            Ok(extract::Query(pairs)) => Self::parse(pairs),
            Err(error) => bad_request(format!("the query is invalid: {error}")),
        }
    }
}

impl Query {
    /// # Errors
    /// If a parameter is repeated.
    pub fn parse(mut pairs: Vec<(String, String)>) -> Result<Self, Problem> {
        for (name, _) in &mut pairs {
            if name.starts_with('$') {
                name.remove(0);
            }
        }
        let repeated = (1..pairs.len()).find(|at| pairs[..*at].iter().any(|(name, _)| *name == pairs[*at].0));
        if let Some(at) = repeated {
            let name = cut(&pairs[at].0, LONGEST_NAME);
            return bad_request(format!("{name} is repeated in the query: send it once"));
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(given, _)| given == name)?;
        Some(value)
    }

    /// The same for a number.
    pub fn number(&self, name: &str, default: usize, range: RangeInclusive<usize>) -> Result<usize, Problem> {
        match self.get(name).map(str::parse) {
            None => Ok(default),
            Some(Ok(number)) if range.contains(&number) => Ok(number),
            Some(_) => {
                let (least, most) = range.into_inner();
                bad_request(format!("{name} must be a number from {least} to {most}"))
            }
        }
    }

    /// Refuses all other parameters: what is skipped selects more than was meant.
    pub fn only(&self, known: impl Fn(&str) -> bool) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| !known(name)) {
            Some((name, _)) => {
                let name = cut(name, LONGEST_NAME);
                bad_request(format!("the query parameter {name} is not known here: see /openapi.yaml"))
            }
            None => Ok(()),
        }
    }
}
