//! All of a hash map in a few system calls (`BPF_MAP_LOOKUP_BATCH`, Linux 5.6): one for each element takes ten times as
//! long.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

use aya::Pod;

/// `BPF_MAP_LOOKUP_BATCH` of `enum bpf_cmd` in `include/uapi/linux/bpf.h`.
const LOOKUP_BATCH: i64 = 24;
/// Elements asked for in one call. A bucket of the hash must fit.
const BATCH: u32 = 4096;

/// The part of `union bpf_attr` for batches.
#[repr(C)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Calls `each` with every key and value of a hash map.
///
/// # Errors
/// The kernel refuses.
pub fn pairs<K: Pod, V: Pod>(map: impl AsFd, mut each: impl FnMut(&K, &V)) -> io::Result<()> {
    let mut keys: Vec<K> = Vec::with_capacity(BATCH as usize);
    let mut values: Vec<V> = Vec::with_capacity(BATCH as usize);
    let mut position = 0u32;
    let mut is_first = true;
    loop {
        let mut attributes = Attributes {
            in_batch: if is_first {
                0
            } else {
                (&raw const position) as u64
            },
            out_batch: (&raw mut position) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: BATCH,
            map_fd: map.as_fd().as_raw_fd().cast_unsigned(),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the attributes point to buffers of `BATCH` elements and to one position, all of which outlive the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                LOOKUP_BATCH,
                &raw mut attributes,
                size_of::<Attributes>(),
            )
        };
        let error = (result < 0).then(io::Error::last_os_error);
        let is_last = error
            .as_ref()
            .is_some_and(|error| error.raw_os_error() == Some(libc::ENOENT));
        if let Some(error) = error.filter(|_| !is_last) {
            return Err(error);
        }
        let count = attributes.count.min(BATCH) as usize;
        // SAFETY: the kernel wrote so many; a `Pod` is valid for any bytes.
        unsafe {
            keys.set_len(count);
            values.set_len(count);
        }
        keys.iter()
            .zip(&values)
            .for_each(|(key, value)| each(key, value));
        keys.clear();
        values.clear();
        if is_last || attributes.count == 0 {
            return Ok(());
        }
        is_first = false;
    }
}
