//! What every request passes through: its id, the limits on concurrency and time, its log line, and the body of its error.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::CONTENT_LENGTH};
use serde_json::json;
use tokio::{sync::OwnedSemaphorePermit, time};
use tracing::info;

use crate::{
    decode::text::cut,
    gateway::{
        problem::{DEFAULT_RETRY_AFTER, Invocation, Problem},
        state::Gateway,
    },
};

const REQUEST_ID: &str = "X-Request-Id";
/// How many requests may be in progress at once; one more is answered 429.
pub const MAX_IN_FLIGHT: u32 = 256;
/// How long a request may take in all; longer than [`super::submit`] follows a BulkUpdate.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(85);
/// The longest URL that an error or the log repeats, in bytes.
const LONGEST_TARGET: usize = 1024;

/// A request's share of [`MAX_IN_FLIGHT`]. It is held as long as anything is done for the request, even after the caller has
/// hung up.
pub type Permit = Arc<OwnedSemaphorePermit>;

/// Wraps every request.
pub async fn handle(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let began = time::Instant::now();
    // HTTP/2 names the host as well.
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let invocation = Invocation {
        id: gateway.machine.id().to_string().into(),
        target: cut(target, LONGEST_TARGET).into(),
    };
    request.extensions_mut().insert(invocation.clone());
    let method = request.method().clone();
    let path = cut(request.uri().path(), LONGEST_TARGET);
    let mut response = within_limits(&gateway, request, next).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let (mut head, _) = response.into_parts();
        // axum has counted the body that is replaced here.
        head.headers.remove(CONTENT_LENGTH);
        response = (head, Json(json!({"error": problem.json(&invocation)}))).into_response();
    }
    if let Ok(id) = HeaderValue::try_from(&*invocation.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let route = response.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    gateway.metrics.answered(&method, route, response.status(), began.elapsed());
    info!(request_id = &*invocation.id, %method, path, status = response.status().as_u16(),
        milliseconds = began.elapsed().as_millis(), "answered");
    response
}

/// Records which route has answered, for the metrics; wraps those that match one.
pub async fn record_route(path: MatchedPath, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(path);
    response
}

async fn within_limits(gateway: &Gateway, mut request: Request, next: Next) -> Response {
    let Ok(permit) = Arc::clone(&gateway.in_flight).try_acquire_owned() else {
        let message =
            format!("{MAX_IN_FLIGHT} requests are already in progress: nothing was done, try again");
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, message);
        return problem.retry_after(DEFAULT_RETRY_AFTER).into_response();
    };
    request.extensions_mut().insert(Permit::new(permit));
    time::timeout(REQUEST_TIMEOUT, next.run(request)).await.unwrap_or_else(|_| {
        let message = format!("the request took longer than {REQUEST_TIMEOUT:?}: its outcome is not known");
        Problem::outcome_unknown(message).into_response()
    })
}
