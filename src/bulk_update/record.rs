//! Third step: the status, written before any effect and whenever there is something to tell. One write a pass at most,
//! none when nothing has changed.

use std::{sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    api::{GetParams, Patch, PatchParams, PostParams},
    core::{Request as ApiRequest, TypeMeta, request},
};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::{
    Context, report,
    request::Request,
    status::{Phase, READY, status},
    stored::Stored,
    work::Work,
};
use crate::{
    FIELD_MANAGER,
    api::{BulkUpdate, BulkUpdateStatus, ItemResult},
    client::{Failure, send},
    health::Pulse,
    raw::{self, bare_metadata},
};

/// How long the last status is tried: a part of the time that a stop may take.
const LAST_RECORD: Duration = Duration::from_secs(10);

/// What became of the record.
#[derive(Debug)]
pub enum Recorded {
    /// There was nothing to write.
    Unchanged,
    /// There is something, which can wait or has to: for the next report, or for another attempt.
    Later,
    /// Written; what stood there before.
    Written(BulkUpdateStatus),
    /// Not this one: an earlier one of this process, that got no answer, was found to stand there; and what stood there
    /// before it. There may be more to tell by now.
    Adopted(BulkUpdateStatus),
    /// Somebody else has changed the status or the request: what is known here does not count any more.
    Overtaken,
}

/// Writes the status if it is due.
pub async fn record(ctx: &Arc<Context>, work: &mut Work, phase: &Phase, pulse: &Pulse) -> Recorded {
    let wanted = status(work, phase, ctx.clock.now());
    if wanted == work.recorded {
        return Recorded::Unchanged;
    }
    if work.pace.held_back().is_some()
        || !(work.pace.due(ctx.others(work)) || must_stand_first(work, &wanted))
    {
        return Recorded::Later;
    }
    write_or_put_off(ctx, work, phase, wanted, false, pulse).await
}

/// Records what is known before the work is laid down unfinished. At best effort: what can't be recorded now is read
/// off the objects by whoever takes it up again.
pub async fn record_last(ctx: &Arc<Context>, work: &mut Work, pulse: &Pulse) {
    if work.start.is_none() {
        return;
    }
    let attempts = async {
        loop {
            if let Some(time) = work.pace.held_back() {
                sleep_until(time).await;
            }
            let phase = Phase::Planned(None);
            let wanted = status(work, &phase, ctx.clock.now());
            if wanted == work.recorded {
                return;
            }
            match write_or_put_off(ctx, work, &phase, wanted, true, pulse).await {
                Recorded::Written(_) | Recorded::Adopted(_) | Recorded::Later => {}
                Recorded::Unchanged | Recorded::Overtaken => return,
            }
        }
    };
    if tokio::time::timeout(LAST_RECORD, attempts).await.is_err() {
        warn!("the last status of a BulkUpdate could not be written");
    }
}

async fn write_or_put_off(
    ctx: &Arc<Context>,
    work: &mut Work,
    phase: &Phase,
    wanted: BulkUpdateStatus,
    last: bool,
    pulse: &Pulse,
) -> Recorded {
    // A status takes a slot like any other request: a thousand plans at once are no reason to flood the API server.
    let _slot = pulse.in_line(ctx.slots.acquire(&work.request.namespace, &work.request.uid)).await;
    if work.recorded.start_time.is_none() && work.any(ItemResult::Planned) {
        work.since = Instant::now();
        if !work.pace.failing() {
            read_flag_ahead(ctx, work.since);
        }
    }
    match write(ctx, work, phase, wanted, last).await {
        Ok(recorded) => {
            if !matches!(recorded, Recorded::Overtaken) {
                work.pace.written();
            }
            recorded
        }
        Err(failure) => {
            ctx.metrics.failed("bulkupdates", &failure);
            if work.pace.failed(&failure) {
                warn!(bulk_update = %work.request.full_name(), %failure, "the status can't be written; trying again");
            }
            // No condition can say so.
            if failure.is_too_large() {
                report::too_large(ctx, &work.request, &failure);
            }
            Recorded::Later
        }
    }
}

