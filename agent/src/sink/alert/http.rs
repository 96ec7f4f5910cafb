//! Posting JSON, with a limit to everything.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use ureq::{
    Agent,
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

/// Longest file of certificates or of a secret.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Longest part of an answer that is read: the beginning says what is wrong.
const MAX_ANSWER_BYTES: u64 = 512;

/// Why alerts cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that should hold a secret is empty, or a certificate's holds none.
    #[error("{}: {what}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// No thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// Why a notice was not delivered.
#[derive(Debug)]
pub enum Failure {
    /// It may be later.
    Temporary(String),
    /// It never will be.
    Refused(String),
}

/// Something that is shown to nobody.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Reads it from a file, without the newline that editors put at its end.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = read(path)?;
        let kept = bytes.trim_ascii_end();
        if kept.is_empty() {
            return Err(Error::Content {
                path: path.to_owned(),
                what: "the file is empty",
            });
        }
        Ok(Self(kept.to_vec()))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|it| it.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
    read.map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    Ok(bytes)
}

/// Posts to one address.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    url: String,
}

impl Client {
    /// With a limit on the time of each request, and other certificates than the public ones if so wanted.
    pub fn new(url: String, timeout: Duration, ca_file: Option<&Path>) -> Result<Self, Error> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = ca_file {
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates(path)?));
        }
        let agent = Agent::config_builder()
            .timeout_global(Some(timeout))
            // Where else they lead, nobody has configured; least of all for tokens.
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            .max_response_header_size(16 * 1024)
            .user_agent(concat!("holdup/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build()
            .new_agent();
        Ok(Self { agent, url })
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// No answer in time, or not the one wanted.
    pub fn post(&self, body: &[u8], headers: &[(&str, &str)]) -> Result<(), Failure> {
        let mut request = self
            .agent
            .post(&self.url)
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = request
            .send(body)
            .map_err(|error| Failure::Temporary(error.to_string()))?;
        let status = answer.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let reader = answer.body_mut().as_reader();
        // It is an error anyway.
        let _ = reader.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let why = format!(
            "status {status}: {}",
            crate::sink::text::sanitise(text.trim())
        );
        Err(match status {
            408 | 425 | 429 | 500.. => Failure::Temporary(why),
            _ => Failure::Refused(why),
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let wrong = |what| Error::Content {
        path: path.to_owned(),
        what,
    };
    let bytes = read(path)?;
    let items: Result<Vec<PemItem<'static>>, _> = parse_pem(&bytes).collect();
    let items = items.map_err(|_| wrong("not a PEM file"))?;
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(wrong("there is no certificate in it"));
    }
    Ok(certificates)
}
