//! Settings of the alerts: `[alert]`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// `[alert]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A line in the log for each.
    pub log: bool,
    /// Most incidents that wait to be told to one receiver.
    pub queue: usize,
    /// A notice that was not delivered for so long is dropped.
    #[serde(with = "crate::settings::duration")]
    pub deadline: Duration,
    /// Shortest time until another try; it doubles with each.
    #[serde(with = "crate::settings::duration")]
    pub retry_min: Duration,
    /// Longest time until another try.
    #[serde(with = "crate::settings::duration")]
    pub retry_max: Duration,
    /// `[[alert.alertmanager]]`; all members of a cluster are to be listed.
    pub alertmanager: Vec<Alertmanager>,
    /// `[[alert.webhook]]`.
    pub webhook: Vec<Webhook>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            log: true,
            queue: 256,
            deadline: Duration::from_secs(600),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            alertmanager: Vec::new(),
            webhook: Vec::new(),
        }
    }
}

/// `[[alert.alertmanager]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alertmanager {
    /// Where it is, without `/api/v2/alerts`.
    pub url: String,
    /// Open alerts are repeated so often; one that was not repeated four times ends by itself.
    #[serde(with = "crate::settings::duration")]
    pub repeat: Duration,
    /// Longest time for one request.
    #[serde(with = "crate::settings::duration")]
    pub timeout: Duration,
    /// Certificates to trust instead of the public ones, PEM.
    pub ca_file: Option<PathBuf>,
    /// File with a bearer token.
    pub token_file: Option<PathBuf>,
    /// Labels for each alert, e.g. of the cluster.
    pub labels: BTreeMap<String, String>,
}

impl Default for Alertmanager {
    fn default() -> Self {
        Self {
            url: String::new(),
            repeat: Duration::from_secs(60),
            timeout: Duration::from_secs(5),
            ca_file: None,
            token_file: None,
            labels: BTreeMap::new(),
        }
    }
}

/// `[[alert.webhook]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhook {
    /// Where to post to.
    pub url: String,
    /// Longest time for one request.
    #[serde(with = "crate::settings::duration")]
    pub timeout: Duration,
    /// Certificates to trust instead of the public ones, PEM.
    pub ca_file: Option<PathBuf>,
    /// File with the secret that requests are signed with; without one they are not.
    pub secret_file: Option<PathBuf>,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            url: String::new(),
            timeout: Duration::from_secs(5),
            ca_file: None,
            secret_file: None,
        }
    }
}

/// Most receivers of either kind: each has a thread.
const MAX_RECEIVERS: usize = 16;

impl Settings {
    /// Whether they make sense.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let Self {
            log: _,
            queue,
            deadline,
            retry_min,
            retry_max,
            alertmanager,
            webhook,
        } = self;
        if !(1..=10_000).contains(queue) {
            return Err("alert.queue must be from 1 to 10000".to_owned());
        }
        if deadline.is_zero() || *deadline > Duration::from_secs(24 * 3600) {
            return Err("alert.deadline must be more than nothing and at most 1day".to_owned());
        }
        if retry_min.is_zero() || retry_min > retry_max || *retry_max > Duration::from_secs(3600) {
            return Err("alert.retry_min must be more than nothing and at most alert.retry_max, which is at most 1h".to_owned());
        }
        if alertmanager.len() > MAX_RECEIVERS || webhook.len() > MAX_RECEIVERS {
            return Err(format!(
                "alert.alertmanager and alert.webhook: at most {MAX_RECEIVERS} each"
            ));
        }
        for own in alertmanager {
            check_request("alert.alertmanager", &own.url, own.timeout)?;
            if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&own.repeat) {
                return Err("alert.alertmanager.repeat must be from 1s to 1h".to_owned());
            }
            if let Some(name) = own.labels.keys().find(|name| !is_label(name)) {
                return Err(format!(
                    "alert.alertmanager.labels: {name:?} is not a label's name"
                ));
            }
        }
        for own in webhook {
            check_request("alert.webhook", &own.url, own.timeout)?;
        }
        Ok(())
    }
}

fn check_request(key: &str, url: &str, timeout: Duration) -> Result<(), String> {
    let rest = ["http://", "https://"]
        .into_iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
        return Err(format!(
            "{key}.url must begin with http:// or https:// and name a host"
        ));
    }
    if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&timeout) {
        return Err(format!("{key}.timeout must be from 100ms to 1m"));
    }
    Ok(())
}

/// As Prometheus wants them.
fn is_label(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next();
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == b'_')
        && bytes.all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_make_sense_and_nonsense_is_named() {
        assert_eq!(Settings::default().check(), Ok(()));
        let check = |text: &str| toml::from_str::<Settings>(text).unwrap().check();
        let good = "[[alertmanager]]\nurl = \"https://am:9093/prefix\"\nlabels = { cluster = \"a\" }\n\
                    [[webhook]]\nurl = \"http://127.0.0.1:1/x\"\ntimeout = \"1s\"\n";
        assert_eq!(check(good), Ok(()));
        for (text, key) in [
            ("queue = 0", "alert.queue"),
            ("deadline = \"0s\"", "alert.deadline"),
            ("retry_min = \"2m\"", "alert.retry_min"),
            ("[[webhook]]", "alert.webhook.url"),
            ("[[webhook]]\nurl = \"ftp://x\"", "alert.webhook.url"),
            ("[[webhook]]\nurl = \"http://\"", "alert.webhook.url"),
            (
                "[[webhook]]\nurl = \"http://x\"\ntimeout = \"2m\"",
                "alert.webhook.timeout",
            ),
            (
                "[[alertmanager]]\nurl = \"http://x\"\nrepeat = \"1ms\"",
                "alert.alertmanager.repeat",
            ),
            (
                "[[alertmanager]]\nurl = \"http://x\"\nlabels = { \"a-b\" = \"c\" }",
                "alert.alertmanager.labels",
            ),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.starts_with(key), "{text}: {error}");
        }
    }
}
