//! The address and the credentials of one service of a storage account, from a connection string or
//! from the account's name. Knows no setting.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use url::Url;

use super::{Secret, connection_string, endpoint, env::shown};

/// The account of Azurite and of lastlight's local cloud; name and key are public by design.
pub const DEVELOPMENT_ACCOUNT: &str = "devstoreaccount1";
/// The key of [`DEVELOPMENT_ACCOUNT`].
pub const DEVELOPMENT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The credentials for a service of a storage account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageAuth {
    /// The account's key, base64.
    SharedKey {
        /// The account's name.
        account: String,
        /// The key.
        key: Secret,
    },
    /// A shared access signature: the query string without its `?`.
    SharedAccessSignature(Secret),
    /// Entra ID.
    Entra,
}

/// A service of a storage account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Queue,
    Blob,
}

impl Service {
    /// The part of the host name that says which service it is.
    fn label(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Blob => "blob",
        }
    }

    /// The key of its address in a connection string.
    pub(super) fn endpoint_key(self) -> &'static str {
        match self {
            Self::Queue => "QueueEndpoint",
            Self::Blob => "BlobEndpoint",
        }
    }

    /// The port of Azurite.
    fn development_port(self) -> u16 {
        match self {
            Self::Queue => 10001,
            Self::Blob => 10000,
        }
    }

    /// The address of this service beside that of another one of the same account.
    ///
    /// # Errors
    /// The host's name does not say which service it is.
    pub(super) fn beside(self, other: Self, address: &Url) -> Result<Url, String> {
        let host = address.host_str().unwrap_or_default();
        let (account, rest) = host.split_once('.').unwrap_or_default();
        let label = format!("{}.", other.label());
        let derived = rest.strip_prefix(&label).and_then(|suffix| {
            let mut url = address.clone();
            url.set_host(Some(&format!("{account}.{}.{suffix}", self.label()))).ok()?;
            Some(url)
        });
        derived.ok_or_else(|| {
            format!("{host} does not say which address the {} service has", self.label())
        })
    }
}

/// The address of a service of the account with this name.
///
/// # Errors
/// The name is not that of a storage account.
pub(super) fn by_account_name(name: &str, service: Service) -> Result<Url, String> {
    let account = account_name(name)?;
    let address = format!("https://{account}.{}.core.windows.net", service.label());
    endpoint::checked("the address", &address)
}

/// The address and the credentials of a service, from the parts of a connection string.
///
/// # Errors
/// A part is missing or invalid.
pub(super) fn by_connection_string(
    parts: &BTreeMap<String, String>,
    service: Service,
) -> Result<(Url, StorageAuth), String> {
    if connection_string::is_true(parts, "usedevelopmentstorage") {
        let port = service.development_port();
        let address = format!("http://127.0.0.1:{port}/{DEVELOPMENT_ACCOUNT}");
        let endpoint = endpoint::checked("the address", &address)?;
        let key = Secret::new(DEVELOPMENT_KEY);
        return Ok((
            endpoint,
            StorageAuth::SharedKey { account: DEVELOPMENT_ACCOUNT.to_owned(), key },
        ));
    }
    let part = |key: &str| parts.get(key).filter(|value| !value.is_empty());
    let given = |service: Service| part(&service.endpoint_key().to_ascii_lowercase());
    let account = part("accountname");
    let endpoint = match (given(service), given(Service::Queue), account) {
        (Some(address), _, _) => endpoint::checked(service.endpoint_key(), address)?,
        // The account is elsewhere than its name says: on this machine, for example.
        (None, Some(queues), _) => {
            let queues = endpoint::checked(Service::Queue.endpoint_key(), queues)?;
            service
                .beside(Service::Queue, &queues)
                .map_err(|problem| format!("lacks {}: {problem}", service.endpoint_key()))?
        }
        (None, None, Some(account)) => {
            let protocol = part("defaultendpointsprotocol").map_or("https", String::as_str);
            let suffix = part("endpointsuffix").map_or("core.windows.net", String::as_str);
            let account = account_name(account)?;
            let address = format!("{protocol}://{account}.{}.{suffix}", service.label());
            endpoint::checked(
                "the address from DefaultEndpointsProtocol, AccountName and EndpointSuffix",
                &address,
            )?
        }
        (None, None, None) => {
            return Err(format!("lacks AccountName or {}", service.endpoint_key()));
        }
    };
    let auth = match (part("sharedaccesssignature"), account, part("accountkey")) {
        (Some(signature), _, _) => {
            StorageAuth::SharedAccessSignature(Secret::new(signature.trim_start_matches('?')))
        }
        (None, Some(account), Some(key)) => {
            if BASE64_STANDARD.decode(key).is_err() {
                return Err("AccountKey is not base64".to_owned());
            }
            StorageAuth::SharedKey { account: account.clone(), key: Secret::new(key) }
        }
        (None, None, Some(_)) => return Err("lacks AccountName".to_owned()),
        _ => return Err("lacks AccountKey or SharedAccessSignature".to_owned()),
    };
    Ok((endpoint, auth))
}

/// Checks a storage account's name, which becomes part of a host name.
fn account_name(name: &str) -> Result<&str, String> {
    if name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        Ok(name)
    } else {
        Err(format!("{} is not a storage account name (a-z and 0-9)", shown(name)))
    }
}
