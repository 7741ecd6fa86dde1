//! Submit: check, derive the id, store, send the job message. Submitting the same work twice
//! creates one job.

use std::{collections::BTreeSet, time::Duration};

use lastlight_api::jobs::{QueueInfo, Submission};
use serde_json::{Map, Value, json, value::RawValue};
use tracing::Span;

use super::{
    Controller, ControllerError,
    notifications::{FIELD as NOTIFY, MOST_OF_A_JOB, addresses_of_job},
};
use crate::{
    failpoint::failpoint,
    job::erased::{Fields, JobType, NotAdmitted, StageSpec},
    model::{
        JobId, JobStatus, Labels, ProcessingPath, Stage, StageInGraph, StageKind, Term,
        TraceParent, UserRequest, WorkerHandler, canonical::write_canonical_object,
    },
    store::{ChildToSubmit, NewDefinition, NewJob, StageKey},
    telemetry,
    transport::sender::QueueRole,
};

/// The option of a submission that runs a job again.
const RERUN: &str = "rerun";

impl Controller {
    /// The job type with this name.
    ///
    /// # Errors
    /// There is no such job type.
    pub fn job_type(&self, name: &str) -> Result<&dyn JobType, ControllerError> {
        let job_type = self.0.catalog.get(name).ok_or_else(|| self.unknown_job_type(name))?;
        Ok(job_type.as_ref())
    }

    /// Submits a job of the type `definition` with the parameters `submitted`. `trace` is the
    /// caller's; without one, a new trace begins. The job keeps the labels and the trace of its first
    /// submission. If the submission has the option `rerun`, a job that is over runs again, as `request` says.
    ///
    /// # Errors
    /// A job that is to run again is not over; a parameter is not valid; preflight rejects the job; Service Bus is switched off; the
    /// database failed. A queue that cannot be reached is not an error: the job is stored and its
    /// message is sent later.
    #[tracing::instrument(name = "submit", skip_all, fields(job_type = definition.name(), job_id, trace_id))]
    pub async fn submit(
        &self,
        definition: &dyn JobType,
        submitted: Map<String, Value>,
        labels: Labels,
        trace: Option<TraceParent>,
        request: &UserRequest,
    ) -> Result<Submission, ControllerError> {
        let mut stored = self.store(definition, submitted, labels, trace).await?;
        if stored.is_new {
            self.start(&mut stored).await?;
        } else if stored.runs_again {
            let again = self.resubmit(&stored.submission.job_id, false, request).await?;
            stored.submission.status = "resubmitted".to_owned();
            stored.submission.message = again.message;
        } else {
            self.describe_existing(definition, &mut stored.submission).await?;
        }
        Ok(stored.submission)
    }

    /// Submits a job that `waiting`, a stage of another job, waits for; it has the labels of that job. The stage notes the job before
    /// the job begins: if that submits jobs in turn, it is known who waits for whom.
    #[tracing::instrument(name = "submit", skip_all, fields(job_type = definition.name(), job_id, trace_id))]
    pub(super) async fn submit_awaited(
        &self,
        waiting: &ChildToSubmit,
        definition: &dyn JobType,
        submitted: Map<String, Value>,
    ) -> Result<JobId, ControllerError> {
        let labels = waiting.labels.clone();
        let mut stored = self.store(definition, submitted, labels, None).await?;
        let job_id = stored.submission.job_id;
        if !stored.is_new {
            self.retry_if_it_failed_before(&job_id, waiting).await?;
        }
        failpoint!("child.submitted");
        self.0.database.stages().wait_for_child(&waiting.key(), &job_id).await?;
        failpoint!("child.noted");
        if stored.is_new {
            self.start(&mut stored).await?;
        }
        Ok(job_id)
    }

    /// Checks and stores a job, or finds that it is stored already. Nothing is sent.
    async fn store(
        &self,
        definition: &dyn JobType,
        submitted: Map<String, Value>,
        labels: Labels,
        trace: Option<TraceParent>,
    ) -> Result<Stored, ControllerError> {
        let prepared = self.prepare(definition, submitted, labels, trace).await?;
        self.admit(&prepared).await?;
        let is_new = self
            .0
            .database
            .jobs()
            .insert(prepared.job(), self.0.timing.send_grace.as_secs_f64())
            .await?;
        Ok(prepared.stored(is_new))
    }

