//! What a hit of a uprobe costs on this machine: between a tenth of a microsecond and twenty, so it is measured.

mod child;
mod code;

use std::{fmt, io, time::Duration};

use aya::Ebpf;
use holdup_abi::uprobe::{
    Cookie, PRICE_EMULATED, PRICE_NOP5, PRICE_RETURN, PRICE_RETURN_STEPPED, PRICE_STEPPED, PRICES,
};

use self::{child::Child, code::CASES};
use super::{AttachError, Site, Uprobes, Way, hits};

/// The program that only counts.
pub const COUNT: &str = "count_hit";
/// The same at a return.
pub const COUNT_RETURN: &str = "count_return";
/// Length of one measurement, in CPU time. The shortest of several counts: interrupts and the like only add to it.
const TIME: Duration = Duration::from_millis(2);
/// Measurements of each price.
const ROUNDS: usize = 5;

/// Names of the prices, in their order.
pub const NAMES: [&str; PRICES as usize] = {
    let mut names = [""; PRICES as usize];
    names[PRICE_EMULATED as usize] = "emulated";
    names[PRICE_STEPPED as usize] = "single-stepped";
    names[PRICE_RETURN as usize] = "at a return";
    names[PRICE_NOP5 as usize] = "5-byte nop";
    names[PRICE_RETURN_STEPPED as usize] = "at a return, single-stepped";
    names
};

/// Why prices are not known.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// Nothing can be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The child process or a map failed.
    #[error("cannot measure what a uprobe costs")]
    Io(#[from] io::Error),
}

/// Nanoseconds per hit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// By price; nothing for what this architecture does not have.
    pub ns: [Option<f64>; PRICES as usize],
    /// How the probes were attached.
    pub way: Way,
}

impl Prices {
    /// What so many hits cost, in nanoseconds.
    #[must_use]
    pub fn total_ns(&self, hits: &[u64; PRICES as usize]) -> f64 {
        let cost = |(ns, &hits): (&Option<f64>, &u64)| ns.unwrap_or(0.0) * hits as f64;
        self.ns.iter().zip(hits).map(cost).sum()
    }
}

impl fmt::Display for Prices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, ns) in NAMES.iter().zip(self.ns) {
            if let Some(ns) = ns {
                write!(f, "{separator}{:.2} us {name}", ns / 1000.0)?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

/// Measures all prices, in a child process, in about a fifth of a second; more on a busy machine.
///
/// If the kernel turns out to miss hits with programs for many places, `uprobes` does without them from now on.
///
/// # Errors
/// Nothing can be attached, or there can be no child process.
pub fn measure(ebpf: &mut Ebpf, uprobes: &mut Uprobes) -> Result<Prices, PriceError> {
    let mut child = Child::start()?;
    match measure_in(&mut child, ebpf, uprobes)? {
        Some(prices) => Ok(prices),
        None => {
            uprobes.without_multi();
            let prices = measure_in(&mut child, ebpf, uprobes)?;
            Ok(prices.ok_or_else(|| io::Error::other("the kernel misses hits"))?)
        }
    }
}

/// Nothing when calls and hits differ.
fn measure_in(
    child: &mut Child,
    ebpf: &mut Ebpf,
    uprobes: &mut Uprobes,
) -> Result<Option<Prices>, PriceError> {
    let mut prices = Prices {
        ns: [None; PRICES as usize],
        way: Way::Multi,
    };
    for (index, case) in CASES.iter().enumerate() {
        let bare = fastest(child, index)?;
        let site = Site {
            file: "/proc/self/exe".into(),
            offset: code::offset(case.function)?,
            cookie: Cookie {
                flags: Cookie::flags(false, case.price),
                ..Cookie::default()
            }
            .pack(),
            returns: case.returns,
            semaphore: 0,
        };
        let program = if case.returns { COUNT_RETURN } else { COUNT };
        let before = counted(ebpf, case.price)?;
        let links = uprobes.attach_now(ebpf, program, &[site], Some(child.pid))?;
        prices.way = links.way;
        let probed = fastest(child, index)?;
        drop(links);
        if counted(ebpf, case.price)? - before != probed.calls {
            return Ok(None);
        }
        if let Some(ns) = prices.ns.get_mut(usize::from(case.price)) {
            *ns = Some((probed.ns_per_call - bare.ns_per_call).max(0.0));
        }
    }
    Ok(Some(prices))
}

struct Fastest {
    calls: u64,
    ns_per_call: f64,
}

fn fastest(child: &mut Child, case: usize) -> io::Result<Fastest> {
    let mut fastest = Fastest {
        calls: 0,
        ns_per_call: f64::INFINITY,
    };
    for _ in 0..ROUNDS {
        let run = child.run(case, TIME)?;
        fastest.calls += run.calls;
        fastest.ns_per_call = fastest.ns_per_call.min(run.ns as f64 / run.calls as f64);
    }
    Ok(fastest)
}

fn counted(ebpf: &Ebpf, price: u8) -> io::Result<u64> {
    let hits = hits(ebpf).map_err(io::Error::other)?;
    Ok(hits.get(usize::from(price)).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::uprobe::tests::loaded;

    #[test]
    fn every_hit_is_counted_and_an_emulated_one_is_cheaper() {
        let mut ebpf = loaded();
        let mut ways = [Uprobes::new(&ebpf), Uprobes::single_only()];
        let ways = ways.each_mut().map(|uprobes| {
            let prices = measure(&mut ebpf, uprobes).unwrap();
            eprintln!("{}: {prices}", prices.way);
            let ns = |price: u8| prices.ns[usize::from(price)].unwrap();
            assert!(ns(PRICE_EMULATED) > 10.0, "{prices}");
            assert!(ns(PRICE_STEPPED) > 1.5 * ns(PRICE_EMULATED), "{prices}");
            assert!(ns(PRICE_RETURN_STEPPED) > ns(PRICE_RETURN), "{prices}");
            prices.way
        });
        assert_eq!(ways, [Way::Multi, Way::Single]);
    }
}
