//! What every uprobe does first: take its cookie and be counted, so that the agent knows what the probes cost.

use aya_ebpf::{
    EbpfContext,
    helpers::generated::bpf_get_attach_cookie,
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use holdup_abi::uprobe::Cookie;

use crate::{count::add, maps::HITS};

/// Counts the hit, and says where it came from.
#[inline(always)]
pub fn hit(context: &impl EbpfContext) -> Cookie {
    // SAFETY: the helper takes the context of the running program.
    let cookie = unsafe { bpf_get_attach_cookie(context.as_ptr()) };
    let cookie = Cookie::unpack(cookie);
    if let Some(count) = HITS.get_ptr_mut(cookie.price() as u32) {
        // SAFETY: a per-CPU element; atomic because another probe may hit on this processor in between.
        unsafe { add(count, 1) }
    }
    cookie
}

/// Counts and does nothing else: to find out what a probe costs, and how often it would be hit.
#[uprobe]
pub fn count_hit(context: ProbeContext) -> u32 {
    hit(&context);
    0
}

/// [`count_hit`] at the return.
#[uretprobe]
pub fn count_return(context: RetProbeContext) -> u32 {
    hit(&context);
    0
}
