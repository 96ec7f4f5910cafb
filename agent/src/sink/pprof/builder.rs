//! Interns strings, functions, mappings and locations of a profile.

use std::collections::HashMap;

use crate::model::Frame;

use super::proto::{Function, Label, Line, Location, Mapping, Profile};

/// A profile under construction.
#[derive(Debug)]
pub struct Builder {
    profile: Profile,
    strings: HashMap<String, i64>,
    functions: HashMap<(i64, i64), u64>,
    mappings: HashMap<String, usize>,
    locations: HashMap<(u64, u64, Vec<Line>), u64>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            profile: Profile {
                string_table: vec![String::new()],
                ..Profile::default()
            },
            strings: HashMap::from([(String::new(), 0)]),
            functions: HashMap::new(),
            mappings: HashMap::new(),
            locations: HashMap::new(),
        }
    }
}

/// What `profile.proto` can hold of a count: values are signed there.
#[must_use]
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Ids count from 1, since 0 stands for none.
const fn next_id(len: usize) -> u64 {
    len as u64 + 1
}

impl Builder {
    /// Index of a string.
    pub fn string(&mut self, text: &str) -> i64 {
        if let Some(&index) = self.strings.get(text) {
            return index;
        }
        let index = signed(self.profile.string_table.len() as u64);
        self.profile.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), index);
        index
    }

    /// A label with a string value.
    pub fn text_label(&mut self, key: &str, value: &str) -> Label {
        Label {
            key: self.string(key),
            str: self.string(value),
            num: 0,
        }
    }

    /// A label with a number.
    pub fn number_label(&mut self, key: &str, value: u64) -> Label {
        Label {
            key: self.string(key),
            str: 0,
            num: signed(value),
        }
    }

    /// Locations of a stack, innermost first. Inlined frames share the location of the frame they were inlined into.
    pub fn stack(&mut self, frames: &[Frame]) -> Vec<u64> {
        // Each piece ends with a frame that was really called.
        frames
            .split_inclusive(|frame| !frame.inlined)
            .map(|physical| self.location(physical))
            .collect()
    }

    /// A location that is only a name.
    pub fn named(&mut self, name: &str) -> u64 {
        let line = Line {
            function_id: self.function(name, ""),
            line: 0,
        };
        self.intern(0, 0, vec![line])
    }

    fn location(&mut self, frames: &[Frame]) -> u64 {
        let Some(called) = frames.last() else {
            return self.named("?");
        };
        let mapping_id = match &called.module {
            Some(module) => self.mapping(module, called.offset),
            None => 0,
        };
        let lines: Vec<Line> = frames.iter().filter_map(|frame| self.line(frame)).collect();
        self.describe(mapping_id, frames);
        self.intern(mapping_id, called.offset, lines)
    }

    fn line(&mut self, frame: &Frame) -> Option<Line> {
        let name = frame.function.as_deref()?;
        let file = frame.file.as_deref().unwrap_or_default();
        let function_id = if frame.guessed {
            self.function(&format!("{name} (guessed)"), file)
        } else {
            self.function(name, file)
        };
        Some(Line {
            function_id,
            line: frame.line.map_or(0, i64::from),
        })
    }

    fn function(&mut self, name: &str, file: &str) -> u64 {
        let (name, filename) = (self.string(name), self.string(file));
        let functions = &mut self.profile.function;
        *self.functions.entry((name, filename)).or_insert_with(|| {
            let id = next_id(functions.len());
            functions.push(Function {
                id,
                name,
                system_name: name,
                filename,
            });
            id
        })
    }

    fn mapping(&mut self, module: &str, address: u64) -> u64 {
        let index = match self.mappings.get(module) {
            Some(&index) => index,
            None => {
                let index = self.profile.mapping.len();
                let filename = self.string(module);
                self.profile.mapping.push(Mapping {
                    id: next_id(index),
                    filename,
                    ..Mapping::default()
                });
                self.mappings.insert(module.to_owned(), index);
                index
            }
        };
        // Addresses are the module's own, so every mapping starts at 0; readers want them inside the limit.
        if let Some(mapping) = self.profile.mapping.get_mut(index) {
            mapping.memory_limit = mapping.memory_limit.max(address.saturating_add(1));
        }
        next_id(index)
    }

    /// Notes what is known of a mapping, so that readers do not look for its file to find out.
    fn describe(&mut self, mapping_id: u64, frames: &[Frame]) {
        let index = usize::try_from(mapping_id).unwrap_or(0).checked_sub(1);
        let Some(mapping) = index.and_then(|index| self.profile.mapping.get_mut(index)) else {
            return;
        };
        mapping.has_functions |= frames.iter().any(|frame| frame.function.is_some());
        mapping.has_filenames |= frames.iter().any(|frame| frame.file.is_some());
        mapping.has_line_numbers |= frames.iter().any(|frame| frame.line.is_some());
        mapping.has_inline_frames |= frames.iter().any(|frame| frame.inlined);
    }

    fn intern(&mut self, mapping_id: u64, address: u64, line: Vec<Line>) -> u64 {
        let locations = &mut self.profile.location;
        *self
            .locations
            .entry((mapping_id, address, line))
            .or_insert_with_key(|(mapping_id, address, line)| {
                let id = next_id(locations.len());
                locations.push(Location {
                    id,
                    mapping_id: *mapping_id,
                    address: *address,
                    line: line.clone(),
                });
                id
            })
    }

    /// The finished profile, to which the caller adds samples and times.
    #[must_use]
    pub fn finish(self) -> Profile {
        self.profile
    }
}
