//! Tables with the API server's own columns, and what changes in them.

use std::{cell::RefCell, time::Duration};

use bytes::BytesMut;
use futures::{StreamExt, future::try_join_all};
use http::header::ACCEPT;
use http_body_util::BodyExt;
use kube::core::ListMeta;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    client::{Failure, requests, send},
    plugin::{
        arguments::{GetArguments, GetFormat, GetKind},
        named::Named,
        problem::{Problem, failed},
        session::{BRIEFLY, LONG, PAGE, Session, retried, with_query},
        table::Columns,
    },
};

/// How the API server is asked for what kubectl shows.
const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
/// How long a watch has to last, or the next one waits for the rest of it.
const LASTS: Duration = Duration::from_secs(1);

/// A table, or an event of a watch that holds one.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServerTable {
    metadata: ListMeta,
    /// Null in all events of a watch but the first.
    column_definitions: Option<Vec<Column>>,
    rows: Option<Vec<Row>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Column {
    name: String,
    #[serde(default)]
    priority: i32,
}

#[derive(Debug, Deserialize)]
struct Row {
    cells: Vec<Value>,
    #[serde(default)]
    object: Named,
}

#[derive(Deserialize)]
struct Event {
    r#type: String,
    object: ServerTable,
}

pub async fn print(session: &Session, kinds: &[GetKind], arguments: &GetArguments) -> Result<(), Problem> {
    let (mut watched, mut shown) = (Vec::new(), 0);
    for kind in kinds {
        let view = View::of(session, *kind, kinds.len() > 1, arguments);
        let (rows, version) = view.list(None, shown > 0).await?;
        shown += rows;
        watched.push((view, version));
    }
    if arguments.watch {
        try_join_all(watched.iter().map(|(view, version)| view.watch(version.clone()))).await?;
    } else if shown == 0 {
        session.console.note(format_args!("No resources found in {}.", session.place()));
    }
    Ok(())
}

/// How the objects of a kind are shown.
struct View<'a> {
    session: &'a Session,
    kind: GetKind,
    url: String,
    /// Whether the name says the kind.
    prefixed: bool,
    namespaces: bool,
    wide: bool,
    /// A table comes in pages, and its changes later.
    columns: RefCell<Columns>,
}

impl<'a> View<'a> {
    fn of(session: &'a Session, kind: GetKind, prefixed: bool, arguments: &GetArguments) -> Self {
        let labels = arguments.selector.as_deref().unwrap_or_default();
        Self {
            session,
            url: with_query(&kind.url(session.namespace.as_deref()), &[("labelSelector", labels)]),
            kind,
            prefixed,
            namespaces: session.namespace.is_none(),
            wide: arguments.output == Some(GetFormat::Wide),
            columns: RefCell::default(),
        }
    }

    /// Prints the rows as they come, of those that have changed after `seen` if that is given; returns how many, and the version of
    /// the list. A table that is not the first one is `apart` from the one before.
    async fn list(&self, seen: Option<&str>, apart: bool) -> Result<(usize, String), Problem> {
        let console = &self.session.console;
        let (mut printed, mut token) = (0, String::new());
        loop {
            let page = self.page(&token).await?;
            let columns = page.column_definitions.unwrap_or_default();
            let rows = page.rows.unwrap_or_default();
            let newer = rows.iter().filter(|row| seen.is_none_or(|seen| is_newer(&row.object.version, seen)));
            let mut rows: Vec<_> = newer.map(|row| self.cells(row, &columns)).collect();
            let found = rows.len();
            if printed == 0 && found > 0 && seen.is_none() {
                if apart {
                    console.print("")?;
                }
                rows.insert(0, self.headings(&columns));
            }
            self.print(&rows)?;
            printed += found;
            token = page.metadata.continue_.unwrap_or_default();
            if token.is_empty() {
                return Ok((printed, page.metadata.resource_version.unwrap_or_default()));
            }
        }
    }

    fn print(&self, rows: &[Vec<String>]) -> Result<(), Problem> {
        let console = &self.session.console;
        for line in self.columns.borrow_mut().lines(rows, console.width) {
            console.print(line)?;
        }
        Ok(())
    }

