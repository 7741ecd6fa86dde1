//! What the queues and the blobs of a storage account have in common: sign-in and signatures, the
//! client under the SDK, and what its errors mean. Knows neither queues nor blobs.

mod client;
mod sas;

use std::{sync::Arc, time::Duration};

use azure_core::{
    credentials::TokenCredential,
    error::ErrorKind,
    http::{ClientOptions, RetryOptions, Transport},
};
use url::Url;

use self::client::Client;
pub(super) use self::sas::Rights;
use super::{
    http::{entra_credential, last_cause, no_token, pooled_client},
    sender::SendError,
};
use crate::config::{Secret, StorageAuth};

/// The API version; one that Azurite supports too.
pub(super) const API_VERSION: &str = "2025-11-05";

/// Age at which clients are created again, before their signature expires after [`sas::LIVES`].
pub(super) const CLIENTS_LIVE: Duration = Duration::from_secs(12 * 60 * 60);

/// Access to one service of a storage account.
pub(super) struct Access {
    endpoint: Url,
    auth: StorageAuth,
    rights: Rights,
    credential: Option<Arc<dyn TokenCredential>>,
    http: Arc<Client>,
}

impl Access {
    /// Access to the service at `endpoint`, with a signature for these rights if the account's key
    /// is known. A request may take `timeout`.
    ///
    /// # Errors
    /// TLS or the credential could not be set up.
    pub(super) fn new(
        endpoint: Url,
        auth: StorageAuth,
        rights: Rights,
        timeout: Duration,
    ) -> Result<Self, SendError> {
        let credential = match auth {
            StorageAuth::Entra => Some(entra_credential()?),
            StorageAuth::SharedKey { .. } | StorageAuth::SharedAccessSignature(_) => None,
        };
        let http = Arc::new(Client(pooled_client(&endpoint, timeout)?));
        Ok(Self { endpoint, auth, rights, credential, http })
    }

    /// The query string that goes with a request's URL, for [`CLIENTS_LIVE`]; none with sign-in by
    /// identity.
    pub(super) fn signature(&self) -> Option<Secret> {
        match &self.auth {
            StorageAuth::Entra => None,
            StorageAuth::SharedAccessSignature(signature) => Some(signature.clone()),
            StorageAuth::SharedKey { account, key } => {
                Some(sas::account_signature(&self.endpoint, account, key, self.rights))
            }
        }
    }

    /// The credential for sign-in by identity.
    pub(super) fn credential(&self) -> Option<Arc<dyn TokenCredential>> {
        self.credential.clone()
    }

    /// The options of the SDK's clients.
    pub(super) fn client_options(&self) -> ClientOptions {
        ClientOptions {
            // Callers retry themselves: the SDK would hold their permits for minutes.
            retry: RetryOptions::none(),
            transport: Some(Transport::new(self.http.clone())),
            ..ClientOptions::default()
        }
    }
}

/// What an error of the SDK means. Its own text has the URL, which may contain a signature.
pub(super) enum Fault {
    /// The service answered with this status, and an error code of one word or none.
    Status { status: u16, code: String },
    /// There is no token to sign in with.
    NoToken(String),
    /// There was no answer.
    NoAnswer(String),
}

impl Fault {
    pub(super) fn of(error: &azure_core::Error) -> Self {
        match error.kind() {
            ErrorKind::HttpResponse { status, error_code, .. } => Self::Status {
                status: u16::from(*status),
                code: code(error_code.as_deref().unwrap_or_default()).to_owned(),
            },
            ErrorKind::Credential => Self::NoToken(no_token(error)),
            _ => Self::NoAnswer(match last_cause(error) {
                Some(cause) => format!("connection failed: {cause}"),
                None => "connection failed".to_owned(),
            }),
        }
    }
}

/// An error code in the documented form, one word. Anything else may repeat the request.
fn code(text: &str) -> &str {
    let is_word = text.len() <= 60 && text.chars().all(|c| c.is_ascii_alphabetic());
    if is_word { text } else { "" }
}
