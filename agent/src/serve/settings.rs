//! Settings of the HTTP side.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::sink::prometheus;

/// Where to listen, who may ask, and how much anybody gets.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address and port; loopback unless told otherwise. A change takes a restart.
    pub listen: SocketAddr,
    /// File with a bearer token (surrounding white space is ignored): then everything but `/livez` and `/readyz` wants
    /// it. Read again on reload.
    pub token_file: Option<PathBuf>,
    /// PEM file with the server's certificate chain; together with `tls_key_file` it makes the server speak TLS only.
    /// Read again on reload.
    pub tls_cert_file: Option<PathBuf>,
    /// PEM file with the certificate's key.
    pub tls_key_file: Option<PathBuf>,
    /// Limits.
    pub limits: Limits,
    /// What `/metrics` has. A change takes a restart: its counters must not go backwards.
    pub metrics: prometheus::Settings,
}

/// What one client, and all of them, may use.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open connections; one more is refused at once.
    pub connections: usize,
    /// Of these, event streams, which stay open; one more is answered with 503.
    pub streams: usize,
    /// Bytes of a request's body. No call has one, so that this only bounds what is thrown away.
    pub body_bytes: u64,
    /// Bytes of a request's head, and of one write buffer. At least 8192.
    pub header_bytes: usize,
    /// From the connection's start to the end of the first request's head, the TLS handshake included.
    #[serde(with = "crate::settings::duration")]
    pub header_timeout: Duration,
    /// From the end of a response to the end of the next request's head.
    #[serde(with = "crate::settings::duration")]
    pub idle_timeout: Duration,
    /// From a request's head to its response's last byte, however slowly it is read.
    #[serde(with = "crate::settings::duration")]
    pub response_timeout: Duration,
    /// For how long an event stream's reader may accept nothing. A sign of life is sent twice as often.
    #[serde(with = "crate::settings::duration")]
    pub stream_timeout: Duration,
    /// Events that wait for one reader of the stream; when there is one more, the reader is cut off.
    pub event_queue: usize,
    /// For how long open responses may go on after the end of the agent was asked for.
    #[serde(with = "crate::settings::duration")]
    pub drain_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9748)),
            token_file: None,
            tls_cert_file: None,
            tls_key_file: None,
            limits: Limits::default(),
            metrics: prometheus::Settings::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            streams: 16,
            body_bytes: 4096,
            header_bytes: 16 << 10,
            header_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            response_timeout: Duration::from_secs(10),
            stream_timeout: Duration::from_secs(10),
            event_queue: 256,
            drain_timeout: Duration::from_secs(2),
        }
    }
}

impl Settings {
    /// Whether they make sense, without looking at any file.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        if self.tls_cert_file.is_some() != self.tls_key_file.is_some() {
            return Err("tls_cert_file and tls_key_file belong together: give both or none".into());
        }
        self.limits.check()?;
        self.metrics
            .check()
            .map_err(|error| format!("metrics.{error}"))
    }
}

impl Limits {
    fn check(&self) -> Result<(), String> {
        let Self {
            connections,
            streams,
            body_bytes: _, // 0 is fine
            header_bytes,
            header_timeout,
            idle_timeout,
            response_timeout,
            stream_timeout,
            event_queue,
            drain_timeout: _, // 0 is fine
        } = self;
        let least = [
            ("connections", *connections, 1, 10_000),
            ("header_bytes", *header_bytes, 8192, 1 << 20),
            ("event_queue", *event_queue, 1, 1 << 16),
        ];
        for (key, value, min, max) in least {
            if !(min..=max).contains(&value) {
                return Err(format!(
                    "limits.{key} must be between {min} and {max}, it is {value}"
                ));
            }
        }
        if streams > connections {
            return Err(format!(
                "limits.streams ({streams}) must not be more than limits.connections ({connections})"
            ));
        }
        let times = [
            ("header_timeout", header_timeout),
            ("idle_timeout", idle_timeout),
            ("response_timeout", response_timeout),
            ("stream_timeout", stream_timeout),
        ];
        for (key, value) in times {
            if *value < Duration::from_millis(10) || *value > Duration::from_secs(3600) {
                let value = humantime::format_duration(*value);
                return Err(format!(
                    "limits.{key} must be between 10ms and 1h, it is {value}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_loopback_and_valid() {
        let settings = Settings::default();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:9748");
        assert_eq!(settings.check(), Ok(()));
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), settings);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let wrong = [
            ("tls_cert_file = \"a\"", "tls_key_file"),
            ("[limits]\nconnections = 0", "limits.connections"),
            ("[limits]\nstreams = 65", "limits.streams"),
            ("[limits]\nheader_bytes = 100", "limits.header_bytes"),
            (
                "[limits]\nresponse_timeout = \"1ms\"",
                "limits.response_timeout",
            ),
            ("[metrics]\nbucket_step = 0", "metrics.bucket_step"),
        ];
        for (text, key) in wrong {
            let settings: Settings = toml::from_str(text).unwrap();
            let error = settings.check().unwrap_err();
            assert!(error.contains(key), "{text}: {error}");
        }
        assert!(toml::from_str::<Settings>("lisen = \"x\"").is_err());
    }
}
