//! Which proxy leads to the API server, by kubectl's rules: `proxy-url` of the kubeconfig always; else `HTTPS_PROXY`, unless
//! the server's name is a loopback address or in `NO_PROXY`. The matching is Go's (`golang.org/x/net/http/httpproxy`), and no
//! crate has it: curl's rules, which hyper-util and kube follow, differ in leading dots, ports and loopback addresses, and
//! kube compares `NO_PROXY` with the proxy's own name.

use std::net::IpAddr;

use http::Uri;
use ipnet::IpNet;

/// What is wrong may be in the password, so that the text is not repeated.
const MALFORMED: &str = "it is not a URL such as http://proxy.example.com:3128";

/// A proxy, and where its address was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    /// As kube takes it: with a port.
    pub url: Uri,
    /// The variable or the kubeconfig's field, and the address without credentials.
    pub told_by: String,
}

/// The proxy of `proxy-url`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn of_kubeconfig(text: &str, of: &str) -> Result<Proxy, String> {
    let url = parse(text).map_err(|why| format!("the proxy-url of {of} cannot be used: {why}"))?;
    if url.scheme_str() == Some("socks5h") {
        return Err(format!("the proxy-url of {of} cannot be used: write socks5:// instead of socks5h://"));
    }
    let told_by = format!("{} (proxy-url of {of})", shown(&url));
    Ok(Proxy { url, told_by })
}

/// The proxy that the environment names for this server, if any.
///
/// # Errors
/// What is wrong with what it says.
pub(super) fn of_environment(
    server: &Uri,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, String> {
    let first = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)))
    };
    let names = match server.scheme_str() {
        Some("https") => ["HTTPS_PROXY", "https_proxy"],
        _ => ["HTTP_PROXY", "http_proxy"],
    };
    let Some((name, value)) = first(names) else { return Ok(None) };
    let host = server.host().unwrap_or_default();
    let port = server.port_u16().unwrap_or(if server.scheme_str() == Some("https") { 443 } else { 80 });
    let exempt = first(["NO_PROXY", "no_proxy"]);
    if let Some((name, list)) = &exempt
        && let Some(entry) = list.split(',').find(|entry| !entry.is_ascii())
    {
        return Err(format!("{name} has the entry {entry:?}: write the name in ASCII (xn--...)"));
    }
    if bypassed(host, port, &exempt.map(|(_, list)| list).unwrap_or_default()) {
        return Ok(None);
    }
    // Go takes an address without a scheme for that of an HTTP proxy.
    let has_scheme = value.contains("://");
    let url = parse(&if has_scheme { value } else { format!("http://{value}") })
        .map_err(|why| format!("{name} cannot be used: {why}"))?;
    let told_by = format!("{} ({name})", shown(&url));
    let url = match url.scheme_str() {
        // To Go both mean that the proxy resolves the name.
        Some("socks5h") => address("socks5", url.authority().map_or("", |authority| authority.as_str()))?,
        _ => url,
    };
    Ok(Some(Proxy { url, told_by }))
}

/// Reads the address of a proxy.
fn parse(text: &str) -> Result<Uri, String> {
    let malformed = || MALFORMED.to_owned();
    let url: Uri = text.parse().map_err(|_| malformed())?;
    let (scheme, authority) = url.scheme_str().zip(url.authority()).ok_or_else(malformed)?;
    let (credentials, host) = match authority.as_str().rsplit_once('@') {
        Some((credentials, host)) => (Some(credentials), host),
        None => (None, authority.as_str()),
    };
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        "socks5" | "socks5h" => 1080,
        other => return Err(format!("{other}:// is not supported: use http://, https:// or socks5://")),
    };
    let port_is_written = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    if url.host().is_none_or(str::is_empty) || (port_is_written && url.port_u16().is_none()) {
        return Err(malformed());
    }
    let host = if port_is_written { host.to_owned() } else { format!("{host}:{default_port}") };
    match credentials {
        None => address(scheme, &host),
        Some(_) if scheme.starts_with("socks") => {
            Err("credentials for a SOCKS5 proxy are not supported: use one without, or an HTTP proxy".into())
        }
        Some(text) if text.contains('@') => Err("write an @ in its credentials as %40".into()),
        // A name without a password is sent with an empty one, as Go does.
        Some(name) if !name.contains(':') => address(scheme, &format!("{name}:@{host}")),
        Some(both) => address(scheme, &format!("{both}@{host}")),
    }
}

