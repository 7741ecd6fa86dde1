//! A REST endpoint as a task: bound to loopback, and stopped when its handle is dropped.

use std::{io, net::SocketAddr, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::connection::{Cut, CuttableListener};

/// Why an endpoint did not start.
#[derive(Debug, thiserror::Error)]
#[error(
    "the local {service} cannot listen on {address}: {error}; choose another port, or stop the program that uses it"
)]
pub struct EndpointError {
    pub service: &'static str,
    /// The requested address.
    pub address: SocketAddr,
    /// The cause; [`io::ErrorKind::AddrInUse`] if another program uses the port.
    pub error: io::Error,
}

/// A running endpoint; dropping it stops the endpoint.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

impl Endpoint {
    /// Serves `router` on `127.0.0.1:port`; port 0 takes a free one.
    ///
    /// # Errors
    /// The port is not available.
    pub async fn start(
        service: &'static str,
        port: u16,
        router: Router,
    ) -> Result<Self, EndpointError> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let failed = |error| EndpointError { service, address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let service = router.into_make_service_with_connect_info::<Cut>();
        let task = tokio::spawn(async move {
            axum::serve(CuttableListener(listener), service).with_graceful_shutdown(stopped).await
        });
        Ok(Self { address, stop, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more requests; does not wait for pending ones, which are still answered.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Accepts no more requests and waits for pending ones, for at most `at_most`: a receive may
    /// wait a minute for a message.
    pub async fn shutdown(mut self, at_most: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(at_most, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop();
    }
}
