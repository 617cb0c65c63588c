//! The headers of a request.

use http::{HeaderMap, HeaderValue, StatusCode};

use crate::gateway::problem::Problem;

/// The only value of a header; a second one is answered with `status`.
pub fn only<'a>(
    all: &'a HeaderMap,
    name: &str,
    status: StatusCode,
) -> Result<Option<&'a HeaderValue>, Problem> {
    let mut values = all.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Problem::new(status, format!("the header {name} is repeated: send it once"))),
    }
}
