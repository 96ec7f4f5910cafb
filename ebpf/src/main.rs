//! The kernel side of holdup: futex waits, wakes and the life cycle of threads, accounted per lock.
//!
//! Path of an event: [`probe`] (hook and its arguments) -> [`filter`] -> [`wait`], [`settle`] or [`wake`] -> [`lock`]
//! (statistics) and, for a few, [`sample`] or [`tell`] -> ring buffer. Loss goes through [`count`] only.
#![no_std]
#![no_main]
// For the atomic addition in `count`.
#![feature(asm_experimental_arch)]

mod blame;
mod count;
mod entry;
mod filter;
mod golang;
mod hold;
mod lock;
mod maps;
mod probe;
mod probed;
mod regs;
mod sample;
mod settle;
mod slow;
mod task;
mod tell;
mod thread;
mod wait;
mod wake;

mod hit;

/// The verifier rejects the loop, so no program that can panic gets loaded.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
