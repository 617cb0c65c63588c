//! Who asks, and where: the caller's token goes to the Kubernetes API, and the resource group is the namespace.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderValue, StatusCode, header::AUTHORIZATION, request::Parts};
use kube::Client;

use crate::{
    api::is_dns_label,
    client::clock::Clock,
    gateway::{frame::Place, invocation::Invocation, problem::Problem, state::Gateway},
};

/// The header that names the namespace.
pub const RESOURCE_GROUP: &str = "AI-Resource-Group";

/// The longest token, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;

/// A caller of the AI API.
#[derive(Clone)]
pub struct Caller {
    /// Speaks to the Kubernetes API with their token.
    pub client: Client,
    /// The namespace that they mean.
    pub namespace: String,
    /// Tells the API server's time.
    pub clock: Clock,
    /// Their request.
    pub invocation: Invocation,
    /// The request's place among those under way, for as long as anything is done for it.
    pub place: Option<Place>,
}

impl FromRequestParts<Arc<Gateway>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        let token = bearer(&parts.headers)?;
        let namespace = resource_group(&parts.headers)?;
        let invocation = Invocation::of(&parts.extensions);
        let client = gateway.upstream.client(token, &namespace);
        let clock = gateway.clock.clone();
        Ok(Self { client, namespace, clock, invocation, place: parts.extensions.get().cloned() })
    }
}

/// Somebody with a token, which is not looked at.
pub struct WithToken;

impl FromRequestParts<Arc<Gateway>> for WithToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Gateway>) -> Result<Self, Problem> {
        bearer(&parts.headers).map(|_| Self)
    }
}

/// The one value of a header.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, String> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(format!("the header {name} may stand there once only")),
    }
}

/// The header to pass on, made anew from the token.
fn bearer(headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let unauthorized = |why: String| Problem::new(StatusCode::UNAUTHORIZED, "Unauthorized", why);
    let missing =
        || unauthorized("the header Authorization has to be `Bearer` and a token of the cluster's".into());
    let value = single(headers, AUTHORIZATION.as_str()).map_err(unauthorized)?.ok_or_else(missing)?;
    let (scheme, token) = value.to_str().ok().and_then(|v| v.trim().split_once(' ')).ok_or_else(missing)?;
    let token = token.trim_start();
    // The characters of RFC 6750, section 2.1.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    let fits = (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(plain);
    if !scheme.eq_ignore_ascii_case("bearer") || !fits {
        return Err(missing());
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| missing())?;
    value.set_sensitive(true);
    Ok(value)
}

fn resource_group(headers: &HeaderMap) -> Result<String, Problem> {
    let value = single(headers, RESOURCE_GROUP).map_err(Problem::bad_request)?;
    let value = value.ok_or_else(|| {
        Problem::bad_request(format!("the header {RESOURCE_GROUP} is missing: it names the namespace"))
    })?;
    let name = value.to_str().ok().filter(|name| is_dns_label(name));
    name.map(ToOwned::to_owned).ok_or_else(|| {
        Problem::bad_request(format!(
            "the header {RESOURCE_GROUP} has to be the name of a namespace: up to 63 lower-case letters, digits and \
             dashes, the first and last no dash"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        of.iter()
            .map(|(name, value)| {
                (http::HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
            })
            .collect()
    }

    #[test]
    fn a_token_is_passed_on_as_it_is_and_never_shown() {
        for value in ["Bearer a.b-c_d~e+f/g=", "bearer a.b-c_d~e+f/g=", "BEARER  a.b-c_d~e+f/g="] {
            let passed_on = bearer(&headers(&[("authorization", value)])).unwrap();
            assert_eq!(passed_on, "Bearer a.b-c_d~e+f/g=", "{value}");
            assert_eq!(format!("{passed_on:?}"), "Sensitive");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let long = format!("Bearer {}", "x".repeat(LONGEST_TOKEN + 1));
        for value in
            ["", "Bearer", "Bearer ", "Basic dTpw", "token", "Bearer a b", "Bearer a,b", "Bearer ä", &long]
        {
            let refused = bearer(&headers(&[("authorization", value)])).unwrap_err();
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{value}");
        }
        assert_eq!(bearer(&headers(&[])).unwrap_err().status, StatusCode::UNAUTHORIZED);
        let twice = headers(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]);
        assert_eq!(twice.len(), 2);
        assert_eq!(bearer(&twice).unwrap_err().status, StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn a_resource_group_is_a_namespace() {
        let group =
            |name: &str| resource_group(&headers(&[("ai-resource-group", name)])).map_err(|p| p.status);
        for name in ["a", "team-a", "0", &"x".repeat(63)] {
            assert_eq!(group(name), Ok(name.to_owned()));
        }
        let long = "x".repeat(64);
        for name in ["", "Team", "a.b", "-a", "a-", "a/b", "../kube-system", "a b", "a%2fb", "ä", &long] {
            assert_eq!(group(name), Err(StatusCode::BAD_REQUEST), "{name}");
        }
        assert_eq!(resource_group(&headers(&[])).unwrap_err().status, StatusCode::BAD_REQUEST);
    }
}
