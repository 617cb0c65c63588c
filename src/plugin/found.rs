//! The BulkUpdates that a command means: those of a run, or one by its name.

use kube::ResourceExt;

use super::{
    batches::{RUN, is_run},
    follow::seen::Seen,
    problem::{Problem, failed},
    session::{Selectors, Session},
};

/// Finds them, in the order of their names.
///
/// # Errors
/// If there are none, or they cannot be read.
pub async fn bulk_updates(session: &Session, what: &str) -> Result<Vec<Seen>, Problem> {
    if is_run(what) {
        return of_run(session, what, session.namespace.as_deref()).await;
    }
    let namespace = session.one_namespace("a BulkUpdate belongs to a namespace")?;
    let found = session.read::<Seen>(&Seen::url(Some(namespace)), what).await;
    match found.map_err(|failure| failed(format_args!("BulkUpdate {what} cannot be read"), &failure))? {
        Some(seen) => Ok(vec![seen]),
        None => Err(Problem::Failed(format!(
            "there is no BulkUpdate {what} in namespace {namespace}; kubectl aiapi get bulkupdate shows those that exist"
        ))),
    }
}

/// Those of a run; maybe none.
pub async fn of_run(session: &Session, run: &str, namespace: Option<&str>) -> Result<Vec<Seen>, Problem> {
    let label = format!("{RUN}={run}");
    let selectors = Selectors { labels: Some(&label), fields: None };
    let mut found: Vec<Seen> = session.list_all("BulkUpdates", &Seen::url(namespace), selectors).await?;
    found.sort_by_key(ResourceExt::name_any);
    Ok(found)
}

/// What to say where a run has no BulkUpdates.
pub fn nothing(session: &Session, run: &str) -> Problem {
    let place =
        session.namespace.as_ref().map_or_else(|| "the cluster".into(), |name| format!("namespace {name}"));
    Problem::Failed(format!(
        "{place} has no BulkUpdates of run {run}: they may be in another namespace (-n, -A), or deleted a week after their end"
    ))
}
