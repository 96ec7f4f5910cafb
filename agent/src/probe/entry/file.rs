//! Lock functions of one file, and where they are probed.

use holdup_abi::uprobe::{Cookie, PRICE_EMULATED, PRICE_RETURN, PRICE_STEPPED};

use super::table::{self, Meaning, Names};
use crate::probe::uprobe::{
    Site,
    find::{Binary, Function},
    placement::{Needs, Placement},
};

/// Places to probe in one file.
#[derive(Debug, Default)]
pub struct Sites {
    /// Where calls begin.
    pub calls: Vec<Site>,
    /// Where their return is caught.
    pub returns: Vec<Site>,
    /// Calls at an instruction that the kernel must single-step.
    pub stepped: usize,
    /// Its lock functions do nothing, those of another library are meant (glibc before 2.34).
    pub stubs: bool,
}

impl Sites {
    /// Looks for all `names` in `binary`.
    #[must_use]
    pub fn of(binary: &Binary, names: &Names) -> Self {
        let functions = binary.functions(|name| names.get(name));
        let has = |meaning| functions.iter().any(|function| function.tag == meaning);
        let is_glibc = has(Meaning::Glibc);
        let mut sites = Self {
            stubs: is_glibc && is_libc(&binary.name) && !has(Meaning::Threads),
            ..Self::default()
        };
        if sites.stubs {
            return sites;
        }
        for function in &functions {
            if let Meaning::Call {
                call,
                wraps_in_glibc,
            } = function.tag
                // Old versions of functions call the new ones.
                && !function.old
                && !(wraps_in_glibc && is_glibc)
            {
                sites.add(binary, function, call);
            }
        }
        sites
    }

    fn add(&mut self, binary: &Binary, function: &Function<Meaning>, call: u32) {
        let mut place = binary.place(function, Needs::arguments(table::arguments(call)));
        let returns = table::returns(call);
        // The kernel takes the return address from where it is at a function's entry. Both probes at one instruction are
        // one trap.
        if returns && place.pushed_words != 0 {
            place = Placement::entry(function.offset, "the return is probed too");
        }
        let price = if place.emulated {
            PRICE_EMULATED
        } else {
            PRICE_STEPPED
        };
        self.stepped += usize::from(!place.emulated);
        let site = |price, returns| Site {
            file: binary.path(),
            offset: place.offset,
            cookie: Cookie {
                function: 0,
                pushed_words: place.pushed_words,
                flags: Cookie::flags(place.may_repeat, price),
                own: call,
            }
            .pack(),
            returns,
            semaphore: 0,
        };
        self.calls.push(site(price, false));
        if returns {
            self.returns.push(site(PRICE_RETURN, true));
        }
    }
}

/// Whether this is the C library itself, not a program that has it inside.
fn is_libc(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with("libc.so") || name.starts_with("libc-2.")
}
