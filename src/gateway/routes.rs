//! The routes of the AI API, and what answers each.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, FromRequestParts, Path, State},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use http::{HeaderMap, Request, StatusCode, Uri, header::CONTENT_TYPE, request::Parts};
use kube::core::request::Error as ApiError;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::{
    api::{BulkUpdateItem, Kind, TargetStatus},
    client::{Failure, send},
    gateway::{
        body::{Body, LONGEST_BODY, NoBody},
        caller::{Credentials, bearer},
        logs, middleware,
        modification::{self, Asked, check_id},
        narrow::Unconditional,
        objects::{self, Part, Selection},
        places::Use,
        preferences::Preferences,
        problem::{Invocation, Problem, bad_request},
        query::Query,
        state::Gateway,
        submit::{kept_until, submit, submit_one},
    },
    observed::flag::Flags,
};

/// For requests that name no resource group.
const NO_NAMESPACE: &str = "";

const OPENAPI: &str = include_str!("../../docs/openapi.yaml");

type Answer = Result<Response, Problem>;

/// All routes, within the middleware.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let mut router = Router::new()
        .route("/openapi.yaml", get(async || ([(CONTENT_TYPE, "application/yaml")], OPENAPI)))
        .route("/v2/lm/meta", get(meta))
        .route("/v2/lm/meta/versions", get(versions))
        .route("/v2/lm/healthz", get(healthz));
    for kind in Kind::ALL {
        let all = format!("/v2/lm/{}", kind.plural());
        router = router
            .route(&all, collection(kind))
            .route(
                &format!("{all}/$count"),
                get(async move |credentials, query| count(credentials, kind, query).await),
            )
            .route(&format!("{all}/{{id}}"), object(kind))
            .route(
                &format!("{all}/{{id}}/logs"),
                get(async move |credentials, id, query| logs(credentials, kind, id, query).await),
            );
    }
    router
        .route_layer(from_fn(middleware::record_route))
        .method_not_allowed_fallback(async || {
            let message = "this URL does not take the method: the header Allow has those that it takes";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, message)
        })
        .fallback(async |uri: Uri| {
            let message = match part_of_the_ai_api(uri.path()) {
                Some(part) => {
                    format!("{part} of the AI API is not served here: /openapi.yaml describes what is")
                }
                None => "there is no such URL: /openapi.yaml describes those that exist".to_owned(),
            };
            Problem::new(StatusCode::NOT_FOUND, message)
        })
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(from_fn_with_state(Arc::clone(&gateway), middleware::handle))
        .with_state(gateway)
}

