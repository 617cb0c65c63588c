//! Certificates of all kinds, of servers and of clients; and servers without TLS.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};
use serde_json::{Value, json};

use super::{
    compare::{
        Expected::{self, KubectlAlone, Neither, Waits, Works},
        Given,
    },
    file, folder, kubeconfig,
    servers::{Tls, api_server, plain_server},
};

/// An authority of X.509 version 1, and its key: older versions of `openssl x509 -req` make these, and rcgen cannot.
const V1: &str = include_str!("v1.pem");

/// A certificate and its key, in PEM.
struct Made {
    certificate: String,
    key: String,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

/// A certificate for 127.0.0.1 with this change.
fn signed(by: &Issuer<'static, KeyPair>, change: impl FnOnce(&mut CertificateParams)) -> Made {
    let mut params = params("server");
    params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    Made { certificate: params.signed_by(&key, by).unwrap().pem(), key: key.serialize_pem() }
}

fn server(made: &Made) -> u16 {
    api_server(&Tls { chain: &made.certificate, key: &made.key, client: None })
}

/// Compares with the server on this port.
#[allow(clippy::too_many_arguments, reason = "a row has that many columns")]
fn at(folder: &Path, row: &str, port: u16, cluster: Value, user: &Value, expected: Expected) {
    let mut cluster = cluster;
    if cluster["server"].is_null() {
        cluster["server"] = json!(format!("https://127.0.0.1:{port}"));
    }
    let given = Given::kubeconfig(file(folder, "config", kubeconfig(&cluster, user).to_string()));
    given.compare(row, expected);
    // The gateway's own connection behaves the same.
    if matches!(expected, Neither(_)) {
        given.compare_as(&format!("gateway, {row}"), expected, &["gateway", "--plain-http"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::too_many_lines, reason = "it is a table")]
async fn servers_certificates() {
    let folder = folder("trust");
    let (issuer, ca) = authority("authority");
    let (_, other) = authority("other");
    let good = signed(&issuer, |_| {});
    let port = server(&good);
    let lines = ca.replace('\n', "\r\n");
    let rubbish = "Subject: x\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let crt = folder.join("ca.crt").display().to_string();
    let crt = &*crt;
    let with = |bundle: &str| {
        file(&folder, "ca.crt", bundle);
        json!({"certificate-authority": "ca.crt"})
    };
    let none = json!({"token": "any"});
    for (row, bundle, expected) in [
        ("one authority", ca.clone(), Works),
        ("CRLF", lines, Works),
        ("several", format!("{other}{ca}"), Works),
        ("several with rubbish", format!("{rubbish}{other}\nrubbish\n{ca}{rubbish}"), Works),
        ("without the last line break", ca.trim_end().to_owned(), Works),
        ("a key beside it", format!("{}{ca}", good.key), Works),
        ("another authority", other.clone(), Neither(&[crt, "no certificate authority that is trusted"])),
        ("rubbish alone", rubbish.to_owned(), Neither(&[crt, "holds no usable certificate"])),
        ("a key alone", good.key.clone(), Neither(&[crt, "holds no certificate"])),
        ("empty", String::new(), Neither(&[crt, "holds no certificate"])),
        ("the server's own", good.certificate.clone(), KubectlAlone(&[crt, "not the server's"])),
    ] {
        at(&folder, row, port, with(&bundle), &none, expected);
    }
    for (row, cluster, expected) in [
        (
            "a missing file",
            json!({"certificate-authority": "/no/such/ca"}),
            Neither(&["/no/such/ca cannot be read"]),
        ),
        (
            "a folder",
            json!({"certificate-authority": "/"}),
            Neither(&["certificate authority / cannot be read"]),
        ),
        (
            "no base64",
            json!({"certificate-authority-data": "%"}),
            Neither(&["certificate-authority-data", "base64"]),
        ),
        ("base64 of rubbish", json!({"certificate-authority-data": "QUFB"}), Neither(&["holds no "])),
        ("none", json!({}), Neither(&["the system's certificate authorities"])),
        ("none wanted", json!({"insecure-skip-tls-verify": true}), Works),
    ] {
        at(&folder, row, port, cluster, &none, expected);
    }

    let self_signed = |ca: IsCa| {
        let mut params = params("self");
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        params.is_ca = ca;
        let key = KeyPair::generate().unwrap();
        Made { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    };
    let leaf = self_signed(IsCa::ExplicitNoCa);
    at(&folder, "a leaf that signed itself", server(&leaf), with(&leaf.certificate), &none, Works);
    let leaf = self_signed(IsCa::Ca(BasicConstraints::Unconstrained));
    let expected = KubectlAlone(&[crt, "the certificate of a certificate authority as its own"]);
    at(&folder, "an authority as a server", server(&leaf), with(&leaf.certificate), &none, expected);

    let (v1, v1_key) = V1.split_at(V1.find("-----BEGIN EC").unwrap());
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "v1-authority");
    let pkcs8 = of_openssl(&folder, &["pkcs8", "-topk8", "-nocrypt"], v1_key);
    let below = signed(&Issuer::new(params, KeyPair::from_pem(&pkcs8).unwrap()), |_| {});
    at(&folder, "an authority of version 1", server(&below), with(v1), &none, Works);
    let version_1 = Made { certificate: v1.to_owned(), key: pkcs8 };
    at(&folder, "a server of version 1", server(&version_1), with(v1), &none, Neither(&["X.509 version 3"]));

    let bundle = with(&ca);
    let expired = signed(&issuer, |p| {
        (p.not_before, p.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    });
    at(&folder, "expired", server(&expired), bundle.clone(), &none, Neither(&["has expired", "clock"]));
    let early = signed(&issuer, |p| {
        (p.not_before, p.not_after) = (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
    });
    at(&folder, "not valid yet", server(&early), bundle.clone(), &none, Neither(&["not valid yet"]));
    let elsewhere =
        signed(&issuer, |p| p.subject_alt_names = vec![SanType::DnsName("a.example".try_into().unwrap())]);
    let port = server(&elsewhere);
    at(
        &folder,
        "another name",
        port,
        bundle.clone(),
        &none,
        Neither(&["a.example", "127.0.0.1", "tls-server-name"]),
    );
    let mut named = bundle.clone();
    named["tls-server-name"] = json!("a.example");
    at(&folder, "tls-server-name", port, named.clone(), &none, Works);
    named["tls-server-name"] = json!("b.example");
    at(&folder, "another tls-server-name", port, named.clone(), &none, Neither(&["b.example"]));
    named["tls-server-name"] = json!("not a name");
    at(&folder, "no name", port, named, &none, Neither(&["tls-server-name"]));
    let chain = Made { certificate: format!("{}{ca}", good.certificate), ..good };
    at(&folder, "with its authority", server(&chain), bundle.clone(), &none, Works);
    at(
        &folder,
        "401",
        server(&chain),
        bundle,
        &json!({"token": "wrong"}),
        Neither(&["401", "the token of user \"main\""]),
    );
}

/// The output of the tool for this input.
fn of_openssl(folder: &Path, arguments: &[&str], text: &str) -> String {
    let input = file(folder, "openssl-input.pem", text);
    let output =
        std::process::Command::new("openssl").args(arguments).arg("-in").arg(input).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A self-signed client certificate, and its key, as openssl makes both.
fn client(folder: &Path, algorithm: &[&str]) -> Made {
    let [key, certificate] = ["new.key", "new.crt"].map(|name| folder.join(name));
    let output = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-nodes",
            "-subj",
            "/CN=client",
            "-days",
            "36500",
            "-addext",
            "basicConstraints=CA:FALSE",
        ])
        .arg("-newkey")
        .args(algorithm)
        .args(["-keyout", key.to_str().unwrap(), "-out", certificate.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |path| std::fs::read_to_string(path).unwrap();
    Made { certificate: read(certificate), key: read(key) }
}

/// A new subfolder.
fn new_folder(folder: &Path) -> PathBuf {
    let path = folder.join(uuid::Uuid::new_v4().to_string());
    std::fs::create_dir(&path).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_certificates() {
    let folder = folder("clients");
    let (issuer, ca) = authority("authority");
    file(&folder, "ca.crt", &ca);
    let cluster = json!({"certificate-authority": "ca.crt"});
    let good = signed(&issuer, |_| {});
    let asking_for =
        |client: &str| api_server(&Tls { chain: &good.certificate, key: &good.key, client: Some(client) });
    let files = |certificate: &str, key: &str| {
        // Each has a folder of its own.
        let subfolder = new_folder(&folder);
        file(&subfolder, "client.crt", certificate);
        file(&subfolder, "client.key", key);
        json!({"client-certificate": subfolder.join("client.crt"), "client-key": subfolder.join("client.key")})
    };
    let crt = "/client.crt";

    let rsa = client(&folder, &["rsa:2048"]);
    let curve = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let ec = client(&folder, &curve);
    let p384 = client(&folder, &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]);
    let p521 = client(&folder, &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"]);
    let ed25519 = client(&folder, &["ed25519"]);
    let small = client(&folder, &["rsa:1024"]);
    let pkcs1 = of_openssl(&folder, &["rsa", "-traditional"], &rsa.key);
    let sec1 = of_openssl(&folder, &["ec"], &ec.key);
    let parameters = of_openssl(&folder, &["ecparam", "-name", "prime256v1"], "");
    let encrypted = of_openssl(&folder, &["pkcs8", "-topk8", "-passout", "pass:x"], &rsa.key);
    let unfit: &[&str] = &[crt, "cannot be used"];
    for (row, made, key, expected) in [
        ("RSA, PKCS#8", &rsa, &rsa.key, Works),
        ("RSA, PKCS#1", &rsa, &pkcs1, Works),
        ("ECDSA, PKCS#8", &ec, &ec.key, Works),
        ("ECDSA, SEC1", &ec, &sec1, Works),
        ("ECDSA, SEC1 with parameters", &ec, &format!("{parameters}{sec1}"), Works),
        ("P-384", &p384, &p384.key, Works),
        ("Ed25519", &ed25519, &ed25519.key, Works),
        ("CRLF", &ec, &ec.key.replace('\n', "\r\n"), Works),
        ("the key of another", &ec, &p384.key, Neither(unfit)),
        ("the key of another kind", &ec, &rsa.key, Neither(unfit)),
        ("encrypted", &rsa, &encrypted, Neither(unfit)),
        ("no key", &rsa, &rsa.certificate, Neither(unfit)),
        ("empty", &rsa, &String::new(), Neither(unfit)),
    ] {
        at(
            &folder,
            row,
            asking_for(&made.certificate),
            cluster.clone(),
            &files(&made.certificate, key),
            expected,
        );
    }
    let plain = server(&good);
    let missing = json!({"client-certificate": "/no/such/crt", "client-key": "/no/such/key"});
    let (v1, v1_key) = V1.split_at(V1.find("-----BEGIN EC").unwrap());
    for (row, port, user, expected) in [
        ("missing files", plain, missing, Neither(&["/no/such/crt"])),
        ("no certificate", asking_for(&ec.certificate), files(&rsa.key, &rsa.key), Neither(unfit)),
        (
            "no base64",
            plain,
            json!({"client-certificate-data": "%", "client-key-data": "%"}),
            Neither(&["client-certificate-data"]),
        ),
        ("P-521", plain, files(&p521.certificate, &p521.key), KubectlAlone(unfit)),
        ("RSA of 1024 bits", plain, files(&small.certificate, &small.key), KubectlAlone(unfit)),
        ("version 1", plain, files(v1, v1_key), KubectlAlone(&[crt, "X.509 version 3"])),
        // This server ends the handshake, where an API server answers 401.
        (
            "one that is not accepted",
            asking_for(&ec.certificate),
            files(&rsa.certificate, &rsa.key),
            Neither(&["does not accept the client certificate", crt]),
        ),
        (
            "none where one is wanted",
            asking_for(&ec.certificate),
            json!({}),
            Neither(&["does not accept the client certificate"]),
        ),
    ] {
        at(&folder, row, port, cluster.clone(), &user, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_none_or_away() {
    let folder = folder("servers");
    let version = r#"{"major": "1", "minor": "33", "gitVersion": "v1.33.0"}"#;
    let plain = plain_server(200, None, version);
    // The listener is closed again at once.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (issuer, ca) = authority("authority");
    file(&folder, "ca.crt", ca);
    let tls = server(&signed(&issuer, |_| {}));
    let moved = plain_server(302, Some(("location", "/login")), "");
    let url =
        |scheme: &str, port: u16, path: &str| json!({"server": format!("{scheme}://127.0.0.1:{port}{path}")});
    let trusting = |path: &str| json!({"server": format!("https://127.0.0.1:{tls}{path}"), "certificate-authority": "ca.crt"});
    let server = |text: &str| json!({"server": text});
    let config = folder.join("config").display().to_string();
    let config = &*config;
    let token = json!({"token": "wrong"});
    let none = json!({"token": "any"});
    for (row, cluster, user, expected) in [
        ("plain HTTP", url("http", plain, ""), &none, Works),
        ("plain HTTP with a path", url("http", plain, "/clusters/a/"), &none, Works),
        ("HTTPS with a path", trusting("/clusters/a"), &none, Works),
        // As kubectl: no token over plain HTTP.
        ("a token over plain HTTP", url("http", plain_server(200, None, version), ""), &token, Works),
        ("no scheme", server(&format!("127.0.0.1:{plain}")), &none, KubectlAlone(&[config, "has no scheme"])),
        ("another scheme", server("ftp://127.0.0.1"), &none, Neither(&[config, "ftp"])),
        ("no port", server("https://127.0.0.1:99999"), &none, Neither(&[config, "99999"])),
        ("no URL", server("https://a b"), &none, Neither(&[config])),
        (
            "credentials",
            server(&format!("http://u:hidden@127.0.0.1:{plain}")),
            &none,
            KubectlAlone(&[config, "credentials"]),
        ),
        ("TLS where there is none", url("https", plain, ""), &none, Neither(&["does not speak TLS", config])),
        ("no TLS where there is", url("http", tls, ""), &none, Waits(&[])),
        (
            "404",
            url("http", plain_server(404, None, "nginx"), ""),
            &none,
            Neither(&["404", "GET /version", config]),
        ),
        (
            "400",
            url("http", plain_server(400, None, "sent HTTP to HTTPS"), ""),
            &none,
            Neither(&["400", config]),
        ),
        (
            "401 of something before it",
            url("http", plain_server(401, None, ""), ""),
            &none,
            Neither(&["401", "none (user"]),
        ),
        ("a redirect to a login", url("http", moved, ""), &none, Neither(&["302", config])),
        (
            "a page",
            url("http", plain_server(200, None, "<html>"), ""),
            &none,
            KubectlAlone(&["no API server", config]),
        ),
        ("503", url("http", plain_server(503, None, "not ready"), ""), &none, Waits(&["503", "not ready"])),
        ("502", url("http", plain_server(502, None, ""), ""), &none, Waits(&["502"])),
        ("429", url("http", plain_server(429, None, ""), ""), &none, Waits(&["429"])),
        ("nobody listens", url("http", nobody, ""), &none, Waits(&["refused"])),
        ("no such name", server("https://kubernetes.invalid:6443"), &none, Waits(&["kubernetes.invalid"])),
        ("silence", url("http", silent.local_addr().unwrap().port(), ""), &none, Waits(&["no answer"])),
    ] {
        at(&folder, row, 0, cluster, user, expected);
    }
    drop(silent);
}
