//! Blobs of storage accounts, through `azure_storage_blob`: whether one exists, how large it is, and its JSON
//! lines; and a container to which blobs are written.
//! Knows nothing of submissions.

mod container;
mod lines;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use azure_storage_blob::{
    BlobServiceClient, BlobServiceClientOptions, models::BlobClientGetPropertiesResultHeaders,
};
use url::Url;

use super::{
    http::backoff,
    storage_account::{API_VERSION, Access, CLIENTS_LIVE, Fault, Rights},
};
use crate::config::{BlobAccount, BlobSettings, NumberSettings, Secret};

pub use container::{Asked, BlobContainer, ContainerError, FoundBlob, ListedBlobs, Replaces};
pub use lines::LinesError;

/// Timeout of one request, which has no body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Number of retries of a request that failed for a moment.
const RETRIES: u32 = 2;

/// The blobs of the app's own storage account and of those of its zones. Accounts are first asked
/// when a blob is looked for.
pub struct BlobStorage {
    settings: BlobSettings,
    /// Those of the accounts that were asked, of which there are few.
    clients: Mutex<Vec<Client>>,
}

/// The client of an account.
struct Client {
    account: BlobAccount,
    access: Access,
    made: Instant,
    service: Arc<BlobServiceClient>,
}

/// A container and a blob in it, with names that the service allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobAddress {
    container: String,
    blob: String,
}

/// What was found at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The blob, with its size in bytes.
    Blob {
        /// Its size.
        bytes: u64,
    },
    /// The container exists, and the blob does not.
    NoBlob,
    /// The container does not exist.
    NoContainer,
}

/// An account cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// No account is set, or none that can be used.
    #[error("no blobs can be looked for: {reason}")]
    NotConfigured {
        /// The reason.
        reason: String,
    },
    /// The account does not answer, or refuses the request.
    #[error("blobs of {host} cannot be looked for now: {detail}")]
    Unavailable {
        /// The host of the account's blob service.
        host: String,
        /// Why; it contains no credentials.
        detail: String,
    },
}

impl fmt::Debug for BlobStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobStorage").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl BlobStorage {
    /// Makes no connection, and cannot fail: an account that cannot be used is an error when a blob
    /// is looked for.
    pub fn new(settings: BlobSettings) -> Self {
        Self { settings, clients: Mutex::default() }
    }

    /// The app's settings that are numbers.
    pub fn numbers(&self) -> &NumberSettings {
        &self.settings.numbers
    }

    /// Looks for a blob in the account of a zone; without a zone, in the app's own.
    ///
    /// # Errors
    /// The account cannot be asked. A missing blob is no error.
    pub async fn find(
        &self,
        zone: Option<&str>,
        address: &BlobAddress,
    ) -> Result<Found, BlobError> {
        let account = self.settings.account(zone);
        let account =
            account.map_err(|reason| BlobError::NotConfigured { reason: reason.to_owned() })?;
        let mut tries = 0;
        loop {
            match self.find_once(account, address).await {
                Err((_, IsTransient(true))) if tries < RETRIES => {
                    tries += 1;
                    tokio::time::sleep(backoff(tries)).await;
                }
                found => return found.map_err(|(error, _)| error),
            }
        }
    }

    async fn find_once(
        &self,
        account: &BlobAccount,
        address: &BlobAddress,
    ) -> Result<Found, (BlobError, IsTransient)> {
        let unavailable = |detail: String, is_transient: bool| {
            let host = account.endpoint.host_str().unwrap_or_default().to_owned();
            (BlobError::Unavailable { host, detail }, IsTransient(is_transient))
        };
        let client = self.client(account).map_err(|detail| unavailable(detail, false))?;
        let blob = client.blob_client(&address.container, &address.blob);
        let answer = blob.get_properties(None).await;
        match answer.and_then(|properties| properties.content_length()) {
            Ok(Some(bytes)) => Ok(Found::Blob { bytes }),
            Ok(None) => Err(unavailable("the answer has no Content-Length".to_owned(), false)),
            Err(error) => match Fault::of(&error) {
                Fault::Status { status: 404, code } if code == "ContainerNotFound" => {
                    Ok(Found::NoContainer)
                }
                Fault::Status { status: 404, code } if code == "BlobNotFound" => Ok(Found::NoBlob),
                Fault::Status { status, code } => {
                    let is_transient = matches!(status, 408 | 429 | 500 | 502 | 503 | 504);
                    let detail = format!("status {status} {code}").trim_end().to_owned();
                    Err(unavailable(detail, is_transient))
                }
                Fault::NoToken(reason) => {
                    Err(unavailable(format!("there is no token to sign in with: {reason}"), false))
                }
                Fault::NoAnswer(detail) => Err(unavailable(detail, true)),
            },
        }
    }

    /// The client of an account; the error says why there is none.
    fn client(&self, account: &BlobAccount) -> Result<Arc<BlobServiceClient>, String> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = clients.iter_mut().find(|kept| kept.account == *account) {
            if kept.made.elapsed() >= CLIENTS_LIVE {
                kept.service = Arc::new(service_client(&account.endpoint, &kept.access)?);
                kept.made = Instant::now();
            }
            return Ok(Arc::clone(&kept.service));
        }
        let BlobAccount { endpoint, auth } = account.clone();
        let access = Access::new(endpoint, auth, Rights::ReadBlobs, REQUEST_TIMEOUT)
            .map_err(|error| error.to_string())?;
        let service = Arc::new(service_client(&account.endpoint, &access)?);
        let (account, made) = (account.clone(), Instant::now());
        clients.push(Client { account, access, made, service: Arc::clone(&service) });
        Ok(service)
    }
}

