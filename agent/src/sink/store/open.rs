//! The incidents that are open, in a file beside the bundles.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::{model::incident::Incident, sink::json};

/// Name of the file.
pub const NAME: &str = "open.json";
/// Longest file that is read.
pub const MAX_BYTES: u64 = 64 << 20;
/// Value of `schema`.
const SCHEMA: &str = "holdup.open/v1";

#[derive(Serialize)]
struct Written<'a> {
    schema: &'static str,
    incidents: &'a [Incident],
}

#[derive(Deserialize)]
struct Read {
    schema: String,
    incidents: Vec<Incident>,
}

pub fn encode(incidents: &[Incident]) -> Result<Vec<u8>, Error> {
    let document = Written {
        schema: SCHEMA,
        incidents,
    };
    json::compact(&document).map_err(Error::Json)
}

pub fn decode(bytes: &[u8]) -> Result<Vec<Incident>, Error> {
    let read: Read =
        serde_json::from_slice(bytes).map_err(|error| Error::Open(error.to_string()))?;
    if read.schema != SCHEMA {
        return Err(Error::Open(format!("schema {:?}", read.schema)));
    }
    Ok(read.incidents)
}
