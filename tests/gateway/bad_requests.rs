//! Invalid requests: the status and the message of each, in the AI API's shape, and that they have no effect.

use ai_api_operator::api::Kind;
use kube::api::ListParams;
use serde_json::{Value, json};
use support::{World, gateway::Gateway};

/// How it differs from a valid request: an empty value removes a header.
struct Bad {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
    status: u16,
    code: &'static str,
    message: &'static str,
}

const GOOD: &str = r#"{"executions":[{"id":"running-1","targetStatus":"STOPPED"}]}"#;
const STOP: &str = r#"{"targetStatus":"STOPPED"}"#;
const BULK: &str = "/v2/lm/executions";
const ONE: &str = "/v2/lm/executions/running-1";

fn bad(method: &'static str, path: &str, body: &str, expected: (u16, &'static str, &'static str)) -> Bad {
    let (status, code, message) = expected;
    Bad { method, path: path.into(), headers: vec![], body: body.into(), status, code, message }
}

/// With another header, or without it.
fn with(name: &'static str, value: &str, mut bad: Bad) -> Bad {
    bad.headers.push((name, value.into()));
    bad
}

const fn wrong(message: &'static str) -> (u16, &'static str, &'static str) {
    (400, "BadRequest", message)
}

fn bodies() -> Vec<Bad> {
    let many =
        (0..101).map(|n| format!(r#"{{"id":"item-{n}","targetStatus":"STOPPED"}}"#)).collect::<Vec<_>>();
    let many = format!(r#"{{"executions":[{}]}}"#, many.join(","));
    let long = format!(r#"{{"executions":[{{"id":"{}","targetStatus":"STOPPED"}}]}}"#, "x".repeat(65));
    let list = "executions is missing: send a list of objects with id and targetStatus";
    let others = "deployments cannot be modified here: send them to /v2/lm/deployments; nothing was done";
    let id = "executions[0].id is invalid: an id has 4 to 64 letters, digits, dots, dashes and underscores";
    let cannot = "the body is invalid: ";
    let single = "targetStatus is missing: send STOPPED";
    let large = "the body is larger than 65536 bytes";
    let item = |item: &str| format!(r#"{{"executions":[{item}]}}"#);
    let mut all: Vec<_> = [
        ("", cannot),
        ("{", "the body is invalid: EOF while parsing an object"),
        ("null", "the body is invalid: invalid type: null, expected an object"),
        ("[]", "the body is invalid: invalid type: sequence, expected an object"),
        ("executions: []", cannot),
        (GOOD.trim_end_matches('}'), cannot),
        ("{}", list),
        (r#"{"executions":null}"#, list),
        (r#"{"executions":{}}"#, "executions: invalid type: map, expected a sequence"),
        (r#"{"executions":"running-1"}"#, "executions: invalid type: string"),
        (r#"{"executions":[]}"#, "executions has 0 items: send 1 to 100"),
        (&many, "executions has 101 items: send 1 to 100"),
        (r#"{"deployments":[{"id":"running-1","targetStatus":"STOPPED"}]}"#, others),
        (r#"{"executions":[{"id":"running-1","targetStatus":"STOPPED"}],"deployments":[]}"#, others),
        (&item("1"), "executions[0]: invalid type: integer `1`, expected an object"),
        (&item(r#"["running-1","STOPPED"]"#), "executions[0]: invalid type: sequence, expected an object"),
        (&item("{}"), "executions[0]: missing field `id`"),
        (&item(r#"{"targetStatus":"STOPPED"}"#), "executions[0]: missing field `id`"),
        (&item(r#"{"id":"running-1"}"#), "executions[0]: missing field `targetStatus`"),
        (&item(r#"{"id":7,"targetStatus":"STOPPED"}"#), "executions[0].id: invalid type: integer `7`"),
        (&item(r#"{"id":"running-1","targetStatus":"RUNNING"}"#), "expected `STOPPED` or `DELETED`"),
        (&item(r#"{"id":"running-1","targetStatus":"stopped"}"#), "expected `STOPPED` or `DELETED`"),
        (&item(r#"{"id":"running-1","targetStatus":null}"#), "executions[0].targetStatus: "),
        (&item(r#"{"id":"abc","targetStatus":"STOPPED"}"#), id),
        (&long, id),
        (&item(r#"{"id":"a/../b","targetStatus":"STOPPED"}"#), id),
        (&item(r#"{"id":"äöüß","targetStatus":"STOPPED"}"#), id),
        (
            &item(
                r#"{"id":"running-1","targetStatus":"STOPPED"},{"id":"running-1","targetStatus":"DELETED"}"#,
            ),
            "executions[1].id: running-1 is repeated; send each id once",
        ),
        (
            r#"{"executions":[{"id":"running-1","targetStatus":"STOPPED"}],"executions":[]}"#,
            "duplicate field `executions`",
        ),
    ]
    .into_iter()
    .map(|(body, message)| bad("PATCH", BULK, body, wrong(message)))
    .collect();
    all.extend([
        bad(
            "PATCH",
            "/v2/lm/deployments",
            GOOD,
            wrong("executions cannot be modified here: send them to /v2/lm/executions"),
        ),
        bad("PATCH", BULK, &format!("{GOOD}{}", " ".repeat(65_537)), (413, "RequestEntityTooLarge", large)),
        bad("PATCH", ONE, &format!("{STOP}{}", " ".repeat(65_537)), (413, "RequestEntityTooLarge", large)),
        bad("PATCH", ONE, "", wrong(cannot)),
        bad("PATCH", ONE, "{}", wrong(single)),
        bad("PATCH", ONE, r#"["STOPPED"]"#, wrong(cannot)),
        bad(
            "PATCH",
            ONE,
            r#"{"targetStatus":"DELETED"}"#,
            wrong("unknown variant `DELETED`, expected `STOPPED`"),
        ),
        bad(
            "PATCH",
            "/v2/lm/deployments/running-1",
            r#"{"configurationId":"conf-1"}"#,
            wrong(
                "configurationId: the configuration of a deployment cannot be changed here; nothing was done",
            ),
        ),
    ]);
    all
}

fn heads() -> Vec<Bad> {
    let unauthorized = (
        401,
        "Unauthorized",
        "the header Authorization is missing or invalid: send `Bearer` and a token of the cluster",
    );
    let missing = "the header AI-Resource-Group is missing: send the name of the namespace";
    let group = "the header AI-Resource-Group is not the name of a namespace";
    let bulk_type = (415, "UnsupportedMediaType", "must be application/merge-patch+json or application/json");
    let json = (415, "UnsupportedMediaType", "the body's Content-Type must be application/json");
    let other = |status| move |path: &str| bad("GET", path, "", status);
    let mut all = vec![];
    for (method, path, body) in [
        ("PATCH", BULK, GOOD),
        ("PATCH", ONE, STOP),
        ("DELETE", ONE, ""),
        ("GET", BULK, ""),
        ("GET", ONE, ""),
    ] {
        all.push(with("Authorization", "", bad(method, path, body, unauthorized)));
        all.push(with("AI-Resource-Group", "", bad(method, path, body, wrong(missing))));
        all.push(with("AI-Resource-Group", "../kube-system", bad(method, path, body, wrong(group))));
    }
    all.extend([
        with("Authorization", "", bad("GET", "/v2/lm/meta", "", unauthorized)),
        with(
            "Authorization",
            "Bearer nonsense",
            bad(
                "GET",
                "/v2/lm/meta",
                "",
                (401, "Unauthorized", "the Kubernetes API does not accept the bearer token"),
            ),
        ),
        with("Authorization", "Basic dTpw", bad("PATCH", BULK, GOOD, unauthorized)),
        with("Authorization", "Bearer", bad("PATCH", BULK, GOOD, unauthorized)),
        with("Authorization", "Bearer a b", bad("PATCH", BULK, GOOD, unauthorized)),
        with(
            "Authorization",
            "Bearer nonsense",
            bad(
                "PATCH",
                BULK,
                GOOD,
                (401, "Unauthorized", "the Kubernetes API does not accept the bearer token"),
            ),
        ),
        with("AI-Resource-Group", "Team-A", bad("PATCH", BULK, GOOD, wrong(group))),
        with("AI-Resource-Group", "a/b", bad("PATCH", BULK, GOOD, wrong(group))),
        with(
            "AI-Resource-Group",
            "not-there",
            bad("PATCH", BULK, GOOD, (403, "Forbidden", "cannot create resource")),
        ),
        with("Content-Type", "", bad("PATCH", BULK, GOOD, bulk_type)),
        with("Content-Type", "text/plain", bad("PATCH", BULK, GOOD, bulk_type)),
        with("Content-Type", "application/json-patch+json", bad("PATCH", BULK, GOOD, bulk_type)),
        with("Content-Type", "", bad("PATCH", ONE, STOP, json)),
        with("Content-Type", "application/merge-patch+json", bad("PATCH", ONE, STOP, json)),
    ]);
    let id = wrong(
        "the id in the path is invalid: an id has 4 to 64 letters, digits, dots, dashes and underscores",
    );
    for id_of in ["abc", "..%2f..%2fsecrets", "a%20b%20c", "%C3%A4%C3%B6", "running-1%00", "running%2F1"] {
        all.push(bad("GET", &format!("{BULK}/{id_of}"), "", id));
        all.push(bad("DELETE", &format!("{BULK}/{id_of}"), "", id));
        all.push(bad("PATCH", &format!("{BULK}/{id_of}"), STOP, id));
    }
    all.push(bad("DELETE", &format!("{BULK}/{}", "x".repeat(65)), "", id));
    all.push(bad("GET", &format!("{BULK}/%FF%FE"), "", wrong("the id in the path is not UTF-8")));
    let not_found = (404, "NotFound", "there is no such URL");
    all.extend(
        [
            "/",
            "/v2",
            "/v2/lm",
            "/v2/lm/",
            "/v2/lm/executions/",
            "/v2/lm/executions/running-1/",
            "/v2/lm/Executions",
            "/v2/lm//executions",
            "/v2/lm/scenario",
            "/v1/lm/executions",
            "/apis/aiapi.dev/v1alpha1/bulkupdates",
        ]
        .map(other(not_found)),
    );
    let not_served = |path: &str, part: &'static str| bad("GET", path, "", (404, "NotFound", part));
    all.extend([
        not_served(
            "/v2/lm/configurations",
            "/v2/lm/configurations of the AI API is not served here: /openapi.yaml",
        ),
        not_served("/v2/lm/scenarios/s-1/versions", "/v2/lm/scenarios of the AI API is not served here"),
        not_served("/v2/admin/resourceGroups", "/v2/admin of the AI API is not served here"),
    ]);
    let not_allowed = (405, "MethodNotAllowed", "this URL does not take the method");
    all.extend(
        [
            ("POST", BULK),
            ("PUT", BULK),
            ("DELETE", BULK),
            ("POST", ONE),
            ("PUT", ONE),
            ("OPTIONS", ONE),
            ("TRACE", ONE),
            ("BREW", ONE),
            ("PATCH", "/v2/lm/meta"),
            ("DELETE", "/v2/lm/executions/$count"),
        ]
        .map(|(method, path)| bad(method, path, "", not_allowed)),
    );
    all
}

/// What would narrow a modification, and was skipped once: what it should have kept was stopped or deleted.
fn narrower() -> Vec<Bad> {
    let mut all = vec![];
    let top = |field: &str| format!("{{{field},{}", &GOOD[1..]);
    let item = |field: &str| GOOD.replace("\"STOPPED\"", &format!("\"STOPPED\",{field}"));
    for field in [
        "notAfter",
        "startingDeadlineSeconds",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
        "uid",
        "spec",
    ] {
        let value = format!("\"{field}\":\"2020-01-01T00:00:00Z\"");
        all.push(bad("PATCH", BULK, &top(&value), wrong("cannot be set here; nothing was done")));
    }
    for field in ["dryRun", "notAfter", "activeDeadlineSeconds", "executions"] {
        let value = format!("\"{field}\":true");
        all.push(bad("PATCH", BULK, &item(&value), wrong("cannot be set here; nothing was done")));
    }
    for field in ["notAfter", "activeDeadlineSeconds", "executions"] {
        let body = format!("{{\"{field}\":1,{}", &STOP[1..]);
        all.push(bad("PATCH", ONE, &body, wrong("cannot be set here; nothing was done")));
    }
    for (field, value) in [("dryRun", "\"All\""), ("dryRun", "\"true\""), ("dryRun", "[]")] {
        let body = top(&format!("\"{field}\":{value}"));
        all.push(bad("PATCH", BULK, &body, wrong("the body is invalid: dryRun: ")));
        all.push(bad("PATCH", BULK, &body, wrong("; nothing was done")));
    }
    // The first is refused by the API server, and so is the second.
    let long = format!("\"{}\"", "x".repeat(1000));
    for value in ["\"\"", &*long, "7", "\"a\",\"uid\":\"a\""] {
        let field = format!("\"uid\":{value}");
        all.push(bad("PATCH", BULK, &item(&field), wrong("; nothing was done")));
        let body = format!("{{{field},{}", &STOP[1..]);
        all.push(bad("PATCH", ONE, &body, wrong("; nothing was done")));
    }
    let would = "would narrow the request; nothing was done";
    all.push(bad("PATCH", BULK, &top(r#""options":{"dryRun":true}"#), wrong(would)));
    all.push(bad(
        "PATCH",
        BULK,
        &item(r#""preconditions":{"uid":"other"}"#),
        wrong("executions[0].preconditions.uid is not known here"),
    ));
    for more in [r#""options":[{"notAfter":0}]"#, r#""preconditions":{"of":{"UID":"other"}}"#] {
        all.push(bad("PATCH", ONE, &format!("{{{more},{}", &STOP[1..]), wrong(would)));
    }
    all.push(bad(
        "PATCH",
        ONE,
        r#"{"targetStatus":"STOPPED","configurationId":{"uid":"other"}}"#,
        wrong("configurationId: invalid type"),
    ));
    all.push(bad("PATCH", BULK, &top("\"dry_run\":true"), wrong("did you mean dryRun? Nothing was done")));
    all.push(bad("PATCH", BULK, &item("\"Uid\":\"x\""), wrong("did you mean uid? Nothing was done")));
    all.push(bad("PATCH", ONE, r#"{"targetStatus":"STOPPED","DryRun":true}"#, wrong("did you mean dryRun?")));
    all.push(bad(
        "PATCH",
        ONE,
        r#"{"targetStatus":"STOPPED","id":"running-2"}"#,
        wrong("id is not the one in the path"),
    ));
    for parameter in [
        "dryRun=All",
        "dryRun=true",
        "dryRun",
        "fieldSelector=status.state%3DDEAD",
        "$filter=x",
        "force=true",
    ] {
        for (method, path, body) in [("PATCH", BULK, GOOD), ("PATCH", ONE, STOP), ("DELETE", ONE, "")] {
            let message = "is not known here: a modification has none; nothing was done";
            all.push(bad(method, &format!("{path}?{parameter}"), body, wrong(message)));
        }
    }
    for header in ["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"] {
        for (method, path, body) in [("PATCH", BULK, GOOD), ("PATCH", ONE, STOP), ("DELETE", ONE, "")] {
            let message = "is not supported here; nothing was done";
            all.push(with(header, "\"1\"", bad(method, path, body, wrong(message))));
        }
    }
    for body in [r#"{"dryRun":true}"#, r#"{"preconditions":{"uid":"another"}}"#, "dry"] {
        all.push(bad(
            "DELETE",
            ONE,
            body,
            wrong("the body of a DELETE is not read: send none; nothing was done"),
        ));
    }
    let compressed = (415, "UnsupportedMediaType", "the body must not be compressed");
    for encoding in ["gzip", "br", "identity, gzip", "x"] {
        all.push(with("Content-Encoding", encoding, bad("PATCH", BULK, GOOD, compressed)));
        all.push(with("Content-Encoding", encoding, bad("PATCH", ONE, STOP, compressed)));
    }
    // Who stops what a list returns stops what it should have left out.
    let unknown = "is not known here: see /openapi.yaml";
    for parameter in
        ["executableIds[]=exe-1", "executableId=exe-1", "$filter=x", "Status=DEAD", "state=DEAD", "limit=1"]
    {
        for path in [BULK, "/v2/lm/executions/$count", "/v2/lm/deployments", ONE] {
            all.push(bad("GET", &format!("{path}?{parameter}"), "", wrong(unknown)));
        }
    }
    all.push(bad("GET", &format!("{ONE}?status=DEAD"), "", wrong(unknown)));
    all.push(bad("GET", &format!("{BULK}/$count?$top=1"), "", wrong(unknown)));
    all.push(bad("GET", "/v2/lm/deployments?executionScheduleId=schedule-1", "", wrong(unknown)));
    for repeated in ["status=DEAD&status=RUNNING", "scenarioId=scen-1&$scenarioId=scen-2", "x=1&x=2"] {
        all.push(bad(
            "GET",
            &format!("{BULK}?{repeated}"),
            "",
            wrong("is repeated in the query: send it once"),
        ));
    }
    all
}

fn queries() -> Vec<Bad> {
    let status = "status must be one of UNKNOWN, PENDING, RUNNING, COMPLETED, DEAD, STOPPING, STOPPED";
    let all = [
        ("$top=-1", "top must be a number from 0 to 100000"),
        ("top=many", "top must be a number from 0 to 100000"),
        ("$top=100001", "top must be a number from 0 to 100000"),
        ("$skip=1.5", "skip must be a number from 0 to 2147483647"),
        ("$top=1&top=2", "top is repeated in the query: send it once"),
        ("status=running", status),
        ("status=", status),
        ("$select=id", "$select must be status"),
        ("executableIds=", "executableIds must be a list of 1 to 1000 ids, separated by commas"),
        ("executableIds=exe-1,,exe-2", "executableIds must be a list of 1 to 1000 ids, separated by commas"),
        ("configurationId=x", "configurationId is invalid: an id has"),
        ("scenarioId=a%2Fbcd", "scenarioId is invalid: an id has"),
    ];
    let of_all = all.map(|(query, message)| bad("GET", &format!("{BULK}?{query}"), "", wrong(message)));
    let select = "$select must be status";
    let more = [
        bad("GET", &format!("{BULK}/$count?status=x"), "", wrong(status)),
        bad("GET", &format!("{ONE}?$select=all"), "", wrong(select)),
    ];
    of_all.into_iter().chain(more).collect()
}

#[tokio::test]
async fn a_bad_request_gets_its_status_and_a_message_and_has_no_effect() {
    let world = World::running("gw-bad").await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    world.own(Kind::Deployment, "running-1", "RUNNING").await;
    let gateway = Gateway::start(&world).await;
    let caller = gateway.caller(&world, "caller").await;
    let token = format!("Bearer {}", caller.token);
    let all: Vec<_> = bodies().into_iter().chain(heads()).chain(narrower()).chain(queries()).collect();
    assert!(all.len() >= 30);
    let mut ids = vec![];
    for bad in &all {
        let mut headers = vec![("Authorization", &*token), ("AI-Resource-Group", &*world.namespace)];
        if bad.method == "PATCH" {
            let bulk = bad.path == BULK || bad.path == "/v2/lm/deployments";
            headers.push((
                "Content-Type",
                if bulk { "application/merge-patch+json" } else { "application/json" },
            ));
        }
        for (name, value) in &bad.headers {
            headers.retain(|(other, _)| other != name);
            if !value.is_empty() {
                headers.push((name, value));
            }
        }
        let shown = bad.body.chars().take(80).collect::<String>();
        let shown = format!("{} {} {:?} {shown}", bad.method, bad.path, bad.headers);
        let answer = caller.raw(bad.method, &bad.path, &headers, &bad.body).await;
        let answer = answer.unwrap_or_else(|e| panic!("{shown}: {e}"));
        assert_eq!(answer.status, bad.status, "{shown}: {}", answer.text);
        let (code, message) = answer.error(bad.status);
        assert!(code == bad.code && message.contains(bad.message), "{shown}: {code}: {message}");
        assert_eq!(answer.header("www-authenticate") == "Bearer", bad.status == 401, "{shown}");
        assert_eq!(answer.header("allow").is_empty(), bad.status != 405, "{shown}");
        println!("{} {} | {} | {shown}", bad.status, code, message.replace('\n', " "));
        ids.push(answer.id().to_owned());
    }
    // Each of them can be found in the log, by an id that is its own.
    let log = gateway.log();
    for id in &ids {
        let lines = log.lines().filter(|line| line.contains(id) && line.contains("answered")).count();
        assert_eq!(lines, 1, "{id}");
    }
    let all = world.bulk_updates().list(&ListParams::default()).await.unwrap();
    assert!(all.items.is_empty(), "{all:#?}");
    for kind in Kind::ALL {
        assert_eq!(world.find(kind, "running-1").await.unwrap().data["status"]["state"], "RUNNING");
    }
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_a_uid_means_one_object() {
    let world = World::running("gw-narrow").await;
    let running = world.own(Kind::Execution, "running-1", "RUNNING").await;
    world.own(Kind::Execution, "dead-1", "DEAD").await;
    world.next_second().await;
    let gateway = Gateway::start(&world).await;
    let caller = gateway.caller(&world, "caller").await;
    let item =
        |id: &str, target: &str, uid: Option<&str>| json!({"id": id, "targetStatus": target, "uid": uid});
    let all = |dry_run: Option<bool>, uid: &str| {
        let items = [
            item("running-1", "STOPPED", Some(uid)),
            item("dead-1", "DELETED", None),
            item("none-1", "DELETED", None),
        ];
        json!({"executions": items, "dryRun": dry_run})
    };
    let answer = caller.patch(BULK, &all(Some(true), &running)).await.ok(200);
    let said = |answer: &Value, at: usize| answer["executions"][at].clone();
    assert_eq!(said(&answer, 0)["message"], "Execution would be stopped");
    assert_eq!(said(&answer, 1)["message"], "Execution would be deleted");
    assert_eq!(said(&answer, 2)["error"]["code"], "01010020");
    let one = json!({"targetStatus": "STOPPED", "dryRun": true, "uid": running});
    let answer = caller.patch(ONE, &one).await.ok(200);
    assert_eq!(answer["message"], "Execution would be stopped");
    caller.patch(ONE, &json!({"targetStatus": "STOPPED", "uid": "another"})).await.error(412);
    for id in ["running-1", "dead-1"] {
        let state = world.find(Kind::Execution, id).await.unwrap().data["status"]["state"].clone();
        assert_eq!(state, if id == "dead-1" { "DEAD" } else { "RUNNING" });
    }
    assert!(world.writes().is_empty());
    let answer = caller.patch(BULK, &all(None, "another")).await.ok(202);
    assert_eq!(said(&answer, 0)["error"]["code"], "Replaced");
    assert_eq!(said(&answer, 1)["message"], "Execution modification scheduled");
    assert_eq!(world.find(Kind::Execution, "running-1").await.unwrap().data["status"]["state"], "RUNNING");
    let answer = caller.patch(BULK, &all(Some(false), &running)).await.ok(202);
    assert_eq!(said(&answer, 0)["message"], "Execution modification scheduled");
}

#[tokio::test]
async fn a_duplicate_header_is_refused() {
    let world = World::new("gw-twice").await;
    let gateway = Gateway::start(&world).await;
    let caller = gateway.caller(&world, "caller").await;
    for (header, status) in [("Authorization", 401), ("AI-Resource-Group", 400)] {
        let token = format!("Bearer {}", caller.token);
        let again = if header == "Authorization" { &*token } else { "gw-twice" };
        let (_, message) = caller.send("GET", BULK, &[(header, again)], "").await.error(status);
        assert_eq!(message, format!("the header {header} is repeated: send it once"));
    }
}
