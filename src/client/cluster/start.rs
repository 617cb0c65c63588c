//! The first request: it distinguishes an outage, which is waited out, from what waiting cannot fix.

use http::{Request, StatusCode};
use k8s_openapi::apimachinery::pkg::version::Info;
use tracing::{info, warn};

use super::{Cluster, Sources, cannot_connect, trust};
use crate::{
    client::{
        failure::{Failure, backoff},
        requests::{Unanswered, attempt, refusal},
    },
    misconfigured::Misconfigured,
};

impl Cluster {
    /// Waits for the API server to answer, through any outage: no connection, no such name, no answer, 5xx.
    /// An error if one side does not trust the other, the credentials are not accepted, or the server is no API server.
    pub(crate) async fn reach(&self, client: &kube::Client) -> Result<Reached, Misconfigured> {
        for attempt in 1.. {
            let failure = match self.ask(client).await? {
                Contact::Answered { version } => {
                    info!(server = %self.config.cluster_url, version, "the API server answers");
                    return Ok(if attempt == 1 { Reached::AtOnce } else { Reached::AfterAnOutage });
                }
                Contact::Outage(failure) => failure,
            };
            let proxy = self.sources.proxy.as_deref().unwrap_or("none");
            warn!(server = %self.config.cluster_url, proxy, %failure, "the API server cannot be reached yet; retrying");
            tokio::time::sleep(backoff(attempt)).await;
        }
        Ok(Reached::AfterAnOutage)
    }

    /// Asks for the version, which is usually allowed to everybody.
    async fn ask(&self, client: &kube::Client) -> Result<Contact, Misconfigured> {
        let request = Request::get("/version").body(Vec::new()).map_err(cannot_connect)?;
        let (head, body) = match attempt(client, request).await {
            Ok(answer) => answer,
            Err(Unanswered::Failed(error)) if let Some(why) = trust::distrust(&error) => {
                return Err(self.distrusted(&why));
            }
            Err(unanswered) => return Ok(Contact::Outage(unanswered.into())),
        };
        if head.status.is_success() {
            let info: Info = serde_json::from_slice(&body).map_err(|_| self.no_api_server(head.status))?;
            return Ok(Contact::Answered { version: info.git_version });
        }
        match judge(head.status.as_u16()) {
            Answer::Later => Ok(Contact::Outage(refusal(&head, &body))),
            // In some clusters it is not allowed to everybody. The permissions are checked next.
            Answer::Forbidden => Ok(Contact::Answered { version: "unknown".into() }),
            Answer::Unauthorized => Err(self.unauthorized()),
            Answer::NoApiServer => Err(self.no_api_server(head.status)),
        }
    }

    /// An error if a later request failed at startup so that waiting cannot fix it.
    pub(crate) fn permit(&self, failure: &Failure) -> Result<(), Misconfigured> {
        let Failure::Refused { code, message, .. } = failure else { return Ok(()) };
        match judge(*code) {
            Answer::Later => Ok(()),
            Answer::Unauthorized => Err(self.unauthorized()),
            Answer::Forbidden | Answer::NoApiServer => Err(cannot_connect(format!(
                "the API server {} refuses what any authenticated user may ask ({code}: {message}): the credentials are {}; \
                 use those of the operator's ServiceAccount, or grant what the roles in deploy/base grant",
                self.config.cluster_url, self.sources.credentials
            ))),
        }
    }

    fn distrusted(&self, why: &str) -> Misconfigured {
        let Sources { server, authority, credentials, .. } = &self.sources;
        let (url, by_proxy) = (&self.config.cluster_url, self.by_proxy());
        cannot_connect(format!(
            "{url} ({server}){by_proxy}: {why}; the certificate authority is {authority}, the credentials are {credentials}"
        ))
    }

    fn unauthorized(&self) -> Misconfigured {
        let Sources { server, credentials, .. } = &self.sources;
        cannot_connect(format!(
            "{} ({server}) does not accept the credentials (401 Unauthorized): they are {credentials}; renew or correct them",
            self.config.cluster_url
        ))
    }

    fn no_api_server(&self, status: StatusCode) -> Misconfigured {
        let (url, server, by_proxy) = (&self.config.cluster_url, &self.sources.server, self.by_proxy());
        cannot_connect(format!(
            "{url} ({server}){by_proxy} answers {status} to GET /version as no API server does: correct its URL"
        ))
    }

    fn by_proxy(&self) -> String {
        self.sources.proxy.as_ref().map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default()
    }
}

/// When an API server was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    AtOnce,
    /// It may have just started: then it refuses what its caches do not permit yet.
    AfterAnOutage,
}

/// What has come of the first request.
enum Contact {
    Answered {
        version: String,
    },
    /// It may pass.
    Outage(Failure),
}

/// What the status of an answer means at startup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// An outage.
    Later,
    Unauthorized,
    Forbidden,
    NoApiServer,
}

const fn judge(status: u16) -> Answer {
    match status {
        401 => Answer::Unauthorized,
        403 => Answer::Forbidden,
        408 | 409 | 425 | 429 | 500.. => Answer::Later,
        _ => Answer::NoApiServer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_distinguished_from_what_no_waiting_mends() {
        for status in [408, 409, 425, 429, 500, 502, 503, 504, 599] {
            assert_eq!(judge(status), Answer::Later, "{status}");
        }
        for status in [301, 302, 307, 400, 404, 405, 410, 421, 426, 431] {
            assert_eq!(judge(status), Answer::NoApiServer, "{status}");
        }
        assert_eq!((judge(401), judge(403)), (Answer::Unauthorized, Answer::Forbidden));
    }
}
