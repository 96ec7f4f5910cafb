//! Lock functions of one file, and where they are probed.

use holdup_abi::uprobe::{Cookie, PRICE_NONE};

use super::table::{self, Meaning, Names};
use crate::probe::uprobe::{
    Site,
    find::{Binary, Function},
    placement::Needs,
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
        let needs = Needs::arguments(table::arguments(call));
        let placement = binary.place(function, needs);
        let mut site = Site::new(binary, &placement, 0, call);
        if table::returns(call) {
            let returned = Site::at_return(binary, function.offset, &placement, 0, call);
            // Both probes at one instruction are one trap, which the price of the return has in it.
            site.offset = returned.offset;
            site.cookie = Cookie {
                flags: Cookie::flags(false, PRICE_NONE),
                ..Cookie::unpack(returned.cookie)
            }
            .pack();
            self.returns.push(returned);
        }
        self.stepped += usize::from(!placement.emulated || site.offset != placement.offset);
        self.calls.push(site);
    }
}

/// Whether this is the C library itself, not a program that has it inside.
fn is_libc(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with("libc.so") || name.starts_with("libc-2.")
}