    /// Checks a submission beyond its parameters, unless the job exists.
    pub(super) async fn admit(&self, prepared: &Prepared<'_>) -> Result<(), ControllerError> {
        let Prepared { definition, job_id, parameters, .. } = prepared;
        if definition.has_admission() && self.0.database.jobs().get(job_id).await?.is_none() {
            definition.admit(parameters).await.map_err(|refused| match refused {
                NotAdmitted::Refused(reason) => ControllerError::BadSubmission(reason),
                NotAdmitted::Unavailable(reason) => ControllerError::NotChecked(reason),
            })?;
        }
        Ok(())
    }

    /// Checks a submission as far as its parameters go. Nothing is stored.
    pub(super) async fn prepare<'a>(
        &self,
        definition: &'a dyn JobType,
        submitted: Map<String, Value>,
        labels: Labels,
        trace: Option<TraceParent>,
    ) -> Result<Prepared<'a>, ControllerError> {
        let job_type = definition.name();
        let Checked { parameters, path, warnings, notify, runs_again } =
            checked(definition, submitted)?;
        let notify = match &notify {
            Some(given) => addresses_of_job(self.0.webhooks.settings(), given)
                .map_err(ControllerError::BadParameters)?,
            None => Vec::new(),
        };
        let stages = definition
            .stages(&parameters)
            .map_err(|error| ControllerError::BadSubmission(error.to_string()))?;
        let total_stages =
            u8::try_from(stages.len()).ok().and_then(|count| Stage::try_from(count).ok());
        let total_stages = total_stages.ok_or_else(|| {
            ControllerError::BadSubmission(format!(
                "{job_type} has {} stages with these parameters; 1 to 100 are allowed",
                stages.len()
            ))
        })?;
        let time_limit = definition
            .time_limit(&parameters)
            .map_err(|error| ControllerError::BadSubmission(error.to_string()))?
            .unwrap_or(self.0.timing.job_timeout);
        let sender = self.0.senders.for_path(path).ok_or(ControllerError::ServiceBusDisabled)?;

        let job_id = JobId::derive(job_type, &parameters);
        let trace = telemetry::submitted_in(trace);
        Span::current().record("job_id", job_id.as_str()).record("trace_id", trace.trace_id());
        let mut stored = String::new();
        // Writing to a string does not fail.
        let _ = write_canonical_object(&parameters, &mut stored);
        self.preflight(&stages, &stored, time_limit).await?;
        let mut warnings = warnings;
        warnings.extend(self.never_served(&stages, path).await?);
        let graph = stages.iter().map(|stage| stage.place.clone()).collect();
        Ok(Prepared {
            definition,
            job_id,
            total_stages,
            terms: Term::of_job(job_type, &labels, &parameters),
            parameters,
            labels,
            as_stored: stored,
            path,
            queue_name: sender.queue_name(QueueRole::Jobs).to_owned(),
            notify,
            runs_again,
            time_limit,
            trace,
            graph,
            stages,
            warnings,
        })
    }

    /// A warning for each handler that workers are to run and that none has ever asked for.
    async fn never_served(
        &self,
        stages: &[StageSpec],
        path: ProcessingPath,
    ) -> Result<Vec<String>, ControllerError> {
        let handlers: BTreeSet<WorkerHandler> =
            stages.iter().filter_map(|stage| stage.worker(path)).collect();
        if handlers.is_empty() {
            return Ok(Vec::new());
        }
        let handlers: Vec<WorkerHandler> = handlers.into_iter().collect();
        let missing = self.0.database.workers().never_served(&handlers).await?;
        let warning = |WorkerHandler { queue, name }| {
            format!(
                "no worker has ever served handler {name:?} of queue {queue:?}: its tasks wait until one does"
            )
        };
        Ok(missing.into_iter().map(warning).collect())
    }

    /// Sends the job messages of the stages that are ready, which is the first one in a line. The
    /// submission tells of the first of them.
    pub(super) async fn start(&self, stored: &mut Stored) -> Result<(), ControllerError> {
        let Stored { submission, stages, parameters, trace, .. } = stored;
        let (stages, trace) = (stages.as_slice(), *trace);
        let is_ready = |spec: &StageSpec| match &spec.place {
            Some(place) => place.dependencies() == 0 && place.kind == StageKind::Tasks,
            None => true,
        };
        let places = || (1..=100u8).filter_map(|number| Stage::try_from(number).ok()).zip(stages);
        let in_line = stages.first().is_some_and(|spec| spec.place.is_none());
        let ready = places().filter(|(_, spec)| is_ready(spec)).map(|(stage, _)| stage);
        let ready: Vec<Stage> = ready.take(if in_line { 1 } else { usize::MAX }).collect();
        // The last message sent is told of: all others go first.
        for stage in ready.iter().rev() {
            self.queue(submission, *stage, parameters, trace).await?;
        }
        if in_line {
            return Ok(());
        }
        if ready.is_empty() {
            submission.message = "The job was created.".to_owned();
        }
        // A gate may wait already.
        self.notify_soon();
        for (stage, spec) in places() {
            let kind = spec.place.as_ref().map(|place| place.kind);
            if kind == Some(StageKind::Decision) {
                self.advance(&StageKey { job_id: submission.job_id, stage }).await?;
            }
        }
        self.submit_children(Some(&submission.job_id)).await?;
        Ok(())
    }

    async fn queue(
        &self,
        submission: &mut Submission,
        stage: Stage,
        parameters: &str,
        trace: TraceParent,
    ) -> Result<(), ControllerError> {
        let key = StageKey { job_id: submission.job_id, stage };
        submission.queue_info.stage = stage;
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

    async fn describe_existing(
        &self,
        definition: &dyn JobType,
        submission: &mut Submission,
    ) -> Result<(), ControllerError> {
        let job = self.0.database.jobs().get(&submission.job_id).await?;
        let status = job.as_ref().map_or(JobStatus::Queued, |job| job.status);
        submission.status = status.to_string();
        submission.message =
            format!("The same job exists already and is {status}; nothing was queued.");
        let (stored_labels, stored_definition) =
            job.map(|job| (job.labels, job.definition_id)).unwrap_or_default();
        if !submission.labels.is_empty() && submission.labels != stored_labels {
            submission.message.push_str(
                " It keeps the labels of its first submission; those of this one are ignored.",
            );
        }
        submission.labels = stored_labels;
        let current = definition.definition().map(|text| text.id);
        if let Some(stored) = stored_definition
            && current != Some(stored.as_str())
        {
            submission.message.push_str(
                " It was submitted when its definition was another one, and runs by that one. To run it by the current \
                 definition, change a parameter.",
            );
        }
        Ok(())
    }
}

