//! The Pods of what runs.

use http::{HeaderValue, header::ACCEPT};
use k8s_openapi::api::core::v1 as core;
use kube::{Client, Resource, api::ListParams, core::Request};
use serde::Deserialize;

use crate::{
    api::EngineKind,
    client::{Failure, send},
    workload::{
        engine::{NOT_ENDED, PodSelector},
        engines,
        requests::{self, List, Place},
    },
};

/// How many Pods a page has.
const PAGE: u32 = 100;

const METADATA_ONLY: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");

/// A Pod, as far as it is read.
#[derive(Deserialize)]
pub struct Pod {
    metadata: Metadata,
    /// Absent where only the metadata was asked for.
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    owner_references: Vec<OwnerReference>,
}

#[derive(Deserialize)]
struct OwnerReference {
    kind: String,
    name: String,
    #[serde(default)]
    controller: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    init_containers: Vec<Container>,
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
}

impl Pod {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// The names of its containers, in the order in which they start.
    pub fn containers(&self) -> impl Iterator<Item = &str> {
        self.spec.init_containers.iter().chain(&self.spec.containers).map(|container| &*container.name)
    }

    /// Kind and name of its controller.
    fn controller(&self) -> Option<(&str, &str)> {
        let owner = self.metadata.owner_references.iter().find(|owner| owner.controller)?;
        Some((&owner.kind, &owner.name))
    }
}

/// Whether any Pod of one of these is left, those that have ended aside.
///
/// # Errors
/// If they cannot be listed.
pub async fn any_pod(client: &Client, namespace: &str, selectors: &[PodSelector]) -> Result<bool, Failure> {
    for selector in selectors {
        let mut pages = Pages::new(client, namespace, selector, true);
        while let Some(page) = pages.next().await? {
            if !page.is_empty() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The Pods of the object with this uid, also those that have ended: `most` of them, and whether there are more. `None` if there is
/// no such object, or not any more.
///
/// # Errors
/// If the object or its Pods cannot be read, or the object cannot be understood.
pub async fn of_work(
    client: &Client,
    namespace: &str,
    kind: EngineKind,
    (name, uid): (&str, &str),
    most: usize,
) -> Result<Option<(Vec<Pod>, bool)>, Failure> {
    let Some(engine) = engines::of(kind) else { return Ok(None) };
    let object = match requests::object(client, Place { engine, namespace, name }).await {
        Err(Failure::NotServed(_)) => return Ok(None),
        read => read?,
    };
    let Some(object) = object.filter(|object| object.parts().uid == uid) else { return Ok(None) };
    let mut pods = Vec::new();
    for selector in (engine.pods)(&object.parts()).map_err(Failure::unreadable)? {
        let mut pages = Pages::new(client, namespace, &selector, false);
        while pods.len() <= most
            && let Some(page) = pages.next().await?
        {
            pods.extend(page);
        }
    }
    let more = pods.len() > most;
    pods.truncate(most);
    Ok(Some((pods, more)))
}

/// The Pods of a selector, page by page.
struct Pages<'a> {
    client: &'a Client,
    namespace: &'a str,
    selector: &'a PodSelector,
    /// Whether only those that have not ended are listed, and of these only the metadata.
    left: bool,
    /// None after the last.
    next: Option<ListParams>,
}

impl<'a> Pages<'a> {
    fn new(client: &'a Client, namespace: &'a str, selector: &'a PodSelector, left: bool) -> Self {
        let params = ListParams {
            label_selector: Some(selector.labels.clone()),
            field_selector: left.then(|| NOT_ENDED.into()),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        Self { client, namespace, selector, left, next: Some(params) }
    }

    async fn next(&mut self) -> Result<Option<Vec<Pod>>, Failure> {
        let Some(params) = self.next.take() else { return Ok(None) };
        let request =
            Request::new(core::Pod::url_path(&(), Some(self.namespace))).list(&params).map(|mut request| {
                if self.left {
                    request.headers_mut().insert(ACCEPT, METADATA_ONLY);
                }
                request
            });
        let page: List<Pod> = send(self.client, request).await?;
        let token = page.metadata.r#continue.filter(|token| !token.is_empty());
        self.next = token.map(|token| params.continue_token(&token));
        let mut pods = page.items.unwrap_or_default();
        pods.retain(|pod| self.selector.takes(pod.controller()));
        Ok(Some(pods))
    }
}
