//! HTTP to other services: pooled clients, signatures, pauses between tries, and what may be shown
//! of a response.

use std::{sync::Arc, time::Duration};

use azure_core::credentials::TokenCredential;
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use sha2::Sha256;
use url::Url;

use super::sender::SendError;
use crate::config::Secret;

/// A client with a connection pool: a TLS handshake per request would cut the rate to a third. It
/// follows no redirects, which would take signatures and keys to another host.
pub(crate) fn client_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .pool_idle_timeout(Duration::from_secs(60))
        .tcp_nodelay(true)
}

/// A client for the service at `endpoint`. An HTTPS endpoint is only used over HTTPS.
///
/// # Errors
/// TLS could not be set up on this machine.
pub(super) fn pooled_client(
    endpoint: &Url,
    timeout: Duration,
) -> Result<reqwest::Client, SendError> {
    client_builder()
        .https_only(endpoint.scheme() == "https")
        .timeout(timeout)
        .build()
        .map_err(|error| SendError::Unavailable { detail: describe(&error) })
}

pub(super) fn signature(key: &[u8], text: &str) -> String {
    // HMAC accepts keys of any length.
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(text.as_bytes());
            BASE64_STANDARD.encode(mac.finalize().into_bytes())
        }
        Err(_) => String::new(),
    }
}

/// The pause before retry number `tries` (from 1): 100 ms, doubled each time, plus up to half of it
/// at random, so that senders do not retry at the same moment.
pub(super) fn backoff(tries: u32) -> Duration {
    let base = Duration::from_millis(100) * 2_u32.pow(tries.saturating_sub(1).min(6));
    base.mul_f64(1.0 + fastrand::f64() / 2.0)
}

/// The credential for Entra ID: workload identity or managed identity if the environment offers
/// one, otherwise the developer's own sign-in.
pub(super) fn entra_credential() -> Result<Arc<dyn TokenCredential>, SendError> {
    let refused = |error: azure_core::Error| SendError::Unavailable {
        detail: format!("no identity to sign in with: {}", no_token(&error)),
    };
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if is_set("AZURE_FEDERATED_TOKEN_FILE") {
        return Ok(azure_identity::WorkloadIdentityCredential::new(None).map_err(refused)?);
    }
    if is_set("IDENTITY_ENDPOINT") || is_set("WEBSITE_SITE_NAME") {
        return Ok(azure_identity::ManagedIdentityCredential::new(None).map_err(refused)?);
    }
    Ok(azure_identity::DeveloperToolsCredential::new(None).map_err(refused)?)
}

/// Why there is no token, without the secret that requests to a managed identity's endpoint carry.
pub(super) fn no_token(error: &azure_core::Error) -> String {
    let secret = std::env::var("IDENTITY_HEADER").unwrap_or_default();
    said(&error.to_string(), &[&Secret::new(secret)])
}

/// Describes an error down to its cause, without the URL, which may contain a signature.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    let text = if error.is_timeout() {
        "no response in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    };
    match last_cause(error) {
        Some(cause) => format!("{text}: {cause}"),
        None => text.to_owned(),
    }
}

/// The text of an error's last cause; the causes above it may repeat the URL.
pub(super) fn last_cause(error: &dyn std::error::Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Some(said(&cause.to_string(), &[]))
}

/// The first 300 characters of a service's response, in one line; withheld if it repeats a
/// credential.
pub(super) fn said(text: &str, secrets: &[&Secret]) -> String {
    excerpt(text, secrets, 300)
}

/// The first `shown` characters of a service's response, in one line; withheld if it repeats a
/// credential.
pub(crate) fn excerpt(text: &str, secrets: &[&Secret], shown: usize) -> String {
    if repeats_credential(text, secrets) {
        return "(the response repeats a credential and is not shown)".to_owned();
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(shown).collect()
}

/// Whether a text contains one of `secrets`, or anything that looks like a signature, a key or a
/// token: some services, and proxies in front of them, repeat the request in the response.
pub(super) fn repeats_credential(text: &str, secrets: &[&Secret]) -> bool {
    const SIGNS: [&str; 7] = [
        "sig=",
        "sig%3d",
        "sharedaccesssignature ",
        "sharedaccesskey=",
        "accountkey=",
        "bearer ey",
        "access_token",
    ];
    let lower = text.to_ascii_lowercase();
    let holds = |secret: &&Secret| {
        parts_of(secret.expose()).any(|part| {
            let decoded = percent_decode_str(part).decode_utf8_lossy();
            !part.is_empty() && (text.contains(part) || text.contains(&*decoded))
        })
    };
    SIGNS.iter().any(|sign| lower.contains(sign)) || secrets.iter().any(holds)
}

/// The whole credential, the credential without its scheme, and its signature alone.
fn parts_of(credential: &str) -> impl Iterator<Item = &str> {
    let bare = credential.split_once(' ').map(|(_, bare)| bare);
    let signature = credential.split(['&', ' ']).find_map(|part| part.strip_prefix("sig="));
    [Some(credential), bare, signature].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_shown_without_credentials() {
        let plain = "<Error><Code>401</Code>\n<Detail>InvalidSignature: The token has an invalid signature.</Detail></Error>";
        assert_eq!(said(plain, &[]), plain.replace('\n', " "));
        assert_eq!(said(&"x".repeat(1000), &[]).len(), 300);
        let token = Secret::new("SharedAccessSignature sr=a&sig=b%2Bc&se=1");
        for text in [
            "GET /q?sv=1&SIG=abc",
            "{\"url\":\"%2Fq%3Fsig%3Dabc\"}",
            "authorization: Bearer eyJhbGciOi",
            "authorization=SharedAccessSignature sr=a",
            "it was SharedAccessSignature sr=a&sig=b+c&se=1",
            "the signature b+c is wrong",
            "the signature b%2Bc is wrong",
        ] {
            assert!(said(text, &[&token]).starts_with("(the response repeats"), "{text}");
        }
        assert_eq!(
            said("opaque", &[&Secret::new("opaque")]),
            "(the response repeats a credential and is not shown)"
        );
    }
}
