use std::{cell::RefCell, net::TcpStream};

use super::*;

/// What was tried, and what came of it, where IPv6 fails like this.
fn tried(address: &str, ipv6: Errno) -> (Vec<String>, Result<SocketAddr, String>) {
    let tried = RefCell::new(Vec::new());
    let bind = |address: SocketAddr| {
        tried.borrow_mut().push(address.to_string());
        if address.is_ipv6() { Err(ipv6.into()) } else { Ok(address) }
    };
    let outcome = listen_by(address.parse().unwrap(), bind).map_err(|(address, _)| address.to_string());
    (tried.into_inner(), outcome)
}

#[test]
fn every_address_is_ipv4_alone_only_where_there_is_no_ipv6() {
    for errno in [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT] {
        let (order, outcome) = tried(":8080", errno);
        assert_eq!(order, ["[::]:8080", "0.0.0.0:8080"]);
        assert_eq!(outcome.unwrap().to_string(), "0.0.0.0:8080");
    }
    for errno in [Errno::ADDRINUSE, Errno::ACCESS, Errno::MFILE] {
        let (order, outcome) = tried(":8080", errno);
        assert_eq!((order, outcome), (vec!["[::]:8080".to_owned()], Err("[::]:8080".to_owned())));
    }
    // An explicit address is not replaced.
    for address in ["[::]:8080", "[::1]:8080"] {
        assert_eq!(tried(address, Errno::AFNOSUPPORT), (vec![address.to_owned()], Err(address.to_owned())));
    }
    assert_eq!(tried("127.0.0.1:1", Errno::AFNOSUPPORT).0, ["127.0.0.1:1"]);
}

#[test]
fn addresses() {
    assert_eq!(":8080".parse(), Ok(BindAddress::Every(8080)));
    assert_eq!("0.0.0.0:80".parse(), Ok(BindAddress::Only(([0, 0, 0, 0], 80).into())));
    for text in ["", ":", "8080", "here", ":x", "::8080", "[::]", "1.2.3.4", ":99999", "localhost:80"] {
        assert!(text.parse::<BindAddress>().is_err(), "{text}");
    }
}

#[test]
fn every_address_is_reached_over_ipv6_and_ipv4() {
    let listener = listen(BindAddress::Every(0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    if listener.local_addr().unwrap().is_ipv6() {
        TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
    }
    let taken = listen(BindAddress::Every(port)).unwrap_err().to_string();
    assert!(taken.contains("cannot listen on") && taken.contains("in use"), "{taken}");
}
