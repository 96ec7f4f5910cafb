//! A sock_diag socket: in which network namespace, one request at a time, each with a deadline.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use super::{Error, netlink};

/// `NETLINK_SOCK_DIAG`.
const SOCK_DIAG: libc::c_int = 4;
/// Room for one datagram: the kernel fills dumps in pages of at most 32 KiB.
const DATAGRAM: usize = 32 * 1024;
/// Most datagrams of one answer: far more than the sockets of any machine seen (about 100 sockets each).
const MAX_DATAGRAMS: usize = 100_000;

/// An answer on its way.
#[derive(Debug)]
struct Answer {
    sequence: u32,
    is_dump: bool,
    wants_more: bool,
}

impl Answer {
    /// Reads one datagram; tells whether the answer has ended with it.
    fn read(&mut self, bytes: &[u8], take: &mut impl FnMut(&[u8]) -> bool) -> Result<bool, Error> {
        for message in netlink::messages(bytes) {
            if message.sequence != self.sequence {
                // What is left of an answer that nobody waited for.
                continue;
            }
            match message.kind {
                netlink::DONE => return Ok(true),
                netlink::ERROR => return error(message.payload).map(|()| true),
                netlink::BY_FAMILY => {
                    self.wants_more = self.wants_more && take(message.payload);
                    if !self.is_dump {
                        return Ok(true);
                    }
                }
                _ => {}
            }
        }
        Ok(false)
    }
}

/// An open sock_diag socket. It stays in the network namespace it was opened in.
#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
    sequence: u32,
    deadline: Instant,
}

impl Channel {
    /// Opens one in the network namespace that `namespace` (`/proc/PID/task/TID/ns/net`) leads to.
    pub(super) fn open(namespace: &Path, deadline: Instant) -> Result<Self, Error> {
        let theirs = std::fs::metadata(namespace).map_err(Error::Namespace)?;
        let ours = std::fs::metadata("/proc/thread-self/ns/net").map_err(Error::Namespace)?;
        let socket = if (theirs.ino(), theirs.dev()) == (ours.ino(), ours.dev()) {
            socket().map_err(Error::Socket)?
        } else {
            elsewhere(namespace)?
        };
        Ok(Self {
            socket,
            sequence: 0,
            deadline,
        })
    }

    /// Sends one request and hands each object of the answer to `take`, until it returns false.
    pub(super) fn ask(
        &mut self,
        flags: u16,
        payload: &[u8],
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), Error> {
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&netlink::request(flags, self.sequence, payload))?;
        let mut buffer = vec![0; DATAGRAM];
        let mut answer = Answer {
            sequence: self.sequence,
            is_dump: flags & netlink::DUMP != 0,
            wants_more: true,
        };
        for _ in 0..MAX_DATAGRAMS {
            let length = self.receive(&mut buffer)?;
            let bytes = buffer.get(..length).unwrap_or_default();
            if answer.read(bytes, &mut take)? {
                return Ok(());
            }
        }
        Err(Error::TooLong)
    }

    fn send(&self, request: &[u8]) -> Result<(), Error> {
        // SAFETY: `request` is readable for its whole length; without an address the message goes to the kernel.
        let sent = unsafe {
            libc::send(
                self.socket.as_raw_fd(),
                request.as_ptr().cast(),
                request.len(),
                0,
            )
        };
        if sent < 0 {
            return Err(Error::Exchange(io::Error::last_os_error()));
        }
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::TimedOut);
        }
        set_timeout(&self.socket, left).map_err(Error::Exchange)?;
        // SAFETY: `buffer` is writable for its whole length.
        let length = unsafe {
            libc::recv(
                self.socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
            )
        };
        usize::try_from(length).map_err(|_| {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::WouldBlock {
                Error::TimedOut
            } else {
                Error::Exchange(error)
            }
        })
    }
}

