//! What both transports need of HTTP: one pooled client a process, signatures, pauses between tries.

use std::{sync::Arc, time::Duration};

use azure_core::credentials::TokenCredential;
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::sender::SendError;

/// A client that keeps its connections: a TLS handshake a request would cut the rate to a third.
///
/// # Errors
/// TLS could not be set up on this machine.
pub fn pooled_client(timeout: Duration) -> Result<reqwest::Client, SendError> {
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(timeout)
        .pool_idle_timeout(Duration::from_secs(60))
        .tcp_nodelay(true)
        .build()
        .map_err(|error| SendError::Unavailable {
            detail: describe(&error),
        })
}

/// HMAC-SHA256 in base64.
pub(super) fn signature(key: &[u8], text: &str) -> String {
    // HMAC takes keys of any length.
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(text.as_bytes());
            BASE64_STANDARD.encode(mac.finalize().into_bytes())
        }
        Err(_) => String::new(),
    }
}

/// How long to wait before try number `tries` (from 1): 100 ms, doubled each time, plus up to half of it, so that
/// many senders do not come back at the same moment.
pub(super) fn backoff(tries: u32) -> Duration {
    let base = Duration::from_millis(100) * 2_u32.pow(tries.saturating_sub(1).min(6));
    base.mul_f64(1.0 + fastrand::f64() / 2.0)
}

/// The credential for Entra ID: workload identity or managed identity where the environment offers one, the
/// developer's own sign-in otherwise.
pub(super) fn entra_credential() -> Result<Arc<dyn TokenCredential>, SendError> {
    let refused = |error: azure_core::Error| SendError::Unavailable {
        detail: format!("no identity to sign in with: {error}"),
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

/// What went wrong, down to the cause, without the URL: it may hold a signature.
pub(super) fn describe(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        "no connection".to_owned()
    } else {
        "the connection broke".to_owned()
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        cause = error.source();
        if cause.is_none() {
            text = format!("{text}: {error}");
        }
    }
    text
}

/// The beginning of what a service said, in one line.
pub(super) fn shortened(body: &str) -> String {
    let line = body.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(300).collect()
}
