//! An address that is notified: which are allowed, and of which jobs it is told.

use std::fmt;

use url::Url;

use super::{AllowedHosts, is_public, literal_address};
use crate::{config::endpoint::without_query, model::Labels};

/// Longest address, in bytes.
const LONGEST: usize = 2000;

/// The beginning of a label in an entry of the setting.
const LABEL: &str = "label.";

/// An address that may be called. It prints without its query, which may have a key.
#[derive(Clone, PartialEq, Eq)]
pub struct NotificationAddress(Url);

impl NotificationAddress {
    /// Checks an address by itself: whether its host is allowed is the business of the caller, unless it is
    /// plain HTTP or not public.
    ///
    /// # Errors
    /// The problem, without the address, which may have a key in any place.
    pub fn checked(text: &str, allowed: &AllowedHosts) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it has more than {LONGEST} bytes"));
        }
        let url = Url::parse(text).map_err(|error| format!("it is not an address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err("it does not begin with https://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it has a user or a password".to_owned());
        }
        if url.fragment().is_some() {
            return Err("it has a fragment, which is never sent".to_owned());
        }
        if allowed.names(&url) {
            return Ok(Self(url));
        }
        let named =
            "only to hosts that NOTIFY_ALLOWED_HOSTS names, without a wildcard and with their port";
        if url.scheme() == "http" {
            return Err(format!("it is plain HTTP, which is allowed {named}"));
        }
        if literal_address(&url).is_some_and(|address| !is_public(address)) {
            return Err(format!(
                "it is not an address of the public internet; others are allowed {named}"
            ));
        }
        Ok(Self(url))
    }

    /// The address itself, for the one place that calls it.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for NotificationAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_query(&self.0))
    }
}

impl fmt::Debug for NotificationAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A label and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// The value that it has.
    pub value: String,
}

/// An address of the setting, and the jobs of which it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutedAddress {
    /// A job must have all of these labels.
    pub labels: Vec<Label>,
    /// What is called.
    pub address: NotificationAddress,
}

impl RoutedAddress {
    /// Parses `https://…` or `label.team=roads https://…`.
    ///
    /// # Errors
    /// The problem, without the address.
    pub(super) fn parse(entry: &str, allowed: &AllowedHosts) -> Result<Self, String> {
        let mut parts: Vec<&str> = entry.split_whitespace().collect();
        let address = parts.pop().unwrap_or_default();
        let label = |part: &str| {
            let (name, value) = part.strip_prefix(LABEL)?.split_once('=')?;
            let is_said = !name.is_empty() && !value.is_empty();
            is_said.then(|| Label { name: name.to_owned(), value: value.to_owned() })
        };
        let labels: Option<Vec<Label>> = parts.into_iter().map(label).collect();
        let labels = labels.ok_or("what precedes it is not label.NAME=VALUE")?;
        Ok(Self { labels, address: NotificationAddress::checked(address, allowed)? })
    }

    /// Whether the address is told of a job with these labels.
    pub fn is_told_of(&self, labels: &Labels) -> bool {
        self.labels.iter().all(|label| labels.get(&label.name) == Some(&*label.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(hosts: &[&str]) -> AllowedHosts {
        let mut allowed = AllowedHosts::default();
        for host in hosts {
            allowed.add(host).unwrap();
        }
        allowed
    }

    #[test]
    fn addresses_are_public_https_or_named() {
        let none = AllowedHosts::default();
        for text in ["https://hooks.example.org/a?sig=x", "https://1.1.1.1:8443/"] {
            NotificationAddress::checked(text, &none).unwrap();
        }
        for (text, said) in [
            ("hooks.example.org", "not an address"),
            ("ftp://hooks.example.org/", "does not begin with https://"),
            ("file:///etc/passwd", "does not begin with https://"),
            ("https://", "not an address"),
            ("https://u:hunter2@hooks.example.org/", "a user or a password"),
            ("https://hooks.example.org/#a", "a fragment"),
            ("http://hooks.example.org/", "plain HTTP"),
            ("https://169.254.169.254/metadata", "public internet"),
            ("https://0xa9fea9fe/", "public internet"),
            ("https://[::ffff:10.0.0.1]/", "public internet"),
            ("https://127.0.0.1/", "public internet"),
            (&format!("https://a.example/{}", "a".repeat(2000)), "2000 bytes"),
        ] {
            let problem = NotificationAddress::checked(text, &none).unwrap_err();
            assert!(problem.contains(said) && !problem.contains("hunter2"), "{text}: {problem}");
        }
        let named = allowed(&["127.0.0.1:9000", "hooks.internal", "*.example.org"]);
        for text in ["http://127.0.0.1:9000/", "http://hooks.internal/"] {
            NotificationAddress::checked(text, &named).unwrap();
        }
        for text in ["http://127.0.0.1:9001/", "http://a.example.org/"] {
            NotificationAddress::checked(text, &named).unwrap_err();
        }
    }

    #[test]
    fn an_address_prints_without_its_query() {
        let none = AllowedHosts::default();
        let address =
            NotificationAddress::checked("https://a.example:8443/b?sig=topsecret", &none).unwrap();
        assert_eq!(format!("{address} {address:?}"), ["https://a.example:8443/b"; 2].join(" "));
    }

    #[test]
    fn labels_select_the_jobs_of_an_address() {
        let none = AllowedHosts::default();
        let parse = |text: &str| RoutedAddress::parse(text, &none);
        let of = |pairs: &[(&str, &str)]| {
            let labels =
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Labels::of(labels).unwrap()
        };
        let all = parse("https://a.example/").unwrap();
        let roads = parse("label.team=roads  label.env=prod https://a.example/").unwrap();
        assert!(all.is_told_of(&of(&[])) && all.is_told_of(&of(&[("team", "roads")])));
        assert!(roads.is_told_of(&of(&[("team", "roads"), ("env", "prod"), ("by", "ada")])));
        for labels in [&[][..], &[("team", "roads")], &[("team", "rivers"), ("env", "prod")]] {
            assert!(!roads.is_told_of(&of(labels)), "{labels:?}");
        }
        for text in [
            "team=roads https://a.example/",
            "label.team https://a.example/",
            "label.=roads https://a.example/",
            "label.team= https://a.example/",
            "https://a.example/ label.team=roads",
        ] {
            parse(text).unwrap_err();
        }
    }
}
