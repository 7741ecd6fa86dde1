//! Matches paths as the Functions host does: ignoring case, with or without a trailing slash. The
//! host forwards the path unchanged (`WebScriptHostHttpRoutesManager.cs` and
//! `DefaultHttpWorkerService.cs` of Azure/azure-functions-host), so the handler must match it the
//! same way. Knows the addresses, not their handlers.

use axum::{extract::Request, http::Uri};
use percent_encoding::percent_decode_str;

/// The prefix of all addresses.
pub(super) const PREFIX: &str = "/api/";

/// Rewrites the path of a request to the router's spelling. A path that matches no address stays
/// unchanged.
pub(super) fn as_routed(mut request: Request, addresses: &[&'static str]) -> Request {
    if let Some(uri) = routed(request.uri(), addresses) {
        *request.uri_mut() = uri;
    }
    request
}

fn routed(uri: &Uri, addresses: &[&'static str]) -> Option<Uri> {
    let path = uri.path();
    // Invocations, one per message, are posted to paths without the prefix.
    if !path.get(..PREFIX.len())?.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    let fitting = |path: &str| addresses.iter().find_map(|address| spelled(address, path));
    let spelled = fitting(path).or_else(|| fitting(path.strip_suffix('/')?))?;
    if spelled == path {
        return None;
    }
    let mut parts = uri.clone().into_parts();
    let target = match uri.query() {
        Some(query) => format!("{spelled}?{query}"),
        None => spelled,
    };
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// The path in the spelling of `address`, if it matches; values of parameters stay unchanged.
fn spelled(address: &str, path: &str) -> Option<String> {
    let mut given = path.split('/');
    let mut spelled = Vec::new();
    for part in address.split('/') {
        let segment = given.next()?;
        if part.starts_with('{') {
            spelled.push((!segment.is_empty()).then_some(segment)?);
        } else {
            let decoded = percent_decode_str(segment).decode_utf8().ok()?;
            spelled.push(decoded.eq_ignore_ascii_case(part).then_some(part)?);
        }
    }
    given.next().is_none().then(|| spelled.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESSES: [&str; 4] = ["/api/health", "/api/jobs/{job_id}", "/api/files", "/api/files/"];

    fn path(uri: &str) -> String {
        let request = Request::builder().uri(uri).body(axum::body::Body::empty()).unwrap();
        as_routed(request, &ADDRESSES).uri().to_string()
    }

    #[test]
    fn case_and_trailing_slash_are_ignored() {
        assert_eq!(path("/API/Health/"), "/api/health");
        assert_eq!(path("/api/health"), "/api/health");
        assert_eq!(path("/Api/Jobs/AbC/?Hours=7&x=/"), "/api/jobs/AbC?Hours=7&x=/");
        assert_eq!(path("/api/%48ealth"), "/api/health");
        assert_eq!(path("http://here:7071/api/Jobs/a%2Fb"), "http://here:7071/api/jobs/a%2Fb");
    }

    #[test]
    fn an_address_that_ends_in_a_slash_keeps_it() {
        assert_eq!(path("/api/Files"), "/api/files");
        assert_eq!(path("/api/Files/"), "/api/files/");
    }

    #[test]
    fn an_unknown_path_stays_unchanged() {
        for uri in [
            "/",
            "/api/",
            "/API/jobs",
            "/api/health//",
            "/api//health",
            "/api/jobs/a/b",
            "/api/Jobs//",
        ] {
            assert_eq!(path(uri), uri);
        }
    }
}
