//! Who may ask the local host. It answers on this machine alone and wants no key, and a browser on
//! this machine carries any web page's requests to it: so it answers only requests that were sent
//! to this machine by name, and by pages of this machine. Must not know what is asked for.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use url::{Host, Url};

/// The setting that names other hosts.
pub(super) const HOSTS_SETTING: &str = "LASTLIGHT_LOCAL_HOSTS";

/// Names of hosts beside this machine's own, in lower case.
#[derive(Debug, Clone)]
pub(super) struct Callers(Arc<[String]>);

impl Callers {
    /// From the setting's value: names separated by commas.
    pub(super) fn named(names: Option<&str>) -> Self {
        let names = names.unwrap_or_default().split(',').map(str::trim);
        Self(names.filter(|name| !name.is_empty()).map(str::to_ascii_lowercase).collect())
    }

    /// The first header that names a host which is not allowed.
    fn foreign<'a>(&self, request: &'a Request) -> Option<(&'static str, &'a str)> {
        let headers = request.headers();
        let authority = request.uri().authority().map(|authority| authority.as_str());
        let host = authority.or_else(|| text(headers, &header::HOST));
        if let Some(host) = host
            && !self.allow(&format!("http://{host}"))
        {
            return Some(("Host", host));
        }
        // `null` is what a page says that hides where it is from.
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

/// A value that is no text names no host: it counts as an empty one.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get(name)?;
    Some(HeaderValue::to_str(value).unwrap_or_default())
}

/// Answers 403 to a request that another machine's page, or another name for this one, brought
/// here.
pub(super) async fn of_this_machine(
    State(callers): State<Callers>,
    request: Request,
    next: Next,
) -> Response {
    if let Some((header, value)) = callers.foreign(&request) {
        let value: String = value.chars().take(200).collect();
        tracing::warn!(header, value, "a request was refused that may be a web page's");
        let problem = format!(
            "the local host refuses this request: its header {header} is {value:?}, and only this machine is allowed \
             (localhost, 127.0.0.1, [::1]), since any web page could send it otherwise. To allow a name: \
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
    fn this_machine_by_its_names_and_those_that_the_setting_has() {
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
