//! What the tests of this module share.

use aya::{Btf, Ebpf};

use crate::probe::{config, feature::Features, object};

/// The object with small maps, and nothing attached.
pub fn loaded() -> Ebpf {
    let capacity = object::Capacity {
        locks: 64,
        threads: 64,
        ring_bytes: 4096,
    };
    let config = config::base(&Features::detect(), None);
    object::load(&config, capacity, Btf::from_sys_fs().ok().as_ref()).unwrap()
}
