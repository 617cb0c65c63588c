use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use super::*;

/// A server of so many connections, which answers `GET /` at once, and `GET /wait` when it receives something from the channel.
fn server(most: usize) -> (SocketAddr, FewConnections, mpsc::Sender<()>) {
    let connections = FewConnections::new(most);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (go, wait) = mpsc::channel(1);
    let wait = Arc::new(tokio::sync::Mutex::new(wait));
    let routes = Router::new().route("/", get(async || "ok")).route(
        "/wait",
        get(async move |Extension(connection): Extension<Connection>| {
            let _in_use = connection.in_use();
            let mut wait = wait.lock().await;
            // Once to say that it has begun, and once to end.
            wait.recv().await;
            wait.recv().await;
            "ok"
        }),
    );
    let server = axum_server::from_tcp(listener).unwrap().acceptor(connections.clone());
    tokio::spawn(server.serve(routes.into_make_service()));
    (address, connections, go)
}

async fn send(client: &mut TcpStream, path: &str) {
    client.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
}

async fn answered(client: &mut TcpStream) {
    let mut end = [0; 6];
    while &end != b"\r\n\r\nok" {
        end.rotate_left(1);
        end[5] = client.read_u8().await.unwrap();
    }
}

async fn connected(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    send(&mut client, "/").await;
    answered(&mut client).await;
    client
}

#[tokio::test]
async fn one_more_closes_the_oldest_that_is_idle() {
    let (address, _, go) = server(3);
    let mut busy = connected(address).await;
    send(&mut busy, "/wait").await;
    go.send(()).await.unwrap();
    // Received, so that the request is in progress.
    go.reserve().await.unwrap();
    let (mut oldest, mut other) = (connected(address).await, connected(address).await);
    let _another = connected(address).await;
    let closed = tokio::time::timeout(Duration::from_secs(10), oldest.read_u8()).await;
    assert!(closed.is_ok_and(|read| read.is_err()), "it is not closed");
    send(&mut other, "/").await;
    answered(&mut other).await;
    go.send(()).await.unwrap();
    answered(&mut busy).await;
}

#[tokio::test]
async fn a_connection_counts_until_it_is_closed() {
    let (address, _, _go) = server(2);
    let mut kept = connected(address).await;
    for _ in 0..3 {
        let mut closed = connected(address).await;
        closed.shutdown().await.unwrap();
        // The server has closed it, too.
        assert!(closed.read_u8().await.is_err());
    }
    send(&mut kept, "/").await;
    answered(&mut kept).await;
}
