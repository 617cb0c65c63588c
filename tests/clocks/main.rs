//! Wrong clocks of operator and gateway: each promise about time is based on the API server's clock.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use ai_api_operator::api::{BulkUpdate, BulkUpdateStatus, Kind};
use k8s_openapi::{
    api::coordination::v1::Lease,
    jiff::{SignedDuration, Timestamp},
};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Value, json};
use support::{World, audit::Request, built, gateway::Gateway, outcome, until, within};

const KIND: Kind = Kind::Execution;

/// Its state is kept by another controller, which never does anything here.
const OTHER: &str = "pipelines.example.com/runner";

/// How old a certificate has to be to be valid by the clock that is furthest behind: the API server backdates its own
/// one by an hour.
const VALID_AFTER: Duration = Duration::from_secs(3700 - 3600 + 2);

/// The library that is preloaded to shift a process' clock.
fn library() -> &'static Path {
    static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
        let built = built::folder().join("shift.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clocks/shift.c");
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&built).arg(source);
        assert!(cc.status().expect("a C compiler, cc, is needed").success());
        built
    });
    &LIBRARY
}

/// A world in which the clocks of operator and gateway are wrong by this many seconds.
struct Shifted {
    world: World,
    seconds: i64,
}

impl Shifted {
    async fn new(name: &str, seconds: i64) -> Self {
        Self { world: World::new(name).await, seconds }
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", library().to_str().unwrap().to_owned()),
            ("CLOCK_SHIFT", self.seconds.to_string()),
        ]
    }

    fn start(&mut self) {
        let environment = self.environment();
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, &**value)).collect();
        self.world.operator.start_with(&["--require-admission-policy=true"], &environment);
    }

    fn print(&self, what: &str, how: impl std::fmt::Display) {
        println!("clock shifted by {:+} s: {what}: {how}", self.seconds);
    }

    async fn is_ready(&mut self) {
        self.world.operator.until_ready().await;
        self.print("readiness", "ready");
        let of_lease = r"jsonpath={.metadata.annotations.aiapi\.dev/admission-accepted}";
        until("the policy is accepted", || async {
            !self.world.kubectl_ok(&["get", "lease", "ai-api-operator", "-o", of_lease], "").is_empty()
        })
        .await;
        assert!(self.world.operator.is_running());
        self.print("the admission policy", "accepted, and so is what is created from now on");
    }

    async fn keeps_its_lease(&self) {
        let leases: Api<Lease> = Api::namespaced(self.world.client.clone(), &self.world.namespace);
        let seen = async || {
            let lease = leases.get("ai-api-operator").await.unwrap();
            (lease.resource_version().unwrap(), lease.spec.unwrap().holder_identity.unwrap())
        };
        let first = seen().await;
        for renewal in 1..=2 {
            let before = seen().await;
            until("a renewal", || async { seen().await.0 != before.0 }).await;
            assert_eq!(seen().await.1, first.1, "{renewal}");
        }
        self.print("the Lease", "renewed, and not taken by another");
    }

    /// For a running target, stopped under this condition.
    async fn stop(&self, name: &str, more: Value) -> BulkUpdateStatus {
        self.world.own(KIND, name, "RUNNING").await;
        let mut spec = json!({"executions": [{"id": name, "targetStatus": "STOPPED"}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.world.carry_out(name, spec).await
    }

    async fn short_starting_deadline(&self) {
        let status = self.stop("starting-deadline", json!({"startingDeadlineSeconds": 5})).await;
        assert_eq!(outcome(&status, KIND, "starting-deadline"), "Settled", "{status:#?}");
        self.print("startingDeadlineSeconds: 5", "carried out");
        // Recorded times are comparable with those that the API server writes.
        let target = self.world.find(KIND, "starting-deadline").await.unwrap();
        let stopped: Timestamp =
            target.data["status"]["stopRequest"]["time"].as_str().unwrap().parse().unwrap();
        let (start, end) = (status.start_time.unwrap().0, status.completion_time.unwrap().0);
        let created = target.creation_timestamp().unwrap().0;
        for (what, time) in [("startTime", start), ("completionTime", end), ("stopRequest.time", stopped)] {
            let since = time.duration_since(created);
            assert!(
                (-2..=60).contains(&since.as_secs()),
                "{what} is {time}, and its target was created at {created}"
            );
        }
        self.print("startTime, completionTime, stopRequest.time", "the API server's");
    }

    async fn not_after(&self) {
        let end = |seconds| json!({"notAfter": (Timestamp::now() + SignedDuration::from_secs(seconds)).to_string()});
        let status = self.stop("not-after-ahead", end(40)).await;
        assert_eq!(outcome(&status, KIND, "not-after-ahead"), "Settled", "{status:#?}");
        let status = self.stop("not-after-past", end(-3)).await;
        let accepted = status.condition("Accepted").unwrap();
        assert_eq!((&*accepted.status, &*accepted.reason), ("False", "DeadlineExceeded"));
        assert_eq!(self.world.find(KIND, "not-after-past").await.unwrap().data["status"]["state"], "RUNNING");
        // By its own clock it would not have passed: then, and only then, this is reported.
        let reported = accepted.message.contains("by the API server's clock");
        assert_eq!(reported, self.seconds < 0, "{}", accepted.message);
        self.print("notAfter", format_args!("kept: {}", accepted.message));
    }

    /// When the API server received a matching request about a BulkUpdate from any user; its audit log has it a moment
    /// later.
    async fn received(&self, name: &str, is_it: impl Fn(&Request) -> bool) -> Timestamp {
        let found = || {
            let all = self.world.requests_of_all();
            all.into_iter().find(|r| r.resource == "bulkupdates" && r.name == name && is_it(r))
        };
        until("the audit log's line", || std::future::ready(found().is_some())).await;
        found().unwrap().received.parse().unwrap()
    }

    async fn created(&self, name: &str) -> Timestamp {
        self.received(name, |r| r.verb == "create" && r.succeeded()).await
    }

    async fn active_deadline(&self) {
        let names: Vec<_> = (0..10).map(|n| format!("active-deadline-{n}")).collect();
        for name in &names {
            self.world.target(KIND, name, json!({"managedBy": OTHER}), json!({"state": "RUNNING"})).await;
        }
        self.world.next_second().await;
        let begin = Timestamp::now();
        for (name, part) in names.iter().zip(0..) {
            // At various fractions of a second.
            let time = begin + SignedDuration::from_millis(110 * part);
            until("the next part of a second", || std::future::ready(Timestamp::now() >= time)).await;
            let spec =
                json!({"executions": [{"id": name, "targetStatus": "STOPPED"}], "activeDeadlineSeconds": 1});
            self.world.submit_at_once(name, spec).await;
        }
        for name in &names {
            let status = self.world.finished(name).await;
            // On a busy machine a second may not be enough for the write.
            let outcome = outcome(&status, KIND, name);
            assert!(
                ["Failed NotSettledInTime", "Failed DeadlineExceeded"].contains(&&*outcome),
                "{status:#?}"
            );
            let ends = |r: &Request| {
                r.is_record() && r.succeeded() && r.body["status"]["completionTime"].is_string()
            };
            let over = self.received(name, ends).await;
            let took = over.duration_since(self.created(name).await);
            assert!(took >= SignedDuration::from_secs(1), "it ended {took:?} after its creation");
        }
        self.print("activeDeadlineSeconds: 1", "never early, and not late by the shift");
    }

    async fn ttl(&self) {
        self.stop("time-to-live", json!({"ttlSecondsAfterFinished": 2})).await;
        let gone = async || self.world.bulk_updates().get_opt("time-to-live").await.unwrap().is_none();
        until("the TTL", gone).await;
        // Whatever the answer: the watch may report first that the object is gone, and then nobody waits for the
        // answer.
        let deleted = self.received("time-to-live", |r| r.verb == "delete").await;
        let took = deleted.duration_since(self.created("time-to-live").await);
        assert!(took >= SignedDuration::from_secs(2), "it was deleted {took:?} after its creation");
        self.print("ttlSecondsAfterFinished: 2", "deleted, and not early");
    }

    fn skew_in(&self, metrics: &str) {
        let line = metrics.lines().find(|l| l.starts_with("aiapi_clock_skew_seconds ")).unwrap();
        let skew: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        #[allow(clippy::cast_precision_loss, reason = "an hour or so")]
        let expected = -self.seconds as f64;
        assert!((skew - expected).abs() <= 2.0, "{line}");
    }

    fn reports_the_skew(&self, log: &str, of: &str, metrics: &str) {
        self.skew_in(metrics);
        let reported =
            log.lines().filter(|l| l.contains("WARN") && l.contains("the API server's clock")).count();
        assert_eq!(reported, 1, "{log}");
        self.print("the skew", format_args!("a metric and one line in the log of the {of}"));
    }

    async fn gateway(&self) {
        let environment = self.environment();
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, &**value)).collect();
        let gateway = Gateway::start_in(&self.world, &["--plain-http"], "info", &environment).await;
        let caller = gateway.caller(&self.world, "caller").await;
        self.world.own(KIND, "through-gateway", "RUNNING").await;
        let body = json!({"executions": [{"id": "through-gateway", "targetStatus": "STOPPED"}]});
        let answer = caller.patch("/v2/lm/executions", &body).await.ok(202);
        assert_eq!(answer["executions"][0]["message"], "Execution modification scheduled", "{answer}");
        let made = self.world.bulk_updates().list(&ListParams::default()).await.unwrap();
        let made: &BulkUpdate = made.iter().find(|b| b.name_any().starts_with("request-")).unwrap();
        let left =
            made.spec.not_after.as_ref().unwrap().0.duration_since(made.creation_timestamp().unwrap().0);
        assert!((43..=46).contains(&left.as_secs()), "{left:?}");
        self.print("the gateway", "carried out, with a notAfter by the API server's clock");
        let metrics = gateway.probe("/metrics").await.text;
        self.reports_the_skew(&gateway.log(), "gateway", &metrics);
    }

    async fn keeps_every_promise(&mut self) {
        self.is_ready().await;
        self.keeps_its_lease().await;
        self.short_starting_deadline().await;
        self.not_after().await;
        self.active_deadline().await;
        self.ttl().await;
        let metrics = self.world.operator.probe("/metrics").await.1;
        self.reports_the_skew(&self.world.operator.log(), "operator", &metrics);
        self.gateway().await;
    }
}