/// Whether a request that failed may succeed a moment later.
struct IsTransient(bool);

fn service_client(endpoint: &Url, access: &Access) -> Result<BlobServiceClient, String> {
    let mut url = endpoint.clone();
    // Names are appended as further parts of the path; its last part would stay, empty.
    if let Ok(mut parts) = url.path_segments_mut() {
        parts.pop_if_empty();
    }
    url.set_query(access.signature().as_ref().map(Secret::expose));
    let options = BlobServiceClientOptions {
        client_options: access.client_options(),
        version: API_VERSION.to_owned(),
    };
    // The error contains the URL, which may contain a signature.
    BlobServiceClient::new(url, access.credential(), Some(options))
        .map_err(|error| format!("the blob client cannot be created: {:?}", error.kind()))
}

impl BlobAddress {
    /// Checks the names.
    ///
    /// # Errors
    /// A name is not one that the service allows; the sentence names it and the rule.
    pub fn new(container: &str, blob: &str) -> Result<Self, String> {
        if !is_container_name(container) {
            return Err(format!(
                "{} is not the name of a container: 3 to 63 characters of a-z, 0-9 and single '-' between them",
                quoted(container)
            ));
        }
        if !is_blob_name(blob) {
            return Err(format!(
                "{} is not the name of a blob: 1 to 1024 characters, none of them a control character, and not \
                 \".\" or \"..\"",
                quoted(blob)
            ));
        }
        Ok(Self { container: container.to_owned(), blob: blob.to_owned() })
    }

    /// The container's name.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// The blob's name.
    pub fn blob(&self) -> &str {
        &self.blob
    }
}

impl fmt::Display for BlobAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.container, self.blob)
    }
}

/// A name for a message, cut if it is long.
fn quoted(name: &str) -> String {
    match name.char_indices().nth(80) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}

fn is_container_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_plain = (3..=63).contains(&name.len())
        && name.chars().all(is_allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    is_plain || matches!(name, "$root" | "$web" | "$logs")
}

/// The service knows further rules. What it or a URL would read as another name is refused here.
fn is_blob_name(name: &str) -> bool {
    (1..=1024).contains(&name.chars().count())
        && !name.chars().any(char::is_control)
        && !matches!(name, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_service_does_not_allow_are_refused() {
        for container in ["bronze", "bronze-rasters-1", "abc", "$web"] {
            assert!(BlobAddress::new(container, "a.tif").is_ok(), "{container}");
        }
        let long = "a".repeat(64);
        for container in ["", "ab", "Bronze", "a/b", "..", "-abc", "abc-", "a--b", "a%2fb", &long] {
            let error = BlobAddress::new(container, "a.tif").unwrap_err();
            assert!(error.contains(&format!("{container:?} is not the name")), "{error}");
        }
        let longest = "ü".repeat(1024);
        for blob in ["a.tif", "a/b/c.tif", "ä ö?#%2F.tif", "a/../b", "...", &longest] {
            assert!(BlobAddress::new("abc", blob).is_ok(), "{blob}");
        }
        for blob in ["", ".", "..", "a\tb", "a\nb", &"a".repeat(1025)] {
            assert!(BlobAddress::new("abc", blob).is_err(), "{blob}");
        }
    }
}
