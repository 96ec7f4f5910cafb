//! Uprobes: where to place them, and attaching them.
//!
//! - [`asked`]: what was asked for on the command line
//! - [`find`]: functions of an ELF file by name, with their code
//! - [`placement`]: the instruction of a function where a probe is cheapest
//! - [`Uprobes`]: many places at once where the kernel can, one by one elsewhere

pub mod asked;
mod attach;
pub mod find;
pub mod governor;
mod links;
pub mod placement;
pub mod price;
mod reload;
mod site;
mod stage;
mod sys;
#[cfg(test)]
mod tests;

use aya::{
    Ebpf,
    maps::{MapData, MapError, PerCpuArray},
};
use holdup_abi::uprobe::PRICES;

pub use self::{
    attach::{AttachError, Uprobes},
    links::{Links, Way},
    site::Site,
};

/// Hits so far of all uprobes of an object, by price: see [`PRICES`].
///
/// # Errors
/// The map cannot be read.
pub fn hits(ebpf: &Ebpf) -> Result<[u64; PRICES as usize], MapError> {
    let map: PerCpuArray<&MapData, u64> = ebpf
        .map("HITS")
        .ok_or(MapError::InvalidMapType { map_type: 0 })?
        .try_into()?;
    let mut hits = [0; PRICES as usize];
    for (price, hits) in (0..).zip(&mut hits) {
        *hits = map.get(&price, 0)?.iter().sum();
    }
    Ok(hits)
}
