//! What stands around every request: its id, the bounds on how many and how long, its line in the log, and the shape of
//! its errors.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tracing::info;

use crate::{
    decode::text::cut,
    gateway::{invocation::Invocation, problem::Problem, state::Gateway},
};

/// The header of every answer that has the request's id.
pub const REQUEST_ID: &str = "X-Request-Id";

/// How many requests may be under way at once; one more is answered 429.
pub const MOST_IN_FLIGHT: u32 = 256;

/// The longest that a request may take, over all; longer than [`super::carry_out`] follows a BulkUpdate.
const LONGEST_REQUEST: Duration = Duration::from_secs(85);

/// The longest URL that an error or the log repeats, in bytes.
const LONGEST_TARGET: usize = 1024;

/// A place among the requests under way. It is taken as long as anything is done for the request, also for one whose caller has
/// hung up.
pub type Place = Arc<OwnedSemaphorePermit>;

/// Goes round every request.
pub async fn frame(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    // HTTP/2 names the host as well.
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let invocation = Invocation {
        id: uuid::Uuid::new_v4().to_string().into(),
        target: cut(target, LONGEST_TARGET).into(),
    };
    request.extensions_mut().insert(invocation.clone());
    let method = request.method().clone();
    let path = cut(request.uri().path(), LONGEST_TARGET);
    let mut response = bounded(&gateway, request, next).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = tell(&problem, &invocation, response);
    }
    if let Ok(id) = HeaderValue::try_from(&*invocation.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let route = response.extensions().get::<Route>().map_or("none", |route| route.0.as_str()).to_owned();
    gateway.metrics.answered(&method, &route, response.status(), began.elapsed());
    info!(request_id = &*invocation.id, %method, path, status = response.status().as_u16(),
        milliseconds = began.elapsed().as_millis(), "answered");
    response
}

/// The route that has answered, for the metrics.
#[derive(Clone)]
struct Route(MatchedPath);

/// Notes which route it was; goes round those that match one.
pub async fn note_route(path: MatchedPath, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(Route(path));
    response
}

async fn bounded(gateway: &Gateway, mut request: Request, next: Next) -> Response {
    let Ok(place) = Arc::clone(&gateway.places).try_acquire_owned() else {
        let message = format!("{MOST_IN_FLIGHT} requests are under way already: nothing was done, try again");
        return Problem::too_many(message).into_response();
    };
    request.extensions_mut().insert(Place::new(place));
    match tokio::time::timeout(LONGEST_REQUEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::not_known(format!("no answer within {LONGEST_REQUEST:?}")).into_response(),
    }
}

/// The answer to a request that has a problem. `response` has the headers that go with it, such as Allow.
fn tell(problem: &Problem, invocation: &Invocation, response: Response) -> Response {
    let (head, _) = response.into_parts();
    let mut answer = (problem.status, axum::Json(problem.body(invocation))).into_response();
    for (name, value) in &head.headers {
        if *name == header::ALLOW {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    *answer.extensions_mut() = head.extensions;
    if problem.status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(wait) = problem.retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().max(1).into());
    }
    answer
}
