//! Loss counters of the kernel side, by name.

use std::collections::BTreeMap;

use aya::maps::{MapData, MapError, PerCpuArray};
use holdup_abi::counter;

/// Sums each counter over all processors; all names are present.
///
/// # Errors
/// The map cannot be read.
pub fn read(map: &PerCpuArray<&MapData, u64>) -> Result<BTreeMap<String, u64>, MapError> {
    (0..)
        .zip(counter::NAMES)
        .map(|(index, name)| {
            let values = map.get(&index, 0)?;
            Ok(((*name).to_owned(), values.iter().sum()))
        })
        .collect()
}
