//! TLS and its certificate, HTTP/2, the log at its most verbose, and graceful shutdown.

use std::path::{Path, PathBuf};

use ai_api_operator::api::Kind;
use http::Version;
use kube::api::ListParams;
use serde_json::{Value, json};
use support::{
    World,
    gateway::{Caller, Gateway, http_client},
    until,
};

const PATH: &str = "/v2/lm/executions";

/// A self-signed certificate and its key, in two files.
struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    /// The certificate that a client has to trust.
    root: Vec<u8>,
}

impl Certificate {
    fn make(folder: &Path, name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let this = Self {
            chain: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
            root: made.cert.der().to_vec(),
        };
        std::fs::write(&this.chain, made.cert.pem()).unwrap();
        std::fs::write(&this.key, made.signing_key.serialize_pem()).unwrap();
        this
    }

    fn arguments(&self) -> [&str; 4] {
        let [chain, key] = [&self.chain, &self.key].map(|path| path.to_str().unwrap());
        ["--tls-cert-file", chain, "--tls-private-key-file", key]
    }

    /// The same caller over TLS, trusting only this certificate.
    fn trusted_by(&self, caller: &Caller, gateway: &Gateway) -> Caller {
        let base = format!("https://{}", gateway.address);
        Caller { base, http: http_client(Some(self.root.clone())), ..caller.clone() }
    }
}

fn stop(id: &str) -> Value {
    json!({"executions": [{"id": id, "targetStatus": "STOPPED"}]})
}

/// Whether a new connection succeeds.
async fn connects(caller: &Caller) -> bool {
    caller.raw("GET", "/openapi.yaml", &[], "").await.is_ok()
}

#[tokio::test]
async fn over_tls_it_speaks_http_2_and_reloads_its_certificate() {
    let world = World::running("gw-tls").await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    let first = Certificate::make(&world.plane.folder, "gw-tls");
    let gateway = Gateway::start_with(&world, &first.arguments(), "info").await;
    let plain = gateway.caller(&world, "caller").await;
    let caller = first.trusted_by(&plain, &gateway);
    let answer = caller.patch(PATH, &stop("running-1")).await;
    assert_eq!(answer.ok(202)["executions"][0]["message"], "Execution modification scheduled");
    assert_eq!(answer.version, Version::HTTP_2);
    assert!(!connects(&plain).await, "no TLS");

    // An unusable one changes nothing.
    let second = Certificate::make(&world.plane.folder, "gw-tls-second");
    std::fs::copy(&second.chain, &first.chain).unwrap();
    until("the complaint", || async { gateway.log().contains("cannot use the new certificate") }).await;
    assert!(connects(&first.trusted_by(&plain, &gateway)).await);
    assert!(!connects(&second.trusted_by(&plain, &gateway)).await);

    // New connections use a new one, and existing connections stay.
    std::fs::copy(&second.key, &first.key).unwrap();
    until("the new certificate", || async { connects(&second.trusted_by(&plain, &gateway)).await }).await;
    assert!(!connects(&first.trusted_by(&plain, &gateway)).await);
    caller.get(PATH).await.ok(200);
}

#[tokio::test]
async fn without_a_certificate_that_can_be_used_it_does_not_start() {
    let world = World::new("gw-no-tls").await;
    let folder = &world.plane.folder;
    let [one, other] = ["gw-one", "gw-other"].map(|name| Certificate::make(folder, name));
    let missing = folder.join("not-there.crt");
    let [one_chain, one_key, other_key, missing] =
        [&one.chain, &one.key, &other.key, &missing].map(|path| path.to_str().unwrap());
    for (arguments, says) in [
        (vec![], "--tls-cert-file <FILE>"),
        (vec!["--tls-cert-file", one_chain], "--tls-private-key-file <FILE>"),
        (vec!["--tls-private-key-file", one_key], "--tls-cert-file <FILE>"),
        (
            vec!["--plain-http", "--tls-cert-file", one_chain, "--tls-private-key-file", one_key],
            "cannot be used with",
        ),
        (vec!["--tls-cert-file", missing, "--tls-private-key-file", one_key], "not-there.crt: No such file"),
        (
            vec!["--tls-cert-file", one_chain, "--tls-private-key-file", other_key],
            "are not a certificate chain and its key",
        ),
        (
            vec!["--tls-cert-file", one_key, "--tls-private-key-file", one_chain],
            "are not a certificate chain and its key",
        ),
    ] {
        let mut gateway = Gateway::spawn(&world, &arguments, "info").await;
        until("the end", || std::future::ready(gateway.ended().is_some())).await;
        assert!(!gateway.ended().unwrap().success());
        assert!(gateway.log().contains(says), "{}", gateway.log());
    }
}

