//! Types of columns, beside the ids and statuses of `lastlight_api`; `sqlx.toml` says which columns
//! have which type. And what to do about values that a column cannot have.

use std::{borrow::Cow, fmt::Display, time::Duration};

use serde_json::value::RawValue;
use sqlx::{
    Decode, Postgres, Type,
    error::BoxDynError,
    postgres::{PgTypeInfo, PgValueRef},
    types::Json,
};

use crate::model::{Labels, Metric, TraceParent};

/// A JSON value as its text, which is not changed.
#[derive(Debug, Clone)]
pub struct JsonText(pub Box<RawValue>);

impl Type<Postgres> for JsonText {
    fn type_info() -> PgTypeInfo {
        <Json<Box<RawValue>> as Type<Postgres>>::type_info()
    }

    fn compatible(found: &PgTypeInfo) -> bool {
        <Json<Box<RawValue>> as Type<Postgres>>::compatible(found)
    }
}

impl<'r> Decode<'r, Postgres> for JsonText {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(Json::decode(value)?.0))
    }
}

impl From<JsonText> for Box<RawValue> {
    fn from(json: JsonText) -> Self {
        json.0
    }
}

impl Type<Postgres> for Metric {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for Metric {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let text = value.as_str()?;
        Self::from_name(text)
            .ok_or_else(|| format!("{text:?} is not a value that lastlight writes").into())
    }
}

/// A job's trace, from a column that is "" without one. An invalid one, for example of a newer
/// version, counts as none.
#[derive(Debug)]
pub(in crate::store) struct StoredTrace(Option<TraceParent>);

impl Type<Postgres> for StoredTrace {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for StoredTrace {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(TraceParent::read(value.as_str()?)))
    }
}

impl From<StoredTrace> for Option<TraceParent> {
    fn from(trace: StoredTrace) -> Self {
        trace.0
    }
}

/// A job's labels. Invalid ones, for example of a newer version, count as none.
#[derive(Debug)]
pub(in crate::store) struct StoredLabels(Labels);

impl Type<Postgres> for StoredLabels {
    fn type_info() -> PgTypeInfo {
        <Json<Box<RawValue>> as Type<Postgres>>::type_info()
    }

    fn compatible(found: &PgTypeInfo) -> bool {
        <Json<Box<RawValue>> as Type<Postgres>>::compatible(found)
    }
}

impl<'r> Decode<'r, Postgres> for StoredLabels {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let text: Box<RawValue> = Json::decode(value)?.0;
        Ok(Self(serde_json::from_str(text.get()).unwrap_or_default()))
    }
}

impl From<StoredLabels> for Labels {
    fn from(labels: StoredLabels) -> Self {
        labels.0
    }
}

/// Seconds between two times of the database's clock; if it was set back in between, the duration
/// is zero.
#[derive(Debug, sqlx::Type)]
#[sqlx(transparent)]
pub(in crate::store) struct Seconds(f64);

impl From<Seconds> for Duration {
    fn from(seconds: Seconds) -> Self {
        Self::try_from_secs_f64(seconds.0).unwrap_or_default()
    }
}

/// Replaces NUL, the only character that PostgreSQL's `text` cannot contain.
pub(in crate::store) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// The error for a value in a row that lastlight cannot have written.
pub(in crate::store) fn corrupt(column: &'static str, value: impl Display) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: format!(
            "{value:?} is not a value that lastlight writes",
            value = value.to_string()
        )
        .into(),
    }
}
