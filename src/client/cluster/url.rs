//! URLs: what a valid one is, of the API server or of a proxy.

use http::Uri;

use super::problem::{BadUrl, Problem};

/// The URL of the API server. (client-go guesses a scheme if there is none.)
pub(super) fn server_url(text: &str) -> Result<Uri, Problem> {
    let bad = |why| Err(Problem::ServerUrl(text.into(), why));
    if !text.contains("://") {
        return bad(BadUrl::NoScheme);
    }
    let Ok(url) = text.parse::<Uri>() else { return bad(BadUrl::Malformed) };
    if !matches!(url.scheme_str(), Some("https" | "http")) {
        bad(BadUrl::OtherScheme)
    } else if url.authority().is_some_and(|authority| authority.as_str().contains('@'))
        || url.query().is_some()
    {
        Err(Problem::ServerCredentials)
    } else if !has_host_and_port(&url) || url.port_u16() == Some(0) {
        bad(BadUrl::NoHostOrPort)
    } else {
        Ok(url)
    }
}

/// Whether it has a host, and a valid port if it has any.
pub(super) fn has_host_and_port(url: &Uri) -> bool {
    url.authority().is_some_and(|authority| {
        let host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
        !authority.host().is_empty() && (authority.port_u16().is_some() || authority.host() == host)
    })
}

/// Adds the port if there is none: hyper-util's SOCKS5 needs it.
pub(super) fn with_port(url: Uri) -> Result<Uri, Problem> {
    if url.port_u16().is_some() {
        return Ok(url);
    }
    let mut parts = url.into_parts();
    let text = parts.authority.map(|authority| format!("{authority}:443")).unwrap_or_default();
    parts.authority = text.parse().ok();
    Uri::from_parts(parts).map_err(|_| Problem::ServerUrl(text, BadUrl::Malformed))
}
