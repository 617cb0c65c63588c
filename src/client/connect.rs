//! The client of the operator.
//!
//! kube's own client would send a DELETE again after a 503 or 504 (`Config::default_retry`), when the first may
//! have been carried out, and gives no access to the `Retry-After` header; so both are done here.

use std::time::Duration;

use kube::{Client, client::ClientBuilder};
use tower::{
    Layer,
    layer::{layer_fn, util::Identity},
    timeout::TimeoutLayer,
};

use super::{
    cluster::{Cluster, cannot_connect},
    slim::Slim,
    wire::Wire,
};
use crate::misconfigured::Misconfigured;

/// How long a watch or a list may take to begin to answer.
const WATCH_START_TIMEOUT: Duration = Duration::from_secs(30);

/// The client of the operator.
///
/// # Errors
/// When the configuration's certificates or credentials can't be used.
pub fn connect(cluster: impl Into<Cluster>) -> kube::Result<Client> {
    connect_through(cluster, &Identity::new())
}

/// The client of the operator, whose requests and answers pass through `layer` between its time-outs and the wire:
/// that is where tests make networks and servers fail.
///
/// # Errors
/// As [`connect`].
pub fn connect_through(
    cluster: impl Into<Cluster>,
    layer: &impl Layer<Wire, Service = Wire>,
) -> kube::Result<Client> {
    let cluster = cluster.into();
    let mut config = cluster.config.clone();
    config.default_retry = false;
    // Longer than any watch lasts: it ends a list whose body never comes.
    config.read_timeout = Some(Duration::from_mins(5));
    // Longer than anything waits for an answer: what is waited for then has had none, whether it has a connection or not. (With
    // the same time for both it was chance which of them it was, and a watch whose connection is refused is not silent.)
    config.connect_timeout = Some(2 * WATCH_START_TIMEOUT);
    let time_out = TimeoutLayer::new(WATCH_START_TIMEOUT);
    let with_token = layer_fn(|wire: Wire| cluster.with_token(wire));
    let slim = if cluster.is_anonymous() { Slim::ForTheAiApi } else { Slim::ForDecisions };
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&with_token)
        .with_layer(layer)
        .with_layer(&slim)
        .with_layer(&time_out)
        .build())
}

impl Cluster {
    /// A client without more layers.
    ///
    /// # Errors
    /// When certificates or credentials cannot be used.
    pub fn client(&self) -> Result<Client, Misconfigured> {
        self.client_through(&Identity::new())
    }

    /// A client whose requests and answers pass through `layer`, as with [`connect_through`].
    ///
    /// # Errors
    /// As [`Self::client`].
    pub fn client_through(&self, layer: &impl Layer<Wire, Service = Wire>) -> Result<Client, Misconfigured> {
        connect_through(self.clone(), layer).map_err(|error| cannot_connect(self.unusable(&error)))
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
        let client = connect(Config::new(url.parse().unwrap())).unwrap();
        let ask = || send::<()>(&client, Ok(http::Request::get("/version").body(vec![]).unwrap()));
        let cut = async { drop(listener.accept().await.unwrap()) };
        let (failure, ()) = tokio::join!(ask(), cut);
        assert!(matches!(failure, Err(Failure::NoAnswer(_))), "{failure:?}");
        drop(listener);
        let failure = ask().await;
        assert!(matches!(failure, Err(Failure::NotSent(_))), "{failure:?}");
    }
}
