//! An account's shared access signature for one of its services, since the SDK does not support
//! account keys. The signed text is documented in "Create an account SAS", version 2020-12-06 and later.

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use time::{Duration, macros::format_description};
use url::Url;

use crate::{config::Secret, model::clock, transport::http::signature};

/// How long a signature is valid: twice the lifetime of its clients.
pub(super) const LIVES: Duration = Duration::hours(24);

/// A signature is valid from this long ago, since clocks differ.
const SKEW: Duration = Duration::minutes(15);

const VERSION: &str = "2021-12-02";

/// What a signature allows.
#[derive(Debug, Clone, Copy)]
pub(in crate::transport) enum Rights {
    /// Everything with queues and their messages.
    Queues,
    /// Reading blobs.
    ReadBlobs,
    /// Writing, reading and listing the blobs of a container.
    Container,
}

impl Rights {
    /// The service, its resource types and the permissions, each in letters.
    fn letters(self) -> [&'static str; 3] {
        match self {
            Self::Queues => ["q", "sco", "rwdlacup"],
            Self::ReadBlobs => ["b", "o", "r"],
            Self::Container => ["b", "co", "rwlc"],
        }
    }
}

/// The query string, without its `?`. Valid for HTTPS only if the endpoint uses HTTPS.
pub(super) fn account_signature(
    endpoint: &Url,
    account: &str,
    key: &Secret,
    rights: Rights,
) -> Secret {
    let [service, resources, permissions] = rights.letters();
    let protocols = if endpoint.scheme() == "https" { "https" } else { "https,http" };
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let now = clock::now();
    let starts = (now - SKEW).format(format).unwrap_or_default();
    let expires = (now + LIVES).format(format).unwrap_or_default();
    // The key was validated as base64 with the settings.
    let key = BASE64_STANDARD.decode(key.expose()).unwrap_or_default();
    let signed = signature(
        &key,
        &format!(
            "{account}\n{permissions}\n{service}\n{resources}\n{starts}\n{expires}\n\n{protocols}\n{VERSION}\n\n"
        ),
    );
    let quoted = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    Secret::new(format!(
        "sv={VERSION}&ss={service}&srt={resources}&sp={permissions}&st={}&se={}&spr={}&sig={}",
        quoted(&starts),
        quoted(&expires),
        quoted(protocols),
        quoted(&signed)
    ))
}
