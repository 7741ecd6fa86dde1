//! The address of the app, which contains no secret, and the URLs derived from it.

use std::{fmt, str::FromStr};

use url::Url;

use lastlight_engine::config::endpoint::is_this_machine;

/// The address of the app: `https://<app>.azurewebsites.net`, or `http://127.0.0.1:7071`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppAddress(Url);

impl FromStr for AppAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "expected https://<app>.azurewebsites.net or http://127.0.0.1:7071";
        let mut url = Url::parse(text.trim()).map_err(|error| format!("{error}; {wanted}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(format!("it does not begin with http:// or https://; {wanted}"));
        }
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return Err(format!(
                "it must contain no user, query or fragment; pass a key with --key or LASTLIGHT_KEY; {wanted}"
            ));
        }
        // The address of a function, if a user copied that, contains the prefix.
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/api").unwrap_or(path).to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }
}

impl fmt::Display for AppAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl AppAddress {
    /// The URL of a path of the API. Each element of `path` is one segment, whatever characters it
    /// contains.
    pub(super) fn of(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut steps) = url.path_segments_mut() {
            steps.pop_if_empty().push("api").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Whether requests are protected in transit: HTTPS, or an address on this machine.
    pub(super) fn is_private(&self) -> bool {
        self.0.scheme() == "https" || self.is_this_machine()
    }

    /// Whether the address is on this machine.
    pub fn is_this_machine(&self) -> bool {
        self.0.host_str().is_some_and(is_this_machine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> AppAddress {
        text.parse().unwrap()
    }

    #[test]
    fn urls_are_built_from_path_segments() {
        let url = |base: &str| address(base).of(&["jobs", "submit", "a/b ?"], &[("wait", "5")]);
        assert_eq!(
            url("http://127.0.0.1:7071/").as_str(),
            "http://127.0.0.1:7071/api/jobs/submit/a%2Fb%20%3F?wait=5"
        );
        assert_eq!(
            url("https://gateway.example/jobs/api/").as_str(),
            "https://gateway.example/jobs/api/jobs/submit/a%2Fb%20%3F?wait=5"
        );
    }

    #[test]
    fn addresses_with_secrets_are_rejected() {
        for text in [
            "https://a.example/?code=topsecret",
            "https://u:topsecret@a.example",
            "https://a.example/#topsecret",
        ] {
            let problem = text.parse::<AppAddress>().unwrap_err();
            assert!(problem.contains("--key") && !problem.contains("topsecret"), "{problem}");
        }
        assert!("localhost:7071".parse::<AppAddress>().is_err());
        assert!("ftp://a.example".parse::<AppAddress>().is_err());
        assert!("".parse::<AppAddress>().is_err());
    }

    #[test]
    fn plain_http_is_private_only_on_this_machine() {
        assert!(address("http://localhost:7071").is_private());
        assert!(address("https://a.example").is_private());
        assert!(!address("http://a.example").is_private());
    }
}
