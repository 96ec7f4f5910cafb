//! Addresses in JSON: `"0x7f..."`, since JSON numbers lose bits above 2^53.

use serde::{Deserialize as _, Deserializer, Serializer};

/// Writes an address as a hexadecimal string.
pub fn serialize<S: Serializer>(address: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{address:#x}"))
}

/// Reads what [`serialize`] wrote.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    parse(&String::deserialize(deserializer)?)
        .ok_or_else(|| serde::de::Error::custom("not a 0x address"))
}

fn parse(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// The same for `Option<u64>`; `null` stands for none.
pub mod option {
    use serde::{Deserialize as _, Deserializer, Serializer};

    /// Writes an address as a hexadecimal string, or null.
    pub fn serialize<S: Serializer>(
        address: &Option<u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match address {
            Some(address) => super::serialize(address, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads what [`serialize`] wrote.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u64>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| {
                super::parse(&text).ok_or_else(|| serde::de::Error::custom("not a 0x address"))
            })
            .transpose()
    }
}
