//! Authenticates callers: by an account shared access signature, or by the account key
//! (`SharedKey`, `SharedKeyLite`). The signed texts are documented in "Create an account SAS" and
//! "Authorize with Shared Key" of the REST reference of Azure Storage.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
};

use axum::http::{HeaderMap, Method};
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::well_known::Rfc3339,
    macros::format_description,
};

use super::{
    operation::{Query, Right},
    refusal::Refusal,
};

/// From this version on, the signed text of an account signature has a line for the encryption
/// scope.
const ENCRYPTION_SCOPE_SINCE: &str = "2020-12-06";

/// The only account of the local queue service.
#[derive(Clone)]
pub struct StorageAccount {
    /// The account name, the first part of every path.
    pub name: String,
    pub key: String,
}

impl Debug for StorageAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageAccount").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The parts of a request that its signature covers.
pub(super) struct Signed<'a> {
    pub method: &'a Method,
    /// The path as sent, still encoded.
    pub path: &'a str,
    pub query: &'a Query,
    pub headers: &'a HeaderMap,
    pub body_length: usize,
}

impl StorageAccount {
    /// Checks that the request was signed with the key, or has a signature made with the key that
    /// allows the operation.
    pub(super) fn check(&self, request: &Signed<'_>, right: Right) -> Result<(), Refusal> {
        if request.query.contains_key("sig") {
            return self.check_signature(request, right);
        }
        let header = request.header("authorization");
        let Some((scheme, (account, signature))) =
            header.split_once(' ').and_then(|(scheme, rest)| Some((scheme, rest.split_once(':')?)))
        else {
            return Err(Refusal::AuthenticationFailed);
        };
        let text = match scheme {
            "SharedKey" => self.shared_key_text(request),
            "SharedKeyLite" => self.shared_key_lite_text(request),
            _ => return Err(Refusal::AuthenticationFailed),
        };
        if account == self.name && self.verify(&text, signature) {
            Ok(())
        } else {
            Err(Refusal::AuthenticationFailed)
        }
    }

    /// Checks the signature first, then its time, then its permissions, as Azurite does.
    fn check_signature(&self, request: &Signed<'_>, right: Right) -> Result<(), Refusal> {
        let field = |name: &str| request.query.get(name).map(String::as_str).unwrap_or_default();
        let mut text = [
            self.name.as_str(),
            field("sp"),
            field("ss"),
            field("srt"),
            field("st"),
            field("se"),
            field("sip"),
            field("spr"),
            field("sv"),
        ]
        .join("\n");
        text.push('\n');
        // Versions are dates, so their texts sort in the same order.
        if field("sv") >= ENCRYPTION_SCOPE_SINCE {
            text.push_str(field("ses"));
            text.push('\n');
        }
        if !self.verify(&text, field("sig")) {
            return Err(Refusal::AuthenticationFailed);
        }
        let now = OffsetDateTime::now_utc();
        let has_begun =
            field("st").is_empty() || moment(field("st")).is_some_and(|starts| starts <= now);
        let has_ended = moment(field("se")).is_none_or(|expires| expires < now);
        if !has_begun || has_ended {
            return Err(Refusal::AuthenticationFailed);
        }
        if field("spr") == "https" {
            return Err(Refusal::ProtocolMismatch);
        }
        let allows = |name: &str, one_of: &str| field(name).contains(|c| one_of.contains(c));
        if !allows("ss", "q") {
            return Err(Refusal::ServiceMismatch);
        }
        if !allows("srt", right.resource_types) {
            return Err(Refusal::ResourceTypeMismatch);
        }
        if !allows("sp", right.rights) {
            return Err(Refusal::PermissionMismatch);
        }
        Ok(())
    }

    fn shared_key_text(&self, request: &Signed<'_>) -> String {
        let length = match request.body_length {
            0 => String::new(),
            length => length.to_string(),
        };
        let mut text = [
            request.method.as_str(),
            request.header("content-encoding"),
            request.header("content-language"),
            &length,
            request.header("content-md5"),
            request.header("content-type"),
            request.date(),
            request.header("if-modified-since"),
            request.header("if-match"),
            request.header("if-none-match"),
            request.header("if-unmodified-since"),
            request.header("range"),
        ]
        .join("\n");
        text.push('\n');
        request.push_own_headers(&mut text);
        text.push_str(&format!("/{}{}", self.name, request.path));
        for (name, value) in request.query {
            text.push_str(&format!("\n{name}:{value}"));
        }
        text
    }

    fn shared_key_lite_text(&self, request: &Signed<'_>) -> String {
        let mut text = [
            request.method.as_str(),
            request.header("content-md5"),
            request.header("content-type"),
            request.date(),
        ]
        .join("\n");
        text.push('\n');
        request.push_own_headers(&mut text);
        text.push_str(&format!("/{}{}", self.name, request.path));
        if let Some(component) = request.query.get("comp") {
            text.push_str(&format!("?comp={component}"));
        }
        text
    }

    fn verify(&self, text: &str, signature: &str) -> bool {
        let (Ok(key), Ok(signature)) =
            (BASE64_STANDARD.decode(&self.key), BASE64_STANDARD.decode(signature))
        else {
            return false;
        };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else {
            return false;
        };
        mac.update(text.as_bytes());
        mac.verify_slice(&signature).is_ok()
    }
}

impl Signed<'_> {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The `date` header; empty if there is `x-ms-date`, which is signed with the other `x-ms-`
    /// headers.
    fn date(&self) -> &str {
        if self.headers.contains_key("x-ms-date") {
            return "";
        }
        self.header("date")
    }

    fn push_own_headers(&self, text: &mut String) {
        let own: BTreeMap<&str, &str> = self
            .headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("x-ms-"))
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        for (name, value) in own {
            text.push_str(&format!("{name}:{}\n", value.trim()));
        }
    }
}

/// Parses a time of a signature: a full time, a time without seconds, or a day.
fn moment(text: &str) -> Option<OffsetDateTime> {
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(moment);
    }
    let minutes = format_description!("[year]-[month]-[day]T[hour]:[minute]Z");
    let day = format_description!("[year]-[month]-[day]");
    PrimitiveDateTime::parse(text, minutes)
        .or_else(|_| time::Date::parse(text, day).map(time::Date::midnight))
        .ok()
        .map(PrimitiveDateTime::assume_utc)
}
