//! Checking the shared access signatures that senders and receivers bring.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use sha2::Sha256;
use time::OffsetDateTime;

use super::rest::ServiceBusAccess;

/// Why a signature is refused; the endpoint answers 401 with these words.
pub(super) fn check(access: &ServiceBusAccess, header: Option<&str>) -> Result<(), String> {
    let header = header.ok_or("MissingToken: the request has no Authorization header")?;
    let token = header
        .strip_prefix("SharedAccessSignature ")
        .ok_or("InvalidToken: Authorization is not a SharedAccessSignature")?;
    let field = |name: &str| {
        token
            .split('&')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(|| format!("InvalidToken: the signature lacks {name}"))
    };
    if field("skn")? != access.key_name {
        return Err("InvalidSignature: no such key name".to_owned());
    }
    let expires: i64 = field("se")?
        .parse()
        .map_err(|_| "InvalidToken: se is not a time".to_owned())?;
    if expires <= OffsetDateTime::now_utc().unix_timestamp() {
        return Err("ExpiredToken: the signature has expired".to_owned());
    }
    let given = percent_decode_str(field("sig")?).decode_utf8_lossy();
    let given = BASE64_STANDARD
        .decode(given.as_bytes())
        .map_err(|_| "InvalidToken: sig is not base64".to_owned())?;
    let mut mac = Hmac::<Sha256>::new_from_slice(access.key.as_bytes()).map_err(|error| error.to_string())?;
    mac.update(format!("{}\n{expires}", field("sr")?).as_bytes());
    mac.verify_slice(&given)
        .map_err(|_| "InvalidSignature: the token has an invalid signature".to_owned())
}
