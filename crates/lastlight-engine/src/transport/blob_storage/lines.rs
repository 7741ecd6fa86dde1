//! Blobs of JSON lines, read part by part: memory does not grow with the blob.

use std::sync::Arc;

use azure_core::http::Etag;
use azure_storage_blob::models::{
    BlobClientDownloadOptions, BlobClientGetPropertiesResultHeaders, HttpRange,
};
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use serde_json::Value;

use super::{BlobAddress, BlobError, BlobStorage, IsTransient, RETRIES};
use crate::{
    config::BlobAccount,
    transport::{http::backoff, storage_account::Fault},
};

/// Bytes that are read by one request.
const PART: usize = 1024 * 1024;

/// Bytes of the largest line.
const LARGEST_LINE: usize = 4 * 1024 * 1024;

/// Lines of which the values are made at once: values take much more memory than their text.
const LINES_AT_ONCE: usize = 500;

/// Why lines of a blob cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinesError {
    /// The blob, its address or a line is not as it must be: reading it again changes nothing.
    #[error("{0}")]
    Wrong(String),
    /// It cannot be read now.
    #[error(transparent)]
    Unavailable(#[from] BlobError),
}

/// Where reading goes on.
struct Reading {
    storage: Arc<BlobStorage>,
    account: BlobAccount,
    address: BlobAddress,
    size: u64,
    etag: Option<Etag>,
    offset: u64,
    /// What was read, and where in it the next line begins.
    part: Vec<u8>,
    next_line: usize,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
    /// Lines that were read.
    lines: u64,
}

impl BlobStorage {
    /// The JSON values in the lines of a blob of the app's own account; empty lines are left out.
    /// `address`: `container/name`, or the blob's URL.
    pub fn json_lines(
        self: Arc<Self>,
        address: String,
    ) -> BoxStream<'static, Result<Value, LinesError>> {
        stream::once(async move { self.begin(&address).await })
            .map_ok(|reading| {
                stream::try_unfold(reading, Reading::next)
                    .map_ok(|values| stream::iter(values.into_iter().map(Ok)))
                    .try_flatten()
            })
            .try_flatten()
            .boxed()
    }

    async fn begin(self: Arc<Self>, address: &str) -> Result<Reading, LinesError> {
        let account = self
            .settings
            .account(None)
            .map_err(|reason| BlobError::NotConfigured { reason: reason.to_owned() })?
            .clone();
        let address = address_of(address, &account).map_err(LinesError::Wrong)?;
        let mut tries = 0;
        let found = loop {
            match self.properties(&account, &address).await {
                Err((_, IsTransient(true))) if tries < RETRIES => {
                    tries += 1;
                    tokio::time::sleep(backoff(tries)).await;
                }
                found => break found.map_err(|(error, _)| error)?,
            }
        };
        let (size, etag) =
            found.ok_or_else(|| LinesError::Wrong(format!("there is no blob {address}")))?;
        Ok(Reading {
            storage: self,
            account,
            address,
            size,
            etag,
            offset: 0,
            part: Vec::new(),
            next_line: 0,
            rest: Vec::new(),
            lines: 0,
        })
    }

    /// The size and the version of a blob; `None` if there is none.
    async fn properties(
        &self,
        account: &BlobAccount,
        address: &BlobAddress,
    ) -> Result<Option<(u64, Option<Etag>)>, (BlobError, IsTransient)> {
        let client = self
            .client(account)
            .map_err(|detail| (unavailable(account, detail), IsTransient(false)))?;
        let blob = client.blob_client(&address.container, &address.blob);
        match blob.get_properties(None).await {
            Ok(found) => {
                let size = found.content_length().ok().flatten().unwrap_or_default();
                Ok(Some((size, found.etag().ok().flatten())))
            }
            Err(error) => match Fault::of(&error) {
                Fault::Status { status: 404, .. } => Ok(None),
                fault => Err(of_fault(account, fault)),
            },
        }
    }
}

impl Reading {
    /// The next values, and where reading goes on; `None` after the last.
    async fn next(mut self) -> Result<Option<(Vec<Value>, Self)>, LinesError> {
        loop {
            let mut values = Vec::new();
            let left = self.size.saturating_sub(self.offset);
            if self.next_line < self.part.len() {
                self.some_lines(&mut values)?;
            } else if left > 0 {
                // At most a part, so it fits in memory.
                let length = left.min(PART as u64) as usize;
                let mut part = std::mem::take(&mut self.part);
                part.resize(length, 0);
                self.read(&mut part).await?;
                (self.part, self.next_line) = (part, 0);
                self.offset += length as u64;
            } else if self.rest.is_empty() {
                return Ok(None);
            } else {
                let rest = std::mem::take(&mut self.rest);
                values.extend(self.value(&rest)?);
            }
            if !values.is_empty() {
                return Ok(Some((values, self)));
            }
        }
    }

