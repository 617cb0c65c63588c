use std::sync::Mutex;

use axum_server::tls_rustls::RustlsConfig;
use kube::Config;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;
use crate::client::{Cluster, Failure, send};

#[test]
fn it_holds_until_its_moment_and_not_once_it_was_ended() {
    let leadership = Leadership::default();
    assert!(!leadership.holds());
    leadership.extend(Machine::default().uptime() + Duration::from_mins(1));
    assert!(leadership.holds() && leadership.left() > Duration::from_secs(59));
    leadership.extend(Machine::default().uptime());
    assert!(!leadership.holds());
    leadership.extend(Machine::default().uptime() + Duration::from_mins(1));
    leadership.clone().end();
    assert!(!leadership.holds());
}

#[tokio::test]
async fn without_it_only_reads_go_out() {
    // Nobody listens there, which shows in the failure of what goes out.
    let nowhere = Config::new("http://127.0.0.1:1".parse().unwrap());
    let leadership = Leadership::default();
    let client = Cluster::from(nowhere).client_through(&Fence(leadership.clone())).unwrap();
    let ask = async |method: &str| {
        let request = http::Request::builder().method(method).uri("/version").body(vec![]).unwrap();
        match send::<()>(&client, Ok(request)).await {
            Err(Failure::NotSent(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    for method in ["PATCH", "DELETE", "POST", "PUT"] {
        assert!(ask(method).await.contains(&NotLeader.to_string()), "{method}");
    }
    assert!(!ask("GET").await.contains(&NotLeader.to_string()));
    leadership.extend(Machine::default().uptime() + Duration::from_mins(1));
    assert!(!ask("PATCH").await.contains(&NotLeader.to_string()));
    leadership.end();
    assert!(ask("PATCH").await.contains(&NotLeader.to_string()));
}

/// A server over TLS, and a way to it on which connections come about at once, but nothing gets through until it is opened: a
/// handshake that stalls.
struct Stalled {
    client: kube::Client,
    open: watch::Sender<bool>,
    /// The connections that were made.
    connections: watch::Receiver<usize>,
    /// The methods of the requests that the server has seen.
    seen: Arc<Mutex<Vec<Method>>>,
}

impl Stalled {
    async fn new(leadership: &Leadership) -> Self {
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let list = Arc::clone(&seen);
        // It never answers a POST.
        let answer = async move |request: axum::extract::Request| {
            list.lock().unwrap().push(request.method().clone());
            if *request.method() == Method::POST {
                std::future::pending::<()>().await;
            }
            "null"
        };
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = made.signing_key.serialize_pem().into_bytes();
        let tls = RustlsConfig::from_pem(made.cert.pem().into_bytes(), key).await.unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let server = listener.local_addr().unwrap();
        let routes = axum::Router::new().fallback(answer).into_make_service();
        tokio::spawn(axum_server::from_tcp_rustls(listener, tls).unwrap().serve(routes));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config::new(format!("https://{}", listener.local_addr().unwrap()).parse().unwrap());
        config.root_cert = Some(vec![made.cert.der().to_vec()]);
        let (open, opened) = watch::channel(false);
        let (count, connections) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                count.send_modify(|count| *count += 1);
                let mut opened = opened.clone();
                tokio::spawn(async move {
                    opened.wait_for(|open| *open).await.unwrap();
                    let mut far = TcpStream::connect(server).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        let client = Cluster::from(config).client_through(&Fence(leadership.clone())).unwrap();
        Self { client, open, connections, seen }
    }

    /// Sends a request.
    fn ask(&self, method: Method) -> JoinHandle<Result<(), Failure>> {
        let body = if method == Method::GET { Vec::new() } else { b"{}".to_vec() };
        let request = http::Request::builder().method(method).uri("/version").body(body).unwrap();
        let client = self.client.clone();
        tokio::spawn(async move { send::<()>(&client, Ok(request)).await })
    }

    /// Waits until so many connections were made.
    async fn connected(&mut self, count: usize) {
        self.connections.wait_for(|made| *made >= count).await.unwrap();
    }
}

fn not_sent(failure: &Result<(), Failure>) -> bool {
    matches!(failure, Err(Failure::NotSent(why)) if why.contains(&NotLeader.to_string()))
}

const A_MOMENT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_write_that_waits_for_a_connection_is_not_sent_after_the_renew_deadline() {
    for ended_by_hand in [false, true] {
        let leadership = Leadership::default();
        leadership.extend(
            Machine::default().uptime() + if ended_by_hand { Duration::from_mins(1) } else { A_MOMENT },
        );
        let mut server = Stalled::new(&leadership).await;
        let writes = [Method::PATCH, Method::DELETE, Method::PUT].map(|method| server.ask(method));
        let read = server.ask(Method::GET);
        server.connected(4).await;
        if ended_by_hand {
            leadership.end();
        }
        // They end although the handshake does not.
        for write in writes {
            let outcome = write.await.unwrap();
            assert!(not_sent(&outcome), "{outcome:?}");
        }
        assert!(!leadership.holds());
        server.open.send_replace(true);
        assert_eq!(read.await.unwrap(), Ok(()));
        assert_eq!(server.ask(Method::GET).await.unwrap(), Ok(()));
        assert_eq!(*server.seen.lock().unwrap(), [Method::GET, Method::GET]);
    }
}

#[tokio::test]
async fn a_write_that_waits_for_a_connection_is_sent_if_the_leadership_was_extended() {
    let leadership = Leadership::default();
    let first = Machine::default().uptime() + A_MOMENT;
    leadership.extend(first);
    let mut server = Stalled::new(&leadership).await;
    let write = server.ask(Method::PATCH);
    server.connected(1).await;
    leadership.extend(Machine::default().uptime() + Duration::from_mins(1));
    // Past the moment until which it held at first.
    let until_then = Leadership::default();
    until_then.extend(first);
    until_then.ended().await;
    server.open.send_replace(true);
    assert_eq!(write.await.unwrap(), Ok(()));
    assert_eq!(*server.seen.lock().unwrap(), [Method::PATCH]);
}

#[tokio::test]
async fn a_write_without_an_answer_at_the_renew_deadline_is_not_taken_for_unsent() {
    let leadership = Leadership::default();
    leadership.extend(Machine::default().uptime() + Duration::from_mins(1));
    let server = Stalled::new(&leadership).await;
    server.open.send_replace(true);
    let write = server.ask(Method::POST);
    let arrived = async {
        while server.seen.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), arrived).await.unwrap();
    leadership.end();
    let outcome = write.await.unwrap();
    assert!(
        matches!(&outcome, Err(Failure::NoAnswer(why)) if why.contains(&CutOff.to_string())),
        "{outcome:?}"
    );
}