/// The part of the AI API that a path belongs to, if it is one that this server does not have.
fn part_of_the_ai_api(path: &str) -> Option<&'static str> {
    const PARTS: [&str; 8] = [
        "/v2/lm/artifacts",
        "/v2/lm/configurations",
        "/v2/lm/dataset",
        "/v2/lm/executionSchedules",
        "/v2/lm/metrics",
        "/v2/lm/scenarios",
        "/v2/admin",
        "/v2/analytics",
    ];
    PARTS
        .into_iter()
        .find(|part| path.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn collection(kind: Kind) -> MethodRouter<Arc<Gateway>> {
    get(async move |credentials: Credentials, query: Query| {
        let selection = Selection::of(&query, Part::List, kind)?;
        let body = objects::list(credentials.admit(Use::Reads)?, kind, selection).await?;
        Answer::Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
    })
    .patch(
        async move |credentials: Credentials, _: Unconditional, how: Preferences, body: Body<true>| {
            let asked = Asked { how, ..modification::bulk(kind, &body.0)? };
            drop(body);
            let caller = credentials.admit_modification(kind, &asked).await?;
            let status = submit(&caller, kind, asked.clone()).await?;
            let answer = modification::answer(kind, &asked, &status, &caller.invocation);
            let headers = how.applied(kept_until(&caller, &status));
            Answer::Ok((accepted(&asked), headers, Json(answer)).into_response())
        },
    )
}

fn object(kind: Kind) -> MethodRouter<Arc<Gateway>> {
    get(async move |credentials: Credentials, Id(id): Id, query: Query| {
        // Some clients encode the dollar.
        if id == "$count" {
            return count(credentials, kind, query).await;
        }
        check_id("the id in the path", &id)?;
        let selection = Selection::of(&query, Part::One, kind)?;
        let caller = credentials.admit(Use::Reads)?;
        Answer::Ok(Json(objects::get(&caller, kind, &id, selection.status_only).await?).into_response())
    })
    .patch(
        async move |credentials: Credentials,
                    Id(id): Id,
                    _: Unconditional,
                    how: Preferences,
                    body: Body<false>| {
            check_id("the id in the path", &id)?;
            let asked = Asked { how, ..modification::stop(kind, id, &body.0)? };
            drop(body);
            modify(credentials, kind, asked).await
        },
    )
    .delete(
        async move |credentials: Credentials, Id(id): Id, _: Unconditional, how: Preferences, _: NoBody| {
            check_id("the id in the path", &id)?;
            let item = BulkUpdateItem { id, target_status: TargetStatus::Deleted, uid: None };
            modify(credentials, kind, Asked { items: vec![item], dry_run: false, how }).await
        },
    )
}

async fn count(credentials: Credentials, kind: Kind, query: Query) -> Answer {
    let selection = Selection::of(&query, Part::Count, kind)?;
    let count = objects::count(credentials.admit(Use::Reads)?, kind, selection).await?;
    Ok(([(CONTENT_TYPE, "text/plain")], count.to_string()).into_response())
}

async fn logs(credentials: Credentials, kind: Kind, Id(id): Id, query: Query) -> Answer {
    check_id("the id in the path", &id)?;
    let asked = logs::Asked::parse(&query)?;
    let body = logs::read(credentials.admit(Use::Logs)?, kind, &id, asked).await?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// The status of an answer about what was carried out, or would be.
fn accepted(asked: &Asked) -> StatusCode {
    if asked.dry_run { StatusCode::OK } else { StatusCode::ACCEPTED }
}

/// One object: a BulkUpdate of one item.
async fn modify(credentials: Credentials, kind: Kind, asked: Asked) -> Answer {
    let caller = credentials.admit_modification(kind, &asked).await?;
    let (id, target_status) = (asked.items[0].id.clone(), asked.items[0].target_status);
    let (code, dry_run, how) = (accepted(&asked), asked.dry_run, asked.how);
    let (stage, status) = submit_one(&caller, kind, asked).await?;
    let message = match target_status {
        _ if dry_run => modification::would_be(kind, target_status),
        TargetStatus::Stopped => stage.of_modification(kind),
        TargetStatus::Deleted => stage.of_deletion(kind),
    };
    let headers = how.applied(kept_until(&caller, &status));
    Ok((code, headers, Json(json!({"id": id, "message": message}))).into_response())
}

/// Whether the cluster knows the token: it refuses an unknown one wherever it is sent, and this is where anybody may read.
async fn authenticate(gateway: &Arc<Gateway>, headers: &HeaderMap, of: &Invocation) -> Result<(), Problem> {
    let token = bearer(headers)?;
    let place = Arc::new(gateway.places.take(Use::Reads, NO_NAMESPACE, token.as_bytes())?);
    let client = gateway.client(token, NO_NAMESPACE, place, of);
    let request = Request::get("/version").body(Vec::new()).map_err(ApiError::BuildRequest);
    match send::<IgnoredAny>(&client, request).await {
        // Whom it may not read is not nobody.
        Ok(_) | Err(Failure::Refused { code: 403, .. }) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

async fn versions(
    State(gateway): State<Arc<Gateway>>,
    Extension(of): Extension<Invocation>,
    headers: HeaderMap,
) -> Answer {
    authenticate(&gateway, &headers, &of).await?;
    let version =
        json!({"versionId": "v2", "url": "/v2", "description": "the AI API, as far as /openapi.yaml goes"});
    Ok(Json(json!({"versions": [version]})).into_response())
}

/// The capability flag, as it is read for all who want it.
async fn flags(gateway: &Gateway) -> Result<Flags, Problem> {
    let read = gateway.flag.read_since(gateway.started).await;
    read.map_err(|why| Problem::unavailable(format!("cannot read the capability flag: {why}")))
}

/// Whether requests can be carried out at all. It needs no token, and asks the Kubernetes API once a second at most.
async fn healthz(State(gateway): State<Arc<Gateway>>) -> Answer {
    flags(&gateway).await?;
    Ok(Json(json!({"status": "READY", "message": "the Kubernetes API answers"})).into_response())
}

async fn meta(
    State(gateway): State<Arc<Gateway>>,
    Extension(of): Extension<Invocation>,
    headers: HeaderMap,
) -> Answer {
    authenticate(&gateway, &headers, &of).await?;
    let flags = flags(&gateway).await?;
    // Nothing is left out: what is missing counts as true, says the AI API.
    let capabilities = json!({
        "multitenant": true,
        "shareable": false,
        "staticDeployments": false,
        "userDeployments": false,
        "userExecutions": false,
        "timeToLiveDeployments": false,
        "executionSchedules": false,
        "logs": {"executions": true, "deployments": true},
        "bulkUpdates": {"executions": flags.on(Kind::Execution), "deployments": flags.on(Kind::Deployment)},
    });
    let limits = json!({"executions": {"maxRunningCount": -1}, "deployments": {"maxRunningCount": -1}});
    let body = json!({
        "runtimeIdentifier": "ai-api-operator",
        "runtimeApiVersion": env!("CARGO_PKG_VERSION"),
        "description": "Executions and Deployments on Kubernetes, stopped and deleted in bulk",
        // The version of which a part is served.
        "aiApi": {"version": "2.42.0", "capabilities": capabilities, "limits": limits},
        "extensions": {},
    });
    Ok(Json(body).into_response())
}

/// The id in the path, decoded and not checked yet.
struct Id(String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).or_else(|_| bad_request("the id in the path is not UTF-8"))
    }
}
