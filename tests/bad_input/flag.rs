//! The flag's ConfigMap: whatever it contains, a BulkUpdate is carried out or rejected accordingly, and its status says
//! why.

use ai_api_operator::api::Kind;
use proptest::{option, prelude::*, sample::select, test_runner::TestRunner};
use serde_json::{Value, json};
use support::{World, operator::LONG_LEASE};

use super::{
    hostile,
    inputs::pick,
    metadata,
    schema::Care,
    send::{delete, edited, get, patch, post, refusal},
    tally::Tally,
};

/// What is sent as the ConfigMap, and what its text means.
#[derive(Clone, Debug)]
pub struct Text {
    body: Vec<u8>,
    means: Means,
    /// A patch of its metadata that follows.
    edit: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    /// On or off for executions and for deployments.
    Says(bool, bool),
    /// It is invalid.
    Invalid,
    /// There is none.
    Absent,
    /// It does not switch anything on.
    NotOn,
    /// One of the above: YAML has more notations than this test knows.
    Something,
}

/// The texts: first the known cases, then random ones.
pub fn texts(random: &mut TestRunner, count: usize) -> Vec<Text> {
    let known: Vec<_> = known()
        .into_iter()
        .map(|(text, means)| Text::new(map(&json!({"bulkUpdates": text})), means))
        .collect();
    let chance = by_chance();
    let more = (known.len()..count).map(|_| pick(random, &chance)).collect::<Vec<_>>();
    let mut texts: Vec<_> = known.into_iter().chain(more).take(count).collect();
    let patches = metadata::known_patches().into_iter();
    let more = option::weighted(0.3, metadata::patches(Care::Keeps)).boxed();
    let metadata = option::weighted(0.5, metadata::sent(Care::Keeps)).boxed();
    let mut patches = patches.map(Some).collect::<Vec<_>>().into_iter();
    for text in &mut texts {
        if let Some(metadata) = pick(random, &metadata) {
            text.add(&metadata);
        }
        let patch = patches.next().unwrap_or_else(|| pick(random, &more));
        text.edit = patch.map(|patch| metadata::nested(patch.to_string()).into_bytes());
    }
    texts
}

impl Text {
    fn new(body: Vec<u8>, means: Means) -> Self {
        Self { body, means, edit: None }
    }

    /// Adds this to its metadata, if it has one.
    fn add(&mut self, more: &Value) {
        let Ok(mut map) = serde_json::from_slice::<Value>(&self.body) else { return };
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.extend(more.as_object().unwrap().clone());
            self.body = metadata::nested(map.to_string()).into_bytes();
        }
    }
}

fn map(data: &Value) -> Vec<u8> {
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ai-api-meta"}, "data": data});
    map.to_string().into_bytes()
}

