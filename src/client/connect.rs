//! The client of the operator.
//!
//! kube's retries (`Config::default_retry`) are off: they would repeat a DELETE after a 503 or 504, when the first one may have
//! been carried out.

use std::time::Duration;

use kube::{Client, client::ClientBuilder};
use tower::{
    Layer,
    layer::{layer_fn, util::Identity},
    timeout::TimeoutLayer,
};

use super::{
    cluster::{Cluster, Serves, cannot_connect},
    requests::REQUEST_TIMEOUT,
    slim::Slim,
    wire::Wire,
};
use crate::misconfigured::Misconfigured;

/// How long a connection for a caller's request may take, TLS included: shorter than the [time-out](REQUEST_TIMEOUT) of its answer,
/// so that what could not be sent is not taken for what got no answer.
const CALLERS_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const _: () = assert!(CALLERS_CONNECT_TIMEOUT.as_secs() < REQUEST_TIMEOUT.as_secs());

/// How long an answer may take to start, including that of a watch.
const WATCH_START_TIMEOUT: Duration = Duration::from_secs(30);

impl Cluster {
    /// A client of this cluster.
    ///
    /// # Errors
    /// If certificates or credentials cannot be used.
    pub fn client(&self) -> Result<Client, Misconfigured> {
        self.client_through(&Identity::new())
    }

    /// The same with a layer between its time-out and the wire, which is also where tests inject faults.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub fn client_through(&self, layer: &impl Layer<Wire, Service = Wire>) -> Result<Client, Misconfigured> {
        let mut config = self.config.clone();
        config.default_retry = false;
        // Longer than any watch lasts: it is for a list whose body never arrives.
        config.read_timeout = Some(Duration::from_mins(5));
        config.connect_timeout = Some(match self.serves() {
            Serves::Callers | Serves::User => CALLERS_CONNECT_TIMEOUT,
            // Longer than the time-out of an answer, which then always comes first, with or without a connection. (With the same
            // time for both it was chance, and a watch that cannot connect is not a silent one.)
            Serves::Operator => 2 * WATCH_START_TIMEOUT,
        });
        let time_out = TimeoutLayer::new(WATCH_START_TIMEOUT);
        let with_token = layer_fn(|wire: Wire| self.with_token(wire));
        let slim = match self.serves() {
            Serves::Callers | Serves::User => Slim::ForTheAiApi,
            Serves::Operator => Slim::ForDecisions,
        };
        let builder =
            ClientBuilder::try_from(config).map_err(|error| cannot_connect(self.unusable(&error)))?;
        Ok(builder.with_layer(&with_token).with_layer(layer).with_layer(&slim).with_layer(&time_out).build())
    }
}

#[cfg(test)]
mod tests {
    use kube::Config;

    use super::*;
    use crate::client::{failure::Failure, requests::send};

    #[tokio::test]
    async fn where_nobody_listens_nothing_was_sent_and_where_the_line_is_cut_that_is_not_known() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = Cluster::from(Config::new(url.parse().unwrap())).client().unwrap();
        let ask = || send::<()>(&client, Ok(http::Request::get("/version").body(vec![]).unwrap()));
        let cut = async { drop(listener.accept().await.unwrap()) };
        let (failure, ()) = tokio::join!(ask(), cut);
        assert!(matches!(failure, Err(Failure::NoAnswer(_))), "{failure:?}");
        drop(listener);
        let failure = ask().await;
        assert!(matches!(failure, Err(Failure::NotSent(_))), "{failure:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_of_a_caller_that_waits_for_a_connection_was_not_sent() {
        // It accepts connections, and never answers the handshake.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let client = Cluster::from(Config::new(url.parse().unwrap())).anonymous().client().unwrap();
        let failure = send::<()>(&client, Ok(http::Request::post("/version").body(vec![]).unwrap())).await;
        assert!(matches!(failure, Err(Failure::NotSent(_))), "{failure:?}");
    }
}
