//! One container, to which blobs are written block by block and from which they are listed and read in parts. Knows
//! nothing of what is in them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use azure_core::http::Etag;
use azure_storage_blob::{
    BlobContainerClient, BlobServiceClient,
    models::{
        BlobClientDownloadOptions, BlobClientGetPropertiesResultHeaders,
        BlobContainerClientListBlobsOptions, BlockBlobClientCommitBlockListOptions,
        BlockLookupList, HttpRange, ListBlobsIncludeItem,
    },
};
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::service_client;
use crate::{
    config::{ArchiveSettings, BlobAccount, ContainerName},
    transport::{
        http::backoff,
        storage_account::{Access, CLIENTS_LIVE, Fault, Rights},
    },
};

/// Timeout of one request, which may have some MiB.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Number of retries of a request that failed for a moment.
const RETRIES: u32 = 4;

/// Blobs of one answer of a list.
const LISTED_AT_ONCE: i32 = 5000;

/// A container of a storage account.
pub struct BlobContainer {
    account: BlobAccount,
    name: ContainerName,
    access: Access,
    /// Made again before its signature expires.
    service: Mutex<Option<(Instant, Arc<BlobServiceClient>)>>,
}

/// What a request wanted, for the message of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To write a blob.
    Write,
    /// To read a blob or the container's properties.
    Read,
    /// To list blobs.
    List,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Write => "be written",
            Self::Read => "be read",
            Self::List => "be listed",
        })
    }
}

/// A container cannot be used, or a blob in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// It does not exist.
    #[error("the container {container} does not exist at {host}")]
    Missing {
        /// The container.
        container: String,
        /// The host of its blob service.
        host: String,
    },
    /// The credentials do not suffice.
    #[error("the container {container} at {host} may not {asked}: status {status} {code}")]
    Forbidden {
        /// The container.
        container: String,
        /// The host of its blob service.
        host: String,
        /// What was asked for.
        asked: Asked,
        /// The status of the answer.
        status: u16,
        /// The service's word for the reason.
        code: String,
    },
    /// The account has no room.
    #[error("{host} has no room for another blob of {container}: status {status} {code}")]
    Full {
        /// The container.
        container: String,
        /// The host of its blob service.
        host: String,
        /// The status of the answer.
        status: u16,
        /// The service's word for the reason.
        code: String,
    },
    /// The service does not answer, or not for now.
    #[error("{host} cannot be asked for {container} now: {detail}")]
    Unavailable {
        /// The container.
        container: String,
        /// The host of its blob service.
        host: String,
        /// Why; it contains no credentials.
        detail: String,
    },
    /// Another blob is in the place of this one, or may not be replaced.
    #[error("the blob {blob} cannot be replaced: status {status} {code}")]
    Changed {
        /// The blob.
        blob: String,
        /// The status of the answer.
        status: u16,
        /// The service's word for the reason.
        code: String,
    },
    /// The service refuses the request for another reason.
    #[error("{host} refuses a request for {container}: status {status} {code}")]
    Refused {
        /// The container.
        container: String,
        /// The host of its blob service.
        host: String,
        /// The status of the answer.
        status: u16,
        /// The service's word for the reason.
        code: String,
    },
}

impl ContainerError {
    /// Whether it concerns one blob, so that others may be written all the same.
    pub fn is_of_blob(&self) -> bool {
        matches!(self, Self::Changed { .. })
    }

