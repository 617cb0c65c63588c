//! Answers of the API server: complete, truncated, made up, and as the lines of a watch.

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::DynBody;
use serde_json::json;
use tower::BoxError;

use crate::fault::Call;

pub type Answer = Response<Box<DynBody>>;

/// Waits for the complete answer, or for the start of a watch.
pub async fn collected(call: Call, answer: Answer) -> Result<Answer, BoxError> {
    if call.is_watch() {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Response::from_parts(head, whole(body)))
}

/// Waits for the complete answer, and also returns its text.
pub async fn text_of(answer: Answer) -> Result<(Answer, Bytes), BoxError> {
    let (head, body) = answer.into_parts();
    let text = body.collect().await?.to_bytes();
    Ok((Response::from_parts(head, whole(text.clone())), text))
}

/// Half of the first chunk, and then the connection is cut.
pub async fn cut_short(answer: Answer) -> Result<Answer, BoxError> {
    let (mut head, mut body) = answer.into_parts();
    head.headers.remove(http::header::CONTENT_LENGTH);
    let piece = body.frame().await.transpose()?.and_then(|f| f.into_data().ok()).unwrap_or_default();
    let half = piece.slice(..piece.len() / 2);
    let broken = Err(BoxError::from("the connection was cut"));
    let body = StreamBody::new(stream::iter([Ok(http_body::Frame::data(half)), broken]));
    Ok(Response::from_parts(head, Box::new(body)))
}

pub fn whole(body: Bytes) -> Box<DynBody> {
    Box::new(Full::new(body).map_err(BoxError::from))
}

/// An answer with the API server's wording.
pub fn made_up(code: u16, retry_after: Option<u32>) -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("made up: {code}"), "reason": "MadeUp", "code": code});
    let mut answer = Response::new(whole(status.to_string().into()));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
    }
    answer
}

/// The lines of a watch's answer.
pub fn lines(body: Box<DynBody>) -> impl futures::Stream<Item = String> + Send + Unpin {
    let mut rest = Vec::new();
    let pieces = body.into_data_stream().map(Result::unwrap_or_default);
    pieces.flat_map(move |piece| {
        rest.extend_from_slice(&piece);
        let mut whole = Vec::new();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            whole.push(String::from_utf8(line).unwrap());
        }
        stream::iter(whole)
    })
}

/// An answer of lines.
pub fn of_lines(
    head: http::response::Parts,
    lines: impl futures::Stream<Item = String> + Send + 'static,
) -> Answer {
    let frames = lines.map(|line| Ok::<_, BoxError>(http_body::Frame::data(Bytes::from(line))));
    Response::from_parts(head, Box::new(StreamBody::new(frames.boxed())))
}
