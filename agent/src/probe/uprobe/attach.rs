//! Attaching a program to many places. What works is found by trying, never by the kernel's version.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::CString,
    fmt, io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    programs::{ProgramError, UProbe},
};

use holdup_abi::uprobe::{Cookie, PRICE_EMULATED, PRICE_RETURN, PRICE_STEPPED};

use super::{
    find::Binary,
    placement::Placement,
    reload::Programs,
    sys::{self, Places},
};

/// Most places in one call to the kernel, which allows a million; what fails is tried again one by one.
const MAX_PLACES: usize = 4096;

/// A place to attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The file, by a path that leads there from our own root, such as `/proc/PID/root/...` or
    /// `/proc/PID/map_files/...`. The kernel follows it once.
    pub file: PathBuf,
    /// Offset of the instruction in it.
    pub offset: u64,
    /// See [`holdup_abi::uprobe`].
    pub cookie: u64,
    /// At the function's return; then `offset` is its entry. Never in Go code: it moves stacks, and crashes.
    pub returns: bool,
    /// Offset in the file of a 16-bit counter that the kernel raises while the probe is there, as static probes have them;
    /// 0: none.
    pub semaphore: u64,
}

impl Site {
    /// A place in an open file. `function` and `own` are for its owner: see [`Cookie`].
    #[must_use]
    pub fn new(binary: &Binary, placement: &Placement, function: u16, own: u32) -> Self {
        let price = if placement.emulated {
            PRICE_EMULATED
        } else {
            PRICE_STEPPED
        };
        let cookie = Cookie {
            function,
            pushed_words: placement.pushed_words,
            flags: Cookie::flags(placement.may_repeat, price),
            own,
        };
        Self {
            file: binary.path(),
            offset: placement.offset,
            cookie: cookie.pack(),
            returns: false,
            semaphore: 0,
        }
    }

    /// The return of the function whose entry is at `offset` in an open file.
    #[must_use]
    pub fn at_return(binary: &Binary, offset: u64, function: u16, own: u32) -> Self {
        let cookie = Cookie {
            function,
            pushed_words: 0,
            flags: Cookie::flags(false, PRICE_RETURN),
            own,
        };
        Self {
            file: binary.path(),
            offset,
            cookie: cookie.pack(),
            returns: true,
            semaphore: 0,
        }
    }
}

/// How places were attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All places of a file in one call (Linux 6.6).
    Multi,
    /// One perf event per place (Linux 5.15).
    Single,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Multi => "uprobe_multi",
            Self::Single => "one perf event each",
        })
    }
}

/// Why nothing was attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The program is not in the object, or the kernel refuses it.
    #[error("program {program} cannot be loaded")]
    Load {
        /// Its name.
        program: String,
        /// What happened.
        #[source]
        source: Box<ProgramError>,
    },
    /// The kernel refused every place.
    #[error("program {program} can be attached to none of {places} places")]
    Refused {
        /// Its name.
        program: String,
        /// How many places there were.
        places: usize,
        /// What the kernel said about the first one.
        #[source]
        source: io::Error,
    },
}

/// What is attached. Dropping it detaches: the kernel puts the original instructions back.
#[derive(Debug)]
pub struct Links {
    links: Vec<OwnedFd>,
    /// Places attached.
    pub attached: usize,
    /// Indices of the places that the kernel refused, with what it said: an instruction that it cannot probe, or a file
    /// that is gone.
    pub refused: Vec<(usize, io::Error)>,
    /// How it was done.
    pub way: Way,
}

impl Links {
    fn new(way: Way) -> Self {
        Self {
            links: Vec::new(),
            attached: 0,
            refused: Vec::new(),
            way,
        }
    }

    fn add(&mut self, link: OwnedFd, places: usize) {
        self.links.push(link);
        self.attached += places;
    }

    fn take(&mut self, index: usize, link: io::Result<OwnedFd>) {
        match link {
            Ok(link) => self.add(link, 1),
            Err(error) => self.refused.push((index, error)),
        }
    }

    /// Calls to the kernel that it took, which is as many as there are descriptors open for it.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.links.len()
    }
}

/// Attaches the uprobe programs of one object.
pub struct Uprobes {
    /// The programs for many places, or why there are none.
    multi: io::Result<Programs>,
    /// Programs loaded so far; `None`: one place at a time, by aya's own.
    loaded: HashMap<String, Option<OwnedFd>>,
}

