use std::{convert::Infallible, future::poll_fn};

use futures::{StreamExt, stream};
use tokio::time::sleep;

use super::*;

/// The length of the next piece; none at the end.
async fn next(body: &mut Body) -> Option<Result<usize, String>> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    Some(frame.map(|frame| frame.into_data().unwrap().len()).map_err(|error| error.to_string()))
}

fn of_texts(texts: Vec<String>) -> Body {
    Body::from_stream(stream::iter(texts).map(Ok::<_, Infallible>))
}

#[tokio::test(start_paused = true)]
async fn it_comes_in_pieces_and_ends_when_nothing_is_received() {
    let (held, connection) = (Arc::new(()), CancellationToken::new());
    let texts = vec!["a".repeat(PIECE + 3), String::new(), "b".to_owned()];
    let mut body = super::body(of_texts(texts), Arc::clone(&held), Some(connection.clone()));
    for expected in [PIECE, 2, 1] {
        assert_eq!(next(&mut body).await, Some(Ok(expected)));
        sleep(STALLED / 10 * 9).await;
        assert_eq!((Arc::strong_count(&held), connection.is_cancelled()), (2, false));
    }
    sleep(STALLED / 5).await;
    assert_eq!((Arc::strong_count(&held), connection.is_cancelled()), (1, true));
    assert_eq!(next(&mut body).await, Some(Err("the response was not received".into())));
}

#[tokio::test(start_paused = true)]
async fn one_that_was_never_begun_ends_too() {
    let connection = CancellationToken::new();
    let _body = super::body(Body::from("small"), (), Some(connection.clone()));
    sleep(STALLED / 10 * 9).await;
    assert!(!connection.is_cancelled());
    sleep(STALLED / 5).await;
    assert!(connection.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn what_it_holds_is_left_once_it_is_dropped_and_the_connection_stays() {
    let (held, connection) = (Arc::new(()), CancellationToken::new());
    let mut body = super::body(Body::from("small"), Arc::clone(&held), Some(connection.clone()));
    assert_eq!(body.size_hint().exact(), Some(5));
    assert_eq!((next(&mut body).await, body.size_hint().exact()), (Some(Ok(4)), Some(1)));
    assert!(!body.is_end_stream());
    assert_eq!((next(&mut body).await, Arc::strong_count(&held)), (Some(Ok(1)), 2));
    assert!(body.is_end_stream());
    drop(body);
    assert_eq!(Arc::strong_count(&held), 1);
    sleep(STALLED * 2).await;
    assert!(!connection.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_the_api_server_does_not_end() {
    let slow = stream::once(async {
        sleep(STALLED * 2).await;
        Ok::<_, Infallible>("late")
    });
    let mut body = super::body(Body::from_stream(slow), (), None);
    assert_eq!(next(&mut body).await, Some(Ok(3)));
    assert_eq!(next(&mut body).await, Some(Ok(1)));
    assert_eq!(next(&mut body).await, None);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_received_byte_by_byte_ends_as_well() {
    let connection = CancellationToken::new();
    let endless = Body::from_stream(stream::repeat("a").map(Ok::<_, Infallible>));
    let mut body = super::body(endless, (), Some(connection.clone()));
    let begun = Instant::now();
    while !connection.is_cancelled() {
        assert!(begun.elapsed() < LONGEST + Duration::from_secs(1));
        assert_eq!(next(&mut body).await, Some(Ok(1)));
        sleep(STALLED / 2).await;
    }
    assert!(begun.elapsed() >= LONGEST);
}
