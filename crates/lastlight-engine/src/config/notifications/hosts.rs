//! The hosts to which notifications may go, and which addresses of the network are public. Resolves no name.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use url::{Host, Url};

/// The hosts that a setting names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<AllowedHost>);

/// `hooks.example.org`, `*.example.org` or `10.1.2.3:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AllowedHost {
    host: Host<String>,
    /// The host stands for all names below it, and not for itself.
    is_wildcard: bool,
    /// Without one, the usual port of the URL's scheme.
    port: Option<u16>,
}

impl AllowedHosts {
    /// Adds a host.
    ///
    /// # Errors
    /// It is not a host, with what is allowed.
    pub(super) fn add(&mut self, text: &str) -> Result<(), String> {
        let host = AllowedHost::parse(text).ok_or_else(|| {
            format!("{} is not a host, with or without a port", crate::config::env::shown(text))
        })?;
        self.0.push(host);
        Ok(())
    }

    /// Whether no host is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the URL's host and port are named.
    pub fn allows(&self, url: &Url) -> bool {
        self.0.iter().any(|allowed| allowed.matches(url))
    }

    /// Whether they are named without a wildcard: such a host may be private, and plain HTTP.
    pub fn names(&self, url: &Url) -> bool {
        self.0.iter().any(|allowed| !allowed.is_wildcard && allowed.matches(url))
    }
}

impl fmt::Display for AllowedHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&hosts.join(", "))
    }
}

impl AllowedHost {
    fn parse(text: &str) -> Option<Self> {
        let (is_wildcard, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let is_plain = !name.contains(['/', '?', '#', '@', '*', '\\', '%']) && !name.ends_with(':');
        let has_port = name.rsplit_once(':').is_some_and(|(_, port)| {
            !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
        });
        // `Url` has no port that is the usual one of its scheme, so that one of two schemes has it.
        let parsed = |scheme: &str| Url::parse(&format!("{scheme}://{name}/")).ok();
        let (http, https) = (parsed("http")?, parsed("https")?);
        let port = http.port().or(https.port()).filter(|port| *port != 0);
        let host = http.host()?.to_owned();
        // A wildcard for all names below `org` would be a mistake.
        let is_broad = is_wildcard && !matches!(&host, Host::Domain(name) if name.contains('.'));
        (is_plain && !is_broad && has_port == port.is_some()).then_some(Self {
            host,
            is_wildcard,
            port,
        })
    }

    fn matches(&self, url: &Url) -> bool {
        let is_host = match (&self.host, url.host()) {
            (Host::Domain(allowed), Some(Host::Domain(name))) if self.is_wildcard => name
                .strip_suffix(allowed.as_str())
                .is_some_and(|below| below.len() > 1 && below.ends_with('.')),
            (allowed, Some(host)) => host.to_owned() == *allowed,
            (_, None) => false,
        };
        let is_port = match self.port {
            Some(port) => url.port_or_known_default() == Some(port),
            None => url.port().is_none(),
        };
        is_host && is_port
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wildcard = if self.is_wildcard { "*." } else { "" };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        write!(f, "{wildcard}{}{port}", self.host)
    }
}

/// The IP address that the URL itself names, if it does.
pub fn literal_address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// Whether an address is one of the public internet: neither private, nor of this machine, nor of the
/// link, nor reserved, nor one at which Azure answers its virtual machines.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_reserved = match (a, b) {
        // This network; addresses of carriers (CGNAT); measurements of networks.
        (0, _) | (100, 64..=127) | (198, 18..=19) => true,
        // For protocols; for relays of IPv6.
        (192, 0) => c == 0,
        (192, 88) => c == 99,
        // Multicast, and reserved.
        (224.., _) => true,
        _ => false,
    };
    !(is_reserved
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        // Azure's own services, on every virtual machine.
        || address == Ipv4Addr::new(168, 63, 129, 16))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    // NAT64: the address of IPv4 decides.
    if (a, b, c, d, e, f) == (0x64, 0xff9b, 0, 0, 0, 0) {
        let [[w, x], [y, z]] = [g.to_be_bytes(), h.to_be_bytes()];
        return is_public_v4(Ipv4Addr::new(w, x, y, z));
    }
    match a {
        // Teredo and other protocols; documentation.
        0x2001 => b >= 0x0200 && b != 0x0db8,
        // 6to4, which has an address of IPv4 inside; documentation.
        0x2002 => false,
        0x3fff => b >= 0x1000,
        // Everything else that is public.
        _ => (0x2000..=0x3fff).contains(&a),
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

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn hosts_and_ports_are_matched_whole() {
        let allowed =
            allowed(&["Hooks.example.org", "10.0.0.1:8080", "[fd00::1]", "*.sub.example.org"]);
        for text in [
            "https://hooks.example.org/a",
            "https://HOOKS.example.org:443/",
            "http://hooks.example.org/",
            "http://10.0.0.1:8080/",
            "http://0xa.0.0.1:8080/",
            "https://[fd00:0:0::1]/",
            "https://a.sub.example.org/",
            "https://a.b.sub.example.org/",
        ] {
            assert!(allowed.allows(&url(text)), "{text}");
        }
        for text in [
            "https://hooks.example.org:8443/",
            "https://hooks.example.org./",
            "https://xhooks.example.org/",
            "https://a.hooks.example.org/",
            "https://example.org/",
            "https://10.0.0.1/",
            "http://10.0.0.1:8081/",
            "https://sub.example.org/",
            "https://.sub.example.org/",
            "https://evilsub.example.org/",
            "https://a.sub.example.org.evil.example/",
            "https://a.sub.example.org:8443/",
        ] {
            assert!(!allowed.allows(&url(text)), "{text}");
        }
        assert!(allowed.names(&url("https://hooks.example.org/")));
        assert!(!allowed.names(&url("https://a.sub.example.org/")), "a wildcard names no host");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let mut hosts = AllowedHosts::default();
        for text in [
            "",
            "*",
            "*.org",
            "*.10.0.0.1",
            "a.*.org",
            "https://a.example",
            "a.example/path",
            "u:p@a.example",
            "a.example:",
            "a.example:99999",
            "a.example:0",
            "a b",
            "fd00::1",
        ] {
            assert!(hosts.add(text).is_err(), "{text}");
        }
        for text in ["a.example:80", "a.example:443", "localhost:9000", "127.0.0.1", "[::1]:80"] {
            hosts.add(text).unwrap();
        }
        assert_eq!(
            hosts.to_string(),
            "a.example:80, a.example:443, localhost:9000, 127.0.0.1, [::1]:80"
        );
    }

    #[test]
    fn addresses_that_are_not_public_are_known() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:a9fe:a9fe::1",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "168.63.129.17",
            "172.32.0.1",
            "192.0.1.1",
            "203.0.114.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
            "64:ff9b::101:101",
            "::ffff:1.1.1.1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }
}
