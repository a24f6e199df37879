//! HTTP/1.1 on a bounded number of connections, each for a bounded time.

use std::net::TcpListener as StdTcpListener;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

/// Serves the port until the runtime ends.
pub(crate) async fn serve_port(listener: StdTcpListener, routes: Router) {
    let listener = TcpListener::from_std(listener).expect("the runtime has started");
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(place) = places.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => spawn(stream, routes.clone(), place),
            Err(_) => sleep(ACCEPT_RETRY).await,
        }
    }
}

/// Serves the control socket until the runtime ends.
pub(crate) async fn serve_socket(listener: StdUnixListener, routes: Router) {
    let listener = UnixListener::from_std(listener).expect("the runtime has started");
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(place) = places.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => spawn(stream, routes.clone(), place),
            Err(_) => sleep(ACCEPT_RETRY).await,
        }
    }
}

fn spawn<S>(stream: S, routes: Router, place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        let mut server = http1::Builder::new();
        server.max_buf_size(BUFFER_BYTES_MAX);
        let connection =
            server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
        // A peer that breaks the protocol or is slow is the peer's business.
        let _ended = timeout(CONNECTION_TIME, connection).await;
        drop(place);
    });
}

/// Of each door: a handful of scrapers and operators. More wait to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// A connection is for a few requests; one that stays would take another's place.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// A request's line and headers.
const BUFFER_BYTES_MAX: usize = 16 * 1024;
/// Out of descriptors: they come back as clients go.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
