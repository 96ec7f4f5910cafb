//! Places that are only counted at first, so that what they will cost is known before it is paid.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::PathBuf,
    sync::Weak,
};

use holdup_abi::uprobe::{Cookie, PRICE_NONE};

use super::{
    AttachError, Site,
    links::{self, Held, Links},
    price::{COUNT, COUNT_RETURN},
};

/// Device and inode of a file, offset in it, and for whom.
type Place = (u64, u64, u64, Option<u32>);

/// What was asked for meanwhile, in its order.
#[derive(Debug, Default)]
pub struct Stage {
    staged: Vec<Staged>,
    returns: HashSet<Place>,
}

#[derive(Debug)]
struct Staged {
    program: String,
    sites: Vec<Site>,
    scope: Option<u32>,
    held: Weak<Held>,
    /// Whoever asked may close the files that the sites are in.
    _files: BTreeMap<PathBuf, File>,
}

impl Stage {
    /// Whether nothing was asked for.
    pub const fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    /// The program that counts, and the sites for it. What a return costs has its function's entry in it already, so there
    /// it is not counted again.
    pub fn counting(&self, sites: &[Site], scope: Option<u32>) -> (&'static str, Vec<Site>) {
        if sites.iter().any(|site| site.returns) {
            return (COUNT_RETURN, sites.to_vec());
        }
        let counted = sites.iter().map(|site| {
            let mut site = site.clone();
            if place(&site, scope).is_some_and(|place| self.returns.contains(&place)) {
                let cookie = Cookie {
                    flags: Cookie::flags(false, PRICE_NONE),
                    ..Cookie::unpack(site.cookie)
                };
                site.cookie = cookie.pack();
            }
            site
        });
        (COUNT, counted.collect())
    }

    /// Remembers what `links` stand for.
    pub fn add(&mut self, program: &str, sites: &[Site], scope: Option<u32>, links: &Links) {
        let mut files = BTreeMap::new();
        let mut kept = Vec::new();
        for (index, site) in sites.iter().enumerate() {
            if links.refused.iter().any(|&(refused, _)| refused == index) {
                continue;
            }
            if site.returns {
                self.returns.extend(place(site, scope));
            }
            if !files.contains_key(&site.file) {
                let Ok(file) = File::open(&site.file) else {
                    continue;
                };
                files.insert(site.file.clone(), file);
            }
            let mut site = site.clone();
            if let Some(file) = files.get(&site.file) {
                site.file = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
            }
            kept.push(site);
        }
        self.staged.push(Staged {
            program: program.to_owned(),
            sites: kept,
            scope,
            held: links.held(),
            _files: files,
        });
    }

    /// Puts what was asked for in the place of what only counts.
    pub fn release(
        self,
        mut attach: impl FnMut(&str, &[Site], Option<u32>) -> Result<Links, AttachError>,
    ) -> Result<(), AttachError> {
        let mut result = Ok(());
        for staged in self.staged {
            // Gone meanwhile: nobody wants it any more.
            let Some(held) = staged.held.upgrade() else {
                continue;
            };
            match attach(&staged.program, &staged.sites, staged.scope) {
                Ok(links) => Links::replace(&held, &links),
                Err(error) => {
                    links::let_go(&held);
                    result = result.and(Err(error));
                }
            }
        }
        result
    }
}

fn place(site: &Site, scope: Option<u32>) -> Option<Place> {
    let file = fs::metadata(&site.file).ok()?;
    Some((file.dev(), file.ino(), site.offset, scope))
}