impl fmt::Debug for Uprobes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uprobes")
            .field("loaded", &self.loaded)
            .finish_non_exhaustive()
    }
}

impl Uprobes {
    /// To be made before any map is taken out of `ebpf`: programs are joined with all of them.
    #[must_use]
    pub fn new(ebpf: &Ebpf) -> Self {
        Self::with(Programs::of(ebpf))
    }

    /// Uses one perf event per place even where there is a better way.
    #[must_use]
    pub fn single_only() -> Self {
        Self::with(Err(io::ErrorKind::Unsupported.into()))
    }

    fn with(multi: io::Result<Programs>) -> Self {
        Self {
            multi,
            loaded: HashMap::new(),
        }
    }

    /// Attaches `program` to all `sites`, for process `scope` or for everybody. A program for sites with
    /// [`Site::returns`] must be a `uretprobe`.
    ///
    /// # Errors
    /// The program cannot be loaded, or every place was refused. If only some were, they are in [`Links::refused`].
    pub fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        program: &str,
        sites: &[Site],
        scope: Option<u32>,
    ) -> Result<Links, AttachError> {
        let mut links = match self.load(program) {
            Some(fd) => multi(fd.as_fd(), sites, scope),
            None => {
                let fd = load_single(ebpf, program).map_err(|source| AttachError::Load {
                    program: program.to_owned(),
                    source: Box::new(source),
                })?;
                single(fd, sites, scope)
            }
        };
        match links.refused.pop() {
            Some((_, source)) if links.attached == 0 => Err(AttachError::Refused {
                program: program.to_owned(),
                places: sites.len(),
                source,
            }),
            last => {
                links.refused.extend(last);
                Ok(links)
            }
        }
    }

    /// The program for many places, loaded on first use. Nothing where the kernel does not know the kind; nor for a program
    /// that is wrong in itself, which fails again as an ordinary one, with the verifier's reasons.
    fn load(&mut self, program: &str) -> Option<&OwnedFd> {
        let Self { multi, loaded } = self;
        let load = || multi.as_ref().ok()?.load_multi(program).ok();
        loaded
            .entry(program.to_owned())
            .or_insert_with(load)
            .as_ref()
    }
}

/// aya's own program, loaded on first use.
fn load_single<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<BorrowedFd<'a>, ProgramError> {
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| io::Error::other(format!("no program {name} in the object")))?;
    let program: &mut UProbe = program.try_into()?;
    match program.load() {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(program.fd()?.as_fd()),
        Err(error) => Err(error),
    }
}

/// One call per file and kind. If the kernel refuses it, the places are tried one by one: one that it cannot probe must not
/// take the others with it.
fn multi(program: BorrowedFd<'_>, sites: &[Site], scope: Option<u32>) -> Links {
    let mut groups: BTreeMap<(&Path, bool), Vec<usize>> = BTreeMap::new();
    for (index, site) in sites.iter().enumerate() {
        groups
            .entry((&site.file, site.returns))
            .or_default()
            .push(index);
    }
    let mut links = Links::new(Way::Multi);
    for ((file, returns), group) in groups {
        let attach = |part: &[usize]| {
            let mut places = Places::default();
            for site in part.iter().filter_map(|&index| sites.get(index)) {
                places.offsets.push(site.offset);
                places.semaphores.push(site.semaphore);
                places.cookies.push(site.cookie);
            }
            sys::link_multi(
                program,
                &c_path(file)?,
                &places,
                returns,
                scope.unwrap_or(0),
            )
        };
        for part in group.chunks(MAX_PLACES) {
            match attach(part) {
                Ok(link) => links.add(link, part.len()),
                Err(_) => {
                    for &index in part {
                        links.take(index, attach(&[index]));
                    }
                }
            }
        }
    }
    links
}

fn single(program: BorrowedFd<'_>, sites: &[Site], scope: Option<u32>) -> Links {
    let mut links = Links::new(Way::Single);
    for (index, site) in sites.iter().enumerate() {
        let link = c_path(&site.file).and_then(|path| {
            let place = (site.offset, site.semaphore, site.cookie);
            sys::link_single(program, &path, place, site.returns, scope)
        });
        links.take(index, link);
    }
    links
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
