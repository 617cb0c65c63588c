//! Makes Executions or Deployments of work that exists, each with a reference to one object by its uid.

use std::borrow::Cow;

use futures::{StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::DynamicObject};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json, value::RawValue};

use super::{
    arguments::{AdoptArguments, DryRun},
    choice::Choice,
    names::counted,
    preflight::allowed,
    problem::{Problem, failed},
    session::{LONG, Selectors, Session, retried},
    show::{self, manifests},
    table::{Table, shown},
};
use crate::{
    api::{EngineKind, GROUP, api_version, bare_metadata, is_dns_subdomain},
    decode::json,
};

/// How many are created at once.
const CREATIONS: usize = 8;
/// How many failures are shown.
const SHOWN: usize = 20;

/// An object of an engine, as far as it matters here. Decoding cannot fail.
struct Work {
    metadata: ObjectMeta,
    /// The API versions of its owners.
    owners: Vec<String>,
}

impl<'de> Deserialize<'de> for Work {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw: Box<RawValue> = json::anything(deserializer)?;
        let metadata = json::member(&raw, "metadata");
        let owners = metadata.and_then(|metadata| json::elements(json::member(metadata, "ownerReferences")?));
        let version = |owner: &RawValue| json::text(json::member(owner, "apiVersion")?).map(Cow::into_owned);
        let owners =
            owners.unwrap_or_default().into_iter().map(|owner| version(owner).unwrap_or_default()).collect();
        Ok(Self { metadata: bare_metadata(metadata), owners })
    }
}

