//! Reads query parameters. A parameter that is repeated or not allowed is a 400 that names the
//! parameter, its value and the allowed values. Unknown parameters are ignored, since the host has its
//! own, such as `code`, unless the reader looks at all of them.

use std::{convert::Infallible, ops::RangeInclusive};

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use url::form_urlencoded;

use super::ApiError;

/// The parameters of a query string, in order.
#[derive(Debug)]
pub(super) struct QueryParameters(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for QueryParameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::read(parts.uri.query().unwrap_or_default()))
    }
}

impl QueryParameters {
    pub(super) fn read(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Parameters that come from elsewhere than a query string.
    pub(super) fn of(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// All parameters, in order, with their values.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of a parameter, if it is given.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values =
            self.0.iter().filter(|(given, _)| given == name).map(|(_, value)| &**value);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(second) => Err(bad(format!(
                "{name} must be given once, not as {:?} and {:?}",
                shortened(first.unwrap_or_default()),
                shortened(second)
            ))),
        }
    }

    /// A whole number within `allowed`, if it is given.
    pub(super) fn number(
        &self,
        name: &str,
        allowed: RangeInclusive<u16>,
    ) -> Result<Option<u16>, ApiError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        // Digits only: no number in the API has a sign.
        let number =
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        match number.filter(|number| allowed.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(bad(format!(
                "{name} must be a whole number from {} to {}, not {:?}",
                allowed.start(),
                allowed.end(),
                shortened(text)
            ))),
        }
    }

    /// One of the allowed values, by its name, if it is given.
    pub(super) fn one_of<'n, T: Copy>(
        &self,
        name: &str,
        allowed: &[T],
        name_of: impl Fn(T) -> &'n str,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match allowed.iter().find(|value| name_of(**value) == text) {
            Some(value) => Ok(Some(*value)),
            None => Err(bad(format!(
                "{name} must be one of {}, not {:?}",
                allowed.iter().map(|value| name_of(*value)).collect::<Vec<_>>().join(", "),
                shortened(text)
            ))),
        }
    }
}

/// The first 80 characters of a value, so that error messages stay short.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The error for an invalid request.
pub(super) fn bad(message: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad request", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<impl std::fmt::Debug, ApiError>) -> String {
        format!("{:?}", result.unwrap_err())
    }

    #[test]
    fn missing_is_none_and_unknown_is_ignored() {
        let query = QueryParameters::read("code=secret&limit=7");
        assert_eq!(query.number("limit", 1..=100).unwrap(), Some(7));
        assert_eq!(query.number("hours", 1..=168).unwrap(), None);
        assert_eq!(QueryParameters::read("").text("limit").unwrap(), None);
    }

    #[test]
    fn errors_name_the_value_and_what_is_allowed() {
        for value in
            ["0", "101", "-1", "+1", "1.5", "", "x", "5,6", "99999999999999999999", " 5", "%FF"]
        {
            let query = QueryParameters::read(&format!("limit={value}"));
            let message = message(query.number("limit", 1..=100));
            assert!(
                message.contains("limit must be a whole number from 1 to 100, not"),
                "{message}"
            );
        }
        let twice = message(QueryParameters::read("limit=5&limit=6").number("limit", 1..=100));
        assert!(
            twice.contains("limit must be given once, not as \\\"5\\\" and \\\"6\\\""),
            "{twice}"
        );
        let query = QueryParameters::read("path=both");
        let message = message(query.one_of("path", &["a", "b"], |name| name));
        assert!(message.contains("path must be one of a, b, not \\\"both\\\""), "{message}");
    }
}
