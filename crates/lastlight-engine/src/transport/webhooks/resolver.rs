//! Finds the network addresses of a host, and passes on those only that may be called: the connection is made to what was
//! checked, whatever the name stands for a moment later.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::config::is_public;

/// The network addresses of a name.
pub type Found = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Finds the network addresses of names.
pub trait Lookup: fmt::Debug + Send + Sync {
    /// The addresses of a name, in the order in which they are tried.
    fn lookup(&self, name: &str) -> Found;
}

/// The resolver of this machine.
#[derive(Debug)]
pub(super) struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: &str) -> Found {
        let name = name.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Why a name is not called.
#[derive(Debug, thiserror::Error)]
#[error("{host} stands for {address}, which is not an address of the public internet")]
pub(super) struct NotPublic {
    host: String,
    address: IpAddr,
}

/// A resolver for the client of requests.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) lookup: Arc<dyn Lookup>,
    /// Whether private addresses may be called, too.
    pub(super) allows_private: bool,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.lookup.lookup(name.as_str());
        let allows_private = self.allows_private;
        Box::pin(async move {
            let found = found.await?;
            // One that is not public refuses the name: a name with both kinds is a trick, or a mistake.
            let private = found.iter().find(|address| !is_public(**address));
            if let Some(address) = private.filter(|_| !allows_private) {
                let refused = NotPublic { host: name.as_str().to_owned(), address: *address };
                return Err(refused.into());
            }
            let addresses: Addrs =
                Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
