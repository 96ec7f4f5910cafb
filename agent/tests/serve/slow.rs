//! Readers that do not read.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use super::server::{Server, opened, view};

/// Reads until the connection is at its end, one way or another; how many bytes came.
fn drain(mut stream: TcpStream) -> usize {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok();
    bytes.len()
}

#[test]
fn a_scraper_that_reads_byte_by_byte_is_cut_off_and_holds_nobody_up() {
    let limit = Duration::from_secs(2);
    let server = Server::start(|settings| settings.limits.response_timeout = limit);
    server.show(view(100, 10));
    let whole = server.get("/metrics").1.len();
    assert!(
        whole > 2 << 20,
        "{whole} bytes would fit into the buffers on the way"
    );

    let mut slow = server.connect();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let start = Instant::now();
    let mut read = 0;
    let mut others = 0;
    let cut = "holdup_http_cut_total{reason=\"response\"}";
    loop {
        // A byte at a time, so that it is not idle; meanwhile others are served.
        read += slow.read(&mut [0]).unwrap();
        let asked = Instant::now();
        let count = server.metric(cut);
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "{:?}",
            asked.elapsed()
        );
        others += 1;
        if count == Some(1.0) {
            break;
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "it is still open"
        );
        thread::sleep(Duration::from_millis(100));
    }
    assert!(start.elapsed() >= limit, "{:?}", start.elapsed());
    assert!(read >= 2 && others >= 2, "{read} bytes, {others} others");
    let got = read + drain(slow);
    assert!(got < whole, "{got} of {whole} bytes came nevertheless");
}

#[test]
fn a_download_that_is_not_read_is_cut_off() {
    let server = Server::start(|settings| {
        settings.limits.response_timeout = Duration::from_millis(500);
    });
    let file = std::fs::File::create(server.directory.join("big.json")).unwrap();
    file.set_len(64 << 20).unwrap();
    let mut slow = server.connect();
    slow.write_all(b"GET /api/v1/snapshots/big.json HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    server.await_metric("holdup_http_cut_total{reason=\"response\"}", 1.0);
    assert!(drain(slow) < 64 << 20);
}

#[test]
fn a_reader_of_events_that_falls_behind_is_cut_off_and_its_drops_are_counted() {
    let server = Server::start(|settings| settings.limits.event_queue = 4);
    let mut slow = server.connect();
    slow.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    slow.read_exact(&mut [0; 15]).unwrap();
    server.await_metric("holdup_http_streams", 1.0);

    let text = "x".repeat(4096);
    let cut = "holdup_http_cut_total{reason=\"behind\"}";
    let start = Instant::now();
    let mut sent = 0;
    while server.metric(cut) != Some(1.0) {
        // Far fewer than the channel holds, so that nobody else falls behind; sending never waits.
        for _ in 0..100 {
            let event = opened(sent, &text);
            let before = Instant::now();
            server.events.send(event).unwrap();
            assert!(before.elapsed() < Duration::from_secs(1));
            sent += 1;
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{sent} events went somewhere"
        );
    }
    let dropped = server.metric("holdup_http_events_dropped_total").unwrap();
    // Those in its queue, and the one for which there was no place.
    assert_eq!(dropped, 5.0);
    server.await_metric("holdup_http_streams", 0.0);
    server.await_metric("holdup_http_connections", 1.0);
    // Nothing was lost to the metrics.
    server.await_metric("holdup_incidents_total{reason=\"parked\"}", f64::from(sent));
    let received = drain(slow);
    assert!(
        received < text.len() * sent as usize,
        "{received} bytes came nevertheless"
    );
}

#[test]
fn a_reader_of_events_that_accepts_nothing_is_cut_off_though_little_happens() {
    let server = Server::start(|settings| {
        settings.limits.stream_timeout = Duration::from_millis(300);
        settings.limits.event_queue = 1 << 16;
    });
    // More than its buffers hold, in few events; then nothing.
    let mut slow = server.connect();
    slow.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    slow.read_exact(&mut [0; 15]).unwrap();
    server.await_metric("holdup_http_streams", 1.0);
    let text = "x".repeat(1 << 20);
    for pid in 0..16 {
        server.events.send(opened(pid, &text)).unwrap();
    }
    server.await_metric("holdup_http_cut_total{reason=\"stream\"}", 1.0);
    server.await_metric("holdup_http_streams", 0.0);

    // One that reads stays, with signs of life only.
    let mut quiet = server.connect();
    quiet
        .write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let start = Instant::now();
    let mut bytes = [0; 4096];
    while start.elapsed() < Duration::from_millis(1500) {
        assert!(quiet.read(&mut bytes).unwrap() > 0, "it was cut off");
    }
    assert_eq!(server.metric("holdup_http_streams"), Some(1.0));
}
