//! Times as the Python app writes them: ISO 8601, microseconds, UTC without an offset.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use time::{
    OffsetDateTime, PrimitiveDateTime, UtcOffset, format_description::well_known::Iso8601,
    macros::format_description,
};

/// A time in the format of responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub OffsetDateTime);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&write(self.0))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        read(&text).map(Self).ok_or_else(|| D::Error::custom(format!("{text:?} is not a time")))
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "format": "date-time", "examples": ["2026-11-23T19:00:01.000000+00:00"]
        })
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(time: OffsetDateTime) -> Self {
        Self(time)
    }
}

/// `2026-11-23T19:00:01.000000`, as in messages; always UTC.
pub fn write_naive(time: OffsetDateTime) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");
    time.to_offset(UtcOffset::UTC).format(format).unwrap_or_default()
}

/// `2026-11-23T19:00:01.000000+00:00`, as in responses.
pub fn write(time: OffsetDateTime) -> String {
    let mut text = write_naive(time);
    text.push_str("+00:00");
    text
}

/// Parses ISO 8601 with or without an offset; without one the time is UTC.
pub fn read(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Iso8601::DEFAULT)
        .or_else(|_| {
            PrimitiveDateTime::parse(text, &Iso8601::DEFAULT).map(PrimitiveDateTime::assume_utc)
        })
        .ok()
}
