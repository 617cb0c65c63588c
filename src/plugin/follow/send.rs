//! Creates one BulkUpdate, once.

use kube::Resource;

use super::seen::Seen;
use crate::{
    api::{BulkUpdate, BulkUpdateSpec, Kind},
    client::requests,
    plugin::{
        problem::{Problem, failed},
        session::{LONG, Session, retried},
    },
};

/// Creates it. Its name, which no other has, makes sure that it is created once, however often that is tried.
///
/// # Errors
/// If it was not created, or nobody knows. Absent if it was created, and is gone: somebody has called it off.
pub async fn send(session: &Session, bulk: BulkUpdate) -> Result<Option<Seen>, Problem> {
    let name = bulk.metadata.name.as_deref().unwrap_or_default();
    let url = BulkUpdate::url_path(&(), bulk.metadata.namespace.as_deref());
    let created = retried(LONG, async || session.create::<Seen>(&url, &bulk).await).await;
    match created {
        Ok(created) => Ok(Some(created)),
        // An earlier attempt without an answer, or before an interruption.
        Err(failure) if failure.is_conflict() && failure.to_string().contains("already exists") => {
            let found =
                retried(LONG, async || requests::get::<Seen>(&session.client, url.clone(), name).await).await;
            match found {
                Ok(found) if found.spec.as_ref().is_some_and(|spec| same_items(spec, &bulk.spec)) => {
                    Ok(Some(found))
                }
                Ok(_) => Err(Problem::Failed(format!(
                    "somebody else has created another BulkUpdate with the name {name}: give the command of the run again, which then has \
                     another name"
                ))),
                Err(failure) if failure.is_not_found() => Ok(None),
                Err(failure) => Err(failed(format_args!("BulkUpdate {name} cannot be read"), &failure)),
            }
        }
        Err(failure) => Err(failed(format_args!("BulkUpdate {name} cannot be created"), &failure)),
    }
}

/// Whether both ask for the same. (The time until which one is valid changes when a run is resumed.)
fn same_items(a: &BulkUpdateSpec, b: &BulkUpdateSpec) -> bool {
    Kind::ALL.iter().all(|kind| a.items(*kind) == b.items(*kind)) && a.dry_run == b.dry_run
}