/// Opens the socket on a thread of its own that enters the namespace and ends there: ours is left as it is.
fn elsewhere(namespace: &Path) -> Result<OwnedFd, Error> {
    let file = File::open(namespace).map_err(Error::Namespace)?;
    let thread = std::thread::Builder::new()
        .name("netns".to_owned())
        .spawn(move || {
            // SAFETY: `file` is open; only the calling thread changes its namespace.
            if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                return Err(Error::Namespace(io::Error::last_os_error()));
            }
            socket().map_err(Error::Socket)
        })
        .map_err(Error::Namespace)?;
    thread
        .join()
        .unwrap_or_else(|_| Err(Error::Namespace(io::Error::other("the thread died"))))
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            SOCK_DIAG,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just opened, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set_timeout(socket: &OwnedFd, left: Duration) -> io::Result<()> {
    let value = libc::timeval {
        tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
        // 0 would mean for ever.
        tv_usec: left.subsec_micros().max(1).into(),
    };
    // SAFETY: `value` is a timeval and is read only during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            std::ptr::from_ref(&value).cast(),
            libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// An errno of 0 is an acknowledgement; `ENOENT` says that there is no such socket, which is an answer.
fn error(payload: &[u8]) -> Result<(), Error> {
    let errno = netlink::u32_at(payload, 0).map_or(0, |word| word.wrapping_neg());
    match i32::try_from(errno) {
        Ok(0 | libc::ENOENT) => Ok(()),
        Ok(errno) => Err(Error::Kernel(io::Error::from_raw_os_error(errno))),
        Err(_) => Err(Error::Kernel(io::Error::from_raw_os_error(libc::EPROTO))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::explain::net::{inet, socket::Protocol, unix};

    fn answer(is_dump: bool) -> Answer {
        Answer {
            sequence: 7,
            is_dump,
            wants_more: true,
        }
    }

    fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = netlink::request(0, sequence, payload);
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn answers_end_as_they_should() {
        let object = message(netlink::BY_FAMILY, 7, &[1]);
        let stale = message(netlink::BY_FAMILY, 6, &[2]);
        let done = message(netlink::DONE, 7, &[]);
        let mut taken = Vec::new();
        let mut take = |payload: &[u8]| {
            taken.push(payload.to_vec());
            true
        };
        assert!(answer(false).read(&object, &mut take).unwrap());
        let dump = [stale.as_slice(), &object, &object].concat();
        assert!(!answer(true).read(&dump, &mut take).unwrap());
        assert!(answer(true).read(&done, &mut take).unwrap());
        assert_eq!(taken, [[1], [1], [1]]);
        // "There is no such socket" is an answer; "you must not" is not.
        for (errno, is_answer) in [(libc::ENOENT, true), (0, true), (libc::EPERM, false)] {
            let refusal = message(netlink::ERROR, 7, &(-errno).to_ne_bytes());
            assert_eq!(
                answer(true).read(&refusal, &mut |_| true).is_ok(),
                is_answer
            );
        }
    }

    #[test]
    fn who_has_enough_gets_no_more() {
        let object = message(netlink::BY_FAMILY, 7, &[]);
        let mut count = 0;
        let mut take = |_: &[u8]| {
            count += 1;
            false
        };
        let mut answer = answer(true);
        for _ in 0..3 {
            assert!(!answer.read(&object.repeat(3), &mut take).unwrap());
        }
        assert_eq!(count, 1);
    }

    proptest! {
        /// Whatever comes, it is read to the end of the datagram at most, and whatever decodes it survives.
        #[test]
        fn any_datagram(
            messages in proptest::collection::vec(
                (0..24_u16, 6..9_u32, proptest::collection::vec(any::<u8>(), 0..160)),
                0..6,
            ),
            damage in proptest::collection::vec((0..512_usize, any::<u8>()), 0..8),
            is_dump in any::<bool>(),
        ) {
            let mut bytes: Vec<u8> = messages
                .iter()
                .flat_map(|(kind, sequence, payload)| message(*kind, *sequence, payload))
                .collect();
            for (at, byte) in damage {
                if let Some(slot) = bytes.get_mut(at) {
                    *slot = byte;
                }
            }
            let mut taken = 0;
            let _ = answer(is_dump).read(&bytes, &mut |payload| {
                taken += netlink::HEADER + payload.len();
                let _ = unix::decode(payload);
                let _ = unix::is_pending(payload, 7);
                for protocol in [Protocol::Tcp, Protocol::Udp] {
                    let _ = inet::decode(payload, protocol);
                }
                true
            });
            prop_assert!(taken <= bytes.len());
        }

        #[test]
        fn any_refusal(payload in proptest::collection::vec(any::<u8>(), 0..8)) {
            let is_answer = error(&payload).is_ok();
            let errno = netlink::u32_at(&payload, 0).map_or(0, u32::wrapping_neg);
            prop_assert_eq!(is_answer, errno == 0 || errno == libc::ENOENT.cast_unsigned());
        }
    }
}
