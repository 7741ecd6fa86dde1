//! The addresses that the built-in handler `http_call` may call.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::Url;

use super::{Env, endpoint, reference as setting};

/// Maximum number of times that a path is decoded in search of `..`: a server behind a proxy may
/// decode it twice.
const MOST_DECODED: usize = 4;

/// The addresses that may be called, each a scheme, a host, a port and the beginning of a path.
/// Empty unless the setting names some: whoever may submit a job chooses the URL of a call, which
/// would otherwise reach everything that this process can reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpCallAllow(Vec<Url>);

impl HttpCallAllow {
    /// The name of the setting.
    pub const SETTING: &str = setting::HTTP_CALL_ALLOW.name;

    /// Reads the setting; problems are recorded in `env`.
    pub fn from_env(env: &mut Env) -> Self {
        let Some(text) = env.get(&setting::HTTP_CALL_ALLOW).map(str::to_owned) else {
            return Self::default();
        };
        let mut allowed = Vec::new();
        for address in text.split(',').map(str::trim).filter(|address| !address.is_empty()) {
            match endpoint::checked("the address", address) {
                Ok(url) => allowed.push(url),
                Err(problem) => {
                    let remedy = "Separate addresses by commas: https://api.example.com, or \
                                  https://api.example.com/v1/ for what is below this path.";
                    env.problem(Self::SETTING, problem, remedy);
                }
            }
        }
        Self(allowed)
    }

    /// Whether no address may be called.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the URL has the scheme, host and port of an allowed address, and a path that is its
    /// path or below it.
    pub fn allows(&self, url: &Url) -> bool {
        // `Url` has brought host, port and path into one form: names in lower case, addresses of
        // the protocol IPv4 with four numbers, no port that is the scheme's own, no `.` and `..`.
        self.0.iter().any(|allowed| {
            let is_there = allowed.scheme() == url.scheme()
                && allowed.host() == url.host()
                && allowed.port_or_known_default() == url.port_or_known_default();
            is_there && (allowed.path() == "/" || is_below(allowed.path(), url.path()))
        })
    }
}

impl fmt::Display for HttpCallAllow {
    /// The addresses, which have no user and no query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<&str> = self.0.iter().map(Url::as_str).collect();
        f.write_str(&addresses.join(", "))
    }
}

/// Whether a path is `folder`, which ends in a slash, or below it.
fn is_below(folder: &str, path: &str) -> bool {
    (path.starts_with(folder) || Some(path) == folder.strip_suffix('/')) && !leads_up(path)
}

/// Whether a server that decodes the path, or drops what follows a `;` in its parts, finds a `..` in
/// it. A URL in its one form still has those that are hidden in an encoded slash.
fn leads_up(path: &str) -> bool {
    let mut path = path.to_owned();
    for _ in 0..MOST_DECODED {
        let mut parts = path.split(['/', '\\']);
        if parts.any(|part| part.split(';').next() == Some("..")) {
            return true;
        }
        let decoded = percent_decode_str(&path).decode_utf8_lossy().into_owned();
        if decoded == path {
            return false;
        }
        path = decoded;
    }
    // Encoded again and again: not for a service that anyone calls.
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(text: &str) -> HttpCallAllow {
        let mut env = Env::from_pairs([(HttpCallAllow::SETTING, text)]);
        let allow = HttpCallAllow::from_env(&mut env);
        env.finish().unwrap();
        allow
    }

    #[track_caller]
    fn assert_allows(setting: &str, allowed: &[&str], refused: &[&str]) {
        let allow = allow(setting);
        let asked = |text: &&&str| allow.allows(&Url::parse(text).unwrap());
        assert_eq!(allowed.iter().filter(|text| !asked(text)).collect::<Vec<_>>(), [&""; 0]);
        assert_eq!(refused.iter().filter(asked).collect::<Vec<_>>(), [&""; 0]);
    }

    #[test]
    fn nothing_is_allowed_without_the_setting() {
        let allow = HttpCallAllow::from_env(&mut Env::default());
        assert!(allow.is_empty() && !allow.allows(&Url::parse("https://localhost/").unwrap()));
    }

    #[test]
    fn an_origin_allows_its_paths_and_no_other_origin() {
        assert_allows(
            "https://api.example.com, http://127.0.0.1:9000",
            &[
                "https://api.example.com",
                "https://API.Example.COM:443/a/b?c=d#e",
                "https://api.example.com/a/../b",
                "https://api.example.com/..%2fb",
                "http://127.0.0.1:9000/a",
                "http://127.1:9000/a",
                "http://0x7f.0.0.1:9000/a",
            ],
            &[
                "http://api.example.com/",
                "https://api.example.com:8443/",
                "https://api.example.com.evil.example/",
                "https://api.example.com./",
                "https://evil.example/https://api.example.com/",
                "https://xapi.example.com/",
                "https://example.com/",
                "https://api.example.com@evil.example/",
                "http://127.0.0.1:9001/",
                "http://127.0.0.2:9000/",
                "https://127.0.0.1:9000/",
                "ftp://api.example.com/",
                "file:///etc/passwd",
            ],
        );
    }

    #[test]
    fn a_path_allows_what_is_below_it() {
        for setting in ["https://api.example.com/v1/", "https://api.example.com/v1"] {
            assert_allows(
                setting,
                &[
                    "https://api.example.com/v1",
                    "https://api.example.com/v1/",
                    "https://api.example.com/v1/tiles/3?size=2",
                    "https://api.example.com/v2/../v1/tiles",
                    "https://api.example.com/v1/projects/a%2Fb",
                    "https://api.example.com/v1/a..b/..c",
                ],
                &[
                    "https://api.example.com/",
                    "https://api.example.com/v10",
                    "https://api.example.com/V1/tiles",
                    "https://api.example.com/v1/../v2",
                    r"https://api.example.com/v1\..\v2",
                    "https://api.example.com/v1/%2e%2e/v2",
                    "https://api.example.com/v1/..%2fv2",
                    "https://api.example.com/v1/%2e%2e%2fv2",
                    "https://api.example.com/v1/%252e%252e%252fv2",
                    "https://api.example.com/v1/..%5cv2",
                    "https://api.example.com/v1/..;x=y/v2",
                    "https://api.example.com/v1/%25252525252e",
                    "https://api.example.com//v1/",
                ],
            );
        }
    }

    #[test]
    fn addresses_that_cannot_be_allowed_are_problems() {
        let mut env = Env::from_pairs([(
            HttpCallAllow::SETTING,
            "https://a.example,b.example,http://c.example,https://u:hunter2@d.example",
        )]);
        let allow = HttpCallAllow::from_env(&mut env);
        assert_eq!(allow.to_string(), "https://a.example/");
        let problems = env.finish().unwrap_err();
        assert_eq!(problems.problems.len(), 3, "{problems}");
        assert!(!problems.to_string().contains("hunter2"), "{problems}");
    }
}
