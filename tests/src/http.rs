//! Just enough of an HTTP client: one request, one connection, and a deadline.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

/// Longest that an answer may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status, e.g. 200.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// `GET path`.
///
/// # Errors
/// When nobody answers in time, or no HTTP.
pub fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    get_with(address, path, "")
}

/// As [`get`], with further header lines, each with its `\r\n`.
///
/// # Errors
/// As there.
pub fn get_with(address: SocketAddr, path: &str, headers: &str) -> Result<Answer> {
    let mut stream = send(address, path, headers)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP head")?;
    let status = head.split(' ').nth(1).context("no HTTP status")?;
    Ok(Answer {
        status: status.parse()?,
        body: body.to_owned(),
    })
}

/// Sends the request and leaves the answer unread.
///
/// # Errors
/// When nobody accepts it.
pub fn request(address: SocketAddr, path: &str) -> Result<TcpStream> {
    send(address, path, "")
}

fn send(address: SocketAddr, path: &str, headers: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    // Version 1.0: the answer ends with the connection, not in chunks.
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n"
    )?;
    Ok(stream)
}

/// A stream of server-sent events.
#[derive(Debug)]
pub struct Events(BufReader<TcpStream>);

impl Events {
    /// Opens one and waits for its head.
    ///
    /// # Errors
    /// When it is refused.
    pub fn open(address: SocketAddr, path: &str) -> Result<Self> {
        let mut events = Self(BufReader::new(request(address, path)?));
        let status = events.line()?;
        ensure!(status.contains(" 200 "), "{path}: {status}");
        while !events.line()?.is_empty() {}
        Ok(events)
    }

    /// Data of the next event.
    ///
    /// # Errors
    /// When the stream ends, or nothing comes in time.
    pub fn event(&mut self) -> Result<String> {
        loop {
            if let Some(data) = self.line()?.strip_prefix("data:") {
                return Ok(data.trim().to_owned());
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.0.read_line(&mut line)? > 0, "the stream has ended");
        Ok(line.trim_end().to_owned())
    }
}
