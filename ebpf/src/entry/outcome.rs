//! What the result of a call says.

use holdup_abi::entry::{
    MODE_TIMED, MODE_TRY,
    call::{RESULT_ERRNO, RESULT_MINUS_ONE, RESULT_SHIFT, RESULT_THRD},
};

/// The thread has what it asked for.
pub const GOT: u32 = 0;
/// A try found it taken.
pub const TAKEN: u32 = 1;
/// The time was over.
pub const TIMED_OUT: u32 = 2;
/// Something else.
pub const FAILED: u32 = 3;

const EBUSY: u32 = 16;
const ETIMEDOUT: u32 = 110;
/// The last holder died; the lock is the caller's nevertheless.
const EOWNERDEAD: u32 = 130;
/// `thrd_busy` and `thrd_timedout` of both glibc and musl.
const THRD_BUSY: u32 = 1;
const THRD_TIMEDOUT: u32 = 4;

#[inline(always)]
pub fn of(what: u32, mode: u32, result: u64) -> u32 {
    let result = result as u32;
    match what >> RESULT_SHIFT & 0xf {
        RESULT_ERRNO => match result {
            0 | EOWNERDEAD => GOT,
            EBUSY => TAKEN,
            ETIMEDOUT => TIMED_OUT,
            _ => FAILED,
        },
        RESULT_THRD => match result {
            0 => GOT,
            THRD_BUSY => TAKEN,
            THRD_TIMEDOUT => TIMED_OUT,
            _ => FAILED,
        },
        // `errno` is out of reach; the usual reason is assumed.
        RESULT_MINUS_ONE if result != 0 => match mode {
            _ if mode & MODE_TRY != 0 => TAKEN,
            _ if mode & MODE_TIMED != 0 => TIMED_OUT,
            _ => FAILED,
        },
        _ => GOT,
    }
}
