//! Submit: check, derive the id, store, send the job message. Submitting the same work twice
//! creates one job.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json, value::RawValue};
use tracing::Span;

use super::{Controller, ControllerError};
use crate::{
    job::{DynJobType, Fields},
    model::{
        DEEPEST_NESTING, JobId, JobStatus, ProcessingPath, Stage, TraceParent,
        canonical::{reject_wide_integers, write_canonical_object},
        nesting,
    },
    store::{NewJob, StageKey},
    telemetry,
    transport::sender::QueueRole,
};

/// The result of a submission.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Submission {
    /// The job's id: the same for the same submission.
    pub job_id: JobId,
    /// `created` for a new job; the existing job's status if the same submission was made before.
    pub status: &'static str,
    /// The job's type.
    pub job_type: String,
    /// What happened, as text for a user.
    pub message: String,
    /// The parameters, with defaults filled in.
    pub parameters: Map<String, Value>,
    /// Warnings about fields that were accepted but that nothing reads, and that may be mistakes.
    /// Absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The job message.
    pub queue_info: QueueInfo,
}

/// The job message of a submission.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct QueueInfo {
    /// Whether a job message was sent. If not, `message` of the submission says why.
    pub queued: bool,
    /// The queue of job messages.
    pub queue_name: String,
    /// The message's id, if one was sent.
    pub message_id: Option<String>,
    /// The job's pipeline.
    pub processing_path: ProcessingPath,
    /// The job's id.
    pub job_id: JobId,
    /// The stage that the message starts.
    pub stage: Stage,
}

impl Controller {
    /// Submits a job of type `job_type` with the JSON object `body`. `trace` is the caller's;
    /// without one, a new trace begins. The job stays in the trace of its first submission.
    ///
    /// # Errors
    /// The body or a parameter is not valid; the job type is unknown; preflight rejects the job;
    /// Service Bus is switched off; the database failed. A queue that cannot be reached is not an
    /// error: the job is stored and its message is sent later.
    #[tracing::instrument(name = "submit", skip_all, fields(job_type, job_id, trace_id))]
    pub async fn submit(
        &self,
        job_type: &str,
        body: &[u8],
        trace: Option<TraceParent>,
    ) -> Result<Submission, ControllerError> {
        let definition = self
            .0
            .catalog
            .get(job_type)
            .inspect(|definition| {
                // Only a known name, not text that a caller made up.
                Span::current().record("job_type", definition.name());
            })
            .ok_or_else(|| ControllerError::UnknownJobType {
                job_type: job_type.chars().take(80).collect(),
                known: self.0.catalog.names(),
            })?;
        let Checked { parameters, path, warnings } = checked(definition.as_ref(), object(body)?)?;
        let stages = definition
            .stages(&parameters)
            .map_err(|error| ControllerError::BadBody(error.to_string()))?;
        let total_stages =
            u8::try_from(stages.len()).ok().and_then(|count| Stage::try_from(count).ok());
        let total_stages = total_stages.ok_or_else(|| {
            ControllerError::BadBody(format!(
                "{job_type} has {} stages with these parameters; 1 to 100 are allowed",
                stages.len()
            ))
        })?;
        let time_limit = definition
            .time_limit(&parameters)
            .map_err(|error| ControllerError::BadBody(error.to_string()))?
            .unwrap_or(self.0.timing.job_timeout);
        let sender = self.0.senders.for_path(path).ok_or(ControllerError::ServiceBusDisabled)?;

        let job_id = JobId::derive(job_type, &parameters);
        let trace = telemetry::submitted_in(trace);
        Span::current().record("job_id", job_id.as_str()).record("trace_id", trace.trace_id());
        let mut stored = String::new();
        // Writing to a string does not fail.
        let _ = write_canonical_object(&parameters, &mut stored);
        self.preflight(&stages, &stored, time_limit).await?;
        let job = NewJob {
            job_id: &job_id,
            job_type,
            total_stages,
            parameters: &stored,
            path,
            deadline_seconds: time_limit.as_secs_f64(),
            trace: Some(trace),
        };
        let is_new =
            self.0.database.insert_job(job, self.0.timing.send_grace.as_secs_f64()).await?;

        let mut submission = Submission {
            job_id,
            status: "created",
            job_type: job_type.to_owned(),
            message: String::new(),
            queue_info: QueueInfo {
                queued: false,
                queue_name: sender.queue_name(QueueRole::Jobs).to_owned(),
                message_id: None,
                processing_path: path,
                job_id,
                stage: Stage::FIRST,
            },
            parameters,
            warnings,
        };
        if is_new {
            self.queue(&mut submission, &stored, trace).await?;
        } else {
            self.describe_existing(&mut submission).await?;
        }
        Ok(submission)
    }

