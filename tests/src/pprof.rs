//! Reads as much of a pprof profile as tests need: sample types and values, and function names.

use std::io::Read as _;

use anyhow::{Context as _, Result, bail, ensure};

/// A profile.
#[derive(Debug, Default)]
pub struct Profile {
    /// `type/unit` of each value of a sample.
    pub sample_types: Vec<String>,
    /// Values of each sample.
    pub samples: Vec<Vec<i64>>,
    /// Locations of each sample, innermost first.
    pub locations: Vec<Vec<u64>>,
    /// Names of all functions.
    pub functions: Vec<String>,
}

// Field numbers of `profile.proto`.
const SAMPLE_TYPE: u64 = 1;
const SAMPLE: u64 = 2;
const FUNCTION: u64 = 5;
const STRING_TABLE: u64 = 6;
const VALUE_TYPE_TYPE: u64 = 1;
const VALUE_TYPE_UNIT: u64 = 2;
const SAMPLE_LOCATION: u64 = 1;
const SAMPLE_VALUE: u64 = 2;
const FUNCTION_NAME: u64 = 2;

/// Reads a gzipped profile.
///
/// # Errors
/// When it is not one.
pub fn parse(gzipped: &[u8]) -> Result<Profile> {
    ensure!(gzipped.starts_with(&[0x1f, 0x8b]), "not gzip");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(gzipped).read_to_end(&mut bytes)?;
    let top = fields(&bytes)?;
    let mut strings = Vec::new();
    for text in messages(&top, STRING_TABLE) {
        strings.push(str::from_utf8(text)?.to_owned());
    }
    ensure!(
        strings.first().is_some_and(String::is_empty),
        "string 0 is not empty"
    );
    let string = |index: u64| -> Result<&String> {
        let found = strings.get(usize::try_from(index)?);
        found.with_context(|| format!("no string {index}"))
    };
    let mut profile = Profile::default();
    for message in messages(&top, SAMPLE_TYPE) {
        let parts = fields(message)?;
        let part = |field| number(&parts, field).and_then(string);
        profile.sample_types.push(format!(
            "{}/{}",
            part(VALUE_TYPE_TYPE)?,
            part(VALUE_TYPE_UNIT)?
        ));
    }
    for message in messages(&top, SAMPLE) {
        let parts = fields(message)?;
        profile.locations.push(packed(&parts, SAMPLE_LOCATION)?);
        let values = packed(&parts, SAMPLE_VALUE)?;
        profile
            .samples
            .push(values.into_iter().map(u64::cast_signed).collect());
    }
    for message in messages(&top, FUNCTION) {
        let name = number(&fields(message)?, FUNCTION_NAME)?;
        profile.functions.push(string(name)?.clone());
    }
    Ok(profile)
}

/// A protobuf field.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

type Fields<'a> = Vec<(u64, Value<'a>)>;

fn fields(mut bytes: &[u8]) -> Result<Fields<'_>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?)?;
                let (value, rest) = bytes.split_at_checked(length).context("cut short")?;
                bytes = rest;
                Value::Bytes(value)
            }
            other => bail!("wire type {other}"),
        };
        found.push((tag >> 3, value));
    }
    Ok(found)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().context("cut short")?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number of more than 64 bits")
}

fn messages<'a>(fields: &Fields<'a>, wanted: u64) -> Vec<&'a [u8]> {
    let bytes = |(field, value): &(u64, Value<'a>)| match value {
        Value::Bytes(bytes) if *field == wanted => Some(*bytes),
        _ => None,
    };
    fields.iter().filter_map(bytes).collect()
}

fn number(fields: &Fields<'_>, wanted: u64) -> Result<u64> {
    for (field, value) in fields {
        if let (true, Value::Number(number)) = (*field == wanted, value) {
            return Ok(*number);
        }
    }
    // A zero is not written.
    Ok(0)
}

fn packed(fields: &Fields<'_>, wanted: u64) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for (field, value) in fields {
        match value {
            Value::Number(number) if *field == wanted => numbers.push(*number),
            Value::Bytes(bytes) if *field == wanted => {
                let mut bytes = *bytes;
                while !bytes.is_empty() {
                    numbers.push(varint(&mut bytes)?);
                }
            }
            _ => {}
        }
    }
    Ok(numbers)
}