/// The plan is being written. Its first write rests on a reading of the flag begun no sooner than that; it is begun at once,
/// for that write would wait for it. (A plan whose writing fails again and again does without.)
fn read_flag_ahead(ctx: &Arc<Context>, since: Instant) {
    let ctx = Arc::clone(ctx);
    // Whoever rests on it asks for it again, and is told then if it has failed.
    ctx.tracker.clone().spawn(async move { ctx.meta.read_since(since).await });
}

/// Whether others wait for this to stand there: the writes for their plan, people and tools for the end or for another
/// reason.
fn must_stand_first(work: &Work, wanted: &BulkUpdateStatus) -> bool {
    let reason = |s: &BulkUpdateStatus| s.condition(READY).map(|c| c.reason.clone());
    let planned = |e: &&super::work::Entry| e.result() == Some(ItemResult::Planned);
    reason(wanted) != reason(&work.recorded)
        || work.entries.iter().filter(planned).any(|entry| {
            let uid = |r: &crate::api::ItemStatus| r.uid.clone();
            work.on_record(&entry.item).map(uid) != entry.record.as_ref().map(uid)
        })
}

/// Writes `wanted` on the condition that nobody else has written or has deleted the BulkUpdate (unless this is the last
/// record of it).
async fn write(
    ctx: &Context,
    work: &mut Work,
    phase: &Phase,
    mut wanted: BulkUpdateStatus,
    last: bool,
) -> Result<Recorded, Failure> {
    let mut conflicts = 0;
    loop {
        match replace(ctx, &work.named, &wanted).await {
            Ok(version) => {
                work.named.resource_version = version;
                work.unanswered = None;
                return Ok(Recorded::Written(std::mem::replace(&mut work.recorded, wanted)));
            }
            Err(failure) if failure.is_not_found() => return Ok(Recorded::Overtaken),
            // The first conflict is ordinary; what keeps conflicting is not tried at full speed, with a slot in hand.
            Err(failure) if failure.is_conflict() && conflicts > 0 => return Err(failure),
            Err(failure) if failure.is_conflict() => conflicts += 1,
            Err(failure) => {
                // Also one that was refused may have been carried out: what stands between may say so.
                work.unanswered = Some(wanted);
                return Err(failure);
            }
        }
        let live = match get(ctx, &work.request).await {
            Ok(live) => live,
            Err(failure) if failure.is_not_found() => return Ok(Recorded::Overtaken),
            Err(failure) => return Err(failure),
        };
        let Stored { bulk: live, flaw: None } = live else { return Ok(Recorded::Overtaken) };
        let asked = Request::from(&live);
        if asked.uid != work.request.uid
            || !asked.same_items(&work.request)
            || (live.metadata.deletion_timestamp.is_some() && !last)
        {
            return Ok(Recorded::Overtaken);
        }
        let stands = live.status.unwrap_or_default();
        // A write of this process that got no answer has taken hold.
        let own =
            if stands == wanted { Some(wanted) } else { work.unanswered.take_if(|sent| *sent == stands) };
        if own.is_none() && stands != work.recorded {
            return Ok(Recorded::Overtaken);
        }
        // Only from here on: with this guard, what somebody else has written could be overwritten.
        work.named = Named::from(&live.metadata);
        work.generation = live.metadata.generation.unwrap_or_default();
        if let Some(own) = own {
            return Ok(Recorded::Adopted(work.adopt(own)));
        }
        // Something else has changed, such as a label or the TTL.
        wanted = status(work, phase, ctx.clock.now());
    }
}

/// What names a BulkUpdate, in one version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its uid.
    pub uid: Box<str>,
    /// The version.
    pub resource_version: Box<str>,
    /// Whether others own some of its metadata: labels, annotations, finalizers, owners or the prefix of its name.
    shared: bool,
}

impl From<&ObjectMeta> for Named {
    fn from(metadata: &ObjectMeta) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default().into();
        Self {
            namespace: text(&metadata.namespace),
            name: text(&metadata.name),
            uid: text(&metadata.uid),
            resource_version: text(&metadata.resource_version),
            shared: metadata.labels.is_some()
                || metadata.annotations.is_some()
                || metadata.finalizers.is_some()
                || metadata.owner_references.is_some()
                || metadata.generate_name.is_some(),
        }
    }
}

