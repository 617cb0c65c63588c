//! The watches of a sequence, and their events on both sides.

use std::{pin::Pin, time::Duration};

use api_server::Watch;
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt};
use http::Response;
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

/// How long the real server may take to send an event.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it is waited for events that should not come.
const QUIET: Duration = Duration::from_millis(100);

/// How long events are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// As many as the simulated server has sent. More of them are found later.
    AsExpected,
    /// Until there are no more.
    Quiet,
}

/// A watch on both servers.
pub struct Watched {
    pub uri: String,
    simulated: Pin<Box<Watch>>,
    real: Pin<Box<Body>>,
    buffer: BytesMut,
    ended: bool,
}

impl Watched {
    pub fn new(uri: String, simulated: Watch, real: Response<Body>) -> Self {
        let (simulated, real) = (Box::pin(simulated), Box::pin(real.into_body()));
        Self { uri, simulated, real, buffer: BytesMut::new(), ended: false }
    }

    /// The events since the last time, of both.
    pub async fn events(&mut self, until: Until) -> [Vec<Value>; 2] {
        let mut simulated = Vec::new();
        while let Some(Some(line)) = self.simulated.next().now_or_never() {
            simulated.push(serde_json::from_slice(&line).unwrap());
        }
        let mut real = Vec::new();
        while !self.ended {
            let patience = match until {
                _ if real.len() < simulated.len() => PATIENCE,
                Until::AsExpected => break,
                Until::Quiet => QUIET,
            };
            match tokio::time::timeout(patience, self.line()).await {
                Err(_) => break,
                Ok(None) => self.ended = true,
                Ok(Some(line)) => {
                    let event: Value = serde_json::from_slice(&line).unwrap();
                    let end = "/object/metadata/annotations/k8s.io~1initial-events-end";
                    if event["type"] != "BOOKMARK" || event.pointer(end).is_some() {
                        real.push(event);
                    }
                }
            }
        }
        [simulated, real]
    }

    async fn line(&mut self) -> Option<Bytes> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                return Some(self.buffer.split_to(end + 1).freeze());
            }
            let frame = self.real.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}
