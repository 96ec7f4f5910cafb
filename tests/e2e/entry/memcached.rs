//! A server of Debian's with thousands of locks, whose order its authors have thought about.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use holdup_tests::{
    Recording,
    child::{DEADLINE, Guarded},
    report::OrderLock,
    scratch::Scratch,
};

use super::scene::{entry, options};

const CLIENTS: usize = 4;
const KEYS: usize = 300;
/// Locks under which the lock of a list is taken.
const MANY: usize = 50;

fn connect(socket: &Path) -> Result<UnixStream> {
    let started = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if started.elapsed() > DEADLINE => bail!("memcached: {error}"),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Stores keys, asks for them, and counts together with the others.
fn client(socket: &Path, number: usize) -> Result<()> {
    let mut to = connect(socket)?;
    let mut from = BufReader::new(to.try_clone()?);
    let mut ask = |request: String, answers: usize| -> Result<Vec<String>> {
        to.write_all(request.as_bytes())?;
        let mut lines = Vec::new();
        for _ in 0..answers {
            let mut line = String::new();
            from.read_line(&mut line)?;
            lines.push(line.trim_end().to_owned());
        }
        Ok(lines)
    };
    for key in 0..KEYS {
        let value = format!("{number}-{key}");
        let length = value.len();
        let stored = ask(format!("set k{value} 0 0 {length}\r\n{value}\r\n"), 1)?;
        ensure!(stored == ["STORED"], "{stored:?}");
    }
    for key in 0..KEYS {
        let value = format!("{number}-{key}");
        let length = value.len();
        let got = ask(format!("get k{value}\r\n"), 3)?;
        ensure!(
            got == [
                format!("VALUE k{value} 0 {length}"),
                value,
                "END".to_owned()
            ],
            "{got:?}"
        );
        ask("incr together 1\r\n".to_owned(), 1)?;
    }
    Ok(())
}

/// Waits until the thread that keeps the lists has been through them some more.
fn await_juggles(to: &mut UnixStream, from: &mut BufReader<UnixStream>) -> Result<()> {
    const JUGGLES: u64 = 100;
    let mut juggles = || -> Result<u64> {
        to.write_all(b"stats\r\n")?;
        let mut found = None;
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            if let Some(count) = line.strip_prefix("STAT lru_maintainer_juggles ") {
                found = Some(count.trim_end().parse()?);
            }
            if line == "END\r\n" {
                return found.context("memcached does not count juggles");
            }
        }
    };
    let (started, before) = (Instant::now(), juggles()?);
    while juggles()? < before + JUGGLES {
        ensure!(started.elapsed() < DEADLINE, "the lists are left alone");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Every answer is right, every increment counts, and of the thousands of pairs of locks none makes a circle: where the order
/// is broken, memcached only tries.
#[test]
fn a_real_server_answers_rightly_and_keeps_its_order() -> Result<()> {
    let scratch = Scratch::new()?;
    let socket = scratch.join("memcached");
    let child = Command::new("memcached")
        .args(["-u", "root", "-t", "4", "-m", "64", "-s"])
        .arg(&socket)
        .stdin(Stdio::null())
        .spawn()
        .context("memcached: apt-get install memcached")?;
    let mut server = Guarded::new(child);
    connect(&socket)?;
    let recording = Recording::with(&options(&server.pid().to_string()))?;
    let mut first = connect(&socket)?;
    first.write_all(b"set together 0 0 1\r\n0\r\n")?;
    let mut answer = String::new();
    let mut from = BufReader::new(first.try_clone()?);
    from.read_line(&mut answer)?;
    ensure!(answer == "STORED\r\n", "{answer:?}");
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|number| {
            let socket = &socket;
            scope.spawn(move || client(socket, number))
        });
        let clients: Vec<_> = clients.collect();
        let joined = clients.into_iter().map(|client| client.join());
        joined
            .map(|result| result.unwrap_or_else(|_| bail!("a client died")))
            .collect()
    });
    results.into_iter().collect::<Result<()>>()?;
    first.write_all(b"incr together 0\r\n")?;
    answer.clear();
    from.read_line(&mut answer)?;
    ensure!(
        answer.trim_end() == (CLIENTS * KEYS).to_string(),
        "{answer:?}"
    );
    await_juggles(&mut first, &mut from)?;
    let capture = recording.stop()?;
    server.signal(libc::SIGTERM)?;
    ensure!(server.wait()?.success(), "memcached did not end well");

    let entry = entry(&capture)?;
    ensure!(
        entry.potential_deadlocks.is_empty(),
        "{:#?}",
        entry.potential_deadlocks
    );
    ensure!(entry.mistakes.is_empty(), "{:#?}", entry.mistakes);
    let check = entry.order_check;
    ensure!(
        check.edges >= 100 && check.locks >= 100 && check.unsearched == 0,
        "{check:?}"
    );
    // An item's lock comes before that of its list of least recently used ones; who begins at the list tries.
    let mut waits: HashMap<&OrderLock, usize> = HashMap::new();
    for edge in entry.order.iter().filter(|edge| !edge.trylock) {
        *waits.entry(&edge.acquired).or_default() += 1;
    }
    let is_list = |lock: &OrderLock| waits.get(lock).is_some_and(|&items| items >= MANY);
    let tries = entry.order.iter().filter(|edge| edge.trylock);
    let backwards = tries.filter(|edge| is_list(&edge.held) && !is_list(&edge.acquired));
    ensure!(
        backwards.count() > 0,
        "nothing was tried under a list's lock: {check:?}"
    );
    Ok(())
}
