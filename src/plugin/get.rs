//! Executions, Deployments and BulkUpdates in one overview, with the API server's own columns.

use std::collections::BTreeMap;

use bytes::BytesMut;
use futures::{StreamExt, future::try_join_all};
use http::header::ACCEPT;
use http_body_util::BodyExt;
use kube::{
    Resource,
    core::{ApiResource, DynamicObject, ListMeta},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    arguments::{GetArguments, GetFormat, GetKind, ManifestFormat},
    console::Console,
    problem::{Problem, failed},
    session::{PAGE, Session, retried, with_query},
    show::{list, manifests},
    table::Table,
};
use crate::client::{Failure, requests, send};

/// How the API server is asked for what kubectl shows.
const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

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
    object: Value,
}

#[derive(Deserialize)]
struct Event {
    r#type: String,
    object: Value,
}

pub async fn get(session: &Session, arguments: &GetArguments) -> Result<(), Problem> {
    let mut kinds = arguments.kinds.clone();
    if kinds.is_empty() {
        kinds.extend(GetKind::ALL);
    }
    match arguments.output {
        Some(GetFormat::Json | GetFormat::Yaml | GetFormat::Name) if arguments.watch => {
            Err(Problem::Usage("--watch shows a table: leave -o out, or use -o wide".into()))
        }
        Some(GetFormat::Json) => print_objects(session, &kinds, arguments, ManifestFormat::Json).await,
        Some(GetFormat::Yaml) => print_objects(session, &kinds, arguments, ManifestFormat::Yaml).await,
        Some(GetFormat::Name) => print_names(session, &kinds, arguments).await,
        None | Some(GetFormat::Wide) => tables(session, &kinds, arguments).await,
    }
}

fn url(session: &Session, resource: &ApiResource, arguments: &GetArguments) -> String {
    let url = DynamicObject::url_path(resource, session.namespace.as_deref());
    with_query(&url, &[("labelSelector", arguments.selector.as_deref().unwrap_or_default())])
}

/// As the arguments of kubectl, such as `execution.aiapi.dev/name`.
fn qualified(resource: &ApiResource, name: &str) -> String {
    format!("{}.{}/{name}", resource.kind.to_lowercase(), resource.group)
}

/// A request whose answer has all that there is, in one of these forms.
fn request(url: &str, accept: &str) -> Result<http::Request<Vec<u8>>, Failure> {
    let request = http::Request::get(url).header(ACCEPT, accept).body(Vec::new());
    request.map(requests::whole).map_err(Failure::unreadable)
}

/// One page of a list.
async fn page<T: DeserializeOwned>(
    session: &Session,
    resource: &ApiResource,
    (url, token): (&str, &str),
    accept: &str,
) -> Result<T, Problem> {
    let url = with_query(url, &[("limit", PAGE), ("continue", token)]);
    let page = retried(async || send(&session.client, Ok(request(&url, accept)?)).await).await;
    page.map_err(|failure| failed(format_args!("{} cannot be listed", resource.plural), &failure))
}

async fn tables(session: &Session, kinds: &[GetKind], arguments: &GetArguments) -> Result<(), Problem> {
    let console = &session.console;
    let mut versions = Vec::new();
    let mut shown = 0;
    for kind in kinds {
        let view = View::of(session, *kind, kinds.len() > 1, arguments);
        let (table, version) = view.list(session).await?;
        if let Some(rows) = table {
            if shown > 0 {
                console.print("")?;
            }
            shown += 1;
            console.print(Table::of(rows).text(console.width))?;
        }
        versions.push((view, version));
    }
    if arguments.watch {
        let watched = versions.iter().map(|(view, version)| view.watch(session, console, version.clone()));
        try_join_all(watched).await?;
    } else if shown == 0 {
        console.note(format_args!("No resources found in {}.", session.place()));
    }
    Ok(())
}

/// How the objects of a kind are shown.
struct View {
    resource: ApiResource,
    url: String,
    /// Whether the name says the kind.
    prefixed: bool,
    namespaces: bool,
    wide: bool,
}

impl View {
    fn of(session: &Session, kind: GetKind, prefixed: bool, arguments: &GetArguments) -> Self {
        let resource = kind.resource();
        Self {
            url: url(session, &resource, arguments),
            resource,
            prefixed,
            namespaces: session.namespace.is_none(),
            wide: arguments.output == Some(GetFormat::Wide),
        }
    }

