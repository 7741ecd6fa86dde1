//! Containers of blobs in the blob service of Azurite.

use azure_storage_blob::BlobContainerClient;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use lastlight_engine::config::{DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY};
use sha2::Sha256;
use url::Url;

use crate::database::service;

/// The version of the signatures: the one whose texts have the fields below.
pub const VERSION: &str = "2018-11-09";
/// When they expire.
pub const EXPIRY: &str = "2099-01-01T00:00:00Z";

/// A new, empty container.
pub struct NewContainer {
    /// Its name.
    pub name: String,
    /// Its URL, without a signature.
    pub url: Url,
    /// A client with all permissions.
    pub client: BlobContainerClient,
}

impl NewContainer {
    /// Makes a container with a name of its own.
    pub async fn create() -> Self {
        let name = format!("c{}", uuid::Uuid::new_v4().simple());
        let endpoint = service("AZURITE_BLOB_ENDPOINT");
        let url = Url::parse(&format!("{endpoint}/{name}")).unwrap();
        let mut of_account = url.clone();
        of_account.set_query(Some(&account_signature("rwlcd")));
        let client = BlobContainerClient::new(of_account, None, None).unwrap();
        client.create(None).await.unwrap();
        Self { name, url, client }
    }

    /// Writes a blob.
    pub async fn write(&self, name: &str, content: impl Into<Bytes>) {
        let blob = self.client.blob_client(name);
        blob.upload(content.into().into(), None).await.unwrap();
    }

    /// Reads a blob that is text.
    pub async fn read(&self, name: &str) -> String {
        let blob = self.client.blob_client(name).download(None).await.unwrap();
        String::from_utf8(blob.body.collect().await.unwrap().into()).unwrap()
    }
}

/// The query string of a SAS of the account with these permissions for its blobs.
pub fn account_signature(permissions: &str) -> String {
    let (services, resources) = ("b", "sco");
    let fields =
        [DEVELOPMENT_ACCOUNT, permissions, services, resources, "", EXPIRY, "", "", VERSION, ""];
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs([("sv", VERSION), ("se", EXPIRY), ("sp", permissions)]).extend_pairs([
        ("ss", services),
        ("srt", resources),
        ("sig", &signature(&fields)),
    ]);
    query.finish()
}

/// The connection string of the account, with this key and the address of its blob service.
pub fn connection_string(key: &str) -> String {
    let endpoint = service("AZURITE_BLOB_ENDPOINT");
    format!("AccountName={DEVELOPMENT_ACCOUNT};AccountKey={key};BlobEndpoint={endpoint}")
}

/// The signature of a SAS with these fields.
pub fn signature(fields: &[&str]) -> String {
    let key = BASE64_STANDARD.decode(DEVELOPMENT_KEY).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(fields.join("\n").as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}