fn known() -> Vec<(String, Means)> {
    let invalid = [
        "",
        " \n\t",
        "true",
        "7",
        "[]",
        "- executions",
        "null",
        "~",
        "{",
        "}",
        "executions",
        "executions:",
        "executions: yes",
        "executions: on",
        "executions: \"true\"",
        "executions: 1",
        "executions: 1.0",
        "executions: []",
        "executions: {}",
        "executions: null",
        "execution: true",
        "Executions: true",
        "EXECUTIONS: true",
        "executions: true\nexecutions: true",
        r#"{"executions": true, "executions": false}"#,
        r#"{"executions": true,"#,
        r#"{"executions": true} {"deployments": true}"#,
        "executions: true\n---\nexecutions: true",
        r#"{"executions": true, "more": 1}"#,
        "executions: true\u{0}",
        "\u{0}",
        "!!binary aGVsbG8=",
        "executions: !!python/object:os.system true x",
        "? executions",
        "&a [*a]",
        "<<: [executions, true]",
        "executions: 1e400",
        "\u{1b}[31mexecutions: true\u{1b}[0m",
        "\u{202e}executions: true",
        "{{ .Values.flag }}",
        "executions: {{}}",
        "%YAML 9.9\n---\nexecutions",
        "executions: |\n  true",
        "executions: >\n  true",
        "`",
        "@",
        "\"\\ud800\"",
    ];
    let valid = [
        (r#"{"executions": true, "deployments": true}"#, true, true),
        (r#"{"executions":false,"deployments":true}"#, false, true),
        ("executions: true\ndeployments: true\n", true, true),
        ("executions: true # yes\r\ndeployments: false\r\n", true, false),
        ("---\nexecutions: true\n", true, false),
        ("\"executions\": true\n'deployments': true", true, true),
        ("{}", false, false),
        ("<<: {executions: true}", true, false),
        ("{executions: true}", true, false),
        ("\u{feff}", false, false),
        ("# only this", false, false),
        ("\n\n# only this\ndeployments: true", false, true),
    ];
    // Inputs that exhaust stack, memory or time of a parser that recurses or copies.
    let bombs = [
        "[".repeat(400_000),
        "{a: ".repeat(100_000),
        "- ".repeat(200_000),
        "? ".repeat(100_000),
        format!("executions: {}true", "[".repeat(1_000)),
        format!(
            "a: &a [x,x,x,x,x,x,x,x,x]\n{}executions: *j",
            ('b'..='j').fold(String::new(), |text, c| {
                let before = char::from(c as u8 - 1);
                format!("{text}{c}: &{c} [{}]\n", vec![format!("*{before}"); 9].join(","))
            })
        ),
        format!("executions: {}", "x".repeat(900_000)),
        format!("{}: true", "k".repeat(900_000)),
        "k: true\n".repeat(60_000),
        (0..40_000).map(|n| format!("k{n}: true\n")).collect::<Vec<_>>().concat(),
        "\"".repeat(100_000),
        "\u{1b}[2J".repeat(100_000),
    ];
    invalid
        .into_iter()
        .map(str::to_owned)
        .chain(bombs)
        .map(|text| (text, Means::Invalid))
        .chain([("#".repeat(900_000), Means::Says(false, false))])
        .chain(valid.into_iter().map(|(text, e, d)| (text.to_owned(), Means::Says(e, d))))
        .collect()
}

fn by_chance() -> BoxedStrategy<Text> {
    let flags = || (option::of(any::<bool>()), option::of(any::<bool>()));
    let object = |(executions, deployments): (Option<bool>, Option<bool>)| {
        let mut object = json!({});
        for (kind, on) in [("executions", executions), ("deployments", deployments)] {
            if let Some(on) = on {
                object[kind] = on.into();
            }
        }
        (object, Means::Says(executions.unwrap_or_default(), deployments.unwrap_or_default()))
    };
    let valid = (flags(), 0..4u8).prop_map(move |(flags, style)| {
        let (object, means) = object(flags);
        let text = match style {
            0 => object.to_string(),
            1 => serde_json::to_string_pretty(&object).unwrap(),
            2 if object != json!({}) => serde_saphyr::to_string(&object).unwrap(),
            _ => format!("# {{{{\n{object}  \n"),
        };
        (text, means)
    });
    let wrong = (select(vec!["executions", "deployments"]), hostile::odd())
        .prop_filter("this one is right", |(_, value)| !value.is_boolean())
        .prop_map(|(key, value)| (json!({key: value}).to_string(), Means::Invalid));
    let unknown = hostile::texts(0, 60)
        .prop_filter("this one is known", |key| !["executions", "deployments"].contains(&key.as_str()))
        .prop_map(|key| (json!({"executions": true, key: true}).to_string(), Means::Invalid));
    let hostile = hostile::texts(1, 2000).prop_map(|text| (text, Means::NotOn));
    let mangled = hostile::garbled(flags().prop_map(move |flags| object(flags).0).boxed())
        .prop_map(|bytes| (String::from_utf8_lossy(&bytes).into_owned(), Means::Something));
    let text = prop_oneof![3 => valid, 2 => wrong, 2 => unknown, 2 => hostile, 3 => mangled];
    let as_text = text.prop_map(|(text, means)| Text::new(map(&json!({"bulkUpdates": text})), means));
    let other =
        |data: BoxedStrategy<Value>| data.prop_map(|data| Text::new(map(&data), Means::Something)).boxed();
    let other_key = hostile::texts(1, 40)
        .prop_filter("this one is the key", |key| key != "bulkUpdates")
        .prop_map(|key| json!({key: r#"{"executions": true, "deployments": true}"#}));
    prop_oneof![
        20 => as_text,
        1 => other(hostile::odd()),
        1 => other(hostile::odd().prop_map(|odd| json!({"bulkUpdates": odd})).boxed()),
        1 => other_key.prop_map(|data| Text::new(map(&data), Means::Absent)),
        1 => hostile::documents().prop_map(|body| Text::new(body, Means::Something)),
    ]
    .boxed()
}

/// Stores each text, and sends a request after it.
pub async fn each_text_has_its_effect(texts: Vec<Text>) -> (World, Tally) {
    let mut world = World::new("bad-flags").await;
    world.operator.start(&LONG_LEASE);
    let mut tally = Tally::default();
    for kind in Kind::ALL {
        world.own(kind, "runs", "RUNNING").await;
    }
    let path = "/api/v1/namespaces/bad-flags/configmaps";
    let mut wrong = Vec::new();
    for (n, Text { body, means, edit }) in texts.into_iter().enumerate() {
        remove(&world, &format!("{path}/ai-api-meta")).await;
        let answer = post(&world.client, path, body.clone()).await;
        tally.sent("ConfigMap", answer.code);
        let means = match answer.code {
            201 if answer.body["metadata"]["name"] == "ai-api-meta" => {
                if let Some(edit) = edit {
                    let answer = patch(&world.client, &format!("{path}/ai-api-meta"), edit.clone()).await;
                    edited("ConfigMap", &answer, &edit, &mut tally);
                }
                means
            }
            201 => Means::Absent,
            _ => {
                refusal(&answer, &body);
                Means::Absent
            }
        };
        let kind = Kind::ALL[n % 2];
        let spec = json!({"dryRun": true, kind.plural(): [{"id": "runs", "targetStatus": "STOPPED"}]});
        let status = world.carry_out(&format!("asks-{n}"), spec).await;
        let ready = status.condition("Ready").unwrap();
        if !means.fits(kind, &ready.reason, &ready.message) {
            let shown = String::from_utf8_lossy(&body).chars().take(300).collect::<String>();
            wrong.push(format!("{shown}: {means:?} for {kind:?}, and not {ready:?}"));
        }
        if ready.reason == "DryRun" {
            tally.finished += 1;
        } else {
            tally.rejected(&ready.reason);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    (world, tally)
}

/// Deletes it, even if it has finalizers.
async fn remove(world: &World, path: &str) {
    let answer = delete(&world.client, path).await;
    if answer.code == 200 && get(&world.client, path).await.code == 200 {
        let free = json!({"metadata": {"finalizers": null}}).to_string();
        let answer = patch(&world.client, path, free.into_bytes()).await;
        assert_eq!(answer.code, 200, "{}", answer.body);
    }
}

impl Means {
    /// Whether this is the outcome of a dry run of one eligible item of `kind`.
    fn fits(self, kind: Kind, reason: &str, message: &str) -> bool {
        let says_why = match reason {
            "DryRun" => true,
            "MetaInvalid" => {
                let why = message.strip_prefix("invalid bulkUpdates of ConfigMap bad-flags/ai-api-meta: ");
                why.is_some_and(|why| why.trim().len() > 3)
            }
            _ => message.contains("are disabled in ConfigMap bad-flags/ai-api-meta"),
        };
        let on = match (self, kind) {
            (Self::Says(on, _), Kind::Execution) | (Self::Says(_, on), Kind::Deployment) => on,
            _ => false,
        };
        let expected: &[&str] = match self {
            Self::Says(..) if on => &["DryRun"],
            Self::Says(..) => &["BulkUpdatesDisabled"],
            Self::Invalid => &["MetaInvalid"],
            // A missing one may still be seen as the previous one: the watch is trusted where it says no.
            Self::NotOn | Self::Absent => &["BulkUpdatesDisabled", "MetaInvalid"],
            Self::Something => &["DryRun", "BulkUpdatesDisabled", "MetaInvalid"],
        };
        says_why && expected.contains(&reason)
    }
}
