//! Names for locks that survive a restart: the same lock of the same build has the same id in every process, at every
//! load address, on every machine.
//!
//! Three forms, all made of a family (a reader and a writer wait for the same `rwlock`) and a place:
//!
//! - `mutex:3f2a91c0:0x4080`: a lock in static storage. First eight digits of the module's build id (file name without
//!   one), and the lock's ELF virtual address in it.
//! - `mutex@9c1f04d2a7b35e68`: any other lock, told by where it is waited for: 64-bit FNV-1a, in hexadecimal, over the
//!   first [`SITE_FRAMES`] application frames. Each contributes the module's build id (file name without one), a zero
//!   byte and the offset as eight little-endian bytes; a frame without a module (generated code) contributes one
//!   `0xff` byte, since its address differs in each process.
//!
//! - `mutex~pool.shm:0x40`: a lock in memory that processes share. File name of the mapped object and the lock's offset
//!   in it: the same in all processes that map it. Anonymous shared memory is inherited by `fork`, so that all who have
//!   it run the same program, whose file name stands for it: `mutex~anon.server:0x40`.
//!
//! Locks that are waited for at the same place share the second form, e.g. the locks of many like objects; those at the
//! same offset of like-named objects share the third.

use std::fmt::Write as _;

use super::name::base_name;
use crate::model::Kind;

/// Application frames that a wait site consists of: the caller alone is often a wrapper.
pub const SITE_FRAMES: usize = 3;

const BUILD_ID_DIGITS: usize = 8;
const MAX_MODULE_NAME: usize = 32;

/// Id of a lock at `offset` (an ELF virtual address) of the module with this build id, or of this name.
#[must_use]
pub fn static_lock(build_id: &str, offset: u64, kind: Kind) -> String {
    let family = family(kind);
    let module = module(build_id);
    format!("{family}:{module}:{offset:#x}")
}

/// Id of a lock at `offset` of memory that processes share: `object` is the name of what is mapped, `None` for anonymous
/// memory of the program `program`.
#[must_use]
pub fn shared_lock(object: Option<&str>, program: &str, offset: u64, kind: Kind) -> String {
    let family = family(kind);
    let object = match object {
        Some(name) => module(name),
        None => module(&format!("anon.{}", base_name(program))),
    };
    format!("{family}~{object}:{offset:#x}")
}

/// Id of a lock that is known by where it is waited for. `frames` are application frames, innermost first: build id or
/// else file name of the module, and offset in it.
#[must_use]
pub fn wait_site(kind: Kind, frames: &[(Option<&str>, u64)]) -> String {
    let mut hash = Fnv::new();
    for (module, offset) in frames.iter().take(SITE_FRAMES) {
        match module {
            Some(module) => {
                hash.write(base_name(module).as_bytes());
                hash.write(&[0]);
                hash.write(&offset.to_le_bytes());
            }
            None => hash.write(&[0xff]),
        }
    }
    let family = family(kind);
    let hash = hash.0;
    format!("{family}@{hash:016x}")
}

/// What waiters of one lock have in common.
const fn family(kind: Kind) -> &'static str {
    match kind {
        Kind::RwlockRead | Kind::RwlockWrite => "rwlock",
        kind => kind.as_str(),
    }
}

/// A short printable form of a build id or of a file name, which may be anything.
fn module(build_id: &str) -> String {
    let is_build_id =
        build_id.len() >= BUILD_ID_DIGITS && build_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let limit = if is_build_id {
        BUILD_ID_DIGITS
    } else {
        MAX_MODULE_NAME
    };
    let mut text = String::with_capacity(limit);
    for character in base_name(build_id).chars().take(limit) {
        let plain = character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | '+');
        // Writing to a string cannot fail.
        let _ = text.write_char(if plain { character } else { '_' });
    }
    if text.is_empty() {
        "unknown".to_owned()
    } else {
        text
    }
}

/// FNV-1a, 64 bits: documented, so that other tools can compute the same id.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_as_documented() {
        assert_eq!(
            static_lock(
                "3f2a91c0aabbccddeeff00112233445566778899",
                0x4080,
                Kind::Mutex
            ),
            "mutex:3f2a91c0:0x4080"
        );
        assert_eq!(
            static_lock("/usr/lib/libfoo.so.1", 16, Kind::RwlockRead),
            "rwlock:libfoo.so.1:0x10"
        );
        assert_eq!(static_lock("", 0, Kind::Once), "once:unknown:0x0");
        assert_eq!(
            static_lock("a b\n\u{1f600}", 0, Kind::Once),
            "once:a_b__:0x0"
        );
        assert_eq!(
            shared_lock(Some("/dev/shm/pool.shm"), "", 64, Kind::RwlockWrite),
            "rwlock~pool.shm:0x40"
        );
        assert_eq!(
            shared_lock(None, "/usr/bin/server", 0, Kind::Mutex),
            "mutex~anon.server:0x0"
        );
        // FNV-1a of nothing is its offset basis, of "a" the published test vector.
        assert_eq!(wait_site(Kind::Mutex, &[]), "mutex@cbf29ce484222325");
        let mut hash = Fnv::new();
        hash.write(b"a");
        assert_eq!(hash.0, 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn sites_differ_by_place_and_not_by_reader_or_path() {
        let site = |frames: &[_]| wait_site(Kind::RwlockRead, frames);
        let one = site(&[(Some("aa"), 1), (Some("bb"), 2)]);
        assert_eq!(
            one,
            wait_site(Kind::RwlockWrite, &[(Some("aa"), 1), (Some("bb"), 2)])
        );
        assert_eq!(one, site(&[(Some("/x/aa"), 1), (Some("/y/bb"), 2)]));
        assert_ne!(one, site(&[(Some("aa"), 1)]));
        assert_ne!(one, site(&[(Some("aa"), 1), (Some("bb"), 3)]));
        // Addresses of generated code differ between processes.
        assert_eq!(
            site(&[(None, 1), (Some("aa"), 1)]),
            site(&[(None, 2), (Some("aa"), 1)])
        );
        let deep = |last| {
            site(&[
                (Some("a"), 1),
                (Some("a"), 2),
                (Some("a"), 3),
                (Some("a"), last),
            ])
        };
        assert_eq!(deep(4), deep(5));
    }
}
