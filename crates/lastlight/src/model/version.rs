//! Which state of a job somebody has seen, so that one who waits for the next is told at once if it
//! was missed. Opaque to everybody but the statement that makes it: two are equal or they are not.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::IdError;

/// A state of a job: 16 lower-case hex digits. It differs from the one before whenever something
/// has happened to the job, and is no number of changes: it says nothing of which was first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobVersion(u64);

impl JobVersion {
    /// The state with this hash.
    pub fn of_hash(hash: i64) -> Self {
        Self(hash.cast_unsigned())
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
                    "the version of an earlier answer, 16 lower-case hex digits",
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
        fn what_is_shown_is_read_as_the_same(hash: i64) {
            let version = JobVersion::of_hash(hash);
            prop_assert_eq!(version.to_string().parse(), Ok(version));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "0",
            "+123456789abcdef",
            "0123456789ABCDEF",
            "0123456789abcdef0",
            "0123456789abcdeg",
        ] {
            let error = text.parse::<JobVersion>().unwrap_err().to_string();
            assert!(error.starts_with("seen must be the version of an earlier answer"), "{error}");
        }
    }
}
