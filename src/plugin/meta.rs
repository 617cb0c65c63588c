//! The flag: shows it, and changes it with the rights of an administrator.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Resource;
use serde_json::{json, value::RawValue};

use super::{
    arguments::{MetaArguments, MetaChange, MetaKind},
    preflight::{flags, place},
    problem::{Problem, failed},
    session::Session,
    table::Table,
};
use crate::{
    api::Kind,
    client::Failure,
    decode::object::Lenient,
    observed::flag::{FlagMap, Flags, KEY},
};

/// How often a change is tried that somebody else's meets.
const ATTEMPTS: u32 = 5;

pub async fn meta(session: &Session, arguments: &MetaArguments) -> Result<(), Problem> {
    if let Some(change) = &arguments.change {
        let (on, kinds) = match change {
            MetaChange::Enable(kinds) => (true, &kinds.kinds),
            MetaChange::Disable(kinds) => (false, &kinds.kinds),
        };
        set(session, kinds, on).await?;
    }
    let read = flags(session).await;
    let flags =
        read.map_err(|failure| failed(format_args!("{} cannot be read", place(session)), &failure))?;
    if flags.is_none() {
        session.console.note(format_args!("There is no {}, so both are off.", place(session)));
    }
    let flags = flags.unwrap_or(Flags::OFF);
    let mut table = Table::new(["BULK UPDATES OF", "ENABLED"]);
    for kind in Kind::ALL {
        table.row([kind.plural().into(), flags.on(kind).to_string()]);
    }
    session.console.print(table.text(session.console.width))?;
    if let Flags::Invalid(why) = flags {
        session
            .console
            .note(format_args!("{KEY} of {} cannot be understood, so both are off: {why}", place(session)));
    }
    Ok(())
}

/// Switches the flag of these kinds, and leaves that of the other as it is.
async fn set(session: &Session, kinds: &[MetaKind], on: bool) -> Result<(), Problem> {
    for _ in 0..ATTEMPTS {
        match attempt(session, kinds, on).await {
            Err(failure) if failure.is_conflict() => {}
            Err(failure) => {
                return Err(failed(format_args!("{} cannot be changed", place(session)), &failure));
            }
            Ok(()) => return Ok(()),
        }
    }
    Err(Problem::Failed(format!("{} is changed by others all the time; try again", place(session))))
}

async fn attempt(session: &Session, kinds: &[MetaKind], on: bool) -> Result<(), Failure> {
    let (namespace, name) = (&session.operator_namespace, &session.meta_configmap);
    let url = ConfigMap::url_path(&(), Some(namespace));
    let map: Option<Box<RawValue>> = session.read(&url, name).await?;
    let read = |raw: &RawValue| serde_json::from_str::<FlagMap>(raw.get()).map_err(Failure::unreadable);
    let flags = map.as_deref().map(read).transpose()?.map_or(Flags::OFF, FlagMap::into_flags);
    if let (Flags::Invalid(why), true) = (&flags, on) {
        let message = format!(
            "its {KEY} cannot be understood ({why}); correct it by hand, or disable both kinds first"
        );
        return Err(Failure::Unreadable(message));
    }
    let wanted =
        |kind| if kinds.iter().any(|named| Kind::from(*named) == kind) { on } else { flags.on(kind) };
    let text =
        json!({"executions": wanted(Kind::Execution), "deployments": wanted(Kind::Deployment)}).to_string();
    match map {
        None => {
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": namespace}, "data": {KEY: text}});
            session.create::<serde::de::IgnoredAny>(&url, &map).await?;
        }
        Some(map) => {
            let map: Lenient = serde_json::from_str(map.get()).map_err(Failure::unreadable)?;
            let patch =
                json!({"metadata": {"resourceVersion": map.text("resourceVersion")}, "data": {KEY: text}});
            session.patch(&url, name, &patch).await?;
        }
    }
    Ok(())
}