/// A submission that passed all checks, and that is not stored yet.
pub(super) struct Prepared<'a> {
    definition: &'a dyn JobType,
    job_id: JobId,
    total_stages: Stage,
    parameters: Map<String, Value>,
    labels: Labels,
    terms: Vec<Term>,
    /// The parameters as JSON.
    as_stored: String,
    path: ProcessingPath,
    queue_name: String,
    /// The addresses to notify.
    notify: Vec<String>,
    /// The job is to run again if it exists.
    pub(super) runs_again: bool,
    time_limit: Duration,
    trace: TraceParent,
    graph: Option<Vec<StageInGraph>>,
    stages: Vec<StageSpec>,
    pub(super) warnings: Vec<String>,
}

impl Prepared<'_> {
    /// The row to store.
    pub(super) fn job(&self) -> NewJob<'_> {
        let job_type = self.definition.name();
        NewJob {
            job_id: &self.job_id,
            job_type,
            total_stages: self.total_stages,
            parameters: &self.as_stored,
            path: self.path,
            deadline_seconds: self.time_limit.as_secs_f64(),
            trace: Some(self.trace),
            labels: &self.labels,
            terms: &self.terms,
            graph: self.graph.as_deref(),
            definition: self.definition.definition().map(|text| NewDefinition {
                id: text.id,
                name: job_type,
                version: text.version,
                source: text.source,
            }),
            notify: &self.notify,
        }
    }

    /// The job, once it is stored; `is_new`: whether it was stored now.
    pub(super) fn stored(self, is_new: bool) -> Stored {
        let mut warnings = self.warnings;
        if !is_new && !self.notify.is_empty() {
            warnings.push(format!(
                "{NOTIFY} has no effect: the job exists, and the addresses of its first submission are notified"
            ));
        }
        let submission = Submission {
            job_id: self.job_id,
            status: "created".to_owned(),
            job_type: self.definition.name().to_owned(),
            message: String::new(),
            queue_info: QueueInfo {
                queued: false,
                queue_name: self.queue_name,
                message_id: None,
                processing_path: self.path,
                job_id: self.job_id,
                stage: Stage::FIRST,
            },
            parameters: self.parameters,
            labels: self.labels,
            warnings,
        };
        Stored {
            submission,
            stages: self.stages,
            parameters: self.as_stored,
            trace: self.trace,
            runs_again: self.runs_again,
            is_new,
        }
    }
}

/// A job that is stored.
pub(super) struct Stored {
    pub(super) submission: Submission,
    stages: Vec<StageSpec>,
    /// Its parameters, as stored.
    parameters: String,
    trace: TraceParent,
    /// It is to run again if it was stored before.
    runs_again: bool,
    /// Whether it was stored now. Nothing was sent for it yet.
    is_new: bool,
}