    /// Whether the service could not be asked at all.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Missing { .. } => {
                "create the container (az storage container create), or correct ARCHIVE_CONTAINER or AzureWebJobsStorage"
            }
            Self::Forbidden { .. } => {
                "give the app's identity the role Storage Blob Data Contributor on the container, or use a connection string \
                 whose key or signature may read, write and list; the account must not be read-only, and its firewall must admit \
                 the app"
            }
            Self::Full { .. } => {
                "make room in the storage account or raise its quota, for example with a lifecycle rule for old archives"
            }
            Self::Unavailable { .. } => "check the storage account and the network to it",
            Self::Changed { .. } => {
                "look at the blob, and move it away if it is not an archive of this job"
            }
            Self::Refused { .. } => "check the storage account, for example whether it is disabled",
        }
    }

    /// A word for a metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Forbidden { .. } => "forbidden",
            Self::Full { .. } => "full",
            Self::Unavailable { .. } => "unavailable",
            Self::Changed { .. } | Self::Refused { .. } => "refused",
        }
    }
}

/// A blob as a list or a request for its properties shows it.
#[derive(Debug, Clone)]
pub struct FoundBlob {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its metadata; names are in lower case.
    pub metadata: HashMap<String, String>,
    /// Its version.
    pub etag: Option<String>,
}

/// What a blob that is written may replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaces {
    /// Nothing: there must be none of this name.
    Nothing,
    /// The version that has this tag.
    Version(String),
}

/// A page of a list, and where it continues.
#[derive(Debug)]
pub struct ListedBlobs {
    /// The blobs, in the order of their names.
    pub blobs: Vec<FoundBlob>,
    /// Where the list continues, if it does.
    pub next: Option<String>,
}

