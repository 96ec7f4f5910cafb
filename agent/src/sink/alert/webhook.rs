//! A webhook: one POST for each change, signed, so that the receiver knows that it is ours and not somebody's replay.
//!
//! `X-Holdup-Signature: sha256=HEX` is the HMAC-SHA256 of `X-Holdup-Timestamp` (seconds since the epoch), a full stop and
//! the body.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use sha2::Sha256;

use super::{
    http::{Client, Error, Failure, Secret},
    notice::Notice,
    settings::Webhook,
    worker,
};
use crate::{model::incident::Incident, sink::json};

/// Value of `schema`.
const SCHEMA: &str = "holdup.event/v1";

/// One webhook.
#[derive(Debug)]
pub struct Outlet {
    client: Client,
    secret: Option<Secret>,
}

impl Outlet {
    pub fn new(settings: &Webhook) -> Result<Self, Error> {
        let Webhook {
            url,
            timeout,
            ca_file,
            secret_file,
        } = settings;
        Ok(Self {
            client: Client::new(url.clone(), *timeout, ca_file.as_deref())?,
            secret: secret_file.as_deref().map(Secret::read).transpose()?,
        })
    }

    fn post(&self, notice: &Notice) -> Result<(), Failure> {
        let document = Document {
            schema: SCHEMA,
            change: notice.what.as_str(),
            incident: &notice.incident,
        };
        let body = json::compact(&document).map_err(|error| Failure::Refused(error.to_string()))?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let timestamp = since.map_or(0, |since| since.as_secs()).to_string();
        let signature = self
            .secret
            .as_ref()
            .map(|secret| signature(secret.bytes(), &timestamp, &body));
        let mut headers = vec![("x-holdup-timestamp", timestamp.as_str())];
        headers.extend(
            signature
                .as_deref()
                .map(|value| ("x-holdup-signature", value)),
        );
        self.client.post(&body, &headers)
    }
}

impl worker::Outlet for Outlet {
    fn deliver(&self, notices: &[Notice]) -> Result<(), Failure> {
        notices.iter().try_for_each(|notice| self.post(notice))
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    /// `opened`, `doubled` or `resolved`.
    change: &'static str,
    incident: &'a Incident,
}

/// Value of `X-Holdup-Signature`.
#[must_use]
pub fn signature(secret: &[u8], timestamp: &str, body: &[u8]) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return String::new();
    };
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    let mut text = "sha256=".to_owned();
    for byte in digest {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