#[tokio::test]
async fn no_token_is_in_the_log_at_any_level() {
    let world = World::running("gw-trace").await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    world.own(Kind::Execution, "running-2", "RUNNING").await;
    let certificate = Certificate::make(&world.plane.folder, "gw-trace");
    for (arguments, id) in
        [(certificate.arguments().to_vec(), "running-1"), (vec!["--plain-http"], "running-2")]
    {
        let gateway = Gateway::start_with(&world, &arguments, "trace").await;
        let plain = gateway.caller(&world, "caller").await;
        let tls = arguments.len() > 1;
        let caller = if tls { certificate.trusted_by(&plain, &gateway) } else { plain };
        caller.patch(PATH, &stop(id)).await.ok(202);
        caller.get(PATH).await.ok(200);
        caller.get("/v2/lm/meta").await.ok(200);
        let elsewhere = Caller { namespace: "kube-system".into(), ..caller.clone() };
        elsewhere.patch(PATH, &stop(id)).await.error(403);
        let forged = Caller { token: format!("{}forged", caller.token), ..caller.clone() };
        forged.get(PATH).await.error(401);
        // With characters that no token has.
        let odd = Caller { token: format!("{} {}", caller.token, caller.token), ..caller.clone() };
        odd.get(PATH).await.error(401);
        let log = gateway.log();
        assert!(log.contains(" TRACE ") && log.contains("answered"), "it is verbose");
        assert!(!tls || log.contains("h2::"), "HTTP/2 is verbose");
        for token in [&caller.token, &gateway.token] {
            // The last part is the signature, without which the others are useless; but none may be logged.
            for part in token.split('.') {
                assert!(part.len() > 40);
                let line = log.lines().find(|line| line.contains(part));
                assert_eq!(line, None, "TLS: {tls}");
            }
        }
    }
}

#[tokio::test]
async fn on_sigterm_it_finishes_requests_in_flight_and_accepts_no_new_ones() {
    let world = World::running("gw-end").await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    let mut gateway = Gateway::start(&world).await;
    let caller = gateway.caller(&world, "caller").await;
    // An idle connection delays nothing.
    caller.get(PATH).await.ok(200);
    world.operator.signal("STOP");
    let under_way = tokio::spawn({
        let caller = Caller { http: http_client(None), ..caller.clone() };
        async move { caller.patch(PATH, &stop("running-1")).await }
    });
    until("a BulkUpdate", || async {
        !world.bulk_updates().list(&ListParams::default()).await.unwrap().items.is_empty()
    })
    .await;
    gateway.signal("TERM");
    until("it is not ready", || async { gateway.probe("/readyz").await.status == 503 }).await;
    assert_eq!(gateway.probe("/livez").await.status, 200);
    let newcomer = Caller { http: http_client(None), ..caller };
    until("nothing new is taken", || async { !connects(&newcomer).await }).await;
    assert_eq!(gateway.ended(), None);
    world.operator.signal("CONT");
    let answer = under_way.await.unwrap().ok(202);
    assert_eq!(answer["executions"][0]["message"], "Execution modification scheduled");
    until("the end", || std::future::ready(gateway.ended().is_some())).await;
    assert!(gateway.ended().unwrap().success(), "{}", gateway.log());
}
