//! The Authorization header: a shared access signature computed here, or a bearer token; cached
//! until shortly before it expires.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use azure_core::credentials::TokenCredential;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use time::{Duration, OffsetDateTime};
use url::Url;

use crate::{
    config::{Secret, ServiceBusAuth},
    model::clock,
    transport::{
        http::{entra_credential, no_token, signature},
        sender::SendError,
    },
};

const SCOPE: &str = "https://servicebus.azure.net/.default";
const SIGNATURE_LIVES: Duration = Duration::hours(1);
/// A token is renewed this long before it expires.
const MARGIN: Duration = Duration::minutes(5);

#[derive(Debug)]
enum Source {
    Key { name: String, key: Secret },
    Entra(Arc<dyn TokenCredential>),
}

/// Creates and caches tokens, one per queue.
#[derive(Debug)]
pub(super) struct Tokens {
    source: Source,
    kept: Mutex<HashMap<String, (Secret, OffsetDateTime)>>,
}

impl Tokens {
    pub(super) fn new(auth: &ServiceBusAuth) -> Result<Self, SendError> {
        let source = match auth {
            ServiceBusAuth::SharedAccessKey { name, key } => {
                Source::Key { name: name.clone(), key: key.clone() }
            }
            ServiceBusAuth::Entra => Source::Entra(entra_credential()?),
        };
        Ok(Self { source, kept: Mutex::default() })
    }

    /// The value of the header for requests to `queue`.
    pub(super) async fn header(&self, endpoint: &Url, queue: &str) -> Result<Secret, String> {
        let now = clock::now();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(queue).cloned();
        if let Some((header, expires)) = kept
            && expires - MARGIN > now
        {
            return Ok(header);
        }
        let (header, expires) = match &self.source {
            Source::Key { name, key } => {
                let expires = now + SIGNATURE_LIVES;
                (Secret::new(sign(endpoint, queue, name, key, expires)), expires)
            }
            Source::Entra(credential) => {
                let token =
                    credential.get_token(&[SCOPE], None).await.map_err(|error| no_token(&error))?;
                (Secret::new(format!("Bearer {}", token.token.secret())), token.expires_on)
            }
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(queue.to_owned(), (header.clone(), expires));
        Ok(header)
    }

    /// Clears the cache after the service rejected a token.
    pub(super) fn forget(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn sign(endpoint: &Url, queue: &str, name: &str, key: &Secret, expires: OffsetDateTime) -> String {
    let resource = format!("{endpoint}{queue}").to_lowercase();
    let resource = utf8_percent_encode(&resource, NON_ALPHANUMERIC);
    let expires = expires.unix_timestamp();
    // The key is used as text, although it looks like base64.
    let signed = signature(key.expose().as_bytes(), &format!("{resource}\n{expires}"));
    let signed = utf8_percent_encode(&signed, NON_ALPHANUMERIC);
    format!("SharedAccessSignature sr={resource}&sig={signed}&se={expires}&skn={name}")
}
