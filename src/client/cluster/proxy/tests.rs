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
        (vec![("HTTP_PROXY", "http://a:1"), ("ALL_PROXY", "http://b:2"), ("all_proxy", "http://b:2")], "-"),
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
    let named = of_kubeconfig("http://u:secret@proxy:3128", of).unwrap().named;
    assert_eq!(named, r#"http://proxy:3128 (proxy-url of cluster "c" in /config)"#);
    for value in ["proxy:3128", "socks5h://proxy", "proxy", "http//x", "socks4://p"] {
        assert!(of_kubeconfig(value, of).unwrap_err().to_string().contains("/config"), "{value}");
    }
}
