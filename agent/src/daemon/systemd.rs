//! Telling systemd how we are (`sd_notify(3)`): a datagram to the socket that it names.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

/// The way to systemd; none when it did not start us.
#[derive(Debug)]
pub struct Systemd {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Systemd {
    /// By the environment.
    #[must_use]
    pub fn from_environment() -> Self {
        let path = std::env::var_os("NOTIFY_SOCKET");
        let microseconds = std::env::var("WATCHDOG_USEC").ok();
        let pid = std::env::var("WATCHDOG_PID").ok();
        let is_ours = pid.is_none_or(|pid| pid == std::process::id().to_string());
        let microseconds = microseconds.filter(|_| is_ours);
        Self {
            socket: path.and_then(|path| connect(&path).ok()),
            watchdog: microseconds
                .and_then(|text| text.parse().ok())
                .map(Duration::from_micros),
        }
    }

    /// How often it wants to hear from us: half of what it waits for, as its manual advises.
    #[must_use]
    pub fn watchdog_every(&self) -> Option<Duration> {
        self.watchdog.map(|time| time / 2)
    }

    /// Sends lines such as `READY=1`. A supervisor that does not listen is no reason to stop.
    pub fn tell(&self, lines: &str) {
        if let Some((socket, address)) = &self.socket {
            let _ = socket.send_to_addr(lines.as_bytes(), address);
        }
    }
}

fn connect(path: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    // Its queue may be full; then the message is lost and not waited for.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_address() {
        let name = format!("holdup-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        let path = std::env::temp_dir().join(&name);
        for (receiver, address) in [
            (
                UnixDatagram::bind_addr(&abstract_address).unwrap(),
                format!("@{name}").into(),
            ),
            (
                UnixDatagram::bind(&path).unwrap(),
                path.clone().into_os_string(),
            ),
        ] {
            let systemd = Systemd {
                socket: Some(connect(&address).unwrap()),
                watchdog: Some(Duration::from_secs(30)),
            };
            systemd.tell("READY=1");
            let mut bytes = [0; 64];
            let length = receiver.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"READY=1");
            assert_eq!(systemd.watchdog_every(), Some(Duration::from_secs(15)));
        }
        std::fs::remove_file(path).unwrap();
    }
}
