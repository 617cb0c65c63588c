//! Which request is answered by what.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, FromRequest, Path, Request, State,
        rejection::{BytesRejection, PathRejection},
    },
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::{
    api::{BulkUpdateItem, Kind, TargetStatus},
    gateway::{
        caller::{Caller, WithToken},
        capabilities, carry_out, frame, modification,
        objects::{self, Selection},
        problem::Problem,
        state::Gateway,
    },
    observed::flag::Flags,
};

/// The longest body, in bytes.
const LONGEST_BODY: usize = 64 * 1024;

/// How long a body may take to come.
const BODY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// The document of what is served here.
const OPENAPI: &str = include_str!("../../docs/openapi.yaml");

type Answer = Result<Response, Problem>;
type Shared = State<Arc<Gateway>>;

/// All routes, in their frame.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let mut router = Router::new()
        .route("/openapi.yaml", get(async || ([(header::CONTENT_TYPE, "application/yaml")], OPENAPI)))
        .route("/v2/lm/meta", get(meta));
    for kind in Kind::ALL {
        let all = format!("/v2/lm/{}", kind.plural());
        router = router
            .route(&all, collection(kind))
            .route(
                &format!("{all}/$count"),
                get(async move |caller: Caller, selection: Selection| count(caller, kind, &selection).await),
            )
            .route(&format!("{all}/{{id}}"), object(kind));
    }
    router
        .route_layer(middleware::from_fn(frame::note_route))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "this method is not served at this URL",
            )
        })
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "NotFound", "nothing is served at this URL"))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&gateway), frame::frame))
        .with_state(gateway)
}

fn collection(kind: Kind) -> MethodRouter<Arc<Gateway>> {
    get(async move |caller: Caller, selection: Selection| {
        let json = HeaderValue::from_static("application/json");
        let body = objects::list(caller, kind, selection).await?;
        Answer::Ok(([(header::CONTENT_TYPE, json)], body).into_response())
    })
    .patch(async move |caller: Caller, body: Body<true>| {
        let items = modification::bulk(kind, &body.0)?;
        let asked: Vec<_> = items.iter().map(|item| item.id.clone()).collect();
        let status = carry_out::carry_out(&caller, kind, items).await?;
        let answer = modification::answer(kind, &asked, &status, &caller.invocation);
        Answer::Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
    })
}

fn object(kind: Kind) -> MethodRouter<Arc<Gateway>> {
    get(async move |caller: Caller, id: Id, selection: Selection| match id.0.as_str() {
        // Where a client has encoded the dollar.
        "$count" => count(caller, kind, &selection).await,
        id => {
            let id = modification::path_id(id)?;
            Answer::Ok(Json(objects::get(&caller, kind, id, selection.select).await?).into_response())
        }
    })
    .patch(async move |caller: Caller, id: Id, body: Body<false>| {
        modify(&caller, kind, &id.0, modification::single(kind, &body.0)).await
    })
    .delete(async move |caller: Caller, id: Id| modify(&caller, kind, &id.0, Ok(TargetStatus::Deleted)).await)
}

async fn count(caller: Caller, kind: Kind, selection: &Selection) -> Answer {
    let count = objects::count(caller, kind, &selection.filter).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain")], count.to_string()).into_response())
}

/// One object: a BulkUpdate of one item.
async fn modify(caller: &Caller, kind: Kind, id: &str, target: Result<TargetStatus, Problem>) -> Answer {
    let id = modification::path_id(id)?.to_owned();
    let target_status = target?;
    let item = BulkUpdateItem { id: id.clone(), target_status, uid: None };
    let status = carry_out::carry_out(caller, kind, vec![item]).await?;
    modification::only(kind, &id, &status)?;
    let message = match target_status {
        TargetStatus::Stopped => modification::scheduled(kind),
        TargetStatus::Deleted => format!("{} deletion scheduled", kind.name()),
    };
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id, "message": message}))).into_response())
}

async fn meta(State(gateway): Shared, _: WithToken) -> Answer {
    let flags: Flags = gateway
        .flag
        .read_since(gateway.started)
        .await
        .map_err(|failure| Problem::nothing_done(format!("the flag can't be read: {failure}")))?;
    Ok(Json(capabilities::capabilities(&flags)).into_response())
}

/// The id in the path, decoded, and not checked yet.
struct Id(String);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Path(id) = path.map_err(|_| Problem::bad_request("the id in the path is no UTF-8 text"))?;
        Ok(Self(id))
    }
}

/// The whole body of a PATCH. In `BULK` it may be a merge patch, as the AI API calls it.
struct Body<const BULK: bool>(Bytes);

impl<const BULK: bool, S: Send + Sync> FromRequest<S> for Body<BULK> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = given.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        let taken: &[&str] =
            if BULK { &["application/merge-patch+json", "application/json"] } else { &["application/json"] };
        if !taken.iter().any(|taken| taken.eq_ignore_ascii_case(essence)) {
            let words = taken.join(" or ");
            let message = format!("the body's Content-Type has to be {words}");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message));
        }
        let read = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await;
        let too_slow = |_| {
            let message = format!("the body did not come within {BODY_TIMEOUT:?}");
            Problem::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message)
        };
        read.map_err(too_slow)?.map(Self).map_err(|rejection: BytesRejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                format!("the body has more than {LONGEST_BODY} bytes"),
            ),
            _ => Problem::bad_request("the body did not come whole"),
        })
    }
}
