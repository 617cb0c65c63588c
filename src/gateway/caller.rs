//! Who sends a request, and for which namespace: the caller's token is passed to the Kubernetes API, and the resource group is
//! the namespace.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderValue, StatusCode, request::Parts};
use kube::{Client, Resource};
use serde::de::IgnoredAny;

use crate::{
    api::{BulkUpdate, Kind, is_dns_label},
    client::{Failure, clock::Clock, requests},
    gateway::{
        headers::only,
        load::Promise,
        modification::Asked,
        places::{Place, Use},
        preferences::Preferences,
        problem::{Invocation, Problem, bad_request},
        state::Gateway,
    },
};

const RESOURCE_GROUP: &str = "AI-Resource-Group";
/// The longest token, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;

/// A caller of the AI API, and one request of theirs, which has a place.
#[derive(Clone)]
pub struct Caller {
    /// Sends requests to the Kubernetes API with the caller's token. It holds the place of the request.
    pub client: Client,
    pub namespace: String,
    pub clock: Clock,
    pub invocation: Invocation,
    /// What was promised for a modification.
    pub promise: Option<Arc<Promise>>,
}

/// The token and the namespace of a request, which nobody has checked yet.
pub struct Credentials {
    gateway: Arc<Gateway>,
    token: HeaderValue,
    namespace: String,
    invocation: Invocation,
}

impl Credentials {
    /// Takes a place for a request that changes nothing, without which nothing is done for it.
    ///
    /// # Errors
    /// 429, if there is none.
    pub fn admit(self, to: Use) -> Result<Caller, Problem> {
        let place = self.place(to)?;
        Ok(self.caller(place))
    }

    /// Takes a place for a modification that will be carried out in time.
    ///
    /// # Errors
    /// 429, if there is no place, or it would not; and what the Kubernetes API says of a token that is not known to it.
    pub async fn admit_modification(self, kind: Kind, asked: &Asked) -> Result<Caller, Problem> {
        let place = self.place(Use::Modifications)?;
        let promises = Arc::clone(&self.gateway.promises);
        let mut caller = self.caller(Arc::clone(&place));
        if !asked.dry_run {
            caller.authenticate(&place, asked.how).await?;
            let request = place.request(kind, asked);
            caller.promise = Some(Arc::new(promises.promise(request, asked.items.len())?));
        }
        Ok(caller)
    }

    fn place(&self, of: Use) -> Result<Arc<Place>, Problem> {
        self.gateway.places.take(of, &self.namespace, self.token.as_bytes()).map(Arc::new)
    }

    fn caller(self, place: Arc<Place>) -> Caller {
        let Self { gateway, token, namespace, invocation } = self;
        let client = gateway.client(token, &namespace, place, &invocation);
        Caller { client, namespace, clock: gateway.clock.clone(), invocation, promise: None }
    }
}

impl Caller {
    /// Where the BulkUpdates of its namespace are.
    pub fn bulk_updates_url(&self) -> String {
        BulkUpdate::url_path(&(), Some(&self.namespace))
    }

    /// Has the Kubernetes API check a token that is not known yet: who has none that it accepts takes nothing of what the
    /// operator can do. It reads the BulkUpdate that is created next, which is what a caller may do who is to follow it.
    async fn authenticate(&self, place: &Place, how: Preferences) -> Result<(), Problem> {
        if place.is_accepted() {
            return Ok(());
        }
        let name = how.bulk_update_name(&self.invocation);
        match requests::get::<IgnoredAny>(&self.client, self.bulk_updates_url(), &name).await {
            // What the caller may not do, the creation says.
            Ok(_) | Err(Failure::Refused { code: 403, .. }) => Ok(()),
            // Only who may read it learns that there is none.
            Err(failure) if failure.is_not_found() => {
                place.accept();
                Ok(())
            }
            Err(failure) => Err(Problem::from(failure).nothing_was_done()),
        }
    }
}

impl FromRequestParts<Arc<Gateway>> for Credentials {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        let token = bearer(&parts.headers)?;
        let namespace = resource_group(&parts.headers)?;
        Ok(Self {
            gateway: Arc::clone(gateway),
            token,
            namespace,
            invocation: parts.extensions.get().cloned().unwrap_or_default(),
        })
    }
}

/// The Authorization to pass on, rebuilt from the caller's token, which is not checked.
pub fn bearer(headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let message = "the header Authorization is missing or invalid: send `Bearer` and a token of the cluster";
    let invalid = || Problem::new(StatusCode::UNAUTHORIZED, message);
    let value = only(headers, "Authorization", StatusCode::UNAUTHORIZED)?.ok_or_else(invalid)?;
    let (scheme, token) = value.to_str().ok().and_then(|v| v.trim().split_once(' ')).ok_or_else(invalid)?;
    let token = token.trim_start();
    // The characters of RFC 6750, section 2.1.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    let fits = (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(allowed);
    if !scheme.eq_ignore_ascii_case("bearer") || !fits {
        return Err(invalid());
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| invalid())?;
    value.set_sensitive(true);
    Ok(value)
}

pub fn resource_group(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = only(headers, RESOURCE_GROUP, StatusCode::BAD_REQUEST)? else {
        return bad_request(format!(
            "the header {RESOURCE_GROUP} is missing: send the name of the namespace"
        ));
    };
    match value.to_str() {
        Ok(name) if is_dns_label(name) => Ok(name.to_owned()),
        _ => bad_request(format!(
            "the header {RESOURCE_GROUP} is not the name of a namespace: send up to 63 lower-case letters, digits and \
             dashes, without a dash at either end"
        )),
    }
}

#[cfg(test)]
mod tests;
