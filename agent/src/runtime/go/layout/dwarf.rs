//! Offsets out of a program's own DWARF.

use std::collections::{HashMap, HashSet};

use gimli::{AttributeValue, EndianSlice, LittleEndian, UnitOffset, constants};

use super::{Layout, TYPES};
use crate::symbol::module::{
    elf::{Elf, contents},
    image::Image,
};

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Dwarf<'a> = gimli::Dwarf<Slice<'a>>;
type Unit<'a> = gimli::Unit<Slice<'a>>;

/// Largest section that is read, uncompressed.
const MAX_SECTION_BYTES: u64 = 256 << 20;
/// Most entries that are looked at on the way to the types.
const MAX_ENTRIES: usize = 16 << 20;
/// Most members of a type.
const MAX_MEMBERS: usize = 1024;
/// Most names in a row that only stand for another type.
const MAX_NAMES: usize = 8;

/// Reads the layout, or nothing when the program has no DWARF or not all of the types.
#[must_use]
pub fn read(image: &Image, elf: &Elf, minor: u32) -> Option<Layout> {
    let mut sections = HashMap::new();
    for id in [
        gimli::SectionId::DebugAbbrev,
        gimli::SectionId::DebugAddr,
        gimli::SectionId::DebugInfo,
        // Not looked at, but a unit without it cannot be opened.
        gimli::SectionId::DebugLine,
        gimli::SectionId::DebugLineStr,
        gimli::SectionId::DebugStr,
        gimli::SectionId::DebugStrOffsets,
    ] {
        if let Some(section) = elf.section(id.name()) {
            sections.insert(id, contents(image, section, MAX_SECTION_BYTES)?);
        }
    }
    let dwarf = Dwarf::load(|id| {
        let bytes = sections.get(&id).map_or(&[][..], Vec::as_slice);
        Ok::<_, gimli::Error>(EndianSlice::new(bytes, LittleEndian))
    })
    .ok()?;
    let types = Types::find(&dwarf)?;
    Layout::by_paths(minor, |path| types.walk(path))
}

/// A place in DWARF.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    unit: usize,
    entry: UnitOffset,
}

/// What is needed of a structure.
struct Struct {
    size: u64,
    members: Vec<(String, u64, Option<Place>)>,
}

/// The types that paths begin with.
struct Types<'a> {
    dwarf: &'a Dwarf<'a>,
    units: Vec<Unit<'a>>,
    named: HashMap<&'static str, Place>,
}

impl<'a> Types<'a> {
    fn find(dwarf: &'a Dwarf<'a>) -> Option<Self> {
        let mut wanted: HashSet<&'static str> = TYPES
            .iter()
            .flat_map(|paths| paths.split('|'))
            .filter_map(|path| path.split(' ').next())
            .filter(|name| !name.starts_with('='))
            .collect();
        let mut types = Self {
            dwarf,
            units: Vec::new(),
            named: HashMap::new(),
        };
        let mut headers = dwarf.units();
        while let Some(header) = headers.next().ok()? {
            types.units.push(dwarf.unit(header).ok()?);
        }
        let mut left = MAX_ENTRIES;
        for (index, unit) in types.units.iter().enumerate() {
            let mut entries = unit.entries();
            // To the unit itself, then to its first child.
            entries.next_dfs().ok()?;
            let mut entry = entries.next_dfs().ok()?;
            while let Some(found) = entry {
                left = left.checked_sub(1)?;
                if matches!(
                    found.tag(),
                    constants::DW_TAG_structure_type | constants::DW_TAG_typedef
                ) && let Some(name) = types.name(unit, found)
                    && let Some(&known) = wanted.get(name.as_ref())
                {
                    // A typedef leads to the structure of the same name, which ends the search as well.
                    if found.tag() == constants::DW_TAG_structure_type {
                        wanted.remove(known);
                    }
                    let entry = found.offset();
                    types.named.insert(known, Place { unit: index, entry });
                }
                if wanted.is_empty() {
                    return Some(types);
                }
                entry = entries.next_sibling().ok()?;
            }
        }
        Some(types)
    }

    fn name(
        &self,
        unit: &Unit<'a>,
        entry: &gimli::DebuggingInformationEntry<Slice<'a>>,
    ) -> Option<std::borrow::Cow<'a, str>> {
        let value = entry.attr_value(constants::DW_AT_name)?;
        Some(self.dwarf.attr_string(unit, value).ok()?.to_string_lossy())
    }

    /// Follows a path of member names; gives the offset, or the size for `#`.
    fn walk(&self, path: &str) -> Option<u64> {
        let mut words = path.split(' ');
        let mut at = Some(*self.named.get(words.next()?)?);
        let mut offset = 0_u64;
        for word in words {
            let of = self.structure(at?)?;
            if word == "#" {
                return Some(of.size);
            }
            let (_, more, next) = of.members.into_iter().find(|(name, ..)| name == word)?;
            offset = offset.checked_add(more)?;
            at = next;
        }
        Some(offset)
    }

    fn structure(&self, mut at: Place) -> Option<Struct> {
        for _ in 0..MAX_NAMES {
            let unit = self.units.get(at.unit)?;
            let mut entries = unit.entries_at_offset(at.entry).ok()?;
            let entry = entries.next_dfs().ok()??;
            match entry.tag() {
                constants::DW_TAG_typedef => at = self.referred(at.unit, entry)?,
                constants::DW_TAG_structure_type => {
                    let size = entry
                        .attr_value(constants::DW_AT_byte_size)?
                        .udata_value()?;
                    let mut members = Vec::new();
                    let mut member = entries.next_dfs().ok()?;
                    while let Some(found) = member
                        && found.tag() == constants::DW_TAG_member
                        && members.len() < MAX_MEMBERS
                    {
                        let offset = found
                            .attr_value(constants::DW_AT_data_member_location)
                            .map_or(Some(0), |value| value.udata_value());
                        if let (Some(name), Some(offset)) = (self.name(unit, found), offset) {
                            let of = self.referred(at.unit, found);
                            members.push((name.into_owned(), offset, of));
                        }
                        member = entries.next_sibling().ok()?;
                    }
                    return Some(Struct { size, members });
                }
                _ => return None,
            }
        }
        None
    }

    /// The type that an entry is of.
    fn referred(
        &self,
        unit: usize,
        entry: &gimli::DebuggingInformationEntry<Slice<'a>>,
    ) -> Option<Place> {
        match entry.attr_value(constants::DW_AT_type)? {
            AttributeValue::UnitRef(entry) => Some(Place { unit, entry }),
            AttributeValue::DebugInfoRef(offset) => {
                self.units.iter().enumerate().find_map(|(unit, candidate)| {
                    let entry = offset.to_unit_offset(&candidate.header)?;
                    Some(Place { unit, entry })
                })
            }
            _ => None,
        }
    }
}