/// A valid submission.
struct Checked {
    parameters: Map<String, Value>,
    /// The path that the parameters choose.
    path: ProcessingPath,
    warnings: Vec<String>,
    /// The addresses to notify: a text, or a list of texts.
    notify: Option<Value>,
    /// The job is to run again if it exists.
    runs_again: bool,
}

fn checked(
    definition: &dyn JobType,
    submitted: Map<String, Value>,
) -> Result<Checked, ControllerError> {
    let mut fields = Fields::new(submitted);
    let path = check(definition, &mut fields);
    let warnings = fields.unread();
    let notify = fields.take_option(NOTIFY);
    let runs_again = fields.take_option(RERUN) == Some(Value::Bool(true));
    Ok(Checked {
        parameters: fields.finish().map_err(ControllerError::BadParameters)?,
        path,
        warnings,
        notify,
        runs_again,
    })
}

/// The id that a submission would have.
///
/// # Errors
/// A parameter is not valid.
pub(super) fn id_of(
    definition: &dyn JobType,
    submitted: Map<String, Value>,
) -> Result<JobId, ControllerError> {
    let Checked { parameters, .. } = checked(definition, submitted)?;
    Ok(JobId::derive(definition.name(), &parameters))
}

/// Whether a job type reads a parameter of this name.
pub(crate) fn has_parameter(definition: &dyn JobType, name: &str) -> bool {
    let schema = Fields::schema_of(|fields| {
        check(definition, fields);
    });
    schema["properties"].get(name).is_some()
}

/// Checks the fields that every submission may have and those of the job type; returns the path
/// that they choose.
pub fn check(definition: &dyn JobType, fields: &mut Fields) -> ProcessingPath {
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
    let path = match definition.prescribed_path() {
        Some(path) => {
            fields.prescribe(
                "use_service_bus",
                Value::Bool(path == ProcessingPath::ServiceBus),
                "since the job type prescribes its path",
            );
            path
        }
        None => {
            let use_service_bus = fields.flag_or("use_service_bus", false);
            let use_workers = fields.switch("use_workers");
            let why = "tasks for workers have no messages";
            fields.excludes("use_workers", "use_service_bus", why);
            match (use_workers, use_service_bus) {
                (true, _) => ProcessingPath::Worker,
                (false, true) => ProcessingPath::ServiceBus,
                (false, false) => ProcessingPath::QueueStorage,
            }
        }
    };
    fields.describe("use_service_bus", "Whether to use Service Bus instead of Storage Queues.");
    fields
        .describe("use_workers", "Whether workers run all tasks, over HTTP and without messages.");
    notify(definition, fields);
    rerun(definition, fields);
    definition.check(fields);
    path
}

/// Whether the job type itself reads a parameter of this name.
fn is_own(definition: &dyn JobType, name: &str) -> bool {
    let own = Fields::schema_of(|fields| definition.check(fields));
    own["properties"].get(name).is_some()
}

/// Reads whether a job that is over is to run again, which is not a parameter of the job, unless its type has
/// a parameter of this name.
fn rerun(definition: &dyn JobType, fields: &mut Fields) {
    if fields.has(RERUN) && is_own(definition, RERUN) {
        return;
    }
    let schema = json!({ "type": ["boolean", "null"], "default": false });
    fields.option(RERUN, "true or false", schema, Value::is_boolean);
    fields.describe(
        RERUN,
        "If the job exists and is over, it runs again; if it is not over, that is a 409. Not a part of the job's identity.",
    );
}

/// Reads the addresses to notify, which are not a parameter of the job, unless its type has a parameter
/// of this name.
fn notify(definition: &dyn JobType, fields: &mut Fields) {
    if fields.has(NOTIFY) && is_own(definition, NOTIFY) {
        return;
    }
    let allowed = format!("an address, or a list of 1 to {MOST_OF_A_JOB} addresses");
    let schema = json!({
        "type": ["string", "array", "null"],
        "items": { "type": "string" },
        "minItems": 1,
        "maxItems": MOST_OF_A_JOB,
    });
    fields.option(NOTIFY, &allowed, schema, |value| match value {
        Value::Array(all) => {
            (1..=MOST_OF_A_JOB).contains(&all.len()) && all.iter().all(Value::is_string)
        }
        value => value.is_string(),
    });
    fields.describe(
        NOTIFY,
        "The addresses that are notified when the job ends or a gate of it waits. Not a part of the job's identity.",
    );
}
