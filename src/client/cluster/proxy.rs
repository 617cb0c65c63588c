//! Which proxy leads to the API server, by kubectl's rules: `proxy-url` of the kubeconfig always; else `HTTPS_PROXY`, unless
//! the server's name is a loopback address or in `NO_PROXY`. The matching is Go's (`golang.org/x/net/http/httpproxy`), and no
//! crate has it: curl's rules, which hyper-util and kube follow, differ in leading dots, ports and loopback addresses, and
//! kube compares `NO_PROXY` with the proxy's own name.

use std::net::IpAddr;

use http::{Uri, uri::Authority};
use ipnet::IpNet;

use super::{
    problem::{Problem, Unusable},
    url::has_host_and_port,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    /// As kube takes it: with a port.
    pub url: Uri,
    /// The address without credentials, and the variable or field that it is from.
    pub named: String,
}

/// The proxy of `proxy-url`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn of_kubeconfig(text: &str, of: &str) -> Result<Proxy, Unusable> {
    match parse(text) {
        Ok(url) if url.scheme_str() == Some("socks5h") => Err(Problem::Socks5h),
        Ok(url) => Ok(Proxy { named: format!("{} (proxy-url of {of})", shown(&url)), url }),
        Err(problem) => Err(problem),
    }
    .map_err(|problem| problem.of(format!("the proxy-url of {of}")))
}

/// The proxy that the environment names for this server, if any.
///
/// # Errors
/// What is wrong with a variable.
pub(super) fn of_environment(
    server: &Uri,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, Unusable> {
    let first = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)))
    };
    let (variables, default_port) = match server.scheme_str() {
        Some("https") => (["HTTPS_PROXY", "https_proxy"], 443),
        _ => (["HTTP_PROXY", "http_proxy"], 80),
    };
    let Some((name, value)) = first(variables) else { return Ok(None) };
    let (exempt_name, exempt) = first(["NO_PROXY", "no_proxy"]).unwrap_or_default();
    if let Some(entry) = exempt.split(',').find(|entry| !entry.is_ascii()) {
        return Err(Problem::NoProxyEntry(entry.into()).of(exempt_name));
    }
    let host = server.host().unwrap_or_default();
    if bypassed(host, server.port_u16().unwrap_or(default_port), &exempt) {
        return Ok(None);
    }
    // Go takes an address without a scheme for an HTTP proxy.
    let text = if value.contains("://") { value } else { format!("http://{value}") };
    let url = parse(&text).map_err(|problem| problem.of(name))?;
    let named = format!("{} ({name})", shown(&url));
    let url = match (url.scheme_str(), url.authority()) {
        // To Go both mean that the proxy resolves the name.
        (Some("socks5h"), Some(authority)) => {
            build("socks5", authority.as_str()).map_err(|problem| problem.of(name))?
        }
        _ => url,
    };
    Ok(Some(Proxy { url, named }))
}

/// Parses the address of a proxy, and adds the port if there is none.
fn parse(text: &str) -> Result<Uri, Problem> {
    let url: Uri = text.parse().map_err(|_| Problem::ProxyUrl)?;
    let (scheme, authority) = url.scheme_str().zip(url.authority()).ok_or(Problem::ProxyUrl)?;
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        "socks5" | "socks5h" => 1080,
        other => return Err(Problem::ProxyScheme(other.into())),
    };
    if !has_host_and_port(&url) {
        return Err(Problem::ProxyUrl);
    }
    let (host, port) = (authority.host(), authority.port_u16().unwrap_or(default_port));
    match authority.as_str().rsplit_once('@').map(|(credentials, _)| credentials) {
        None => build(scheme, &format!("{host}:{port}")),
        Some(_) if scheme.starts_with("socks") => Err(Problem::Socks5Credentials),
        Some(text) if text.contains('@') => Err(Problem::AtSign),
        // A name without a password is sent with an empty one, as Go does.
        Some(name) if !name.contains(':') => build(scheme, &format!("{name}:@{host}:{port}")),
        Some(both) => build(scheme, &format!("{both}@{host}:{port}")),
    }
}

fn build(scheme: &str, authority: &str) -> Result<Uri, Problem> {
    let built = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
    built.map_err(|_| Problem::ProxyUrl)
}

/// The address without credentials.
fn shown(url: &Uri) -> String {
    let authority = url.authority().map_or("", Authority::as_str);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{}://{host}", url.scheme_str().unwrap_or_default())
}

/// Whether requests to this host bypass the proxy of the environment.
fn bypassed(host: &str, port: u16, exempt: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = host.parse().ok().map(|address: IpAddr| address.to_canonical());
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let host = host.to_ascii_lowercase();
    exempt.split(',').map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let (Some(address), Ok(network)) = (address, entry.parse::<IpNet>()) {
            return network.contains(&address);
        }
        let (name, only_port) = split_port(&entry);
        let matches = match address {
            Some(address) => name.parse().is_ok_and(|entry: IpAddr| entry.to_canonical() == address),
            None => matches_name(name, &host),
        };
        matches && only_port.is_none_or(|text| text.is_empty() || text == port.to_string())
    })
}

fn matches_name(name: &str, host: &str) -> bool {
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    // A leading dot excludes the name itself.
    if name.starts_with('.') {
        return host.ends_with(name);
    }
    !name.is_empty() && (host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')))
}

/// Host and port of an entry. An IPv6 address has brackets if, and only if, it has a port.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if let Some((host, port)) = entry.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        return (host, Some(port));
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests;