async fn promises(name: &str, seconds: i64) {
    let mut shifted = Shifted::new(name, seconds).await;
    shifted.start();
    shifted.keeps_every_promise().await;
}

#[tokio::test]
async fn forty_five_seconds_behind() {
    promises("behind", -45).await;
}

#[tokio::test]
async fn forty_five_seconds_ahead() {
    promises("ahead", 45).await;
}

#[tokio::test]
async fn an_hour_ahead() {
    promises("far-ahead", 3700).await;
}

/// By such a clock a new cluster's certificate is not valid yet.
#[tokio::test]
async fn an_hour_behind() {
    let mut shifted = Shifted::new("far-behind", -3700).await;
    let certificate = shifted.world.plane.folder.join("certs/apiserver.crt");
    let made = std::fs::metadata(certificate).unwrap().modified().unwrap();
    let valid = async || SystemTime::now() > made + VALID_AFTER;
    assert!(!valid().await, "this test needs a younger control plane");
    shifted.start();
    until("it says what is wrong", || async {
        let log = shifted.world.operator.log();
        log.contains("not valid yet") && log.contains("the clock here is wrong: it says")
    })
    .await;
    let log = shifted.world.operator.log();
    let line = log.lines().find(|l| l.contains("not valid yet")).unwrap();
    shifted.print("TLS, with a certificate that is not valid yet", line);
    if shifted.world.operator.is_running() {
        shifted.world.operator.kill();
    } else {
        shifted.world.operator.ended();
    }
    assert!(within(2 * VALID_AFTER, Duration::from_millis(200), valid).await);
    shifted.start();
    shifted.keeps_every_promise().await;
}
