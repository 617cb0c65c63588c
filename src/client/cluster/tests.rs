use super::*;

/// A folder of its own.
fn folder() -> PathBuf {
    let path = std::env::temp_dir().join(format!("cluster-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&path).unwrap();
    path
}

fn authority() -> String {
    rcgen::generate_simple_self_signed(["kubernetes".to_owned()]).unwrap().cert.pem()
}

/// What is found in a Pod with these variables, whose folder holds these files.
fn in_pod(files: &[(&str, &[u8])], variables: &[(&str, &str)]) -> Result<Cluster, Misconfigured> {
    let folder = folder();
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    find(None, None, &folder, |name| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    })
}

#[test]
fn a_pod_reaches_its_cluster_by_its_service_account() {
    let authority = authority();
    let token: (&str, &[u8]) = ("token", b"abc\n");
    let ca: (&str, &[u8]) = ("ca.crt", authority.as_bytes());
    let port = ("KUBERNETES_SERVICE_PORT", "443");
    for (host, url) in [
        ("10.0.0.1", "https://10.0.0.1:443/"),
        ("2001:db8::1", "https://[2001:db8::1]:443/"),
        ("kubernetes.default.svc", "https://kubernetes.default.svc:443/"),
    ] {
        let host = ("KUBERNETES_SERVICE_HOST", host);
        let found = in_pod(&[token, ca, ("namespace", b"team-a\n")], &[host, port]).unwrap();
        assert_eq!(
            (found.config.cluster_url.to_string(), &*found.config.default_namespace),
            (url.to_owned(), "team-a")
        );
        assert!(found.token.is_some() && found.config.auth_info.token.is_none());
    }
    let host = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    assert_eq!(in_pod(&[token, ca], &[host, port]).unwrap().config.default_namespace, "default");
    // A file that is not there is skipped, as in a list.
    let none = ("KUBECONFIG", "/no/such/file:/nor/this");
    assert!(in_pod(&[token, ca], &[host, port, none]).is_ok());
    let proxy = ("HTTPS_PROXY", "http://u:secret@proxy:3128");
    let proxied = in_pod(&[token, ca], &[host, port, proxy]).unwrap();
    assert_eq!(proxied.config.proxy_url.unwrap().port_u16(), Some(3128));
    assert!(!format!("{:?}", proxied.sources).contains("secret"));
    let exempt = ("NO_PROXY", "10.0.0.0/8");
    assert!(in_pod(&[token, ca], &[host, port, proxy, exempt]).unwrap().config.proxy_url.is_none());

    for (files, variables, words) in [
        (vec![token, ca], vec![port], vec!["KUBERNETES_SERVICE_HOST", "--kubeconfig"]),
        (vec![token, ca], vec![("KUBERNETES_SERVICE_HOST", ""), port], vec!["KUBERNETES_SERVICE_HOST"]),
        (vec![token, ca], vec![host], vec!["KUBERNETES_SERVICE_PORT"]),
        (vec![token, ca], vec![host, ("KUBERNETES_SERVICE_PORT", "https")], vec!["KUBERNETES_SERVICE_PORT"]),
        (vec![token, ca], vec![("KUBERNETES_SERVICE_HOST", "a b"), port], vec!["KUBERNETES_SERVICE_HOST"]),
        (vec![ca], vec![host, port], vec!["/token"]),
        (vec![("token", b""), ca], vec![host, port], vec!["/token", "is empty"]),
        (vec![token], vec![host, port], vec!["/ca.crt cannot be read"]),
        (vec![token, ("ca.crt", b"")], vec![host, port], vec!["/ca.crt holds no certificate"]),
        (vec![token, ca], vec![host, port, ("HTTPS_PROXY", "ftp://p")], vec!["HTTPS_PROXY", "ftp"]),
        (vec![], vec![("HOME", "/nowhere")], vec!["/nowhere/.kube/config does not exist"]),
        (vec![], vec![none], vec!["KUBECONFIG (/no/such/file:/nor/this) does not exist"]),
        (vec![], vec![], vec!["HOME is not set"]),
    ] {
        let why = in_pod(&files, &variables).unwrap_err().to_string();
        for word in words {
            assert!(why.contains(word), "{word} is not in: {why}");
        }
    }
}

#[test]
fn urls_of_servers() {
    for url in
        ["https://a", "https://a:6443", "http://127.0.0.1:8001", "https://[::1]:6443", "https://a/k8s/c/x"]
    {
        assert!(server_url(url).is_ok(), "{url}");
    }
    for url in [
        "",
        "a",
        "a:6443",
        "127.0.0.1:6443",
        "/a",
        "ftp://a",
        "https://",
        "https://:6443",
        "https://a:99999",
        "https://a:port",
        "https://a:0",
        "https://u:secret@a",
        "https://a/?q=1",
        "https://a b",
        "https:///a",
        "HTTPS//a",
    ] {
        let why = server_url(url).unwrap_err().of("the server of cluster c in /config").to_string();
        assert!(why.contains("/config") && !why.contains("secret"), "{why}");
    }
}

#[test]
fn authorities_are_found_among_other_things() {
    let [one, two] = [authority(), authority()];
    let lines = |text: &str| text.replace('\n', "\r\n");
    let rubbish =
        "Subject: x\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN X-----\nAA\n";
    let bad_base64 = "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n";
    for (bundle, found) in [
        (one.clone(), 1),
        (lines(&one), 1),
        (format!("{one}{two}"), 2),
        (format!("{one}\nrubbish\n{two}"), 2),
        (format!("{bad_base64}{one}{rubbish}"), 1),
        (one.trim_end().to_owned(), 1),
    ] {
        assert_eq!(trust::authorities(bundle.as_bytes()).unwrap().len(), found, "{bundle}");
    }
    for bundle in ["", "rubbish", rubbish, bad_base64, "-----BEGIN CERTIFICATE-----\n"] {
        assert!(trust::authorities(bundle.as_bytes()).is_err(), "{bundle}");
    }
}
