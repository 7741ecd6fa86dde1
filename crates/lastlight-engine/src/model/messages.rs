//! The messages on the queues, the same for both transports. The format is the Python app's, so
//! that each app can process the other's messages (PYTHON_APP.md, "Messages"): unknown fields are
//! ignored, missing optional fields take their defaults, hex is lower-cased.
//!
//! A message is a hint: a task's data and status are read from PostgreSQL. So decoding keeps only
//! the fields that identify the row, and validates the others.

use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};
use time::OffsetDateTime;

use super::{BatchId, JobId, Stage, TaskId, TraceParent, clock, timestamp};

/// Why a message is invalid. Sending it again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The text is not JSON.
    #[error("the message is not JSON: {detail}")]
    NotJson {
        /// The position and the reason.
        detail: String,
    },
    /// The JSON is not an object.
    #[error("the message must be a JSON object, not {found}")]
    NotAnObject {
        /// The kind of JSON value.
        found: &'static str,
    },
    /// A required field is missing.
    #[error("the message lacks {field}: {allowed}")]
    MissingField {
        /// Its name.
        field: &'static str,
        /// The allowed values.
        allowed: &'static str,
    },
    /// A field has a value that is not allowed.
    #[error("{field} must be {allowed}, not {value}")]
    BadField {
        /// Its name.
        field: &'static str,
        /// The value, truncated.
        value: String,
        /// The allowed values.
        allowed: &'static str,
    },
}

/// A decoded job message: start this stage of this job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobReference {
    /// The job.
    pub job_id: JobId,
    /// Its type, as the sender saw it.
    pub job_type: String,
    /// The stage to start.
    pub stage: Stage,
    /// The trace that it continues; an invalid one is ignored.
    pub trace: Option<TraceParent>,
}

/// A decoded task message: run this task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskReference {
    /// The task.
    pub task_id: TaskId,
    /// Its job.
    pub job_id: JobId,
    /// Its job's type, as the sender saw it.
    pub job_type: String,
    /// Its stage.
    pub stage: Stage,
    /// No other task may run in the process at the same time: earlier attempts died with their
    /// processes, and it is unknown which of the tasks in them was the cause.
    pub runs_alone: bool,
    /// As in [`JobReference::trace`].
    pub trace: Option<TraceParent>,
}

/// A decoded coarse task message: run the open tasks of this batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskBatchReference {
    /// The batch; its id includes the job and the stage.
    pub batch_id: BatchId,
    /// Its job's type, as the sender saw it.
    pub job_type: String,
    /// As in [`JobReference::trace`].
    pub trace: Option<TraceParent>,
}

/// A message on a task queue: a batch if it has a `batch_id`, else a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskMessage {
    /// One task, in the Python app's format.
    One(TaskReference),
    /// A batch of tasks, which the Python app does not support.
    Batch(TaskBatchReference),
}

impl TaskMessage {
    /// Reads a message of a task queue.
    ///
    /// # Errors
    /// The first problem, with the field, its value and what is allowed.
    pub fn decode(text: &str) -> Result<Self, MessageError> {
        let fields = Fields::parse(text)?;
        match fields.batch_id()? {
            Some(batch_id) => TaskBatchReference::read(batch_id, &fields).map(Self::Batch),
            None => TaskReference::read(&fields).map(Self::One),
        }
    }
}

impl TaskBatchReference {
    fn read(batch_id: BatchId, fields: &Fields) -> Result<Self, MessageError> {
        let reference =
            Self { batch_id, job_type: fields.name("job_type")?, trace: fields.trace() };
        fields.retry_count()?;
        fields.timestamp()?;
        Ok(reference)
    }
}

impl JobReference {
    /// Reads a job message.
    ///
    /// # Errors
    /// The first problem, with the field, its value and what is allowed.
    pub fn decode(text: &str) -> Result<Self, MessageError> {
        let fields = Fields::parse(text)?;
        let reference = Self {
            job_id: fields.job_id("job_id")?,
            job_type: fields.name("job_type")?,
            stage: fields.stage()?,
            trace: fields.trace(),
        };
        fields.object("parameters")?;
        fields.object("stage_results")?;
        fields.retry_count()?;
        fields.timestamp()?;
        Ok(reference)
    }
}