    /// One page of the list.
    async fn page(&self, token: &str) -> Result<ServerTable, Problem> {
        let url = with_query(&self.url, &[("limit", PAGE), ("continue", token)]);
        let page = retried(BRIEFLY, async || send(&self.session.client, Ok(request(&url)?)).await).await;
        page.map_err(|failure| {
            failed(format_args!("{} cannot be listed", self.kind.resource().plural), &failure)
        })
    }

    fn is_shown(&self, column: &Column) -> bool {
        column.priority == 0 || self.wide
    }

    fn headings(&self, columns: &[Column]) -> Vec<String> {
        let own =
            columns.iter().filter(|column| self.is_shown(column)).map(|column| column.name.to_uppercase());
        self.namespaces.then(|| "NAMESPACE".to_owned()).into_iter().chain(own).collect()
    }

    fn cells(&self, row: &Row, columns: &[Column]) -> Vec<String> {
        let cells = row.cells.iter().zip(columns).filter(|(_, column)| self.is_shown(column));
        let cells = cells.enumerate().map(|(index, (cell, _))| match cell {
            Value::String(name) if index == 0 && self.prefixed => self.kind.qualified(name),
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        });
        self.namespaces.then(|| row.object.namespace.clone()).into_iter().chain(cells).collect()
    }

    /// Prints what changes, until it fails.
    async fn watch(&self, mut version: String) -> Result<(), Problem> {
        let problem =
            |failure| failed(format_args!("{} cannot be watched", self.kind.resource().plural), &failure);
        loop {
            let begun = Instant::now();
            let from = [("watch", "true"), ("resourceVersion", &*version), ("allowWatchBookmarks", "true")];
            let url = with_query(&self.url, &from);
            let open = async || requests::open(&self.session.client, Ok(request(&url)?)).await;
            let is_too_old = match retried(LONG, open).await {
                Ok(body) => self.events(body, &mut version).await?,
                Err(Failure::Refused { code: 410, .. }) => true,
                Err(failure) => return Err(problem(failure)),
            };
            tokio::time::sleep_until(begun + LASTS).await;
            if is_too_old {
                // What has changed meanwhile; what was deleted meanwhile is not shown any more, as after any deletion.
                version = self.list(Some(&version), false).await?.1;
            }
        }
    }

    /// Prints the events of one watch; returns whether the version is too old for another one.
    async fn events(&self, body: kube::client::Body, version: &mut String) -> Result<bool, Problem> {
        let (mut frames, mut buffer) = (body.into_data_stream(), BytesMut::new());
        let mut columns: Vec<Column> = Vec::new();
        while let Some(Ok(piece)) = frames.next().await {
            buffer.extend_from_slice(&piece);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line = buffer.split_to(end + 1);
                // That of an error has no rows.
                let Ok(event) = serde_json::from_slice::<Event>(&line) else { return Ok(true) };
                if event.r#type == "ERROR" {
                    return Ok(true);
                }
                if let Some(definitions) = event.object.column_definitions {
                    columns = definitions;
                }
                for row in event.object.rows.iter().flatten() {
                    if !row.object.version.is_empty() {
                        version.clone_from(&row.object.version);
                    }
                    if event.r#type != "BOOKMARK" {
                        self.print(&[self.cells(row, &columns)])?;
                    }
                }
            }
        }
        Ok(false)
    }
}

/// Whether one version is newer than another. They are numbers, since Kubernetes 1.35 by definition and before that in fact.
fn is_newer(version: &str, seen: &str) -> bool {
    match (version.parse::<u64>(), seen.parse::<u64>()) {
        (Ok(version), Ok(seen)) => version > seen,
        _ => true,
    }
}

/// A request whose answer is a table with all that there is.
fn request(url: &str) -> Result<http::Request<Vec<u8>>, Failure> {
    let request = http::Request::get(url).header(ACCEPT, AS_TABLE).body(Vec::new());
    request.map(requests::whole).map_err(Failure::unreadable)
}
