//! The version of a job that a client has seen, so that a client waiting for the next version gets
//! it at once if it has already missed it. Opaque to everything but the SQL statement that computes
//! it: versions can only be compared for equality.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::IdError;

/// A version of a job: 16 lower-case hex digits. It differs from the previous version whenever the
/// job has changed. It is no counter: versions have no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobVersion(u64);

impl JobVersion {
    /// The version with this hash.
    pub fn of_hash(hash: i64) -> Self {
        Self(hash.cast_unsigned())
    }
}

impl From<i64> for JobVersion {
    fn from(hash: i64) -> Self {
        Self::of_hash(hash)
    }
}

impl fmt::Display for JobVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for JobVersion {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let are_digits =
            text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        are_digits.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(Self).ok_or_else(
            || {
                IdError::new(
                    "seen",
                    text,
                    "the version of an earlier response, 16 lower-case hex digits",
                )
            },
        )
    }
}

impl Serialize for JobVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for JobVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for JobVersion {
    fn schema_name() -> Cow<'static, str> {
        "JobVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{16}$" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_version_round_trips_through_text(hash: i64) {
            let version = JobVersion::of_hash(hash);
            prop_assert_eq!(version.to_string().parse(), Ok(version));
        }
    }

    #[test]
    fn an_invalid_version_is_rejected() {
        for text in [
            "",
            "0",
            "+123456789abcdef",
            "0123456789ABCDEF",
            "0123456789abcdef0",
            "0123456789abcdeg",
        ] {
            let error = text.parse::<JobVersion>().unwrap_err().to_string();
            assert!(
                error.starts_with("seen must be the version of an earlier response"),
                "{error}"
            );
        }
    }
}