    async fn queue(
        &self,
        submission: &mut Submission,
        parameters: &str,
        trace: TraceParent,
    ) -> Result<(), ControllerError> {
        let key = StageKey { job_id: submission.job_id, stage: Stage::FIRST };
        let parameters: &RawValue = serde_json::from_str(parameters)
            .map_err(|error| ControllerError::Unwritten(error.to_string()))?;
        let path = submission.queue_info.processing_path;
        match self
            .0
            .send_job_message(&key, 0, &submission.job_type, parameters, path, Some(trace))
            .await
        {
            Ok(message) => {
                submission.queue_info.queued = true;
                submission.queue_info.message_id = Some(message.message_id);
                submission.message = "The job was created and queued.".to_owned();
            }
            Err(reason) => {
                tracing::warn!(job_id = %submission.job_id, reason, "a job message could not be sent and stays pending");
                submission.message = format!(
                    "The job was created; its queue message could not be sent and is pending: reconcile sends it \
                     within about a minute of the queue's return. There is no need to submit the job again. ({reason})"
                );
            }
        }
        Ok(())
    }

    async fn describe_existing(&self, submission: &mut Submission) -> Result<(), ControllerError> {
        let job = self.0.database.get_job(&submission.job_id).await?;
        let status = job.map_or(JobStatus::Queued, |job| job.status);
        submission.status = status.as_str();
        submission.message =
            format!("The same job exists already and is {status}; nothing was queued.");
        Ok(())
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, ControllerError> {
    let bad = |problem: String| {
        Err(ControllerError::BadBody(format!(
            "{problem}; send the parameters as a JSON object: {{\"n\": 10}}"
        )))
    };
    let Ok(text) = std::str::from_utf8(body) else {
        return bad(match body {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
                "the body is UTF-16, according to its byte order mark; write the file as UTF-8"
                    .to_owned()
            }
            _ => "the body is not UTF-8".to_owned(),
        });
    };
    if text.trim().is_empty() {
        return bad("the body is empty".to_owned());
    }
    let depth = nesting(text);
    if depth > DEEPEST_NESTING {
        return bad(format!(
            "the body is nested {depth} deep; at most {DEEPEST_NESTING} are allowed"
        ));
    }
    let fields = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return bad("the body is JSON but not an object".to_owned()),
        Err(error) => return bad(format!("the body is not JSON: {error}")),
    };
    reject_wide_integers(text).map_err(|error| ControllerError::BadBody(error.to_string()))?;
    Ok(fields)
}

/// A valid submission.
struct Checked {
    parameters: Map<String, Value>,
    /// The path that the parameters choose.
    path: ProcessingPath,
    warnings: Vec<String>,
}

fn checked(
    definition: &dyn DynJobType,
    submitted: Map<String, Value>,
) -> Result<Checked, ControllerError> {
    let mut fields = Fields::new(submitted);
    let use_service_bus = check(definition, &mut fields);
    let path =
        if use_service_bus { ProcessingPath::ServiceBus } else { ProcessingPath::QueueStorage };
    let warnings = fields.unread();
    Ok(Checked {
        parameters: fields.finish().map_err(ControllerError::BadParameters)?,
        path,
        warnings,
    })
}

/// Checks the fields that every submission may have and those of the job type; returns whether the
/// job uses Service Bus.
pub(crate) fn check(definition: &dyn DynJobType, fields: &mut Fields) -> bool {
    for field in ["dataset_id", "resource_id", "version_id"] {
        fields.optional(field, "text", json!({ "type": ["string", "null"] }), Value::is_string);
        fields.describe(
            field,
            "For your own use: part of the job's identity, and otherwise ignored.",
        );
    }
    let schema = json!({ "type": ["string", "boolean", "null"] });
    fields.optional("system", "text, true or false", schema, |value| {
        value.is_string() || value.is_boolean()
    });
    let use_service_bus = match definition.prescribed_path() {
        Some(path) => {
            let prescribed = path == ProcessingPath::ServiceBus;
            fields.prescribe(
                "use_service_bus",
                Value::Bool(prescribed),
                "since the job type prescribes its path",
            );
            prescribed
        }
        None => fields.flag_or("use_service_bus", false),
    };
    fields.describe("use_service_bus", "Whether to use Service Bus instead of Storage Queues.");
    definition.check(fields);
    use_service_bus
}