impl TaskReference {
    /// Reads a task message.
    ///
    /// # Errors
    /// The first problem, with the field, its value and what is allowed.
    pub fn decode(text: &str) -> Result<Self, MessageError> {
        Self::read(&Fields::parse(text)?)
    }

    fn read(fields: &Fields) -> Result<Self, MessageError> {
        let reference = Self {
            task_id: fields.task_id("task_id")?.ok_or(missing("task_id", TASK_ID))?,
            job_id: fields.job_id("parent_job_id")?,
            job_type: fields.name("job_type")?,
            stage: fields.stage()?,
            // A hint, like the whole message: any other value means false.
            runs_alone: fields.get("runs_alone").and_then(Value::as_bool).unwrap_or(false),
            trace: fields.trace(),
        };
        fields.name("task_type")?;
        fields.task_index()?;
        fields.object("parameters")?;
        fields.task_id("parent_task_id")?;
        fields.retry_count()?;
        fields.timestamp()?;
        Ok(reference)
    }
}

const TASK_ID: &str = "text of 1 to 100 characters";
const JOB_ID: &str = "64 hexadecimal digits";
const NAME: &str = "text of 1 to 50 characters";
const STAGE: &str = "a whole number from 1 to 100";

fn missing(field: &'static str, allowed: &'static str) -> MessageError {
    MessageError::MissingField { field, allowed }
}

