//! `/api/v1/snapshots` and `/api/v1/snapshots/{name}`.

use std::{
    cmp::Reverse,
    fs::File,
    io::{self, Read as _},
    sync::Arc,
};

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use hyper::body::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    page::{Page, Window},
    params::Params,
};
use crate::serve::{error::Error, router::App, state::Stored};

const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that are read ahead of a client.
const AHEAD: usize = 2;
/// Longest file name that Linux has.
const MAX_NAME: usize = 255;

/// Newest first.
pub async fn list(
    State(app): State<Arc<App>>,
    Params(window): Params<Window>,
) -> Result<Json<Page<Stored>>, Error> {
    let snapshots = Arc::clone(&app.state.sources.snapshots);
    let at = app.state.sources.view.borrow().as_ref().map(|view| view.at);
    let all = app.work(move || snapshots.list()).await?;
    let all = all.map_err(|error| {
        let text = format!("the snapshot directory cannot be read: {error}");
        Error::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    })?;
    fn order(stored: &Stored) -> Reverse<(&str, &str)> {
        Reverse((&stored.written_at, &stored.name))
    }
    Ok(Json(window.page(
        "holdup.snapshots/v1",
        at.map(crate::proc::time::rfc3339),
        all,
        |a, b| order(a).cmp(&order(b)),
        |stored| stored,
    )))
}

/// One file as it is.
pub async fn open(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    if !is_plain(&name) {
        return Err(Error::bad_request("this is no name of a snapshot"));
    }
    let snapshots = Arc::clone(&app.state.sources.snapshots);
    let wanted = name.clone();
    let opened = app.work(move || {
        let file = snapshots.open(&wanted)?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    });
    let (file, bytes) = opened.await?.map_err(|error: io::Error| {
        let (status, text) = match error.kind() {
            io::ErrorKind::NotFound => (StatusCode::NOT_FOUND, "there is no such snapshot".into()),
            _ => (
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("the snapshot cannot be read: {error}"),
            ),
        };
        Error::new(status, text)
    })?;
    let content_type = if name.ends_with(".json") {
        "application/json"
    } else {
        "application/octet-stream"
    };
    let headers = [
        (header::CONTENT_TYPE, content_type.to_owned()),
        (header::CONTENT_LENGTH, bytes.to_string()),
    ];
    Ok((headers, Body::from_stream(chunks(file, bytes))).into_response())
}

/// The file's first `bytes` bytes, read by a thread that ends with the client.
fn chunks(file: File, bytes: u64) -> ReceiverStream<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut file = file.take(bytes);
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let read = file
                .by_ref()
                .take(CHUNK_BYTES as u64)
                .read_to_end(&mut chunk);
            let next = match read {
                Ok(0) => return,
                Ok(_) => Ok(Bytes::from(chunk)),
                Err(error) => Err(error),
            };
            let failed = next.is_err();
            if sender.blocking_send(next).is_err() || failed {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// Whether `name` names a file in a directory and nothing else.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.starts_with('.') && (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn only_plain_names() {
        assert!(is_plain("2026-11-26T12.00.00Z-3f2a91c0.json"));
        let long = "a".repeat(256);
        for wrong in [
            "", ".", "..", ".hidden", "a/b", "../a", "a\0b", "a b", "ä", &long,
        ] {
            assert!(!is_plain(wrong), "{wrong:?}");
        }
    }
}
