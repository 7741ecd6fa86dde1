//! Sends notifications: CloudEvents over HTTP, signed as Standard Webhooks says. Only to addresses that the settings allow; follows
//! no redirects, uses no proxy, and reads nothing of an answer but its status and `Retry-After`. Knows neither jobs nor the database.

mod resolver;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use sha2::Sha256;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use url::Url;
use uuid::Uuid;

use self::resolver::{Checked, NotPublic, SystemLookup};
use super::http::{client_builder, describe};
use crate::{
    config::{NotificationAddress, NotificationSettings, endpoint::without_query},
    model::clock,
};

pub use resolver::{Found, Lookup};

/// One event in JSON with its envelope.
const CLOUD_EVENT: HeaderValue =
    HeaderValue::from_static("application/cloudevents+json; charset=utf-8");

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// The key of a topic of Azure Event Grid, and the hosts of such topics.
const TOPIC_KEY: HeaderName = HeaderName::from_static("aeg-sas-key");
const TOPICS: [&str; 3] = [".eventgrid.azure.net", ".eventgrid.azure.us", ".eventgrid.azure.cn"];

/// Sends notifications, to whom the settings say.
#[derive(Debug)]
pub struct Webhooks {
    settings: NotificationSettings,
    lookup: Arc<dyn Lookup>,
    /// For hosts that must be public.
    public: OnceLock<reqwest::Client>,
    /// For hosts that the settings name.
    named: OnceLock<reqwest::Client>,
}

/// Why a notification was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDelivered {
    /// Another attempt may succeed, but not before the time that the receiver named.
    Later { reason: String, after: Option<Duration> },
    /// There was no answer: what else is to be sent there would wait as long.
    Silent { reason: String },
    /// The address may not be called, or wants no more notifications.
    Never { reason: String },
}

impl fmt::Display for NotDelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later { reason, .. } | Self::Silent { reason } | Self::Never { reason } => {
                f.write_str(reason)
            }
        }
    }
}

impl Default for Webhooks {
    /// Nobody is notified.
    fn default() -> Self {
        Self::new(NotificationSettings::default())
    }
}

impl Webhooks {
    pub fn new(settings: NotificationSettings) -> Self {
        Self::with_lookup(settings, Arc::new(SystemLookup))
    }

    /// With another way to find the addresses of names.
    pub fn with_lookup(settings: NotificationSettings, lookup: Arc<dyn Lookup>) -> Self {
        Self { settings, lookup, public: OnceLock::new(), named: OnceLock::new() }
    }

    pub fn settings(&self) -> &NotificationSettings {
        &self.settings
    }

    /// Sends a notification once.
    ///
    /// # Errors
    /// It was not delivered, or no answer says that it was.
    pub async fn send(&self, id: Uuid, address: &str, body: &str) -> Result<(), NotDelivered> {
        let never = |reason: String| NotDelivered::Never { reason };
        let address = NotificationAddress::checked(address, &self.settings.allowed)
            .map_err(|problem| never(format!("the address is refused: {problem}")))?;
        let of_settings = self.settings.addresses.iter().any(|one| one.address == address);
        if !of_settings && !self.settings.allowed.allows(address.url()) {
            return Err(never(
                "the address is refused: NOTIFY_ALLOWED_HOSTS does not allow its host, and NOTIFY_URLS does not name it"
                    .to_owned(),
            ));
        }
        let headers = self.headers(id, &address, of_settings, body)?;
        let client = self.client(self.settings.allowed.names(address.url()))?;
        let answer = client
            .post(address.url().clone())
            .timeout(self.settings.timeout)
            .headers(headers)
            .body(body.to_owned())
            .send()
            .await
            .map_err(unanswered)?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(refused(status, answer.headers(), address.url())),
        }
    }

    fn headers(
        &self,
        id: Uuid,
        address: &NotificationAddress,
        of_settings: bool,
        body: &str,
    ) -> Result<HeaderMap, NotDelivered> {
        let unwritable =
            |_| NotDelivered::Never { reason: "a header cannot be written".to_owned() };
        let seconds = clock::now().unix_timestamp();
        let id = id.to_string();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, CLOUD_EVENT);
        headers.insert(TIMESTAMP, HeaderValue::from(seconds));
        if let Some(signature) = self.signature(&id, seconds, body) {
            headers.insert(SIGNATURE, HeaderValue::from_str(&signature).map_err(unwritable)?);
        }
        headers.insert(ID, HeaderValue::from_str(&id).map_err(unwritable)?);
        // A job that names a topic of somebody else must not get the key of the app's.
        let is_topic = address
            .url()
            .host_str()
            .is_some_and(|host| TOPICS.iter().any(|topics| host.ends_with(topics)));
        if let Some(key) = self.settings.event_grid_key.as_ref().filter(|_| of_settings && is_topic)
        {
            let mut key = HeaderValue::from_str(key.expose()).map_err(unwritable)?;
            key.set_sensitive(true);
            headers.insert(TOPIC_KEY, key);
        }
        Ok(headers)
    }

    /// One signature for each secret, separated by spaces.
    fn signature(&self, id: &str, seconds: i64, body: &str) -> Option<String> {
        let signatures = self.settings.secrets.iter().filter_map(|secret| {
            // HMAC accepts keys of any length.
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose()).ok()?;
            mac.update(format!("{id}.{seconds}.{body}").as_bytes());
            Some(format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())))
        });
        let signatures: Vec<String> = signatures.collect();
        (!signatures.is_empty()).then(|| signatures.join(" "))
    }

    /// The client for hosts that the settings name, or for all others; made on first use.
    fn client(&self, is_named: bool) -> Result<&reqwest::Client, NotDelivered> {
        let slot = if is_named { &self.named } else { &self.public };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let client = client_builder()
            .user_agent(concat!("lastlight/", env!("CARGO_PKG_VERSION")))
            // A proxy would look up the name itself, and call what this process may not.
            .no_proxy()
            .dns_resolver(Arc::new(Checked {
                lookup: Arc::clone(&self.lookup),
                allows_private: is_named,
            }))
            .build()
            .map_err(|error| NotDelivered::Later {
                reason: format!("no HTTP client can be made: {}", describe(&error)),
                after: None,
            })?;
        Ok(slot.get_or_init(|| client))
    }
}

