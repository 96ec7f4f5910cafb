//! A webhook's receiver, which may never answer.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// It answers each request.
    Answers,
    /// It takes requests and never answers.
    Hangs,
}

/// Listens until the test ends.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    documents: Vec<Value>,
    /// Connections that hang.
    held: Vec<TcpStream>,
}

impl Receiver {
    /// Starts one.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(manners: Manners) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let receiver = Self {
            address: listener.local_addr()?,
            state: Arc::default(),
        };
        let state = Arc::clone(&receiver.state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || match manners {
                    Manners::Answers => drop(answer(&stream, &state)),
                    Manners::Hangs => lock(&state).held.push(stream),
                });
            }
        });
        Ok(receiver)
    }

    /// Configuration of an agent that posts to it.
    #[must_use]
    pub fn configuration(&self) -> String {
        format!(
            "[alert]\nlog = false\n[[alert.webhook]]\nurl = \"http://{}/\"\n",
            self.address
        )
    }

    /// What was posted about process `pid`: `change` and reason of each.
    #[must_use]
    pub fn told(&self, pid: u32) -> Vec<(String, String)> {
        let state = lock(&self.state);
        let of = |document: &&Value| document["incident"]["pid"] == pid;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let documents = state.documents.iter().filter(of);
        documents
            .map(|document| {
                (
                    text(&document["change"]),
                    text(&document["incident"]["reason"]),
                )
            })
            .collect()
    }

    /// The same without those that only say why.
    #[must_use]
    pub fn news(&self, pid: u32) -> Vec<(String, String)> {
        let mut told = self.told(pid);
        told.retain(|(change, _)| change != "explained");
        told
    }

    /// Whether anything that was posted about process `pid` says why it is held up.
    #[must_use]
    pub fn explained(&self, pid: u32) -> bool {
        let state = lock(&self.state);
        let of = |document: &Value| {
            document["incident"]["pid"] == pid && !document["incident"]["explanation"].is_null()
        };
        state.documents.iter().any(of)
    }

    /// Connections that were taken and never answered.
    #[must_use]
    pub fn held(&self) -> usize {
        lock(&self.state).held.len()
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes requests of one connection.
fn answer(stream: &TcpStream, state: &Mutex<State>) -> Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().context("length")?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        lock(state).documents.push(serde_json::from_slice(&body)?);
        let mut writer = stream;
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}