pub async fn adopt(session: &Session, arguments: &AdoptArguments) -> Result<(), Problem> {
    let (console, engine) = (&session.console, arguments.engine);
    let kind = engine.of();
    if arguments.dry_run == Some(DryRun::Server) {
        let instead = "kubectl aiapi adopt ... -o yaml | kubectl apply --dry-run=server -f -";
        return Err(Problem::Usage(format!("the API server is asked with: {instead}")));
    }
    let mut left_out = Choice::new(true);
    let mut manifests_made = Vec::new();
    for work in works(session, arguments, &mut left_out).await? {
        let meta = &work.metadata;
        let (namespace, name) =
            (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        match refusal(&work) {
            Some(why) => left_out.leave_out(why, &namespace, &name),
            None => manifests_made.push(manifest(meta, arguments)),
        }
    }
    let text = said(&manifests_made, &left_out, engine, console.width);
    if let Some(format) = arguments.output {
        console.note(text);
        return manifests(console, &manifests_made, format);
    }
    let is_dry = arguments.dry_run.is_some_and(|dry_run| dry_run != DryRun::None);
    console.show(text, !arguments.yes && !is_dry)?;
    let outcome = if left_out.incomplete { Err(Problem::NotAllDone) } else { Ok(()) };
    if manifests_made.is_empty() || is_dry {
        return outcome;
    }
    // The admission policy asks for all three.
    let wanted = [
        (GROUP, "create", kind.plural()),
        (engine.group(), "patch", engine.plural()),
        (engine.group(), "delete", engine.plural()),
    ];
    for namespace in namespaces(&manifests_made) {
        for (group, verb, resource) in wanted {
            if !allowed(session, group, verb, resource, &namespace).await? {
                return Err(Problem::Failed(format!(
                    "you are not permitted to {verb} {resource}.{group} in namespace {namespace}: nothing was created"
                )));
            }
        }
    }
    let question = format!(
        "Create {}? What is adopted is deleted with its {}.",
        counted(manifests_made.len(), kind),
        kind.name()
    );
    if !arguments.yes && !console.ask(&question).await? {
        console.note("Nothing was created.");
        return Err(Problem::CalledOff);
    }
    create(session, arguments, manifests_made).await.and(outcome)
}

async fn works(
    session: &Session,
    arguments: &AdoptArguments,
    left_out: &mut Choice,
) -> Result<Vec<Work>, Problem> {
    let resource = arguments.engine.api_resource();
    let plural = arguments.engine.plural();
    if arguments.names.is_empty() {
        let url = DynamicObject::url_path(&resource, session.namespace.as_deref());
        let selectors = Selectors { labels: arguments.selector.as_deref(), ..Selectors::default() };
        return session.list_all(plural, &url, selectors).await;
    }
    let namespace = session.one_namespace("names were given")?;
    let url = DynamicObject::url_path(&resource, Some(namespace));
    let mut found = Vec::new();
    for name in &arguments.names {
        let read = if is_dns_subdomain(name) { session.read(&url, name).await } else { Ok(None) };
        let read =
            read.map_err(|failure| failed(format_args!("{plural} {name} cannot be read"), &failure))?;
        if let Some(work) = read {
            found.push(work);
        } else {
            left_out.incomplete = true;
            left_out.leave_out("not found".into(), namespace, name);
        }
    }
    Ok(found)
}

/// Why the operator would not adopt it.
fn refusal(work: &Work) -> Option<String> {
    let meta = &work.metadata;
    if meta.uid.is_none() {
        return Some("it has no uid that can be read".into());
    }
    if work.owners.iter().any(|version| *version == api_version()) {
        return Some("it was adopted already".into());
    }
    if meta.owner_references.is_some() {
        return Some("it belongs to another object, such as a CronJob, which would create it again".into());
    }
    if meta.deletion_timestamp.is_some() {
        return Some("it is being deleted".into());
    }
    let length = meta.name.as_deref().unwrap_or_default().len();
    (!(4..=64).contains(&length))
        .then(|| "its name cannot be an AI API id, which has 4 to 64 characters".into())
}

fn manifest(meta: &ObjectMeta, arguments: &AdoptArguments) -> Value {
    let AdoptArguments { engine, scenario, configuration, .. } = arguments;
    let reference = json!({"apiVersion": engine.api_version(), "kind": engine.kind(), "name": meta.name, "uid": meta.uid});
    let mut spec = json!({"workloadRef": reference});
    for (field, value) in [("scenarioId", scenario), ("configurationId", configuration)] {
        if let Some(value) = value {
            spec[field] = value.as_str().into();
        }
    }
    let metadata = json!({"name": meta.name, "namespace": meta.namespace});
    json!({"apiVersion": api_version(), "kind": engine.of().name(), "metadata": metadata, "spec": spec})
}

fn namespaces(manifests: &[Value]) -> std::collections::BTreeSet<String> {
    manifests
        .iter()
        .filter_map(|manifest| manifest["metadata"]["namespace"].as_str().map(ToOwned::to_owned))
        .collect()
}

fn said(manifests: &[Value], left_out: &Choice, engine: EngineKind, width: Option<usize>) -> String {
    let mut text = format!("{} of {} to adopt", counted(manifests.len(), engine.of()), engine.plural());
    if !manifests.is_empty() {
        let mut table = Table::new(["NAMESPACE", "NAME", "UID"]);
        for manifest in manifests {
            let cell = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let uid = cell(&manifest["spec"]["workloadRef"]["uid"]);
            table.row([cell(&manifest["metadata"]["namespace"]), cell(&manifest["metadata"]["name"]), uid]);
        }
        text = format!("{}\n\n{text}", table.text(width));
    }
    text.push_str(&show::left_out(left_out, "left out: "));
    text
}

/// Creates them. One that exists already is left as it is: a second run goes on where the first was interrupted.
async fn create(session: &Session, arguments: &AdoptArguments, manifests: Vec<Value>) -> Result<(), Problem> {
    let resource = arguments.engine.of().api_resource();
    let created = stream::iter(manifests).map(async |manifest| {
        let url = DynamicObject::url_path(&resource, manifest["metadata"]["namespace"].as_str());
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let created = retried(LONG, async || session.create::<IgnoredAny>(&url, &manifest).await).await;
        let created = match created {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_conflict() => {
                let found = session.read::<Value>(&url, &name).await;
                let of = |object: &Value| object["spec"]["workloadRef"]["uid"].clone();
                let is_same =
                    |object: Option<Value>| object.is_some_and(|object| of(&object) == of(&manifest));
                found.and_then(|object| if is_same(object) { Ok(false) } else { Err(failure) })
            }
            Err(failure) => Err(failure),
        };
        (format!("{}/{name}", manifest["metadata"]["namespace"].as_str().unwrap_or_default()), created)
    });
    let (mut done, mut existed, mut problems) = (0, 0, Vec::new());
    let mut created = created.buffer_unordered(CREATIONS);
    while let Some((name, created)) = created.next().await {
        match created {
            Ok(true) => done += 1,
            Ok(false) => existed += 1,
            Err(failure) => problems.push((name, failure)),
        }
    }
    let kind = arguments.engine.of();
    session.console.print(format_args!(
        "{} created, {existed} existed already, {} failed",
        counted(done, kind),
        problems.len()
    ))?;
    for (name, failure) in problems.iter().take(SHOWN) {
        session.console.note(format_args!("  {name}: {}", shown(&failure.to_string())));
    }
    if problems.len() > SHOWN {
        session.console.note(format_args!("  … and {} more", problems.len() - SHOWN));
    }
    if problems.is_empty() { Ok(()) } else { Err(Problem::NotAllDone) }
}
