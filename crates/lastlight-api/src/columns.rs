//! How columns become ids and statuses. A value that lastlight cannot have written is an error that
//! quotes it.

use sqlx::{
    Decode, Postgres, Type,
    error::BoxDynError,
    postgres::{PgTypeInfo, PgValueRef},
};

use crate::{
    GateDecision, JobId, JobStatus, ProcessingPath, Stage, StageKind, StageOutcome, TaskId,
    TaskStatus,
    bulk::BulkAction,
    schedules::{CatchUp, Overlap, RunDecision},
};

fn corrupt(value: impl std::fmt::Display) -> BoxDynError {
    format!("{:?} is not a value that lastlight writes", value.to_string()).into()
}

/// Reads a type from a column of text or of an enum.
macro_rules! text_column {
    ($type:ty, $read:expr) => {
        impl Type<Postgres> for $type {
            fn type_info() -> PgTypeInfo {
                <str as Type<Postgres>>::type_info()
            }
        }

        impl<'r> Decode<'r, Postgres> for $type {
            fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
                let text = value.as_str()?;
                let read: fn(&str) -> Option<$type> = $read;
                read(text).ok_or_else(|| corrupt(text))
            }
        }
    };
}

text_column!(JobId, |text| text.parse().ok());
text_column!(TaskId, |text| TaskId::try_from(text).ok());
text_column!(JobStatus, JobStatus::from_name);
text_column!(StageKind, StageKind::from_name);
text_column!(GateDecision, GateDecision::from_name);
text_column!(StageOutcome, StageOutcome::from_name);
text_column!(TaskStatus, TaskStatus::from_name);
text_column!(ProcessingPath, ProcessingPath::from_name);
text_column!(Overlap, Overlap::from_name);
text_column!(CatchUp, CatchUp::from_name);
text_column!(RunDecision, RunDecision::from_name);
text_column!(BulkAction, |text| BulkAction::ALL.into_iter().find(|action| action.as_str() == text));

impl Type<Postgres> for Stage {
    fn type_info() -> PgTypeInfo {
        <i16 as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for Stage {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let number = <i16 as Decode<Postgres>>::decode(value)?;
        u8::try_from(number)
            .ok()
            .and_then(|number| Self::try_from(number).ok())
            .ok_or_else(|| corrupt(number))
    }
}
