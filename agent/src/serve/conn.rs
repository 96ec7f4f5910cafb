//! One connection: it has a deadline at every moment, so that no client keeps it for longer than it may. What a client
//! does within its time is its own affair: nobody else waits for it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response};
use hyper::{
    body::{Bytes, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tower::ServiceExt as _;

use super::{
    access::Access,
    settings::Limits,
    stats::{Cut, Refused, Stats},
};

/// When the connection is cut off if nothing changes, and what that would mean.
#[derive(Clone, Copy, Debug)]
struct Cutoff {
    at: Instant,
    why: Cut,
}

/// What a request may do to its connection.
#[derive(Clone, Debug)]
pub struct Conn(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cutoff: watch::Sender<Cutoff>,
    limits: Limits,
    /// The response's last byte was handed over, and may be on its way.
    written: AtomicBool,
}

/// Put into a response's extensions: its body has no end, so that each of its parts has a deadline instead.
#[derive(Clone, Copy, Debug)]
pub struct Endless;

impl Conn {
    fn new(limits: &Limits) -> (Self, watch::Receiver<Cutoff>) {
        let (cutoff, changes) = watch::channel(after(limits.header_timeout, Cut::Head));
        let inner = Inner {
            cutoff,
            limits: limits.clone(),
            written: AtomicBool::new(false),
        };
        (Self(Arc::new(inner)), changes)
    }

    /// Cuts the connection off now.
    pub fn cut(&self, why: Cut) {
        self.next(Duration::ZERO, why);
    }

    fn next(&self, time: Duration, why: Cut) {
        self.0.cutoff.send_if_modified(|cutoff| {
            // Who was cut off stays so.
            let goes_on = cutoff.why != Cut::Behind;
            if goes_on {
                *cutoff = after(time, why);
            }
            goes_on
        });
    }

    fn requested(&self) {
        self.0.written.store(false, Relaxed);
        self.next(self.0.limits.response_timeout, Cut::Response);
    }

    /// The kernel has taken everything that was written so far.
    fn flushed(&self) {
        if self.0.written.swap(false, Relaxed) {
            self.next(self.0.limits.idle_timeout, Cut::Idle);
        }
    }
}

fn after(time: Duration, why: Cut) -> Cutoff {
    Cutoff {
        at: Instant::now() + time,
        why,
    }
}

/// Serves `stream` until it is closed, cut off, or asked to stop.
pub async fn serve(
    stream: TcpStream,
    router: Router,
    access: Arc<Access>,
    stats: &Stats,
    stopping: watch::Receiver<bool>,
) {
    // Responses are written whole; waiting for more to send would only delay them.
    stream.set_nodelay(true).ok();
    let (conn, cutoff) = Conn::new(&access.limits);
    match &access.tls {
        None => run(stream, router, conn, cutoff, stats, stopping).await,
        Some(tls) => match timeout(access.limits.header_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => run(stream, router, conn, cutoff, stats, stopping).await,
            Ok(Err(_)) | Err(_) => stats.refused(Refused::Handshake),
        },
    }
}

async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    router: Router,
    conn: Conn,
    mut cutoff: watch::Receiver<Cutoff>,
    stats: &Stats,
    mut stopping: watch::Receiver<bool>,
) {
    let service = service_fn(|request| answer(router.clone(), conn.clone(), request));
    let io = TokioIo::new(Io {
        stream,
        conn: conn.clone(),
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(conn.0.limits.header_bytes)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let mut stopped = false;
    loop {
        let Cutoff { at, why } = *cutoff.borrow_and_update();
        tokio::select! {
            // A client that goes away in the middle is no error of ours.
            _ = connection.as_mut() => return,
            () = sleep_until(at) => return stats.cut(why),
            _ = cutoff.changed() => {}
            _ = stopping.changed(), if !stopped => {
                stopped = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn answer(
    router: Router,
    conn: Conn,
    request: Request<Incoming>,
) -> Result<Response<Guarded>, std::convert::Infallible> {
    conn.requested();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(conn.clone());
    let response = router.oneshot(request).await?;
    let endless = response.extensions().get::<Endless>().is_some();
    Ok(response.map(|body| Guarded {
        body,
        conn,
        endless,
    }))
}

/// A body that keeps its connection's deadline up to date.
struct Guarded {
    body: Body,
    conn: Conn,
    endless: bool,
}

impl hyper::body::Body for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // The next part is asked for only when there is room: the reader has accepted something.
        if self.endless {
            self.conn
                .next(self.conn.0.limits.stream_timeout, Cut::Stream);
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.conn.0.written.store(true, Relaxed);
    }
}

/// A stream that tells when everything was written.
struct Io<S> {
    stream: S,
    conn: Conn,
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.conn.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
