//! Whom the app notifies of the ends of jobs and of gates that wait, and how it signs. Sends nothing.

mod address;
mod hosts;

use std::{fmt, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{Env, Secret, reference as setting};

pub use address::{Label, NotificationAddress, RoutedAddress};
pub use hosts::{AllowedHosts, is_public, literal_address};

/// Maximum number of addresses in the setting.
const MOST_ADDRESSES: usize = 50;

/// Sizes of a signing secret, in bytes, as Standard Webhooks has them.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

const SECRET_PREFIX: &str = "whsec_";

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Whom to notify, and how.
#[derive(Debug, Clone)]
pub struct NotificationSettings {
    /// `NOTIFY_URLS`: the addresses that are told of every job, or of those with a label.
    pub addresses: Vec<RoutedAddress>,
    /// `NOTIFY_ALLOWED_HOSTS`: the hosts that jobs may name, and those that may be private.
    pub allowed: AllowedHosts,
    /// `NOTIFY_SECRET`: the secrets of the signatures; several while one takes the place of another.
    pub secrets: Vec<SigningSecret>,
    /// `NOTIFY_EVENT_GRID_KEY`: sent to topics of Event Grid in [`Self::addresses`] only.
    pub event_grid_key: Option<Secret>,
    /// The name of the app in what is sent: the `source` of an event.
    pub source: String,
    /// The host at which the app answers, if it is known.
    pub host: Option<String>,
    /// How long one request may take.
    pub timeout: Duration,
}

impl Default for NotificationSettings {
    /// Nobody is notified.
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            allowed: AllowedHosts::default(),
            secrets: Vec::new(),
            event_grid_key: None,
            source: "/lastlight".to_owned(),
            host: None,
            timeout: TIMEOUT,
        }
    }
}

/// A secret that signs notifications, as Standard Webhooks writes it: `whsec_` and bytes in base64.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

impl SigningSecret {
    /// `None` if the text is not such a secret.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text.strip_prefix(SECRET_PREFIX)?).ok()?;
        SECRET_BYTES.contains(&bytes.len()).then_some(Self(bytes))
    }

    /// The bytes, for the one place that signs.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl NotificationSettings {
    /// Reads the settings; problems are recorded in `env`.
    pub fn from_env(env: &mut Env) -> Self {
        let allowed = allowed_hosts(env);
        let addresses = addresses(env, &allowed);
        let secrets = secrets(env);
        let event_grid_key = env.get(&setting::NOTIFY_EVENT_GRID_KEY).map(str::to_owned);
        if let Some(key) = &event_grid_key
            && http::HeaderValue::from_str(key).is_err()
        {
            env.problem(
                setting::NOTIFY_EVENT_GRID_KEY.name,
                "has characters that a header cannot contain",
                "Copy key 1 or key 2 from the access keys of the topic.",
            );
        }
        let site = env.get(&setting::WEBSITE_SITE_NAME).map(str::to_owned);
        let host = env.get(&setting::WEBSITE_HOSTNAME).map(str::to_owned);
        let source = match site.as_ref().or(host.as_ref()) {
            Some(name) => format!("/lastlight/{}", path_segment(name)),
            None => Self::default().source,
        };
        let event_grid_key = event_grid_key.map(Secret::new);
        Self { addresses, allowed, secrets, event_grid_key, source, host, timeout: TIMEOUT }
    }

    /// Whether any job can have somebody to notify.
    pub fn is_used(&self) -> bool {
        !self.addresses.is_empty() || !self.allowed.is_empty()
    }
}

/// A name as a part of a URI.
fn path_segment(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%2D", "-")
        .replace("%2E", ".")
}

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn allowed_hosts(env: &mut Env) -> AllowedHosts {
    let mut allowed = AllowedHosts::default();
    let Some(text) = env.get(&setting::NOTIFY_ALLOWED_HOSTS).map(str::to_owned) else {
        return allowed;
    };
    for host in listed(&text) {
        if let Err(problem) = allowed.add(host) {
            let remedy = "Separate hosts by commas: hooks.example.org, *.example.org for all names below it, \
                          10.1.2.3:8080 with a port, [fd00::1] for IPv6.";
            env.problem(setting::NOTIFY_ALLOWED_HOSTS.name, problem, remedy);
        }
    }
    allowed
}

fn addresses(env: &mut Env, allowed: &AllowedHosts) -> Vec<RoutedAddress> {
    let Some(text) = env.get(&setting::NOTIFY_URLS).map(str::to_owned) else {
        return Vec::new();
    };
    let remedy = "Separate addresses by commas: https://hooks.example.org/jobs, or \
                  label.team=roads https://hooks.example.org/roads for the jobs with this label. Write %2C for a comma in \
                  an address.";
    let mut addresses = Vec::new();
    for (number, entry) in (1..).zip(listed(&text)) {
        match RoutedAddress::parse(entry, allowed) {
            Ok(address) => addresses.push(address),
            // The entry is not shown: an address may have a key in any place.
            Err(problem) => {
                let problem = format!("address {number}: {problem}");
                env.problem(setting::NOTIFY_URLS.name, problem, remedy);
            }
        }
    }
    if addresses.len() > MOST_ADDRESSES {
        let problem =
            format!("has {} addresses; at most {MOST_ADDRESSES} are allowed", addresses.len());
        env.problem(setting::NOTIFY_URLS.name, problem, remedy);
    }
    addresses
}

fn secrets(env: &mut Env) -> Vec<SigningSecret> {
    let Some(text) = env.get(&setting::NOTIFY_SECRET).map(str::to_owned) else {
        return Vec::new();
    };
    let secrets: Option<Vec<SigningSecret>> = listed(&text).map(SigningSecret::parse).collect();
    secrets.unwrap_or_else(|| {
        env.problem(
            setting::NOTIFY_SECRET.name,
            "is not whsec_ and the base64 of 24 to 64 bytes",
            "Make one: echo \"whsec_$(openssl rand -base64 32)\". While receivers change from one to another, name both, \
             separated by a comma.",
        );
        Vec::new()
    })
}
