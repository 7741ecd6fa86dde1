//! Checks the shared access signatures of requests.

use std::fmt::{self, Debug};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use sha2::Sha256;
use time::OffsetDateTime;

/// The only shared access policy of the local namespace, with the rights Send, Listen and Manage.
#[derive(Clone)]
pub struct ServiceBusAccess {
    /// `SharedAccessKeyName`.
    pub key_name: String,
    /// `SharedAccessKey`: its text is the signing key, without decoding.
    pub key: String,
}

impl Debug for ServiceBusAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceBusAccess").field("key_name", &self.key_name).finish_non_exhaustive()
    }
}

/// Why a token is rejected; the endpoint answers 401 with this text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("MissingToken: the request has no Authorization header")]
    Missing,
    #[error("InvalidToken: Authorization is not a SharedAccessSignature with sr, sig, se and skn")]
    Malformed,
    #[error("InvalidSignature: no such key name")]
    UnknownKeyName,
    #[error("InvalidSignature: the token has an invalid signature")]
    WrongSignature,
    #[error("ExpiredToken: the token has expired")]
    Expired,
}

/// Checks that `header` is a token that was signed with the key and has not expired. The resource
/// (`sr`) is part of the signature but not compared, because host names have no meaning here.
pub(super) fn check(access: &ServiceBusAccess, header: Option<&str>) -> Result<(), TokenError> {
    let token = header
        .ok_or(TokenError::Missing)?
        .strip_prefix("SharedAccessSignature ")
        .ok_or(TokenError::Malformed)?;
    let field = |name: &str| {
        token
            .split('&')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
            .ok_or(TokenError::Malformed)
    };
    let decoded = |name: &str| Ok(percent_decode_str(field(name)?).decode_utf8_lossy());
    if decoded("skn")? != access.key_name {
        return Err(TokenError::UnknownKeyName);
    }
    let signature =
        BASE64_STANDARD.decode(decoded("sig")?.as_bytes()).map_err(|_| TokenError::Malformed)?;
    let expires = field("se")?;
    // HMAC accepts a key of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(access.key.as_bytes())
        .map_err(|_| TokenError::WrongSignature)?;
    mac.update(field("sr")?.as_bytes());
    mac.update(b"\n");
    mac.update(expires.as_bytes());
    mac.verify_slice(&signature).map_err(|_| TokenError::WrongSignature)?;
    let expires: i64 = expires.parse().map_err(|_| TokenError::Malformed)?;
    if expires <= OffsetDateTime::now_utc().unix_timestamp() {
        return Err(TokenError::Expired);
    }
    Ok(())
}
