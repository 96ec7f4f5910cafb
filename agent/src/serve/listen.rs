//! Listening and accepting.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time,
};

use super::{
    access::{self, Access},
    conn,
    router::{self, App},
    settings::Settings,
    state::State,
    stats::{Place, Refused, Stats},
};

/// Longest queue of connections that the kernel has accepted and we have not.
const BACKLOG: u32 = 128;
/// Bytes that the kernel keeps for one connection while its reader does not read. Left alone it goes up to 4 MiB each.
const SEND_BUFFER_BYTES: u32 = 256 << 10;
/// Two heartbeats a second, since one a second is asked for.
const BEAT: Duration = Duration::from_millis(500);
/// Pause after a failed accept: there are no file descriptors left, and trying at once would burn a CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The token or the certificate cannot be used.
    #[error(transparent)]
    Access(#[from] access::Error),
    /// Metrics are not kept up to date any more.
    #[error("the task that counts for /metrics has ended: {0}")]
    Metrics(#[from] tokio::task::JoinError),
}

/// Listens on `address`.
///
/// # Errors
/// The address cannot be had: it is in use, not ours, or not allowed.
pub fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        // Inherited by the connections.
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| Error::Listen { address, source })
}

/// Serves until `shutdown`, then lets open responses go on for a moment. New settings take effect when they are sent;
/// when their files cannot be used, the old ones stay and a line in the log says why.
///
/// # Errors
/// The first settings' files cannot be used, or counting for `/metrics` has failed.
pub async fn serve(
    listener: &TcpListener,
    state: State,
    mut settings: watch::Receiver<Settings>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let first = settings.borrow_and_update().clone();
    let access = Access::load(&first)?;
    warn_if_open(listener, &access);
    let access = Arc::new(RwLock::new(Arc::new(access)));
    let (stop, stopping) = watch::channel(false);
    let app = App::new(state.clone(), Arc::clone(&access), stopping.clone());
    let router = router::build(app);

    let mut counting = JoinSet::new();
    counting.spawn(Arc::clone(&state.metrics).follow(state.sources.clone()));
    let mut connections = JoinSet::new();
    let mut beat = time::interval(BEAT);
    beat.set_missed_tick_behavior(time::MissedTickBehavior::Skip);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = shutdown.as_mut() => break,
            _ = beat.tick() => (state.sources.beat)(),
            Ok(()) = settings.changed() => {
                let new = settings.borrow_and_update().clone();
                reload(&access, &new);
            }
            Some(ended) = counting.join_next() => ended?,
            // A panic of one request ends its connection and nothing else.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let access = Arc::clone(&access.read().unwrap_or_else(PoisonError::into_inner));
                    let limit = access.limits.connections;
                    match Place::take(&state.stats, |stats| &stats.connections, limit) {
                        Some(place) => {
                            let (router, stopping) = (router.clone(), stopping.clone());
                            connections.spawn(async move {
                                conn::serve(stream, router, access, place.stats(), stopping).await;
                            });
                        }
                        None => refuse(&stream, &access, &state.stats),
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    stop.send_replace(true);
    let drain = access
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .limits
        .drain_timeout;
    time::timeout(drain, async {
        while connections.join_next().await.is_some() {}
    })
    .await
    .ok();
    // Dropping the sets ends what is left.
    Ok(())
}

fn warn_if_open(listener: &TcpListener, access: &Access) {
    if let Ok(address) = listener.local_addr()
        && !address.ip().is_loopback()
        && access.is_open()
    {
        tracing::warn!(
            %address,
            "whoever reaches this address can read the names of processes, files and functions: set token_file"
        );
    }
}

fn reload(access: &RwLock<Arc<Access>>, settings: &Settings) {
    match Access::load(settings) {
        Ok(new) => *access.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new),
        Err(error) => tracing::warn!(%error, "the new settings of the server are refused"),
    }
}

/// Turns a connection away without waiting for it. A TLS client sees it closed.
fn refuse(stream: &TcpStream, access: &Access, stats: &Stats) {
    stats.refused(Refused::Connections);
    if access.tls.is_none() {
        const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
            connection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
        // Its buffer is empty: this does not block, and if it failed, the client would see it closed.
        stream.try_write(ANSWER).ok();
    }
}
