//! A server with a certificate of its own making.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver},
    },
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::server::{self, Answer, Request};

/// Of a server, not of an authority.
const CONFIG: &str = "[req]\ndistinguished_name = name\nx509_extensions = extensions\nprompt = no\n\
    [name]\nCN = holdup test\n\
    [extensions]\nsubjectAltName = IP:127.0.0.1\nbasicConstraints = critical,CA:FALSE\n";

/// A certificate and its key, removed in the end.
pub struct Pair(PathBuf);

impl Pair {
    pub fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("holdup-tls-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let pair = Self(directory);
        let config = pair.0.join("openssl.cnf");
        fs::write(&config, CONFIG).unwrap();
        let key_kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "2"])
            .args(key_kind)
            .arg("-config")
            .arg(&config)
            .arg("-keyout")
            .arg(pair.key())
            .arg("-out")
            .arg(pair.certificate())
            .output()
            .expect("openssl is needed");
        assert!(made.status.success(), "{made:?}");
        pair
    }

    pub fn certificate(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Answers every request with 200; returns where, and what comes in.
pub fn serve(pair: &Pair) -> (String, Receiver<Request>) {
    let certificates = CertificateDer::pem_file_iter(pair.certificate()).unwrap();
    let certificates: Result<Vec<_>, _> = certificates.collect();
    let key = PrivateKeyDer::from_pem_file(pair.key()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates.unwrap(), key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let answers = Mutex::new(vec![Answer::Status(200)]);
            // A client that does not trust us goes away.
            let _ = server::serve(StreamOwned::new(connection, stream), &sender, &answers);
        }
    });
    (format!("https://{address}/hook"), requests)
}
