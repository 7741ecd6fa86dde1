//! Which callers the local host accepts. The host listens only on this machine and requires no key,
//! and a browser on this machine would deliver the requests of any web page to it. Therefore it
//! accepts only requests whose `Host` and `Origin` name this machine. This module must not depend
//! on what a request is for.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use url::{Host, Url};

/// The setting with additional host names.
pub(super) const HOSTS_SETTING: &str = "LASTLIGHT_LOCAL_HOSTS";

/// Allowed host names besides those of this machine, in lower case.
#[derive(Debug, Clone)]
pub(super) struct Callers(Arc<[String]>);

impl Callers {
    /// Parses the value of the setting: names separated by commas.
    pub(super) fn named(names: Option<&str>) -> Self {
        let names = names.unwrap_or_default().split(',').map(str::trim);
        Self(names.filter(|name| !name.is_empty()).map(str::to_ascii_lowercase).collect())
    }

    /// The first header that names a host that is not allowed.
    fn foreign<'a>(&self, request: &'a Request) -> Option<(&'static str, &'a str)> {
        let headers = request.headers();
        let authority = request.uri().authority().map(|authority| authority.as_str());
        let host = authority.or_else(|| text(headers, &header::HOST));
        if let Some(host) = host
            && !self.allow(&format!("http://{host}"))
        {
            return Some(("Host", host));
        }
        // `null` is the origin of a page that hides its origin.
        let origin = text(headers, &header::ORIGIN)?;
        (!self.allow(origin)).then_some(("Origin", origin))
    }

    fn allow(&self, address: &str) -> bool {
        let Ok(url) = Url::parse(address) else {
            return false;
        };
        match url.host() {
            Some(Host::Domain(name)) => {
                let name = name.to_ascii_lowercase();
                name == "localhost" || name.ends_with(".localhost") || self.0.contains(&name)
            }
            Some(Host::Ipv4(address)) => self.allow_address(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => self.allow_address(IpAddr::V6(address)),
            None => false,
        }
    }

    fn allow_address(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.0.contains(&address.to_string())
    }
}

/// The text of a header. A value that is not text counts as empty, which is not allowed.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get(name)?;
    Some(HeaderValue::to_str(value).unwrap_or_default())
}

/// Answers 403 to a request whose `Host` or `Origin` does not name this machine.
pub(super) async fn of_this_machine(
    State(callers): State<Callers>,
    request: Request,
    next: Next,
) -> Response {
    if let Some((header, value)) = callers.foreign(&request) {
        let value: String = value.chars().take(200).collect();
        tracing::warn!(header, value, "refused a request that may come from a web page");
        let problem = format!(
            "the local host refuses this request: its header {header} is {value:?}, and only this machine is allowed \
             (localhost, 127.0.0.1, [::1]); otherwise any web page could send requests. To allow a name: \
             lastlight local --setting {HOSTS_SETTING}=<name>,…\n"
        );
        return (StatusCode::FORBIDDEN, problem).into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_and_configured_names_are_allowed() {
        let callers = Callers::named(Some(" gis-box.lan, 10.0.0.7 ,"));
        for allowed in [
            "http://localhost:7071",
            "http://LOCALHOST",
            "https://app.localhost:3000",
            "http://127.0.0.1:7071",
            "http://127.9.9.9",
            "http://[::1]:7071",
            "http://GIS-box.lan:7071",
            "http://10.0.0.7",
        ] {
            assert!(callers.allow(allowed), "{allowed}");
        }
        for foreign in [
            "null",
            "",
            "https://evil.example",
            "http://localhost.evil.example",
            "http://evil-localhost",
            "http://10.0.0.8",
            "http://127.0.0.1.evil.example",
            "http://localhost@evil.example",
        ] {
            assert!(!callers.allow(foreign), "{foreign}");
        }
    }
}
