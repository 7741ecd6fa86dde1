//! Checking who asks: an account's shared access signature, or its key (`SharedKey`).
//! The texts that are signed: "Create an account SAS" and "Authorize with Shared Key" of Azure Storage's REST reference.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, Method};
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The one account of the local queue service.
#[derive(Debug, Clone)]
pub struct StorageAccount {
    /// Its name, the first part of every path.
    pub name: String,
    /// Its key, base64.
    pub key: String,
}

/// A request, as far as its signature covers it.
pub(super) struct Signed<'a> {
    pub method: &'a Method,
    /// As it was sent, still encoded.
    pub path: &'a str,
    /// Decoded, by lower-case name.
    pub query: &'a BTreeMap<String, String>,
    pub headers: &'a HeaderMap,
    pub body_length: usize,
}

impl StorageAccount {
    /// Whether the request comes from somebody who has the key, or a signature made with it.
    pub(super) fn admits(&self, request: &Signed<'_>) -> bool {
        if request.query.contains_key("sig") {
            return self.admits_signature(request);
        }
        let authorization = request
            .headers
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let Some(credentials) = authorization.and_then(|value| value.strip_prefix("SharedKey ")) else {
            return false;
        };
        match credentials.split_once(':') {
            Some((account, signature)) => {
                account == self.name && self.verify(&self.shared_key_text(request), signature)
            }
            None => false,
        }
    }

    fn admits_signature(&self, request: &Signed<'_>) -> bool {
        let field = |name: &str| request.query.get(name).map(String::as_str).unwrap_or_default();
        let moment = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
        let now = OffsetDateTime::now_utc();
        let is_in_time = moment(field("se")).is_some_and(|expires| expires > now)
            && (field("st").is_empty() || moment(field("st")).is_some_and(|starts| starts <= now));
        let needed = match *request.method {
            Method::GET | Method::HEAD => ['r', 'l', 'p'].as_slice(),
            Method::POST | Method::PUT => ['w', 'c', 'a', 'u'].as_slice(),
            _ => ['d', 'p'].as_slice(),
        };
        let is_permitted =
            field("ss").contains('q') && needed.iter().any(|right| field("sp").contains(*right));
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
        if field("sv") >= "2020-12-06" {
            text.push_str(field("ses"));
            text.push('\n');
        }
        is_in_time && is_permitted && self.verify(&text, field("sig"))
    }

    fn shared_key_text(&self, request: &Signed<'_>) -> String {
        let header = |name: &str| {
            request
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let length = if request.body_length == 0 {
            String::new()
        } else {
            request.body_length.to_string()
        };
        let date = if header("x-ms-date").is_empty() {
            header("date")
        } else {
            ""
        };
        let mut text = [
            request.method.as_str(),
            header("content-encoding"),
            header("content-language"),
            &length,
            header("content-md5"),
            header("content-type"),
            date,
            header("if-modified-since"),
            header("if-match"),
            header("if-none-match"),
            header("if-unmodified-since"),
            header("range"),
        ]
        .join("\n");
        text.push('\n');
        let own: BTreeMap<&str, &str> = request
            .headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("x-ms-"))
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        for (name, value) in own {
            text.push_str(&format!("{name}:{}\n", value.trim()));
        }
        text.push_str(&format!("/{}{}", self.name, request.path));
        for (name, value) in request.query {
            text.push_str(&format!("\n{name}:{value}"));
        }
        text
    }

    fn verify(&self, text: &str, signature: &str) -> bool {
        let (Ok(key), Ok(signature)) = (
            BASE64_STANDARD.decode(&self.key),
            BASE64_STANDARD.decode(signature),
        ) else {
            return false;
        };
        match Hmac::<Sha256>::new_from_slice(&key) {
            Ok(mut mac) => {
                mac.update(text.as_bytes());
                mac.verify_slice(&signature).is_ok()
            }
            Err(_) => false,
        }
    }
}
