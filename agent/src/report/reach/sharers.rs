//! Who else can hold a lock in shared memory: every process that maps the same object. Its owner word holds a thread id
//! as the owner's own pid namespace has it, and a process in another namespace may have a thread of the same id: an
//! owner is named only if one thread alone can be meant, and called dead only if every process could be asked.

use std::{
    cell::OnceCell,
    collections::HashMap,
    io,
    sync::mpsc,
    time::{Duration, Instant},
};

use super::{
    place::{Object, Place},
    reader::Reader,
};
use crate::{
    proc::{maps::Maps, process::Proc},
    runtime::threads::Threads,
};

/// Most processes asked.
const MAX_PROCESSES: usize = 65_536;
/// Most processes kept of one object.
const MAX_SHARERS: usize = 4096;
/// Time to ask them all, about 0.1 ms each.
const DEADLINE: Duration = Duration::from_secs(1);
/// Answers on their way.
const QUEUE: usize = 64;

/// The thread that an owner word means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This one, by our own ids.
    Thread {
        /// Process id.
        pid: u32,
        /// Thread id.
        tid: u32,
    },
    /// None that lives: its owner is gone.
    Nobody,
    /// It cannot be told.
    Unknown,
}

/// Which processes share what. Looked up once, when first needed: wanted anew for each report.
#[derive(Debug, Default)]
pub struct Sharers {
    index: OnceCell<Index>,
}

#[derive(Debug, Default)]
struct Index {
    by_object: HashMap<Object, Vec<u32>>,
    /// Processes that we may not ask.
    silent: Vec<u32>,
    /// There was no time to ask them all.
    is_partial: bool,
}

impl Sharers {
    /// The thread that is called `tid` by the process that wrote this into the lock at `place`.
    #[must_use]
    pub fn find(&self, place: &Place, tid: u32) -> Found {
        let index = self.index.get_or_init(Index::build);
        let sharers = index.by_object.get(&place.object);
        let thread = |&pid: &u32| {
            let tid = Threads::of(pid).find(tid)?;
            Some((pid, tid))
        };
        let mut found = sharers.into_iter().flatten().filter_map(thread);
        let (first, second) = (found.next(), found.next());
        if index.silent.iter().any(|pid| thread(pid).is_some()) {
            return Found::Unknown;
        }
        match (first, second) {
            // What we hold ourselves is nobody's affair.
            (Some((pid, _)), None) if pid == std::process::id() => Found::Unknown,
            (Some((pid, tid)), None) => Found::Thread { pid, tid },
            (None, _) if !index.is_partial => Found::Nobody,
            _ => Found::Unknown,
        }
    }
}

impl Index {
    fn build() -> Self {
        let mut index = Self {
            is_partial: true,
            ..Self::default()
        };
        let Some(answers) = ask() else { return index };
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match answers.recv_timeout(left) {
                Ok(Answer::Shares(pid, objects)) => {
                    for object in objects {
                        let sharers = index.by_object.entry(object).or_default();
                        if sharers.len() < MAX_SHARERS {
                            sharers.push(pid);
                        }
                    }
                }
                Ok(Answer::Silent(pid)) => index.silent.push(pid),
                Ok(Answer::Done { is_partial }) => {
                    index.is_partial = is_partial;
                    return index;
                }
                Err(_) => return index,
            }
        }
    }
}

enum Answer {
    Shares(u32, Vec<Object>),
    Silent(u32),
    Done { is_partial: bool },
}

/// Has a thread read all mappings: one that belong to a process stuck in a page fault may not come back.
fn ask() -> Option<mpsc::Receiver<Answer>> {
    let reader = Reader::new()?;
    let (sender, receiver) = mpsc::sync_channel(QUEUE);
    let work = move || {
        let _reader = reader;
        let proc = Proc::default();
        let pids = proc.processes();
        let is_partial = pids.len() > MAX_PROCESSES;
        for pid in pids.into_iter().take(MAX_PROCESSES) {
            let answer = match maps(&proc, pid) {
                Ok(maps) => Answer::Shares(pid, Object::all(&maps)),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    Answer::Silent(pid)
                }
                // Gone.
                Err(_) => continue,
            };
            let is_news = !matches!(&answer, Answer::Shares(_, objects) if objects.is_empty());
            if is_news && sender.send(answer).is_err() {
                return;
            }
        }
        // Nobody listens any more when time was over.
        let _ = sender.send(Answer::Done { is_partial });
    };
    std::thread::Builder::new()
        .name("sharers".to_owned())
        .spawn(work)
        .ok()?;
    Some(receiver)
}

/// Mappings of a process. When its first thread has ended, those that its others show.
fn maps(proc: &Proc, pid: u32) -> io::Result<Maps> {
    let maps = Maps::read(pid)?;
    if !maps.0.is_empty() {
        return Ok(maps);
    }
    match proc.threads(pid).last() {
        Some(&tid) if tid != pid => Maps::read(tid),
        _ => Ok(maps),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        process::{Child, Command, Stdio},
    };

    use super::*;

    /// A `memfd` that `pages` of a child's memory come from; the child sleeps.
    fn shared() -> OwnedFd {
        // SAFETY: the name is a C string; the flags are valid.
        let fd = unsafe { libc::memfd_create(c"sharers-test".as_ptr(), 0) };
        assert!(fd >= 0);
        // SAFETY: just opened, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::ftruncate(fd.as_raw_fd(), 4096) }, 0);
        fd
    }

    fn maps_it(fd: &OwnedFd) -> Child {
        let script = "import mmap, sys\nm = mmap.mmap(int(sys.argv[1]), 4096)\nprint(1, flush=True)\nsys.stdin.read()";
        let mut child = Command::new("python3")
            .args(["-c", script, &fd.as_raw_fd().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut byte = [0];
        let stdout = child.stdout.as_mut().unwrap();
        stdout.read_exact(&mut byte).unwrap();
        child
    }

    #[test]
    fn an_owner_in_another_process_is_found_while_it_lives() {
        let fd = shared();
        let mut child = maps_it(&fd);
        let maps = Maps::read(child.id()).unwrap();
        let mapping = maps
            .0
            .iter()
            .find(|mapping| mapping.path.contains("sharers-test"))
            .expect("mapped");
        let place = Place::of(mapping, mapping.start + 8).unwrap();
        let pid = child.id();
        assert_eq!(
            Sharers::default().find(&place, pid),
            Found::Thread { pid, tid: pid }
        );
        // A live thread of a process that does not share it is not meant.
        assert_eq!(
            Sharers::default().find(&place, std::process::id()),
            Found::Nobody
        );
        child.kill().unwrap();
        // Not waited for yet: it keeps its id, but not its memory.
        while Proc::default().stat(pid).unwrap().state != b'Z' {
            std::thread::yield_now();
        }
        assert_eq!(Sharers::default().find(&place, pid), Found::Nobody);
        child.wait().unwrap();
        assert_eq!(Sharers::default().find(&place, pid), Found::Nobody);
    }
}
