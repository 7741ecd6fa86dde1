//! Reads who asks for a change of a job, and why: the query parameters `by` and `reason`. Without `by`, the name that App
//! Service Authentication puts into a header.

use axum::http::HeaderMap;
use serde_json::json;

use super::{
    ApiError,
    openapi::Operation,
    query::{QueryParameters, bad, shortened},
};
use crate::model::UserRequest;

/// Set by App Service Authentication, which removes it from requests of clients
/// (learn.microsoft.com/azure/app-service/configure-authentication-user-identities).
const PRINCIPAL: &str = "x-ms-client-principal-name";

/// No control characters but tab and line feed.
const PRINTABLE: &str = r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f]*$";

pub(super) fn user_request(
    query: &QueryParameters,
    headers: &HeaderMap,
) -> Result<UserRequest, ApiError> {
    let by = text(query, "by", UserRequest::LONGEST_NAME)?.or_else(|| principal(headers));
    Ok(UserRequest { by, reason: text(query, "reason", UserRequest::LONGEST_REASON)? })
}

fn principal(headers: &HeaderMap) -> Option<String> {
    let name = headers.get(PRINCIPAL)?.to_str().ok()?;
    let is_usable = !name.is_empty() && name.chars().count() <= UserRequest::LONGEST_NAME;
    is_usable.then(|| name.to_owned())
}

fn text(query: &QueryParameters, name: &str, longest: usize) -> Result<Option<String>, ApiError> {
    let Some(text) = query.text(name)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let length = text.chars().count();
    if length > longest {
        return Err(bad(format!("{name} has {length} characters; at most {longest} are allowed")));
    }
    if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        return Err(bad(format!(
            "{name} must not contain control characters, but is {:?}",
            shortened(text)
        )));
    }
    Ok(Some(text.to_owned()))
}

/// Describes the parameters.
pub(super) fn described(operation: Operation) -> Operation {
    let schema =
        |longest: usize| json!({ "type": "string", "maxLength": longest, "pattern": PRINTABLE });
    operation
        .query(
            "by",
            schema(UserRequest::LONGEST_NAME),
            "Who asks, for the job's events. Without it, the name that App Service Authentication knows.",
        )
        .query("reason", schema(UserRequest::LONGEST_REASON), "Why, for the job's events.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, principal: Option<&str>) -> Result<UserRequest, String> {
        let mut headers = HeaderMap::new();
        if let Some(name) = principal {
            headers.insert(PRINCIPAL, name.parse().unwrap());
        }
        user_request(&QueryParameters::read(query), &headers).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn the_parameter_comes_before_the_header() {
        let said = read("by=ada&reason=wrong%20input", Some("grace@example.org")).unwrap();
        assert_eq!(said.by.as_deref(), Some("ada"));
        assert_eq!(said.reason.as_deref(), Some("wrong input"));
        let signed_in = read("by=", Some("grace@example.org")).unwrap();
        assert_eq!(signed_in.by.as_deref(), Some("grace@example.org"));
        assert_eq!(read("", None).unwrap(), UserRequest::NOBODY);
    }

    #[test]
    fn errors_name_the_parameter_and_what_is_allowed() {
        let long = read(&format!("by={}", "x".repeat(201)), None).unwrap_err();
        assert!(long.contains("by has 201 characters; at most 200 are allowed"), "{long}");
        let nul = read("reason=a%00b", None).unwrap_err();
        assert!(nul.contains("reason must not contain control characters"), "{nul}");
    }
}
