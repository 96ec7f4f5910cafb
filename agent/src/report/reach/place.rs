//! Where a lock in shared memory lies: not at an address, which differs in each process, but in an object of the kernel.

use crate::{
    proc::maps::{Mapping, Maps},
    sink::name,
};

/// Paths under which the kernel lists shared memory that has no name of its own.
const NAMELESS: [&str; 2] = ["/dev/zero", "/anon_hugepage"];
/// Longest name kept, in characters.
const MAX_NAME: usize = 64;

/// A file, `memfd`, System V segment or anonymous shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    /// Device major and minor number.
    pub device: (u32, u32),
    /// Inode.
    pub inode: u64,
}

/// A byte of an [`Object`]: the same one for all processes that map it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What is mapped.
    pub object: Object,
    /// Where in it.
    pub offset: u64,
    /// Name of the object as `/proc/PID/maps` has it, printable; `None` when it has none.
    pub name: Option<String>,
}

/// Whether a lock can be held by other processes than the one that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Its memory belongs to one process.
    Private,
    /// It lies in memory that other processes may map too.
    Shared(Place),
    /// The mapping is not known.
    Unknown,
}

impl Object {
    /// What a mapping shares with other processes; `None` when that is nothing.
    #[must_use]
    pub fn of(mapping: &Mapping) -> Option<Self> {
        (mapping.shared && mapping.inode != 0).then_some(Self {
            device: mapping.device,
            inode: mapping.inode,
        })
    }

    /// What a process shares with others, each once.
    #[must_use]
    pub fn all(maps: &Maps) -> Vec<Self> {
        let mut objects: Vec<Self> = maps.0.iter().filter_map(Self::of).collect();
        objects.sort_unstable();
        objects.dedup();
        objects
    }
}

impl Sharing {
    /// That of the lock at `address` of a process that has it in `mapping`.
    #[must_use]
    pub fn of(mapping: Option<&Mapping>, address: u64) -> Self {
        let Some(mapping) = mapping else {
            return Self::Unknown;
        };
        Place::of(mapping, address).map_or(Self::Private, Self::Shared)
    }

    /// Where it lies, if it is shared.
    #[must_use]
    pub const fn place(&self) -> Option<&Place> {
        match self {
            Self::Shared(place) => Some(place),
            Self::Private | Self::Unknown => None,
        }
    }
}

impl Place {
    /// The place of `address`, which lies in `mapping`; `None` when that is not shared.
    #[must_use]
    pub fn of(mapping: &Mapping, address: u64) -> Option<Self> {
        let object = Object::of(mapping)?;
        let inside = address.checked_sub(mapping.start)?;
        Some(Self {
            object,
            offset: mapping.file_offset.checked_add(inside)?,
            name: (!NAMELESS.contains(&mapping.path.as_str())).then(|| printable(&mapping.path)),
        })
    }

    /// What all processes that share the lock have in common.
    #[must_use]
    pub fn key(&self) -> [u64; 3] {
        let (major, minor) = self.object.device;
        let device = u64::from(major) << 32 | u64::from(minor);
        [device, self.object.inode, self.offset]
    }

    /// `pool.shm+0x40`; `None` for memory without a name.
    #[must_use]
    pub fn label(&self) -> Option<String> {
        let name = name::base(self.name.as_deref()?);
        Some(format!("{name}+{:#x}", self.offset))
    }
}

/// The end of a path tells more than its beginning.
fn printable(path: &str) -> String {
    let skip = path.chars().count().saturating_sub(MAX_NAME);
    let clean = |c: char| if c.is_control() { '?' } else { c };
    path.chars().skip(skip).map(clean).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
1000-3000 rw-s 00004000 00:1a 77                         /dev/shm/pool\n\
5000-6000 rw-s 00000000 00:01 78                         /dev/zero (deleted)\n\
7000-8000 rw-p 00000000 00:1a 77                         /dev/shm/pool\n\
9000-a000 rw-s 00001000 00:01 79                         /memfd:ring (deleted)\n\
b000-c000 rw-p 00000000 00:00 0 \n";

    fn at(text: &str, address: u64) -> Sharing {
        Sharing::of(Maps::parse(text.as_bytes()).find(address), address)
    }

    #[test]
    fn a_place_does_not_depend_on_the_address() {
        let here = at(TEXT, 0x1040);
        let there = at("f1000-f3000 rw-s 00004000 00:1a 77 /mnt/pool\n", 0xf_1040);
        let (here, there) = (here.place().unwrap(), there.place().unwrap());
        assert_eq!(here.key(), there.key());
        assert_eq!(here.key(), [0x1a, 77, 0x4040]);
        assert_eq!(here.label().as_deref(), Some("pool+0x4040"));
        // Mapped from another page on, it is at another address, but the same place.
        let later = at("2000-3000 rw-s 00005000 00:1a 77 /x\n", 0x2010);
        assert_eq!(later.place().unwrap().key(), [0x1a, 77, 0x5010]);
        assert_ne!(at(TEXT, 0x5040).place().unwrap().key(), here.key());
    }

    #[test]
    fn private_memory_has_no_place_and_unmapped_memory_is_not_known() {
        assert_eq!(at(TEXT, 0x7040), Sharing::Private);
        assert_eq!(at(TEXT, 0xb040), Sharing::Private);
        assert_eq!(at(TEXT, 0x4000), Sharing::Unknown);
    }

    #[test]
    fn names() {
        let label = |address| at(TEXT, address).place().and_then(Place::label);
        assert_eq!(label(0x5008), None);
        assert_eq!(label(0x9008).as_deref(), Some("memfd:ring+0x1008"));
        assert_eq!(Object::all(&Maps::parse(TEXT.as_bytes())).len(), 3);
    }

    proptest! {
        #[test]
        fn any_mapping_and_address(
            damage in proptest::collection::vec((0..TEXT.len(), any::<u8>()), 0..32),
            address in any::<u64>(),
        ) {
            let mut text = TEXT.as_bytes().to_vec();
            for (at, byte) in damage {
                text[at] = byte;
            }
            let maps = Maps::parse(&text);
            for mapping in &maps.0 {
                for address in [address, mapping.start, mapping.end - 1] {
                    if let Some(place) = Place::of(mapping, address) {
                        prop_assert!(mapping.shared && place.object.inode != 0);
                        prop_assert!(address >= mapping.start);
                        let label = place.label().unwrap_or_default();
                        prop_assert!(!label.contains(char::is_control));
                        prop_assert!(label.chars().count() <= MAX_NAME + 20);
                    }
                }
            }
        }
    }
}