    /// Adds the values of the next lines of the part.
    fn some_lines(&mut self, values: &mut Vec<Value>) -> Result<(), LinesError> {
        let part = std::mem::take(&mut self.part);
        while values.len() < LINES_AT_ONCE && self.next_line < part.len() {
            let left = &part[self.next_line..];
            let end = left.iter().position(|byte| *byte == b'\n');
            let text = &left[..end.unwrap_or(left.len())];
            self.next_line += text.len() + 1;
            if end.is_some() && self.rest.is_empty() {
                values.extend(self.value(text)?);
                continue;
            }
            self.rest.extend_from_slice(text);
            if self.rest.len() > LARGEST_LINE {
                return Err(LinesError::Wrong(format!(
                    "line {} of {} has more than {LARGEST_LINE} bytes",
                    self.lines + 1,
                    self.address
                )));
            }
            if end.is_some() {
                let line = std::mem::take(&mut self.rest);
                values.extend(self.value(&line)?);
            }
        }
        self.part = part;
        Ok(())
    }

    /// The value of a line; `None` if it is empty.
    fn value(&mut self, line: &[u8]) -> Result<Option<Value>, LinesError> {
        self.lines += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        serde_json::from_slice(line).map(Some).map_err(|error| {
            LinesError::Wrong(format!(
                "line {} of {} is not JSON: {error}",
                self.lines, self.address
            ))
        })
    }

    async fn read(&self, part: &mut [u8]) -> Result<(), LinesError> {
        let mut tries = 0;
        loop {
            let client = self
                .storage
                .client(&self.account)
                .map_err(|detail| unavailable(&self.account, detail))?;
            let blob = client.blob_client(&self.address.container, &self.address.blob);
            let options = BlobClientDownloadOptions {
                range: Some(HttpRange::new(self.offset, part.len() as u64)),
                if_match: self.etag.clone(),
                ..BlobClientDownloadOptions::default()
            };
            let error = match blob.download_into(part, Some(options)).await {
                Ok(read) if read.len == part.len() => return Ok(()),
                Ok(_) => return Err(self.changed()),
                Err(error) => error,
            };
            match Fault::of(&error) {
                Fault::Status { status: 404 | 412 | 416, .. } => return Err(self.changed()),
                fault => {
                    let (error, IsTransient(is_transient)) = of_fault(&self.account, fault);
                    if !is_transient || tries >= RETRIES {
                        return Err(error.into());
                    }
                    tries += 1;
                    tokio::time::sleep(backoff(tries)).await;
                }
            }
        }
    }

    fn changed(&self) -> LinesError {
        LinesError::Wrong(format!("{} was changed while it was read", self.address))
    }
}

fn unavailable(account: &BlobAccount, detail: String) -> BlobError {
    let host = account.endpoint.host_str().unwrap_or_default().to_owned();
    BlobError::Unavailable { host, detail }
}

fn of_fault(account: &BlobAccount, fault: Fault) -> (BlobError, IsTransient) {
    let (detail, is_transient) = match fault {
        Fault::Status { status, code } => {
            let is_transient = matches!(status, 408 | 429 | 500 | 502 | 503 | 504);
            (format!("status {status} {code}").trim_end().to_owned(), is_transient)
        }
        Fault::NoToken(reason) => (format!("there is no token to sign in with: {reason}"), false),
        Fault::NoAnswer(detail) => (detail, true),
    };
    (unavailable(account, detail), IsTransient(is_transient))
}

/// Container and blob of an address.
fn address_of(address: &str, account: &BlobAccount) -> Result<BlobAddress, String> {
    let base = account.endpoint.as_str().trim_end_matches('/');
    let path = match address.strip_prefix(base) {
        Some(path) => percent_encoding::percent_decode_str(path.trim_start_matches('/'))
            .decode_utf8()
            .map_err(|_| format!("{address:?} is not UTF-8"))?
            .into_owned(),
        None if address.contains("://") => {
            return Err(format!(
                "{address:?} is not a blob of the app's storage account, {base}: the address must be container/name, or a \
                 URL that begins like this"
            ));
        }
        None => address.to_owned(),
    };
    let Some((container, blob)) = path.split_once('/') else {
        return Err(format!("{address:?} is not the address of a blob: it must be container/name"));
    };
    BlobAddress::new(container, blob)
}