/// Why there was no answer.
fn unanswered(error: reqwest::Error) -> NotDelivered {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(one) = cause {
        if let Some(refused) = one.downcast_ref::<NotPublic>() {
            return NotDelivered::Never { reason: format!("the address is refused: {refused}") };
        }
        cause = one.source();
    }
    NotDelivered::Silent { reason: describe(&error) }
}

/// What an answer means that is none of success. As Standard Webhooks advises, only 410 ends the attempts: everything else may be
/// repaired within a day.
fn refused(status: StatusCode, headers: &HeaderMap, url: &Url) -> NotDelivered {
    if status == StatusCode::GONE {
        let reason = format!("status {status}: the receiver wants no more notifications");
        return NotDelivered::Never { reason };
    }
    if status.is_redirection() {
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let to = location.and_then(|location| url.join(location).ok());
        let to = to.map_or_else(|| "nowhere".to_owned(), |to| without_query(&to));
        let reason = format!(
            "status {status} points to {to}, and redirects are not followed: name the new address"
        );
        return NotDelivered::Later { reason, after: None };
    }
    let after =
        headers.get(RETRY_AFTER).and_then(|later| later.to_str().ok()).and_then(retry_after);
    NotDelivered::Later { reason: format!("status {status}"), after }
}

/// `Retry-After`: a number of seconds, or a time.
fn retry_after(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // HTTP writes the zone as GMT.
    let text = text.strip_suffix("GMT").map(|text| format!("{text}+0000"))?;
    let until = OffsetDateTime::parse(&text, &Rfc2822).ok()?;
    (until - clock::now()).try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    fn webhooks(pairs: &[(&str, &str)]) -> Webhooks {
        let mut env = Env::from_pairs(pairs.iter().copied());
        let settings = NotificationSettings::from_env(&mut env);
        env.finish().unwrap();
        Webhooks::new(settings)
    }

    fn headers(webhooks: &Webhooks, address: &str) -> HeaderMap {
        let address = NotificationAddress::checked(address, &webhooks.settings.allowed).unwrap();
        let of_settings = webhooks.settings.addresses.iter().any(|one| one.address == address);
        webhooks.headers(Uuid::nil(), &address, of_settings, "{}").unwrap()
    }

    #[test]
    fn signatures_are_those_of_the_specification() {
        // The example of the libraries of Standard Webhooks.
        let webhooks = webhooks(&[("NOTIFY_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]);
        let body = r#"{"test": 2432232314}"#;
        assert_eq!(
            webhooks.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body).unwrap(),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_new_secret_signs_beside_the_old_one() {
        let one = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        let two = "whsec_YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=";
        let sign =
            |secret: &str| webhooks(&[("NOTIFY_SECRET", secret)]).signature("a", 1, "b").unwrap();
        assert_eq!(sign(&format!("{one},{two}")), format!("{} {}", sign(one), sign(two)));
        assert!(!headers(&webhooks(&[]), "https://a.example/").contains_key(SIGNATURE));
    }

    #[test]
    fn only_topics_of_the_settings_get_their_key() {
        let topic = "https://roads.westeurope-1.eventgrid.azure.net/api/events";
        let webhooks = webhooks(&[
            ("NOTIFY_EVENT_GRID_KEY", "topic-key"),
            ("NOTIFY_URLS", &format!("{topic},https://a.example/")),
        ]);
        let of_topic = headers(&webhooks, topic);
        assert_eq!(of_topic[TOPIC_KEY], "topic-key");
        assert!(!format!("{of_topic:?}").contains("topic-key"));
        for other in [
            "https://a.example/",
            "https://evil.westeurope-1.eventgrid.azure.net/api/events",
            "https://eventgrid.azure.net.evil.example/",
        ] {
            assert!(!headers(&webhooks, other).contains_key(TOPIC_KEY), "{other}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_time() {
        assert_eq!(retry_after(" 120 "), Some(Duration::from_secs(120)));
        let until = (clock::now() + Duration::from_secs(600)).format(&Rfc2822).unwrap();
        let until = until.replace("+0000", "GMT");
        let after = retry_after(&until).unwrap();
        assert!((590..=600).contains(&after.as_secs()), "{until}: {after:?}");
        for text in ["", "soon", "-1", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(retry_after(text), None, "{text}");
        }
    }
}