    /// The rows, with their headings, if there are any; and the version of the list.
    async fn list(&self, session: &Session) -> Result<(Option<Vec<Vec<String>>>, String), Problem> {
        let mut rows = Vec::new();
        let mut token = String::new();
        loop {
            let page: ServerTable = page(session, &self.resource, (&self.url, &token), AS_TABLE).await?;
            let (columns, found) =
                (page.column_definitions.unwrap_or_default(), page.rows.unwrap_or_default());
            if rows.is_empty() && !found.is_empty() {
                rows.push(self.headings(&columns));
            }
            rows.extend(found.iter().map(|row| self.cells(row, &columns)));
            token = page.metadata.continue_.unwrap_or_default();
            if token.is_empty() {
                return Ok((
                    (!rows.is_empty()).then_some(rows),
                    page.metadata.resource_version.unwrap_or_default(),
                ));
            }
        }
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
        let namespace = || row.object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let cells = row.cells.iter().zip(columns).filter(|(_, column)| self.is_shown(column));
        let cells = cells.enumerate().map(|(index, (cell, _))| match cell {
            Value::String(name) if index == 0 && self.prefixed => qualified(&self.resource, name),
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        });
        self.namespaces.then(namespace).into_iter().chain(cells).collect()
    }

    /// Prints what changes, until it fails.
    async fn watch(&self, session: &Session, console: &Console, mut version: String) -> Result<(), Problem> {
        let problem = |failure| failed(format_args!("{} cannot be watched", self.resource.plural), &failure);
        loop {
            let from = [("watch", "true"), ("resourceVersion", &*version), ("allowWatchBookmarks", "true")];
            let url = with_query(&self.url, &from);
            let opened =
                retried(async || requests::open(&session.client, Ok(request(&url, AS_TABLE)?)).await).await;
            match opened {
                Ok(body) => self.events(console, body, &mut version).await?,
                Err(Failure::Refused { code: 410, .. }) => version.clear(),
                Err(failure) => return Err(problem(failure)),
            }
            if version.is_empty() {
                version = self.list(session).await?.1;
            }
        }
    }

    /// Prints the events of one watch; the version is empty if it is too old for another one.
    async fn events(
        &self,
        console: &Console,
        body: kube::client::Body,
        version: &mut String,
    ) -> Result<(), Problem> {
        let (mut frames, mut buffer) = (body.into_data_stream(), BytesMut::new());
        let mut columns: Vec<Column> = Vec::new();
        while let Some(Ok(piece)) = frames.next().await {
            buffer.extend_from_slice(&piece);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line = buffer.split_to(end + 1);
                let Ok(event) = serde_json::from_slice::<Event>(&line) else { continue };
                if event.r#type == "ERROR" {
                    version.clear();
                    return Ok(());
                }
                let Ok(table) = serde_json::from_value::<ServerTable>(event.object) else { continue };
                if let Some(definitions) = table.column_definitions {
                    columns = definitions;
                }
                for row in table.rows.iter().flatten() {
                    if let Some(newer) = row.object["metadata"]["resourceVersion"].as_str() {
                        newer.clone_into(version);
                    }
                    if event.r#type != "BOOKMARK" {
                        let cells = self.cells(row, &columns);
                        console.print(Table::of(vec![cells]).text(console.width))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The whole objects, without what only the API server needs.
async fn objects(
    session: &Session,
    kinds: &[GetKind],
    arguments: &GetArguments,
) -> Result<Vec<Value>, Problem> {
    let mut objects = Vec::new();
    for kind in kinds {
        let resource = kind.resource();
        let url = url(session, &resource, arguments);
        let mut token = String::new();
        loop {
            let mut page: Value = page(session, &resource, (&url, &token), "application/json").await?;
            page["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut token);
            let Value::Array(items) = page["items"].take() else { break };
            for mut object in items {
                // The items of a list have none, and could not be applied without.
                object["apiVersion"] = resource.api_version.clone().into();
                object["kind"] = resource.kind.clone().into();
                if let Some(metadata) = object["metadata"].as_object_mut() {
                    metadata.remove("managedFields");
                }
                objects.push(object);
            }
            if token.is_empty() {
                break;
            }
        }
    }
    Ok(objects)
}

async fn print_objects(
    session: &Session,
    kinds: &[GetKind],
    arguments: &GetArguments,
    format: ManifestFormat,
) -> Result<(), Problem> {
    // In the order in which people read manifests.
    let order = ["apiVersion", "kind", "metadata", "spec", "status"];
    let rank = |name: &str| order.iter().position(|known| *known == name).unwrap_or(order.len());
    let sorted = |object: Value| match object {
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> =
                fields.into_iter().map(|(name, value)| ((rank(&name), name), value)).collect();
            Value::Object(fields.into_iter().map(|((_, name), value)| (name, value)).collect())
        }
        other => other,
    };
    let objects: Vec<_> = objects(session, kinds, arguments).await?.into_iter().map(sorted).collect();
    match format {
        // Always, as with kubectl: what reads it need not know how many there are.
        ManifestFormat::Json => list(&session.console, &objects),
        ManifestFormat::Yaml => manifests(&session.console, &objects, format),
    }
}

async fn print_names(session: &Session, kinds: &[GetKind], arguments: &GetArguments) -> Result<(), Problem> {
    for kind in kinds {
        for object in objects(session, &[*kind], arguments).await? {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            session.console.print(qualified(&kind.resource(), name))?;
        }
    }
    Ok(())
}