impl Named {
    /// Whether all of it could be read: otherwise there is nothing that a request could be about.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        [&self.namespace, &self.name, &self.uid, &self.resource_version].iter().all(|text| !text.is_empty())
    }

    /// Namespace and name, for logs.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Writes a status under the guard of the resource version in `named`; gives back the new version. It replaces the status and
/// leaves all else: the API server takes that from what stands there, so that the spec need not be sent.
///
/// To Kubernetes 1.33, whoever owns a label (or an annotation, and so on) that is missing where a status is replaced does not own it
/// any more, and could not take it away again. Users may fill those as they like, so that they are not kept to be sent along:
/// where there are any, the status is patched instead. Elsewhere a patch would cost the API server a third more time, and
/// statuses are the most that a BulkUpdate adds to the writes it asks for.
///
/// # Errors
/// [`Failure`].
pub async fn replace(ctx: &Context, named: &Named, status: &BulkUpdateStatus) -> Result<Box<str>, Failure> {
    if named.shared {
        return patch(ctx, named, &whole(status)).await;
    }
    let metadata = Metadata {
        name: Some(&named.name),
        namespace: Some(&named.namespace),
        uid: Some(&named.uid),
        resource_version: &named.resource_version,
    };
    let object = Body { types: TypeMeta::resource::<BulkUpdate>(), metadata, status };
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let request: Result<_, request::Error> = serde_json::to_vec(&object)
        .map_err(request::Error::SerializeBody)
        .and_then(|body| path(named).replace_subresource("status", &named.name, &params, body));
    let Written(version) = send(&ctx.client, request).await?;
    Ok(version)
}

/// Changes a part of a status, under the same guard; gives back the new version. What is null in `status` is removed.
///
/// # Errors
/// [`Failure`].
pub async fn patch(ctx: &Context, named: &Named, status: &Value) -> Result<Box<str>, Failure> {
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let metadata = Metadata { resource_version: &named.resource_version, ..Metadata::default() };
    let object = Body { types: TypeMeta::resource::<BulkUpdate>(), metadata, status };
    let request = path(named).patch_subresource("status", &named.name, &params, &Patch::Merge(object));
    let Written(version) = send(&ctx.client, request).await?;
    Ok(version)
}

fn path(named: &Named) -> ApiRequest {
    ApiRequest::new(BulkUpdate::url_path(&(), Some(&named.namespace)))
}

/// A status as a patch that leaves nothing of what stood there before: what it does not have is removed.
pub(super) fn whole(status: &BulkUpdateStatus) -> Value {
    let mut whole = json!({
        "conditions": null, "startTime": null, "completionTime": null, "summary": null, "executions": null,
        "deployments": null,
    });
    if let (Value::Object(whole), Ok(Value::Object(status))) = (&mut whole, serde_json::to_value(status)) {
        whole.extend(status);
    }
    whole
}

/// A BulkUpdate as its status is written.
#[derive(Debug, Serialize)]
struct Body<'a, S> {
    #[serde(flatten)]
    types: TypeMeta,
    metadata: Metadata<'a>,
    status: &'a S,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    resource_version: &'a str,
}

/// The version that a write has left, of an answer that may hold anything else. An answer without one is none: the next write
/// would go out without a guard.
struct Written(Box<str>);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = raw::anything(deserializer)?;
        let version = bare_metadata(raw::member(&raw, "metadata")).resource_version;
        let version = version.filter(|version| !version.is_empty());
        version
            .map(|version| Self(version.into()))
            .ok_or_else(|| D::Error::custom("it has no resourceVersion"))
    }
}

/// Reads a BulkUpdate from the API server.
///
/// # Errors
/// [`Failure`].
pub async fn get(ctx: &Context, request: &Request) -> Result<Stored, Failure> {
    let url = BulkUpdate::url_path(&(), Some(&request.namespace));
    send(&ctx.client, ApiRequest::new(url).get(&request.name, &GetParams::default())).await
}