fn address(scheme: &str, authority: &str) -> Result<Uri, String> {
    let built = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
    built.map_err(|_| MALFORMED.into())
}

/// The address without credentials.
fn shown(url: &Uri) -> String {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{}://{host}", url.scheme_str().unwrap_or_default())
}

/// Whether requests to this host go past the proxy that the environment names.
fn bypassed(host: &str, port: u16, exempt: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = host.parse().ok().map(|address: IpAddr| address.to_canonical());
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let host = host.to_ascii_lowercase();
    exempt.split(',').map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| match address {
        Some(address) => matches_address(&entry, address, port),
        None => matches_name(&entry, &host, port),
    })
}

fn matches_address(entry: &str, address: IpAddr, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Ok(network) = entry.parse::<IpNet>() {
        return network.contains(&address);
    }
    let (host, only_port) = split_port(entry);
    let same = host.parse().is_ok_and(|entry: IpAddr| entry.to_canonical() == address);
    same && is_port(only_port, port)
}

fn matches_name(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    let (name, only_port) = split_port(entry);
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    // A leading dot leaves out the name itself.
    let below = if name.starts_with('.') {
        host.ends_with(name)
    } else {
        host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
    };
    !name.is_empty() && below && is_port(only_port, port)
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

/// An empty port is every port.
fn is_port(entry: Option<&str>, port: u16) -> bool {
    entry.is_none_or(|text| text.is_empty() || text == port.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<'a>(of: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> {
        move |name| of.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    /// The proxy for a server, `-` without one.
    fn chosen(server: &str, of: &[(&str, &str)]) -> String {
        match of_environment(&server.parse().unwrap(), environment(of)) {
            Ok(proxy) => proxy.map_or_else(|| "-".to_owned(), |proxy| proxy.url.to_string()),
            Err(why) => format!("error: {why}"),
        }
    }

    #[test]
    fn what_is_exempt_is_what_go_exempts() {
        // Host, NO_PROXY, whether it is exempt; each as golang.org/x/net/http/httpproxy 0.57 decides.
        let table = [
            ("k8s.example.com", "", false),
            ("k8s.example.com", "example.com", true),
            ("k8s.example.com", ".example.com", true),
            ("k8s.example.com", "*.example.com", true),
            ("k8s.example.com", "k8s.example.com", true),
            ("k8s.example.com", "K8S.EXAMPLE.COM", true),
            ("K8S.example.com", "k8s.example.com", true),
            ("example.com", "example.com", true),
            ("example.com", ".example.com", false),
            ("example.com", "*.example.com", false),
            ("notexample.com", "example.com", false),
            ("k8s.example.com", "*example.com", false),
            ("k8s.example.com", "k8s", false),
            ("k8s.example.com", "*", true),
            ("k8s.example.com", "other, * ,more", true),
            ("k8s.example.com", " other ,  example.com ", true),
            ("k8s.example.com", "other example.com", false),
            ("k8s.example.com", "example.com:6443", true),
            ("k8s.example.com", "example.com:443", false),
            ("k8s.example.com", "example.com:", true),
            ("k8s.example.com", "example.com:6443:1", false),
            ("k8s.example.com", "https://k8s.example.com", false),
            ("k8s.example.com", "10.0.0.0/8", false),
            ("k8s.example.com", ",,:6443,", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.3:6443", true),
            ("10.1.2.3", "10.1.2.3:443", false),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("10.1.2.3", "10.1.2.3/8", true),
            ("10.1.2.3", "10.1.2.4/32", false),
            ("10.1.2.3", "11.0.0.0/8, 10.1.0.0/16", true),
            ("10.1.2.3", "0.0.0.0/0", true),
            ("10.1.2.3", "10.0.0.0/33", false),
            ("10.1.2.3", "10.0.0.0/8:6443", false),
            ("10.1.2.3", "010.1.2.3", false),
            ("10.1.2.3", ".3", false),
            ("10.1.2.3", "10.", false),
            ("10.1.2.3", "::ffff:10.1.2.3", true),
            ("10.1.2.3", "*", true),
            ("[2001:db8::1]", "2001:db8::1", true),
            ("[2001:db8::1]", "2001:DB8:0::1", true),
            ("[2001:db8::1]", "[2001:db8::1]", false),
            ("[2001:db8::1]", "[2001:db8::1]:6443", true),
            ("[2001:db8::1]", "[2001:db8::1]:443", false),
            ("[2001:db8::1]", "2001:db8::/32", true),
            ("[2001:db8::1]", "0.0.0.0/0", false),
            // Loopback goes past the proxy of the environment in any case; other names of it do not.
            ("localhost", "", true),
            ("127.0.0.1", "", true),
            ("127.9.9.9", "", true),
            ("[::1]", "", true),
            ("[::ffff:127.0.0.1]", "", true),
            ("localhost.localdomain", "", false),
            ("0.0.0.0", "", false),
        ];
        for (host, exempt, expected) in table {
            for name in ["NO_PROXY", "no_proxy"] {
                let of = [("HTTPS_PROXY", "http://proxy:3128"), (name, exempt)];
                let proxy = chosen(&format!("https://{host}:6443"), &of);
                let wanted = if expected { "-" } else { "http://proxy:3128/" };
                assert_eq!(proxy, wanted, "{host} with {exempt:?}");
            }
        }
        let default_port = [("HTTPS_PROXY", "proxy"), ("NO_PROXY", "example.com:443")];
        assert_eq!(chosen("https://example.com", &default_port), "-");
        let umlaut = [("HTTPS_PROXY", "proxy"), ("NO_PROXY", "a,kühe.example")];
        assert!(chosen("https://a.example", &umlaut).contains("NO_PROXY has the entry \"kühe.example\""));
    }

    #[test]
    fn which_variable_counts() {
        let https = "https://k8s.example.com:6443";
        for (of, expected) in [
            (vec![], "-"),
            (vec![("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:2")], "http://a:1/"),
            (vec![("HTTPS_PROXY", ""), ("https_proxy", "http://b:2")], "http://b:2/"),
            (
                vec![("HTTP_PROXY", "http://a:1"), ("ALL_PROXY", "http://b:2"), ("all_proxy", "http://b:2")],
                "-",
            ),
            (vec![("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", ""), ("no_proxy", "example.com")], "-"),
            (vec![("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", "x"), ("no_proxy", "*")], "http://a:1/"),
            // What is not asked is not judged.
            (vec![("HTTPS_PROXY", "::malformed::"), ("NO_PROXY", "*")], "-"),
        ] {
            assert_eq!(chosen(https, &of), expected, "{of:?}");
        }
        let both = [("HTTP_PROXY", "http://a:1"), ("HTTPS_PROXY", "http://b:2")];
        assert_eq!(chosen("http://k8s.example.com", &both), "http://a:1/");
    }

    #[test]
    fn addresses_of_proxies() {
        let from_variable = |value: &str| chosen("https://k8s.example.com", &[("HTTPS_PROXY", value)]);
        for (value, expected) in [
            ("http://proxy", "http://proxy:80/"),
            ("proxy:3128", "http://proxy:3128/"),
            ("10.0.0.1", "http://10.0.0.1:80/"),
            ("[2001:db8::1]:3128", "http://[2001:db8::1]:3128/"),
            ("https://proxy", "https://proxy:443/"),
            ("http://[2001:db8::1]", "http://[2001:db8::1]:80/"),
            ("socks5://proxy", "socks5://proxy:1080/"),
            ("socks5h://proxy:9", "socks5://proxy:9/"),
            ("http://u:p@proxy:3128/path", "http://u:p@proxy:3128/"),
            ("http://u:p%40ss@proxy", "http://u:p%40ss@proxy:80/"),
            ("http://u@proxy:1", "http://u:@proxy:1/"),
            ("u:p@proxy:3128", "http://u:p@proxy:3128/"),
        ] {
            assert_eq!(from_variable(value), expected, "{value}");
        }
        for value in [
            "ftp://proxy",
            "socks4://proxy:1",
            "http://",
            "http://:3128",
            "http://proxy:port",
            "http://proxy:99999",
            "http://u:p@ss@proxy",
            "socks5://u:secret@proxy",
            "http://a b",
            "http://secret\n",
            "://",
            "http:///x",
        ] {
            let why = from_variable(value);
            assert!(why.starts_with("error: HTTPS_PROXY cannot be used: "), "{value}: {why}");
            assert!(!why.contains("secret"), "{why}");
        }
        let of = "cluster \"c\" in /config";
        let told_by = of_kubeconfig("http://u:secret@proxy:3128", of).unwrap().told_by;
        assert_eq!(told_by, r#"http://proxy:3128 (proxy-url of cluster "c" in /config)"#);
        for value in ["proxy:3128", "socks5h://proxy", "proxy", "http//x", "socks4://p"] {
            assert!(of_kubeconfig(value, of).unwrap_err().contains("/config"), "{value}");
        }
    }
}