impl std::fmt::Debug for BlobContainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobContainer")
            .field("account", &self.account)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl BlobContainer {
    /// Makes no request.
    ///
    /// # Errors
    /// TLS or the credential could not be set up.
    pub fn new(settings: &ArchiveSettings) -> Result<Self, ContainerError> {
        let ArchiveSettings { account, container } = settings.clone();
        let BlobAccount { endpoint, auth } = account.clone();
        let access =
            Access::new(endpoint, auth, Rights::Container, REQUEST_TIMEOUT).map_err(|error| {
                ContainerError::Unavailable {
                    container: container.as_str().to_owned(),
                    host: host_of(&account),
                    detail: error.to_string(),
                }
            })?;
        Ok(Self { account, name: container, access, service: Mutex::default() })
    }

    /// The container's name.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The host of its blob service.
    pub fn host(&self) -> String {
        host_of(&self.account)
    }

    /// Asks whether the container exists and can be read.
    ///
    /// # Errors
    /// It cannot.
    pub async fn probe(&self) -> Result<(), ContainerError> {
        self.tried(Asked::Read, "", |client| async move { client.get_properties(None).await })
            .await?;
        Ok(())
    }

    /// Asks whether blobs can be written: stages a block of a blob that is never committed, so that nothing is
    /// to be seen of it. The service forgets it within a week.
    ///
    /// # Errors
    /// None can.
    pub async fn probe_write(&self, blob: &str) -> Result<(), ContainerError> {
        self.stage(blob, b"0", Bytes::from_static(b"lastlight")).await
    }

    /// Writes a block of a blob. All ids of a blob have the same length.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn stage(
        &self,
        blob: &str,
        block: &[u8],
        content: Bytes,
    ) -> Result<(), ContainerError> {
        let length = content.len() as u64;
        self.tried(Asked::Write, blob, |client| {
            let content = content.clone().into();
            async move {
                let blob = client.blob_client(blob).block_blob_client();
                blob.stage_block(block, length, content, None).await
            }
        })
        .await?;
        Ok(())
    }

    /// Makes a blob of blocks that were written.
    ///
    /// # Errors
    /// [`ContainerError::Changed`]: there is another blob than it may replace. This is also the answer to a repeated
    /// request whose first one succeeded.
    pub async fn commit(
        &self,
        blob: &str,
        blocks: &[Vec<u8>],
        metadata: &HashMap<String, String>,
        replaces: &Replaces,
    ) -> Result<(), ContainerError> {
        let (if_match, if_none_match) = match replaces {
            Replaces::Nothing => (None, Some(Etag::from("*"))),
            Replaces::Version(tag) => (Some(Etag::from(tag.as_str())), None),
        };
        self.tried(Asked::Write, blob, |client| {
            let list =
                BlockLookupList { latest: Some(blocks.to_vec()), ..BlockLookupList::default() };
            let options = BlockBlobClientCommitBlockListOptions {
                blob_content_type: Some("application/gzip".to_owned()),
                metadata: Some(metadata.clone()),
                if_match: if_match.clone(),
                if_none_match: if_none_match.clone(),
                ..BlockBlobClientCommitBlockListOptions::default()
            };
            async move {
                let blob = client.blob_client(blob).block_blob_client();
                blob.commit_block_list(list.try_into()?, Some(options)).await
            }
        })
        .await?;
        Ok(())
    }

    /// The properties of a blob; `None` if there is none.
    ///
    /// # Errors
    /// The container cannot be read.
    pub async fn find(&self, blob: &str) -> Result<Option<FoundBlob>, ContainerError> {
        let found = self
            .tried(Asked::Read, blob, |client| async move {
                match client.blob_client(blob).get_properties(None).await {
                    Ok(found) => Ok(Some(FoundBlob {
                        name: blob.to_owned(),
                        bytes: found.content_length()?.unwrap_or_default(),
                        metadata: in_lower_case(found.metadata()?),
                        etag: found.etag()?.map(|tag| tag.to_string()),
                    })),
                    Err(error) => match Fault::of(&error) {
                        Fault::Status { status: 404, code } if code == "BlobNotFound" => Ok(None),
                        _ => Err(error),
                    },
                }
            })
            .await?;
        Ok(found)
    }

    /// A page of the blobs whose names begin with `prefix`, with their metadata.
    ///
    /// # Errors
    /// The container cannot be listed.
    pub async fn list(
        &self,
        prefix: &str,
        from: Option<&str>,
    ) -> Result<ListedBlobs, ContainerError> {
        let page = self
            .tried(Asked::List, "", |client| async move {
                let options = BlobContainerClientListBlobsOptions {
                    include: Some(vec![ListBlobsIncludeItem::Metadata]),
                    marker: from.map(str::to_owned),
                    maxresults: Some(LISTED_AT_ONCE),
                    prefix: (!prefix.is_empty()).then(|| prefix.to_owned()),
                    ..BlobContainerClientListBlobsOptions::default()
                };
                let mut pages = client.list_blobs(Some(options))?.into_pages();
                match pages.try_next().await? {
                    Some(page) => page.into_model().map(Some),
                    None => Ok(None),
                }
            })
            .await?;
        let Some(page) = page else {
            return Ok(ListedBlobs { blobs: Vec::new(), next: None });
        };
        let blobs = page.blob_items.into_iter().filter_map(|blob| {
            let properties = blob.properties.unwrap_or_default();
            Some(FoundBlob {
                name: blob.name?,
                bytes: properties.content_length.unwrap_or_default(),
                metadata: in_lower_case(
                    blob.metadata.and_then(|found| found.values).unwrap_or_default(),
                ),
                etag: properties.etag.map(|tag| tag.to_string()),
            })
        });
        let next = page.next_marker.filter(|marker| !marker.is_empty());
        Ok(ListedBlobs { blobs: blobs.collect(), next })
    }

    /// Reads a part of a version of a blob.
    ///
    /// # Errors
    /// [`ContainerError::Changed`]: there is no such version any more, or it has less.
    pub async fn read(
        &self,
        blob: &FoundBlob,
        offset: u64,
        part: &mut [u8],
    ) -> Result<(), ContainerError> {
        let length = part.len();
        // Behind a lock, since a closure that is called again cannot lend it out.
        let part = &tokio::sync::Mutex::new(part);
        let read = self
            .tried(Asked::Read, &blob.name, |client| async move {
                let options = BlobClientDownloadOptions {
                    range: Some(HttpRange::new(offset, length as u64)),
                    if_match: blob.etag.as_deref().map(Etag::from),
                    ..BlobClientDownloadOptions::default()
                };
                let mut part = part.lock().await;
                let client = client.blob_client(&blob.name);
                client.download_into(&mut part, Some(options)).await.map(|read| read.len)
            })
            .await?;
        if read == length {
            return Ok(());
        }
        Err(ContainerError::Changed {
            blob: blob.name.clone(),
            status: 206,
            code: "ShortRead".to_owned(),
        })
    }

    /// Makes a request, and again while it fails for a moment.
    async fn tried<T, F: Future<Output = azure_core::Result<T>>>(
        &self,
        asked: Asked,
        blob: &str,
        request: impl Fn(BlobContainerClient) -> F,
    ) -> Result<T, ContainerError> {
        let mut tries = 0;
        loop {
            let client = self.client()?;
            let fault = match request(client).await {
                Ok(answer) => return Ok(answer),
                Err(error) => Fault::of(&error),
            };
            let is_transient = match &fault {
                Fault::Status { status, .. } => {
                    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
                }
                Fault::NoToken(_) => false,
                Fault::NoAnswer(_) => true,
            };
            if !is_transient || tries >= RETRIES {
                return Err(self.error(asked, blob, fault));
            }
            tries += 1;
            tokio::time::sleep(backoff(tries)).await;
        }
    }

    fn error(&self, asked: Asked, blob: &str, fault: Fault) -> ContainerError {
        let (container, host) = (self.name.as_str().to_owned(), self.host());
        let (status, code) = match fault {
            Fault::Status { status, code } => (status, code),
            Fault::NoToken(reason) => {
                let detail = format!("there is no token to sign in with: {reason}");
                return ContainerError::Unavailable { container, host, detail };
            }
            Fault::NoAnswer(detail) => {
                return ContainerError::Unavailable { container, host, detail };
            }
        };
        let is_full = status == 507
            || ["Capacity", "Quota", "LimitExceeded", "InsufficientStorage"]
                .iter()
                .any(|word| code.contains(word));
        match status {
            _ if is_full => ContainerError::Full { container, host, status, code },
            401 | 403 => ContainerError::Forbidden { container, host, asked, status, code },
            404 if code == "BlobNotFound" => {
                ContainerError::Changed { blob: blob.to_owned(), status, code }
            }
            404 | 410 => ContainerError::Missing { container, host },
            409 if code == "ContainerBeingDeleted" => ContainerError::Missing { container, host },
            // A block that was written is there no more: another attempt made a blob of its own.
            400 if code == "InvalidBlockList" => {
                ContainerError::Changed { blob: blob.to_owned(), status, code }
            }
            409 | 412 | 416 if !blob.is_empty() => {
                ContainerError::Changed { blob: blob.to_owned(), status, code }
            }
            500.. | 408 | 429 => {
                let detail = format!("status {status} {code}").trim_end().to_owned();
                ContainerError::Unavailable { container, host, detail }
            }
            _ => ContainerError::Refused { container, host, status, code },
        }
    }

    fn client(&self) -> Result<BlobContainerClient, ContainerError> {
        let mut kept = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        let service = match &*kept {
            Some((made, service)) if made.elapsed() < CLIENTS_LIVE => Arc::clone(service),
            _ => {
                let made =
                    service_client(&self.account.endpoint, &self.access).map_err(|detail| {
                        let (container, host) = (self.name.as_str().to_owned(), self.host());
                        ContainerError::Unavailable { container, host, detail }
                    })?;
                let made = Arc::new(made);
                *kept = Some((Instant::now(), Arc::clone(&made)));
                made
            }
        };
        Ok(service.blob_container_client(self.name.as_str()))
    }
}

fn host_of(account: &BlobAccount) -> String {
    account.endpoint.host_str().unwrap_or_default().to_owned()
}

fn in_lower_case(metadata: HashMap<String, String>) -> HashMap<String, String> {
    metadata.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
}
