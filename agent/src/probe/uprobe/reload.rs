//! The object's programs once more, ready for the kernel, with the maps that aya has made.
//!
//! aya 0.14 loads uprobe programs of the kind that is attached to one place at a time. A program for many places differs
//! in one number at load time only, so its instructions are taken from the object again and joined with the same maps.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya::Ebpf;
use aya_obj::Object;

use super::sys;
use crate::probe::object;

/// The object's programs, with the descriptors that their instructions name.
pub struct Programs {
    object: Object,
    _maps: Vec<(String, OwnedFd)>,
}

impl Programs {
    /// Of an object that still owns all its maps.
    ///
    /// # Errors
    /// A map is missing, or there are no descriptors left.
    pub fn of(ebpf: &Ebpf) -> io::Result<Self> {
        let mut object = Object::parse(object::OBJECT).map_err(io::Error::other)?;
        let mut maps = Vec::new();
        for (name, map) in ebpf.maps() {
            let data = object::data(map)
                .ok_or_else(|| io::Error::other(format!("map {name} is of an unknown type")))?;
            maps.push((name.to_owned(), data.fd().as_fd().try_clone_to_owned()?));
        }
        let sections = object
            .functions
            .keys()
            .map(|&(section, _)| section)
            .collect();
        let definitions = std::mem::take(&mut object.maps);
        let known = maps
            .iter()
            .filter_map(|(name, fd)| Some((name.as_str(), fd.as_raw_fd(), definitions.get(name)?)));
        object
            .relocate_maps(known, &sections)
            .map_err(io::Error::other)?;
        object.relocate_calls(&sections).map_err(io::Error::other)?;
        Ok(Self {
            object,
            _maps: maps,
        })
    }

    /// Loads a program for many places.
    ///
    /// # Errors
    /// There is no such program, or the kernel refuses it.
    ///
    /// # Minimum kernel version
    /// 6.6
    pub fn load_multi(&self, name: &str) -> io::Result<OwnedFd> {
        let program = self.object.programs.get(name);
        let function =
            program.and_then(|program| self.object.functions.get(&program.function_key()));
        let (program, function) = program
            .zip(function)
            .ok_or_else(|| io::Error::other(format!("no program {name} in the object")))?;
        sys::load_multi(&function.instructions, &program.license, name)
    }
}
