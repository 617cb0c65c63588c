//! The routes of the AI API, and what answers each.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Request, State},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE, request::Parts};
use serde_json::json;
use tokio::time::timeout;

use crate::{
    api::{BulkUpdateItem, Kind, TargetStatus},
    gateway::{
        caller::{Caller, bearer},
        middleware,
        modification::{self, check_id},
        objects::{self, Selection},
        problem::{Problem, bad_request},
        state::Gateway,
        submit::{submit, submit_one},
    },
};

/// The longest body, in bytes.
const LONGEST_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const OPENAPI: &str = include_str!("../../docs/openapi.yaml");

type Answer = Result<Response, Problem>;

/// All routes, within the middleware.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let mut router = Router::new()
        .route("/openapi.yaml", get(async || ([(CONTENT_TYPE, "application/yaml")], OPENAPI)))
        .route("/v2/lm/meta", get(meta));
    for kind in Kind::ALL {
        let all = format!("/v2/lm/{}", kind.plural());
        router = router
            .route(&all, collection(kind))
            .route(&format!("{all}/$count"), get(async move |caller, query| count(caller, kind, query).await))
            .route(&format!("{all}/{{id}}"), object(kind));
    }
    router
        .route_layer(from_fn(middleware::record_route))
        .method_not_allowed_fallback(async || {
            let message = "this URL does not take the method: the header Allow has those that it takes";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, message)
        })
        .fallback(async || {
            let message = "there is no such URL: /openapi.yaml describes those that exist";
            Problem::new(StatusCode::NOT_FOUND, message)
        })
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(from_fn_with_state(Arc::clone(&gateway), middleware::handle))
        .with_state(gateway)
}

fn collection(kind: Kind) -> MethodRouter<Arc<Gateway>> {
    get(async move |caller: Caller, selection: Selection| {
        let body = objects::list(caller, kind, selection).await?;
        Answer::Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
    })
    .patch(async move |caller: Caller, body: Body<true>| {
        let items = modification::bulk(kind, &body.0)?;
        let ids: Vec<_> = items.iter().map(|item| item.id.clone()).collect();
        let status = submit(&caller, kind, items).await?;
        let answer = modification::answer(kind, &ids, &status, &caller.invocation);
        Answer::Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
    })
}

fn object(kind: Kind) -> MethodRouter<Arc<Gateway>> {
    get(async move |caller: Caller, Id(id): Id, selection: Selection| {
        // Some clients encode the dollar.
        if id == "$count" {
            return count(caller, kind, selection).await;
        }
        check_id("the id in the path", &id)?;
        Answer::Ok(Json(objects::get(&caller, kind, &id, selection.status_only).await?).into_response())
    })
    .patch(async move |caller: Caller, Id(id): Id, body: Body<false>| {
        check_id("the id in the path", &id)?;
        modification::check_stop(kind, &body.0)?;
        modify(&caller, kind, id, TargetStatus::Stopped).await
    })
    .delete(async move |caller: Caller, Id(id): Id| {
        check_id("the id in the path", &id)?;
        modify(&caller, kind, id, TargetStatus::Deleted).await
    })
}

async fn count(caller: Caller, kind: Kind, selection: Selection) -> Answer {
    let count = objects::count(caller, kind, selection).await?;
    Ok(([(CONTENT_TYPE, "text/plain")], count.to_string()).into_response())
}

/// One object: a BulkUpdate of one item.
async fn modify(caller: &Caller, kind: Kind, id: String, target_status: TargetStatus) -> Answer {
    let item = BulkUpdateItem { id: id.clone(), target_status, uid: None };
    submit_one(caller, kind, item).await?;
    let message = match target_status {
        TargetStatus::Stopped => modification::scheduled(kind),
        TargetStatus::Deleted => format!("{} deletion scheduled", kind.name()),
    };
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id, "message": message}))).into_response())
}

async fn meta(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Answer {
    bearer(&headers)?;
    let flags = gateway.flag.read_since(gateway.started).await;
    let unread = |why| Problem::unavailable(format!("cannot read the capability flag: {why}"));
    let flags = flags.map_err(unread)?;
    // Nothing is left out: what is missing counts as true, says the AI API.
    let capabilities = json!({
        "multitenant": true,
        "shareable": false,
        "staticDeployments": false,
        "userDeployments": false,
        "userExecutions": false,
        "timeToLiveDeployments": false,
        "executionSchedules": false,
        "logs": {"executions": false, "deployments": false},
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

/// The whole body of a PATCH. In `BULK` it may be a merge patch, as the AI API calls it.
struct Body<const BULK: bool>(Bytes);

impl<const BULK: bool, S: Send + Sync> FromRequest<S> for Body<BULK> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let given = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = given.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        let taken: &[&str] =
            if BULK { &["application/merge-patch+json", "application/json"] } else { &["application/json"] };
        if !taken.iter().any(|taken| taken.eq_ignore_ascii_case(essence)) {
            let message = format!("the body's Content-Type must be {}", taken.join(" or "));
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let (status, message) = match timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await {
            Ok(Ok(body)) => return Ok(Self(body)),
            Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                (rejection.status(), format!("the body is larger than {LONGEST_BODY} bytes"))
            }
            Ok(Err(_)) => return bad_request("the body is incomplete"),
            Err(_) => {
                (StatusCode::REQUEST_TIMEOUT, format!("the body did not arrive within {BODY_TIMEOUT:?}"))
            }
        };
        Err(Problem::new(status, message))
    }
}
