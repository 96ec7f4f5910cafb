//! Token and TLS.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::server::{PATIENCE, Server, agent, get, scratch};

/// Status of `/metrics` with this header.
fn status(server: &Server, authorization: Option<&str>) -> u16 {
    let header = authorization.map(|value| ("authorization", value));
    let headers: Vec<_> = header.into_iter().collect();
    get(&agent(), &server.url("/metrics"), &headers).0
}

fn await_status(server: &Server, authorization: &str, wanted: u16) {
    let start = Instant::now();
    while status(server, Some(authorization)) != wanted {
        assert!(start.elapsed() < PATIENCE, "never {wanted}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn without_the_token_only_probes_are_answered() {
    let dir = scratch("token");
    let file = dir.join("token");
    fs::write(&file, "first\n").unwrap();
    let server = Server::start(|settings| settings.token_file = Some(file.clone()));
    assert_eq!(status(&server, Some("Bearer first")), 200);
    for wrong in [
        None,
        Some("Bearer second"),
        Some("first"),
        Some("Basic first"),
    ] {
        assert_eq!(status(&server, wrong), 401, "{wrong:?}");
    }
    for path in [
        "/",
        "/api/v1/locks",
        "/api/v1/verdict?pid=1",
        "/api/v1/events",
        "/nonsense",
    ] {
        assert_eq!(server.json(path).0, 401, "{path}");
    }
    assert_eq!(server.get("/livez").0, 200);
    assert_eq!(
        server.get("/readyz").0,
        503,
        "not ready, but asked and answered"
    );

    // A new one in the same file.
    fs::write(&file, "second").unwrap();
    server.settings.send_modify(|_| {});
    await_status(&server, "Bearer second", 200);
    assert_eq!(status(&server, Some("Bearer first")), 401);

    // A file that cannot be used must not open the door, nor lock it.
    fs::remove_file(&file).unwrap();
    server
        .settings
        .send_modify(|settings| settings.limits.body_bytes = 1);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(status(&server, Some("Bearer second")), 200);
    assert_eq!(status(&server, None), 401);
    fs::remove_dir_all(dir).unwrap();
}

/// A certificate for 127.0.0.1, and its key.
fn make_certificate(dir: &Path) {
    let config = "[req]\ndistinguished_name = dn\nx509_extensions = v3\nprompt = no\n\
        [dn]\nCN = holdup\n\
        [v3]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = IP:127.0.0.1\n";
    fs::write(dir.join("config"), config).unwrap();
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args([
            "-nodes", "-days", "2", "-config", "config", "-keyout", "key.pem", "-out", "cert.pem",
        ])
        .current_dir(dir)
        .output()
        .expect("openssl, see tests/packages.txt");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn tls_and_nothing_but_tls() {
    let dir = scratch("tls");
    make_certificate(&dir);
    let server = Server::start(|settings| {
        settings.tls_cert_file = Some(dir.join("cert.pem"));
        settings.tls_key_file = Some(dir.join("key.pem"));
        settings.limits.header_timeout = Duration::from_millis(500);
    });
    let certificate = Certificate::from_pem(&fs::read(dir.join("cert.pem")).unwrap()).unwrap();
    let trusting = |roots: RootCerts| {
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(0)
            .timeout_global(Some(PATIENCE))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build()
            .new_agent()
    };
    let url = format!("https://{}/metrics", server.address);
    let known = trusting(RootCerts::new_with_certs(&[certificate]));
    let (status, text) = get(&known, &url, &[]);
    assert_eq!(status, 200);
    assert!(text.contains("holdup_build_info"), "{text}");
    assert!(
        trusting(RootCerts::WebPki).get(&url).call().is_err(),
        "a stranger's certificate"
    );
    // Plain HTTP gets no answer, and one that says nothing is not waited for.
    let plain = server.raw("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(!plain.contains("HTTP/1.1"), "{plain}");
    let mut silent = TcpStream::connect(server.address).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    std::io::copy(&mut silent, &mut std::io::sink()).ok();
    let refused = "holdup_http_refused_total{reason=\"handshake\"}";
    let count = super::server::value(&get(&known, &url, &[]).1, refused).unwrap();
    assert_eq!(count, 3.0);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn what_cannot_be_used_is_said_at_the_start() {
    let dir = scratch("wrong");
    fs::write(dir.join("empty"), "").unwrap();
    for (cert, key) in [("missing", "empty"), ("empty", "empty")] {
        let settings = holdup::serve::Settings {
            tls_cert_file: Some(dir.join(cert)),
            tls_key_file: Some(dir.join(key)),
            ..Default::default()
        };
        let error = holdup::serve::Access::load(&settings)
            .unwrap_err()
            .to_string();
        assert!(error.contains(dir.to_str().unwrap()), "{error}");
    }
    fs::remove_dir_all(dir).unwrap();
}
