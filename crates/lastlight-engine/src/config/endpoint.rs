//! Addresses in settings: whether they are this machine, and whether they are allowed. A password,
//! a key or a signature in an address would be printed with it, so an address may have only a host,
//! a port and a path.

use std::net::IpAddr;

use url::Url;

use super::env::shown;

/// Whether a host is this machine, so that traffic to it cannot be read on a network.
pub fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// An address is shown up to this number of characters.
const SHOWN: usize = 200;

/// The address without user, query and fragment, which may have keys.
pub(crate) fn without_query(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let address =
        format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path());
    match address.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &address[..end]),
        None => address,
    }
}

/// Parses the address of a service and appends a missing final `/`: HTTPS, or HTTP to this machine.
///
/// # Errors
/// The problem; `name` is the subject of the message.
pub(super) fn checked(name: &str, text: &str) -> Result<Url, String> {
    let not_an_address =
        || format!("{name} {} is not an address that starts with https://", shown(text));
    let url = Url::parse(text).map_err(|_| not_an_address())?;
    let Some(host) = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")) else {
        return Err(not_an_address());
    };
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{name} must not contain a user, a query or a signature"));
    }
    if url.scheme() == "http" && !is_this_machine(host) {
        return Err(format!(
            "{name} is http://{host}: plain HTTP is allowed only to this machine, since keys and messages could be \
             read in transit"
        ));
    }
    let mut url = url;
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_are_this_machine() {
        for host in
            ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"]
        {
            assert!(is_this_machine(host), "{host}");
        }
        for host in
            ["0.0.0.0", "10.0.0.1", "localhost.example.com", "127.0.0.1.example.com", "::2", ""]
        {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn addresses_are_https_or_local_without_secrets() {
        assert_eq!(checked("E", "https://a.example/x").unwrap().as_str(), "https://a.example/x/");
        assert_eq!(
            checked("E", "http://127.0.0.1:5300").unwrap().as_str(),
            "http://127.0.0.1:5300/"
        );
        for (text, words) in [
            ("http://a.example/", "http://a.example: plain HTTP is allowed only to this machine"),
            (
                "http://10.0.0.4:10001/devstoreaccount1",
                "plain HTTP is allowed only to this machine",
            ),
            ("https://a.example/?sv=1&sig=topsecret", "must not contain a user"),
            ("https://user:topsecret@a.example/", "must not contain a user"),
            ("ftp://a.example/", "is not an address"),
            ("a.example", "is not an address"),
            ("https://", "is not an address"),
        ] {
            let problem = checked("E", text).unwrap_err();
            assert!(problem.contains(words), "{text}: {problem}");
            assert!(!problem.contains("topsecret"), "{problem}");
        }
    }
}
