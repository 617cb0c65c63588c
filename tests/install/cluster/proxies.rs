//! Connections through a proxy. `NO_PROXY` itself is a table of unit tests, in src/client/cluster/proxy.rs.

use serde_json::{Value, json};

use super::{
    admin,
    compare::{
        Expected::{self, KubectlAlone, Neither, Waits, Works},
        Given,
    },
    file, folder, kubeconfig,
    servers::{Kind, Proxy, Tls},
};

/// The control plane under a name that only a proxy can resolve, and other fields of its cluster.
#[allow(clippy::needless_pass_by_value, reason = "created in place")]
fn behind(more: Value) -> Value {
    let (_, authority, token) = admin();
    let mut cluster = json!({"server": "https://kubernetes.invalid:6443", "tls-server-name": "kubernetes.default",
        "certificate-authority": authority});
    for (name, value) in more.as_object().unwrap() {
        cluster[name] = value.clone();
    }
    kubeconfig(&cluster, &json!({"token": token}))
}

fn port() -> u16 {
    admin().0.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_the_environment() {
    let folder = folder("proxies");
    let proxy = Proxy::new(Kind::Http, port(), None);
    let socks = Proxy::new(Kind::Socks5, port(), None);
    let address = format!("127.0.0.1:{}", proxy.port);
    let url = format!("http://{address}");
    let given = |config: Value| Given::kubeconfig(file(&folder, "config", config.to_string()));
    let by_name = || given(behind(json!({})));
    let away: &[&str] = &["kubernetes.invalid"];
    for (row, given, expected, used) in [
        ("HTTPS_PROXY", by_name().with("HTTPS_PROXY", &*url), Works, true),
        ("https_proxy", by_name().with("https_proxy", &*url), Works, true),
        ("without a scheme", by_name().with("HTTPS_PROXY", &*address), Works, true),
        (
            "another's NO_PROXY",
            by_name().with("HTTPS_PROXY", &*url).with("NO_PROXY", "other, .kubernetes.invalid"),
            Works,
            true,
        ),
        // kube would compare it with the proxy's own address.
        (
            "NO_PROXY with the proxy's address",
            by_name().with("HTTPS_PROXY", &*url).with("NO_PROXY", "127.0.0.1,127.0.0.0/8"),
            Works,
            true,
        ),
        ("HTTP_PROXY is for others", by_name().with("HTTP_PROXY", &*url), Waits(away), false),
        ("ALL_PROXY is curl's", by_name().with("ALL_PROXY", &*url), Waits(away), false),
        ("empty", by_name().with("HTTPS_PROXY", ""), Waits(away), false),
        (
            "NO_PROXY",
            by_name().with("HTTPS_PROXY", &*url).with("NO_PROXY", "a, .invalid"),
            Waits(away),
            false,
        ),
        (
            "no_proxy with a port",
            by_name().with("HTTPS_PROXY", &*url).with("no_proxy", "kubernetes.invalid:6443"),
            Waits(away),
            false,
        ),
        ("NO_PROXY=*", by_name().with("HTTPS_PROXY", &*url).with("NO_PROXY", "*"), Waits(away), false),
    ] {
        given.compare(row, expected);
        // Neither of the two, or both.
        assert_eq!(proxy.used() >= 2, used, "{row}");
    }
    by_name().with("HTTPS_PROXY", format!("socks5://127.0.0.1:{}", socks.port)).compare("SOCKS5", Works);
    by_name().with("HTTPS_PROXY", format!("socks5h://127.0.0.1:{}", socks.port)).compare("SOCKS5h", Works);
    assert!(socks.used() >= 4);
    // Loopback addresses bypass it.
    let (server, authority, token) = admin();
    let local = given(kubeconfig(
        &json!({"server": server, "certificate-authority": authority}),
        &json!({"token": token}),
    ));
    local.with("HTTPS_PROXY", "http://127.0.0.1:1").compare("loopback", Works);
    // kubectl ignores what it cannot read.
    let malformed = by_name().with("HTTPS_PROXY", "http://u:hidden@pro xy");
    assert!(!malformed.kubectl().0);
    malformed.compare("malformed", Neither(&["HTTPS_PROXY", "not a URL"]));
    by_name()
        .with("HTTPS_PROXY", "ftp://127.0.0.1")
        .compare("another kind", Neither(&["HTTPS_PROXY", "ftp"]));
    by_name()
        .with("HTTPS_PROXY", "http://127.0.0.1:1")
        .compare("away", Waits(&["HTTPS_PROXY", "127.0.0.1:1"]));
    let plain = given(behind(json!({"server": "http://kubernetes.invalid"})));
    plain.with("HTTP_PROXY", &*url).compare("plain HTTP", Neither(&["HTTP_PROXY", "plain HTTP", "NO_PROXY"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_a_kubeconfig() {
    let folder = folder("proxy-url");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let (_, authority, _) = admin();
    let both = format!("{}{chain}", std::fs::read_to_string(authority).unwrap());
    let both = file(&folder, "both.crt", both);
    let tls = Tls { chain: &chain, key: &key, client: None };
    let proxy = |kind| Proxy::new(kind, port(), None);
    let [open, locked, empty, odd, away, forbids, socks, socks_locked] = [
        Kind::Http,
        Kind::HttpWithPassword("p"),
        Kind::HttpWithPassword(""),
        Kind::HttpWithPassword("p@ss"),
        Kind::HttpAway,
        Kind::HttpForbids,
        Kind::Socks5,
        Kind::Socks5WithPassword,
    ]
    .map(proxy);
    let over_tls = Proxy::new(Kind::Http, port(), Some(&tls));
    let config = folder.join("config").display().to_string();
    let config = &*config;
    let compare = |row: &str, given: &str, more: Value, expected: Expected| {
        let mut cluster = more;
        cluster["proxy-url"] = json!(given);
        let given = Given::kubeconfig(file(&folder, "config", behind(cluster).to_string()));
        // It wins over the environment.
        given.with("NO_PROXY", "*").with("HTTPS_PROXY", "http://127.0.0.1:1").compare(row, expected);
    };
    let at = |scheme: &str, credentials: &str, proxy: &Proxy| {
        format!("{scheme}://{credentials}127.0.0.1:{}", proxy.port)
    };
    let wants: &[&str] = &["the proxy wants other credentials", config];
    for (row, given, expected) in [
        ("http", at("http", "", &open), Works),
        ("credentials", at("http", "u:p@", &locked), Works),
        ("a name alone", at("http", "u@", &empty), Works),
        ("escaped credentials", at("http", "u:p%40ss@", &odd), Works),
        ("no credentials", at("http", "", &locked), Neither(wants)),
        ("wrong credentials", at("http", "u:hidden@", &locked), Neither(wants)),
        ("socks5", at("socks5", "", &socks), Works),
        (
            "socks5 that wants credentials",
            at("socks5", "", &socks_locked),
            Neither(&["SOCKS5 proxy wants credentials"]),
        ),
        (
            "socks5 with credentials",
            at("socks5", "u:hidden@", &socks),
            KubectlAlone(&[config, "SOCKS5", "not supported"]),
        ),
        (
            "https, not trusted",
            at("https", "", &over_tls),
            Neither(&["no certificate authority that is trusted", config]),
        ),
        ("no scheme", format!("127.0.0.1:{}", open.port), Neither(&[config, "proxy-url"])),
        ("another kind", at("ftp", "", &open), Neither(&[config, "ftp"])),
        ("no host", "http://".into(), Neither(&[config, "proxy-url"])),
        ("malformed", "http://pro xy".into(), Neither(&[config, "proxy-url"])),
        ("away", "http://127.0.0.1:1".into(), Waits(&[config, "refused"])),
        ("what is behind it is away", at("http", "", &away), Waits(&[config, "tunnel error: unsuccessful"])),
        // The HTTP library does not distinguish them.
        ("it forbids the way", at("http", "", &forbids), Waits(&[config, "tunnel error: unsuccessful"])),
    ] {
        compare(row, &given, json!({}), expected);
    }
    // The certificate of a proxy is verified as the server's is; so is the name, which cannot be changed for one of the
    // two.
    let trusting =
        json!({"certificate-authority": both, "tls-server-name": null, "server": "https://127.0.0.1:6443"});
    compare("https", &at("https", "", &over_tls), trusting, Works);
    assert!(over_tls.used() >= 2);
}
