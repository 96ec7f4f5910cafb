//! The agent's configuration file (TOML). Every part keeps its own settings beside its code; they come together here.

pub mod duration;
mod place;

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use self::place::Place;
use crate::{
    daemon, detect, evidence, serve,
    sink::{alert, store},
    watch,
};

/// A file longer than this is not a configuration file.
const MAX_BYTES: u64 = 1 << 20;

/// The whole file. Every table and every key may be left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The agent as a whole.
    pub agent: daemon::settings::Settings,
    /// How often the node is looked at, and how much of it fits.
    pub watch: watch::Settings,
    /// What is an incident, and which of them are alerts.
    pub detect: detect::settings::Settings,
    /// What is kept of an incident.
    pub evidence: evidence::Settings,
    /// Where it is kept.
    pub store: store::Settings,
    /// Who is told.
    pub alert: alert::Settings,
    /// HTTP.
    pub serve: serve::Settings,
    /// What the agent may cost.
    pub governor: daemon::governor::settings::Settings,
}

impl Settings {
    /// Reads, parses and checks a file: all that `holdup agent --check` has to do.
    ///
    /// # Errors
    /// The file cannot be read, is no TOML, has a key that is not known or a value that makes no sense.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let read = || {
            let mut text = String::new();
            // One byte more, so that a file which is too long is told from one that just is not.
            File::open(path)?
                .take(MAX_BYTES + 1)
                .read_to_string(&mut text)?;
            Ok(text)
        };
        let text = read().map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        if text.len() as u64 > MAX_BYTES {
            return Err(Error::TooLong {
                path: path.to_owned(),
            });
        }
        Self::parse(&text).map_err(|error| error.of_file(path))
    }

    /// Parses and checks a text.
    ///
    /// # Errors
    /// It is no TOML, has a key that is not known or a value that makes no sense.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let settings: Self =
            toml::from_str(text).map_err(|error| Wrong::of_toml(text, &error).into_error())?;
        settings
            .check()
            .map_err(|sentence| Wrong::of_check(text, sentence).into_error())?;
        Ok(settings)
    }

    /// Whether all parts make sense.
    ///
    /// # Errors
    /// One sentence that begins with the key.
    pub fn check(&self) -> Result<(), String> {
        let Self {
            agent,
            watch,
            detect,
            evidence,
            store,
            alert,
            serve,
            governor,
        } = self;
        // Some know what their table is called.
        let of = |part: &'static str| move |error: String| format!("{part}.{error}");
        agent.check()?;
        watch.check()?;
        detect.check().map_err(of("detect"))?;
        evidence.check()?;
        store.check()?;
        alert.check()?;
        serve.check().map_err(of("serve"))?;
        governor.check()
    }
}

/// Why a configuration file is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is longer than 1 MiB.
    #[error("{}: longer than 1 MiB, which is no configuration file", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
    },
    /// What it says is wrong.
    #[error("{0}")]
    Wrong(Box<Wrong>),
}

impl Error {
    fn of_file(self, path: &Path) -> Self {
        match self {
            Self::Wrong(wrong) => Self::Wrong(Box::new(Wrong {
                file: Some(path.to_owned()),
                ..*wrong
            })),
            other => other,
        }
    }
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The file; `None` for a text.
    pub file: Option<PathBuf>,
    /// Line and column, both from 1; `None` when it is about something that is not in the text.
    pub place: Option<(usize, usize)>,
    /// The key, e.g. `detect.rule[0].process`; `None` when it is no TOML.
    pub key: Option<String>,
    /// What is wrong, in one sentence.
    pub sentence: String,
}

impl Wrong {
    fn of_toml(text: &str, error: &toml::de::Error) -> Self {
        let place = error.span().map(|span| Place::at(text, span.start));
        Self {
            file: None,
            place: place.as_ref().map(|place| (place.line, place.column)),
            key: place.and_then(|place| place.key),
            sentence: error.message().trim().replace('\n', ", "),
        }
    }

    fn of_check(text: &str, sentence: String) -> Self {
        let key = sentence.split([' ', ':']).next().unwrap_or_default();
        let place = Place::of(text, key);
        Self {
            file: None,
            place: place.map(|place| (place.line, place.column)),
            key: Some(key.to_owned()),
            sentence,
        }
    }

    fn into_error(self) -> Error {
        Error::Wrong(Box::new(self))
    }
}

/// `holdup.toml:12:3: detect.heartbeat: ...`
impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            place,
            key,
            sentence,
        } = self;
        if let Some(file) = file {
            write!(f, "{}:", file.display())?;
        }
        if let Some((line, column)) = place {
            write!(f, "{line}:{column}:")?;
        }
        if file.is_some() || place.is_some() {
            f.write_str(" ")?;
        }
        match key {
            Some(key) if !sentence.starts_with(key.as_str()) => write!(f, "{key}: {sentence}"),
            _ => f.write_str(sentence),
        }
    }
}

#[cfg(test)]
mod tests;
