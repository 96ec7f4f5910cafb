//! Attaching a program to many places. What works is found by trying, never by the kernel's version.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::CString,
    fmt, fs, io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    sync::Weak,
};

use aya::{
    Ebpf,
    programs::{ProgramError, UProbe},
};

use super::{
    links::{self, Held, Links, Way},
    reload::Programs,
    site::Site,
    stage::Stage,
    sys::{self, Places},
};

/// Most places in one call to the kernel, which allows a million; what fails is tried again one by one.
const MAX_PLACES: usize = 4096;

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
    /// All uprobes were taken away, as they cost too much.
    #[error("uprobes were taken away")]
    TakenAway,
}

/// Attaches the uprobe programs of one object.
pub struct Uprobes {
    /// The programs for many places, or why there are none.
    multi: io::Result<Programs>,
    /// Programs loaded so far; `None`: one place at a time, by aya's own.
    loaded: HashMap<String, Option<OwnedFd>>,
    /// What is attached.
    held: Vec<Weak<Held>>,
    /// Who is probed: processes, or everybody.
    scopes: BTreeSet<Option<u32>>,
    /// Nothing is attached any more.
    taken_away: bool,
    /// What is only counted until it is known what it will cost.
    stage: Option<Stage>,
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

    /// From now on uses one perf event per place.
    pub(super) fn without_multi(&mut self) {
        self.multi = Err(io::ErrorKind::Unsupported.into());
        self.loaded.clear();
    }

    fn with(multi: io::Result<Programs>) -> Self {
        Self {
            multi,
            loaded: HashMap::new(),
            held: Vec::new(),
            scopes: BTreeSet::new(),
            taken_away: false,
            stage: None,
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
        if self.taken_away {
            return Err(AttachError::TakenAway);
        }
        let counting = self
            .stage
            .as_ref()
            .map(|stage| stage.counting(sites, scope));
        let links = match &counting {
            Some((counter, sites)) => {
                // What is wrong with the program itself shows now.
                self.attach_now(ebpf, program, &[], scope)?;
                self.attach_now(ebpf, counter, sites, scope)?
            }
            None => self.attach_now(ebpf, program, sites, scope)?,
        };
        if let Some(stage) = &mut self.stage {
            stage.add(program, sites, scope, &links);
        }
        self.held.retain(|held| held.strong_count() > 0);
        self.held.push(links.held());
        self.scopes.insert(scope);
        Ok(links)
    }

    /// From now on, [`Self::attach`] attaches programs that only count, until [`Self::release`].
    pub fn stage(&mut self) {
        self.stage = Some(Stage::default());
    }

    /// Attaches in earnest what was asked for since [`Self::stage`]. Whoever asked for it keeps the same [`Links`].
    ///
    /// # Errors
    /// The first program that the kernel refused, where it let us count. The others are attached.
    pub fn release(&mut self, ebpf: &mut Ebpf) -> Result<(), AttachError> {
        let Some(stage) = self.stage.take() else {
            return Ok(());
        };
        stage.release(|program, sites, scope| self.attach_now(ebpf, program, sites, scope))
    }

    /// Whether anything is staged.
    #[must_use]
    pub fn is_staged(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| !stage.is_empty())
    }

    /// Detaches everything, whoever has it, for good.
    pub fn take_away(&mut self) {
        self.taken_away = true;
        self.stage = None;
        // Those that came last first: ends were attached before beginnings, lest an end be missed.
        let held = self.held.drain(..).rev();
        for held in held.filter_map(|held| held.upgrade()) {
            links::let_go(&held);
        }
    }

    /// Whether everything was detached for good.
    #[must_use]
    pub const fn is_taken_away(&self) -> bool {
        self.taken_away
    }

    /// Who is or was probed: processes, or, as `None`, everybody.
    #[must_use]
    pub const fn scopes(&self) -> &BTreeSet<Option<u32>> {
        &self.scopes
    }

    /// Time that the programs ran, in nanoseconds, while the kernel was asked to measure it (Linux 5.8).
    #[must_use]
    pub fn run_ns(&self, ebpf: &Ebpf) -> u64 {
        let single = |name: &str| run_ns(ebpf.program(name)?.fd().ok()?.as_fd());
        let ran = self.loaded.iter().filter_map(|(name, fd)| match fd {
            Some(fd) => run_ns(fd.as_fd()),
            None => single(name),
        });
        ran.sum()
    }

    /// [`Self::attach`], whatever is staged, and without remembering it.
    pub(super) fn attach_now(
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
        let Self { multi, loaded, .. } = self;
        let load = || multi.as_ref().ok()?.load_multi(program).ok();
        loaded
            .entry(program.to_owned())
            .or_insert_with(load)
            .as_ref()
    }
}

fn run_ns(program: BorrowedFd<'_>) -> Option<u64> {
    let path = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
    let text = fs::read_to_string(path).ok()?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("run_time_ns:"))?;
    value.trim().parse().ok()
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
pub(super) fn multi(program: BorrowedFd<'_>, sites: &[Site], scope: Option<u32>) -> Links {
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