fn bad(field: &'static str, value: &Value, allowed: &'static str) -> MessageError {
    let text = value.to_string();
    let value = match text.char_indices().nth(80) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    };
    MessageError::BadField { field, value, allowed }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn parse(text: &str) -> Result<Self, MessageError> {
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(other) => Err(MessageError::NotAnObject { found: kind_of(&other) }),
            Err(error) => Err(MessageError::NotJson { detail: error.to_string() }),
        }
    }

    /// A field's value; null counts as missing.
    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn job_id(&self, field: &'static str) -> Result<JobId, MessageError> {
        let value = self.get(field).ok_or(missing(field, JOB_ID))?;
        value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| bad(field, value, JOB_ID))
    }

    fn batch_id(&self) -> Result<Option<BatchId>, MessageError> {
        const ALLOWED: &str = "<job_id>-s<stage>-b<number from 0>";
        let Some(value) = self.get("batch_id") else {
            return Ok(None);
        };
        let id = value.as_str().and_then(|text| text.parse().ok());
        id.map(Some).ok_or_else(|| bad("batch_id", value, ALLOWED))
    }

    fn task_id(&self, field: &'static str) -> Result<Option<TaskId>, MessageError> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let id = value.as_str().and_then(|text| TaskId::try_from(text).ok());
        id.map(Some).ok_or_else(|| bad(field, value, TASK_ID))
    }

    fn name(&self, field: &'static str) -> Result<String, MessageError> {
        let value = self.get(field).ok_or(missing(field, NAME))?;
        match value.as_str() {
            Some(name) if (1..=50).contains(&name.chars().count()) => Ok(name.to_owned()),
            _ => Err(bad(field, value, NAME)),
        }
    }

    fn stage(&self) -> Result<Stage, MessageError> {
        let value = self.get("stage").ok_or(missing("stage", STAGE))?;
        let number = value.as_u64().and_then(|number| u8::try_from(number).ok());
        number
            .and_then(|number| Stage::try_from(number).ok())
            .ok_or_else(|| bad("stage", value, STAGE))
    }

    fn task_index(&self) -> Result<(), MessageError> {
        const ALLOWED: &str = "text of at most 50 characters";
        match self.get("task_index") {
            None => Err(missing("task_index", ALLOWED)),
            Some(Value::String(index)) if index.chars().count() <= 50 => Ok(()),
            Some(other) => Err(bad("task_index", other, ALLOWED)),
        }
    }

    fn trace(&self) -> Option<TraceParent> {
        self.get("traceparent").and_then(Value::as_str).and_then(TraceParent::read)
    }

    fn object(&self, field: &'static str) -> Result<(), MessageError> {
        match self.get(field) {
            None | Some(Value::Object(_)) => Ok(()),
            Some(other) => Err(bad(field, other, "an object")),
        }
    }

    fn retry_count(&self) -> Result<(), MessageError> {
        match self.get("retry_count") {
            None => Ok(()),
            Some(value) if value.as_u64().is_some_and(|count| count <= 10) => Ok(()),
            Some(other) => Err(bad("retry_count", other, "a whole number from 0 to 10")),
        }
    }

    fn timestamp(&self) -> Result<(), MessageError> {
        match self.get("timestamp") {
            None => Ok(()),
            Some(value) if value.as_str().and_then(timestamp::read).is_some() => Ok(()),
            Some(other) => Err(bad("timestamp", other, "a time in ISO 8601")),
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The time at which a message was written; `None` if it has no readable timestamp.
pub fn written_at(text: &str) -> Option<OffsetDateTime> {
    let fields = Fields::parse(text).ok()?;
    fields.get("timestamp")?.as_str().and_then(timestamp::read)
}

/// Largest parameters that are included in a message, in bytes; larger ones stay in PostgreSQL,
/// where the handler reads them anyway. Some SQL statements repeat this number.
pub const LARGEST_PARAMETERS_SENT: usize = 8 * 1024;

/// A job message to send.
#[derive(Debug, Serialize)]
pub struct JobQueueMessage<'a> {
    /// The job.
    pub job_id: &'a JobId,
    /// Its type.
    pub job_type: &'a str,
    /// The stage to start.
    pub stage: Stage,
    /// The job's parameters.
    pub parameters: &'a RawValue,
    /// Always empty: the results are in PostgreSQL.
    pub stage_results: Empty,
    /// Always 0: retries are counted in PostgreSQL.
    pub retry_count: u8,
    /// When it was written; see [`timestamp::write_naive`].
    pub timestamp: &'a str,
    /// The trace that it continues; not in the Python app's format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
}

/// A task message to send.
#[derive(Debug, Serialize)]
pub struct TaskQueueMessage<'a> {
    /// The task.
    pub task_id: &'a str,
    /// Its job.
    pub parent_job_id: &'a JobId,
    /// Its job's type.
    pub job_type: &'a str,
    /// Its own type.
    pub task_type: &'a str,
    /// Its stage.
    pub stage: Stage,
    /// Its semantic index.
    pub task_index: &'a str,
    /// Its parameters.
    pub parameters: &'a RawValue,
    /// The task whose result it reads.
    pub parent_task_id: Option<&'a str>,
    /// Number of earlier messages, at most 10.
    pub retry_count: u32,
    /// See [`TaskReference::runs_alone`]; not in the Python app's format.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub runs_alone: bool,
    /// When it was written; see [`timestamp::write_naive`].
    pub timestamp: &'a str,
    /// The trace that it continues; not in the Python app's format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
}

/// A coarse task message to send.
#[derive(Debug, Serialize)]
pub struct TaskBatchQueueMessage<'a> {
    /// The batch.
    pub batch_id: &'a str,
    /// Its job, for readers and for tracing: `batch_id` includes it.
    pub parent_job_id: &'a JobId,
    /// Its job's type.
    pub job_type: &'a str,
    /// The type of its tasks.
    pub task_type: &'a str,
    /// Its stage.
    pub stage: Stage,
    /// Number of earlier messages, at most 10.
    pub retry_count: u32,
    /// When it was written; see [`timestamp::write_naive`].
    pub timestamp: &'a str,
    /// The trace that it continues; not in the Python app's format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
}

/// `{}`.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Empty {}

/// The current time in the format of messages.
pub fn message_time() -> String {
    timestamp::write_naive(clock::now())
}
