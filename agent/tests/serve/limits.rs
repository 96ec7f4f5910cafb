//! Too many, too much, too late.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use super::server::Server;

#[test]
fn one_connection_too_many_is_refused_at_once() {
    let server = Server::start(|settings| {
        settings.limits.connections = 2;
        settings.limits.streams = 1;
        settings.limits.idle_timeout = Duration::from_secs(2);
    });
    let request = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut open: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for stream in &mut open {
        stream.write_all(request).unwrap();
        let mut head = [0; 15];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
    }
    let start = Instant::now();
    let mut refused = server.connect();
    let mut answer = Vec::new();
    refused.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "{answer:?}");
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );

    drop(open.pop());
    // Its place is free as soon as the server has seen that it is closed.
    let start = Instant::now();
    while !server
        .raw("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .contains("200 OK")
    {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    // The other one says nothing more: it is cut off, too.
    let mut rest = Vec::new();
    open[0].read_to_end(&mut rest).unwrap();
    server.await_metric("holdup_http_cut_total{reason=\"idle\"}", 1.0);
    assert!(server.metric("holdup_http_refused_total{reason=\"connections\"}") >= Some(1.0));
}

#[test]
fn no_call_takes_a_body() {
    let server = Server::start(|settings| settings.limits.body_bytes = 10);
    let with = |headers: &str, body: &str| {
        let head = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close";
        server.raw(&format!("{head}\r\n{headers}\r\n\r\n{body}"))
    };
    let fits = with("content-length: 10", "0123456789");
    assert!(fits.starts_with("HTTP/1.1 200 "), "{fits}");
    let long = with("content-length: 11", "0123456789a");
    assert!(long.starts_with("HTTP/1.1 413 "), "{long}");
    // Said to be long, and never sent.
    let liar = with("content-length: 100000000000", "");
    assert!(liar.starts_with("HTTP/1.1 413 "), "{liar}");
    let chunked = with("transfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\n");
    assert!(chunked.starts_with("HTTP/1.1 413 "), "{chunked}");
    server.await_metric("holdup_http_refused_total{reason=\"body\"}", 3.0);
}

#[test]
fn heads_are_bounded() {
    let server = Server::start(|settings| settings.limits.header_bytes = 8192);
    let long = server.raw(&format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "x".repeat(100_000)
    ));
    assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
    let many: String = (0..200).map(|number| format!("x{number}: 1\r\n")).collect();
    let many = server.raw(&format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"));
    assert!(many.starts_with("HTTP/1.1 431 "), "{many}");
    let nonsense = server.raw("\x16\x03\x01 nonsense\r\n\r\n");
    assert!(nonsense.starts_with("HTTP/1.1 400 "), "{nonsense}");
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let server = Server::start(|settings| {
        settings.limits.header_timeout = Duration::from_millis(300);
    });
    let start = Instant::now();
    let mut silent = server.connect();
    let mut half = server.connect();
    half.write_all(b"GET / HTTP/1.1\r\nhost:").unwrap();
    for stream in [&mut silent, &mut half] {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        assert!(answer.is_empty(), "{answer:?}");
    }
    assert!(start.elapsed() >= Duration::from_millis(300));
    server.await_metric("holdup_http_cut_total{reason=\"head\"}", 2.0);
    // Several requests on one connection have their time each.
    let mut kept = server.connect();
    for _ in 0..3 {
        kept.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n")
            .unwrap();
        let mut answer = [0; 4096];
        let read = kept.read(&mut answer).unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 OK"));
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_place_that_is_taken_is_said_to_be() {
    let server = Server::start(|_| {});
    let error = holdup::serve::bind(server.address).unwrap_err().to_string();
    assert!(error.contains(&server.address.to_string()), "{error}");
    assert!(error.contains("in use"), "{error}");
}
