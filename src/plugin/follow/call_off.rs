//! Deletes one BulkUpdate that is not over.

use super::seen::Seen;
use crate::{
    client::{Next, requests::Only},
    plugin::{
        problem::{Problem, failed},
        session::Session,
    },
};

/// How often a deletion is tried.
const ATTEMPTS: u32 = 6;

/// Deletes it as it was seen, so that what is said about it is true of its end. Returns what was last seen of it.
pub async fn call_off(session: &Session, mut seen: Seen) -> Result<(&'static str, Option<Seen>), Problem> {
    let (namespace, name) = seen.key();
    let url = Seen::url(Some(&namespace));
    for attempt in 1..=ATTEMPTS {
        if seen.is_over() {
            return Ok(("over before it could be called off", Some(seen)));
        }
        let uid = seen.metadata.uid.clone().unwrap_or_default();
        let version = seen.metadata.resource_version.clone().unwrap_or_default();
        match session.delete(&url, &name, Only { uid: &uid, resource_version: &version }).await {
            Ok(()) => return Ok(("called off", Some(seen))),
            Err(failure) if failure.is_not_found() => return Ok(("gone", None)),
            Err(failure) if failure.is_conflict() => {}
            Err(failure) if failure.next() == Next::Retry => tokio::time::sleep(failure.wait(attempt)).await,
            Err(failure) => {
                return Err(failed(format_args!("BulkUpdate {name} cannot be deleted"), &failure));
            }
        }
        let again = session.read::<Seen>(&url, &name).await;
        match again.map_err(|failure| failed(format_args!("BulkUpdate {name} cannot be read"), &failure))? {
            Some(again) if again.metadata.uid.as_deref() == Some(&uid) => seen = again,
            _ => return Ok(("called off", Some(seen))),
        }
    }
    Err(Problem::Failed(format!("BulkUpdate {name} cannot be deleted: tried {ATTEMPTS} times")))
}
