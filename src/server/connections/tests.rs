use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[test]
fn one_address_has_so_many_and_keeps_nobody_else_out() {
    let connections = FewConnections::default();
    let greedy: IpAddr = [10, 0, 0, 1].into();
    let mut places: Vec<_> = (0..OF_ONE_ADDRESS).map(|_| connections.place(greedy).unwrap()).collect();
    assert!(connections.place(greedy).is_none());
    // It is the same address in IPv6.
    assert!(connections.place("::ffff:10.0.0.1".parse().unwrap()).is_none());
    assert!(connections.place([10, 0, 0, 2].into()).is_some());
    places.pop();
    places.push(connections.place(greedy).unwrap());
    let others: Vec<_> =
        (0_u16..1000).map_while(|n| connections.place(IpAddr::from([n, 1, 0, 0, 0, 0, 0, 0]))).collect();
    assert_eq!(places.len() + others.len(), IN_ALL);
    drop((places, others));
    assert_eq!(connections.all.available_permits(), IN_ALL);
    // Addresses without a connection are forgotten.
    let _place = connections.place(greedy).unwrap();
    assert_eq!(connections.by_address.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_connection_has_its_place_until_it_is_closed() {
    let connections = FewConnections::default();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let routes = axum::Router::new().route("/", axum::routing::get(async || "ok"));
    let server = axum_server::from_tcp(listener).unwrap().acceptor(connections.clone());
    tokio::spawn(server.serve(routes.into_make_service()));
    let mut client = TcpStream::connect(address).await.unwrap();
    let mut answer = [0; 12];
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        while !answer.ends_with(b"\r\n\r\nok") {
            answer.rotate_left(1);
            answer[11] = client.read_u8().await.unwrap();
        }
        answer = [0; 12];
        assert_eq!(connections.all.available_permits(), IN_ALL - 1);
    }
    drop(client);
    while connections.all.available_permits() < IN_ALL {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}
