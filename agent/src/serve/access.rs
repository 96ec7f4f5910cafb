//! Who may ask: the bearer token and the TLS identity, as their files say.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio_rustls::TlsAcceptor;

use super::settings::{Limits, Settings};

/// Longest token file, since a wrong path may be anything.
const MAX_TOKEN_BYTES: u64 = 64 << 10;

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token file cannot be read.
    #[error("cannot read the token file {}: {source}", path.display())]
    Token {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The token file has no token that fits in a header.
    #[error(
        "the token file {} must have one token of printable ASCII, at most 64 KiB", path.display()
    )]
    NoToken {
        /// Which file.
        path: PathBuf,
    },
    /// A PEM file cannot be read or has not what it should.
    #[error("cannot use {}: {source}", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not work.
    #[error("cannot use the TLS certificate and key: {0}")]
    Tls(#[from] rustls::Error),
}

/// Digest of the token: comparing digests takes the same time whatever the length of a guess.
#[derive(Clone)]
struct Token([u8; 32]);

impl Token {
    fn new(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    fn admits(&self, guess: &[u8]) -> bool {
        Self::new(guess).0.ct_eq(&self.0).into()
    }
}

/// What the settings and the files that they name allow.
#[derive(Clone)]
pub struct Access {
    token: Option<Token>,
    /// Speaks TLS, if so configured.
    pub(super) tls: Option<TlsAcceptor>,
    /// Limits.
    pub(super) limits: Limits,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("token", &self.token.is_some())
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl Access {
    /// Reads the files: also what a check of the configuration does.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn load(settings: &Settings) -> Result<Self, Error> {
        let token = settings.token_file.as_deref().map(token).transpose()?;
        let tls = settings
            .tls_cert_file
            .as_deref()
            .zip(settings.tls_key_file.as_deref())
            .map(|(cert, key)| tls(cert, key))
            .transpose()?;
        Ok(Self {
            token,
            tls,
            limits: settings.limits.clone(),
        })
    }

    /// Whether anybody may ask anything.
    pub(super) const fn is_open(&self) -> bool {
        self.token.is_none()
    }

    /// Whether a request with this `Authorization` header may pass.
    pub(super) fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let guess = authorization.and_then(|value| {
            let (scheme, guess) = value.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"Bearer ").then_some(guess)
        });
        guess.is_some_and(|guess| token.admits(guess.trim_ascii()))
    }
}

fn token(path: &Path) -> Result<Token, Error> {
    let read = || {
        use io::Read as _;
        let mut text = Vec::new();
        fs::File::open(path)?
            .take(MAX_TOKEN_BYTES + 1)
            .read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|source| Error::Token {
        path: path.to_owned(),
        source,
    })?;
    let token = text.trim_ascii();
    let fits = text.len() as u64 <= MAX_TOKEN_BYTES;
    if token.is_empty() || !fits || !token.iter().all(u8::is_ascii_graphic) {
        return Err(Error::NoToken {
            path: path.to_owned(),
        });
    }
    Ok(Token::new(token))
}

fn tls(cert: &Path, key: &Path) -> Result<TlsAcceptor, Error> {
    let pem = |path: &Path| {
        let path = path.to_owned();
        |source| Error::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(pem(cert))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(pem(key))?;
    // Named, since the process-wide default is nobody's to set in a library.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_token(text: &[u8]) -> Result<Access, Error> {
        let path = std::env::temp_dir().join(format!(
            "holdup-token-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        fs::write(&path, text).unwrap();
        let settings = Settings {
            token_file: Some(path.clone()),
            ..Settings::default()
        };
        let access = Access::load(&settings);
        fs::remove_file(path).unwrap();
        access
    }

    #[test]
    fn the_token_and_nothing_else() {
        let access = with_token(b"  s3cret\n").unwrap();
        assert!(access.admits(Some(b"Bearer s3cret")));
        assert!(access.admits(Some(b"bearer  s3cret ")));
        let wrong: [&[u8]; 6] = [
            b"",
            b"s3cret",
            b"Bearer",
            b"Bearer ",
            b"Bearer s3cre",
            b"Basic s3cret",
        ];
        for wrong in wrong {
            assert!(!access.admits(Some(wrong)), "{wrong:?}");
        }
        assert!(!access.admits(None));
        assert!(Access::load(&Settings::default()).unwrap().admits(None));
    }

    #[test]
    fn a_file_without_a_token_is_refused_and_not_a_server_without_one() {
        for text in [&b""[..], b" \n", b"two words", b"\xff\xfe", &[b'a'; 65537]] {
            assert!(matches!(with_token(text), Err(Error::NoToken { .. })));
        }
        let missing = Settings {
            token_file: Some("/nonexistent/token".into()),
            ..Settings::default()
        };
        assert!(matches!(Access::load(&missing), Err(Error::Token { .. })));
    }
}
