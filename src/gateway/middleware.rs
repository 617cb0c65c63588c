//! What every request passes through: its id, the limit on its time, its log line, and the body of its error.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::HttpBody,
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header::CONTENT_LENGTH};
use serde_json::json;
use tokio::time;
use tracing::info;

use crate::{
    decode::text::cut,
    gateway::{
        caller::resource_group,
        problem::{Invocation, Problem},
        state::Gateway,
        unread,
    },
    server::Connection,
};

const REQUEST_ID: &str = "X-Request-Id";
/// How long a request may take in all; longer than [`super::submit`] follows a BulkUpdate.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(85);
/// The longest URL that an error or the log repeats, in bytes.
const LONGEST_TARGET: usize = 1024;

/// Wraps every request.
pub async fn handle(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let began = time::Instant::now();
    // HTTP/2 names the host as well.
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let invocation = Invocation {
        id: gateway.machine.id().to_string().into(),
        target: cut(target, LONGEST_TARGET).into(),
        bulk_update: Arc::default(),
    };
    request.extensions_mut().insert(invocation.clone());
    let connection: Option<Connection> = request.extensions().get().cloned();
    let (peer, closed) = connection.as_ref().map(|of| (of.peer, of.closed.clone())).unzip();
    // Eviction closes the connection: HTTP/2 has no other way to end a response that is not received.
    let entry = gateway.requests.insert(peer, closed.clone().unwrap_or_default());
    let in_progress = (entry, connection.map(|connection| connection.in_use()));
    let method = request.method().clone();
    let path = cut(request.uri().path(), LONGEST_TARGET);
    // As the caller says, and only if it can be one.
    let namespace = resource_group(request.headers()).ok();
    let mut response = in_time(request, next, &invocation).await;
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
    let peer = peer.map(|peer| peer.to_string());
    info!(request_id = &*invocation.id, %method, path, namespace, peer, status = response.status().as_u16(),
        milliseconds = began.elapsed().as_millis(), "answered");
    response.map(|body| if body.is_end_stream() { body } else { unread::body(body, in_progress, closed) })
}

/// Records which route has answered, for the metrics; wraps those that match one.
pub async fn record_route(path: MatchedPath, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(path);
    response
}

async fn in_time(request: Request, next: Next, invocation: &Invocation) -> Response {
    time::timeout(REQUEST_TIMEOUT, next.run(request)).await.unwrap_or_else(|_| {
        let message = format!("the request took longer than {REQUEST_TIMEOUT:?}");
        let problem = match invocation.bulk_update.get() {
            Some(name) => Problem::outcome_unknown(message).if_unknown_of(name),
            None => Problem::unavailable(message).nothing_was_done(),
        };
        problem.into_response()
    })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::{Router, middleware, routing::get};
    use tower::ServiceExt;

    use super::*;

    /// What a request gets whose answer never comes.
    async fn unanswered(invocation: Invocation) -> Problem {
        let wrap = move |request: Request, next: Next| {
            let invocation = invocation.clone();
            async move { in_time(request, next, &invocation).await }
        };
        let router = Router::new().route("/", get(pending::<()>)).layer(middleware::from_fn(wrap));
        let mut response = router.oneshot(Request::new(axum::body::Body::empty())).await.unwrap();
        response.extensions_mut().remove().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_too_long_names_its_bulk_update() {
        let problem = unanswered(Invocation::default()).await;
        assert_eq!(problem.code.status(), 503);
        assert_eq!(problem.message, "the request took longer than 85s; nothing was done");
        let bulk_update = Arc::new("team-a/request-1".to_owned().into());
        let problem = unanswered(Invocation { bulk_update, ..Invocation::default() }).await;
        assert_eq!(problem.code.status(), 504);
        let expected =
            "the outcome of BulkUpdate team-a/request-1 is not known: the request took longer than 85s";
        assert_eq!(problem.message, expected);
    }
}
