//! Ids. Each has its own type, validated on construction, so that ids cannot be confused. How they
//! are derived is fixed by PYTHON_APP.md, "Ids", and its test vectors.

use std::{
    borrow::Cow,
    fmt::{self, Debug, Display, Write},
    num::NonZeroU8,
    str::FromStr,
    sync::Arc,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::canonical::write_canonical_object;

/// Number of tasks that are planned, stored and sent together.
pub const TASKS_PER_BATCH: u32 = 100;

/// A value that is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {allowed}, not {value:?}")]
pub struct IdError {
    /// The field.
    pub field: &'static str,
    /// The given value, truncated.
    pub value: String,
    /// The allowed values.
    pub allowed: &'static str,
}

impl IdError {
    pub(crate) fn new(field: &'static str, value: impl Display, allowed: &'static str) -> Self {
        let value = value.to_string();
        let value = match value.char_indices().nth(80) {
            None => value,
            Some((end, _)) => format!("{}…", &value[..end]),
        };
        Self { field, value, allowed }
    }
}

/// A job's id: the SHA-256 of its type and parameters, as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId([u8; 64]);

impl JobId {
    /// The id of a job of this type with these parameters, including defaults.
    pub fn derive(job_type: &str, parameters: &Map<String, Value>) -> Self {
        let mut hashed = Hashed(Sha256::new());
        // Writing to a hasher never fails.
        let _ = hashed.write_str(job_type);
        let _ = hashed.write_char(':');
        let _ = write_canonical_object(parameters, &mut hashed);
        Self(hex(&hashed.0.finalize().into()))
    }

    /// The 64 digits.
    pub fn as_str(&self) -> &str {
        // The digits are ASCII by construction.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The first 8 digits, with which every task id of the job starts.
    pub fn prefix(&self) -> &str {
        &self.as_str()[..8]
    }
}

struct Hashed(Sha256);

impl Write for Hashed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 64];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    digits
}

impl JsonSchema for JobId {
    fn schema_name() -> Cow<'static, str> {
        "JobId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
    }
}

impl FromStr for JobId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits: Option<[u8; 64]> = text.as_bytes().try_into().ok();
        match digits {
            Some(mut digits) if digits.iter().all(u8::is_ascii_hexdigit) => {
                digits.make_ascii_lowercase();
                Ok(Self(digits))
            }
            _ => Err(IdError::new("job_id", text, "64 hexadecimal digits")),
        }
    }
}

impl Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for JobId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A stage's number, 1 to 100.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Stage(NonZeroU8);

impl Stage {
    /// The first stage.
    pub const FIRST: Self = Self(NonZeroU8::MIN);

    /// The number.
    pub fn get(self) -> u8 {
        self.0.get()
    }

    /// The number as a column has it.
    pub fn number(self) -> i16 {
        i16::from(self.get())
    }

    /// The next stage; `None` after stage 100.
    pub fn next(self) -> Option<Self> {
        Self::try_from(self.get() + 1).ok()
    }

    /// The previous stage; `None` for stage 1.
    pub fn previous(self) -> Option<Self> {
        Self::try_from(self.get() - 1).ok()
    }
}

impl TryFrom<u8> for Stage {
    type Error = IdError;

    fn try_from(number: u8) -> Result<Self, IdError> {
        match NonZeroU8::new(number) {
            Some(stage) if number <= 100 => Ok(Self(stage)),
            _ => Err(IdError::new("stage", number, "a whole number from 1 to 100")),
        }
    }
}

impl From<Stage> for u8 {
    fn from(stage: Stage) -> Self {
        stage.get()
    }
}

impl JsonSchema for Stage {
    fn schema_name() -> Cow<'static, str> {
        "Stage".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": 100 })
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

impl Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

/// A task's semantic index within its stage, 1 to 50 characters: `tile_x5_y10`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskIndex(Box<str>);

impl TaskIndex {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for TaskIndex {
    type Error = IdError;

    fn try_from(text: &str) -> Result<Self, IdError> {
        match text.chars().count() {
            1..=50 if !text.contains('\0') => Ok(Self(text.into())),
            _ => Err(IdError::new("task_index", text, "text of 1 to 50 characters")),
        }
    }
}

/// A task's id, 1 to 100 characters. It contains only 8 digits of its job's id, so it identifies a
/// task only within a job.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct TaskId(Arc<str>);

impl TaskId {
    /// `<first 8 digits of job_id>-s<stage>-<index>`; characters outside `[A-Za-z0-9-]` become `-`.
    pub fn derive(job_id: &JobId, stage: Stage, index: &TaskIndex) -> Self {
        Self::derive_from(job_id, stage, index.as_str())
    }

    /// The same for an index of any length: an id that would exceed 100 characters ends in 8 digits
    /// of a hash instead.
    pub fn derive_from(job_id: &JobId, stage: Stage, index: &str) -> Self {
        let safe: String = index
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
            .collect();
        let id = format!("{}-s{stage}-{safe}", job_id.prefix());
        if id.len() <= 100 {
            return Self(id.into());
        }
        let mut hashed = Sha256::new();
        hashed.update(format!("{job_id}-{stage}-{safe}").as_bytes());
        let digits = hex(&hashed.finalize().into());
        let digits = std::str::from_utf8(&digits).unwrap_or_default();
        Self(format!("{}-s{stage}-{}", &digits[..8], &digits[8..16]).into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TaskId {
    /// The stage that the id names; `None` if lastlight did not derive the id.
    pub fn stage(&self) -> Option<Stage> {
        let (_, rest) = self.0.split_once("-s")?;
        let (number, _) = rest.split_once('-')?;
        number.parse::<u8>().ok().and_then(|number| Stage::try_from(number).ok())
    }
}

impl TryFrom<&str> for TaskId {
    type Error = IdError;

    fn try_from(text: &str) -> Result<Self, IdError> {
        match text.chars().count() {
            1..=100 if !text.contains('\0') => Ok(Self(text.into())),
            _ => Err(IdError::new("task_id", text, "text of 1 to 100 characters")),
        }
    }
}

impl JsonSchema for TaskId {
    fn schema_name() -> Cow<'static, str> {
        "TaskId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 100 })
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(&*Cow::<'de, str>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A batch of a stage's tasks: `<job_id>-s<stage>-b<k>`, k from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchId {
    /// The job.
    pub job_id: JobId,
    /// Its stage.
    pub stage: Stage,
    /// The number within the stage, from 0.
    pub number: u32,
}

impl BatchId {
    /// Batch `number` of a stage.
    pub fn new(job_id: &JobId, stage: Stage, number: u32) -> Self {
        Self { job_id: *job_id, stage, number }
    }
}

impl Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-s{}-b{}", self.job_id, self.stage, self.number)
    }
}

impl FromStr for BatchId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parse = || {
            let (job_id, rest) = text.split_once("-s")?;
            let (stage, number) = rest.split_once("-b")?;
            let stage: u8 = stage.parse().ok()?;
            Some(Self {
                job_id: job_id.parse().ok()?,
                stage: Stage::try_from(stage).ok()?,
                number: number.parse().ok()?,
            })
        };
        parse().ok_or_else(|| IdError::new("batch_id", text, "<job_id>-s<stage>-b<number from 0>"))
    }
}
