//! Errors of the controller, which the triggers turn into responses in one place.

use uuid::Uuid;

use super::{IllegalChange, PreflightProblem};
use crate::{
    invocation::InvocationError,
    job::erased::FieldProblem,
    model::{
        BatchId, GateDecision, JobId, JobStatus, Stage, TaskId, TaskStatus, messages::MessageError,
    },
    store::DatabaseError,
    transport::sender::SendError,
};

/// Why a request or a message could not be processed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControllerError {
    /// A submission is not valid.
    #[error("{0}")]
    BadSubmission(String),
    /// Data that lastlight itself produced cannot be written as JSON.
    #[error("lastlight could not serialize its own data: {0}")]
    Unwritten(String),
    /// Whether a submission is admitted cannot be checked now.
    #[error("the submission cannot be checked now: {0}")]
    NotChecked(String),
    /// The workflow file of a job type is wrong.
    #[error("workflow {job_type:?} cannot be used, since its file is wrong:\n{problems}")]
    WrongWorkflow {
        /// Its name.
        job_type: String,
        /// The problems, one a line, with file, line and column.
        problems: String,
    },
    /// All fields of a submission that are not valid.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    BadParameters(Vec<FieldProblem>),
    /// The catalog has no such job type.
    #[error("there is no job type {job_type:?}; known job types: {}", known.join(", "))]
    UnknownJobType {
        /// The name that was given.
        job_type: String,
        /// The names in the catalog.
        known: Vec<String>,
    },
    /// The text from which a job was made cannot be read.
    #[error("the definition of the job cannot be read, of type {job_type:?}: {reason}")]
    UnreadableDefinition {
        /// The type of the job.
        job_type: String,
        /// Why.
        reason: String,
    },
    /// Preflight rejected the job, for these reasons.
    #[error("the job cannot run here: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    CannotWork(Vec<PreflightProblem>),
    /// The job asks for Service Bus, which is switched off.
    #[error(
        "the job asks for Service Bus, which is switched off: set ENABLE_SERVICE_BUS=true and \
         SERVICE_BUS_CONNECTION_STRING or SERVICE_BUS_NAMESPACE, or submit it with \"use_service_bus\": false"
    )]
    ServiceBusDisabled,
    /// There is no such job.
    #[error("there is no job {job_id}")]
    UnknownJob {
        /// The id that was given.
        job_id: JobId,
    },
    /// The job has no such task.
    #[error("job {job_id} has no task \"{task_id}\" in stage {stage}")]
    UnknownTask {
        job_id: JobId,
        /// The stage that the message names.
        stage: Stage,
        /// The id that the message names.
        task_id: TaskId,
    },
    /// The job has no such batch.
    #[error("job {} has no batch \"{batch_id}\" in stage {}", batch_id.job_id, batch_id.stage)]
    UnknownBatch {
        /// The id that the message names.
        batch_id: BatchId,
    },
    /// A job message names another job type than the stored one.
    #[error("the message gives job {job_id} the type {message_says:?}, but its type is {stored:?}")]
    JobTypeMismatch {
        job_id: JobId,
        /// The message's job type.
        message_says: String,
        stored: String,
    },
    /// A message for a stage that the job has not reached.
    #[error("job {job_id} is in stage {current}; stage {stage} has not begun")]
    StageNotReached { job_id: JobId, stage: Stage, current: Stage },
    /// A user asked for a change that the job's state does not allow.
    #[error("{0}")]
    NotAllowed(IllegalChange),
    /// A job is to be deleted or to run again that is not over.
    #[error(
        "job {job_id} is {status}: only a job that is over can be deleted or run again; cancel it first, or delete it with ?cancel=true"
    )]
    NotOver {
        job_id: JobId,
        /// The job's state now.
        status: JobStatus,
    },
    /// A job is to be deleted or to run again that is over, but still needed.
    #[error(
        "job {job_id} cannot be deleted or run again yet: it is still being closed, its last node runs, or another job waits for its result; \
         try again in a minute"
    )]
    StillNeeded { job_id: JobId },
    /// A job is to run again that was made from another text than a new job of its type.
    #[error(
        "the definition of job {job_id} changed since it was submitted: ?definition=stored runs it again as it was; to run the \
         same parameters by the current one, delete the job and submit it"
    )]
    DefinitionChanged { job_id: JobId },
    /// A job is to be changed that is being deleted.
    #[error("job {job_id} is being deleted")]
    BeingDeleted { job_id: JobId },
    /// Another request changed the job at the same time.
    #[error(
        "job {job_id} was changed by another request at the same time and is {status} now; check its state and try again"
    )]
    ChangedMeanwhile {
        job_id: JobId,
        /// The job's state now.
        status: JobStatus,
    },
    /// The job has no such gate.
    #[error("job {job_id} has no gate {node:?}; {}", gate_list(gates))]
    UnknownGate {
        job_id: JobId,
        /// The name that was given.
        node: String,
        /// The names of its gates.
        gates: Vec<String>,
    },
    /// Another decision was taken before.
    #[error("gate {node:?} was decided before: {taken}{}{}", part(" by ", by), part(" at ", at))]
    GateDecided {
        node: String,
        /// What was decided.
        taken: GateDecision,
        /// Who decided.
        by: Option<String>,
        /// When.
        at: Option<String>,
    },
    /// The stages before the gate have not ended.
    #[error(
        "gate {node:?} does not wait for a decision yet: {waits_for} of the nodes that it depends on have not ended"
    )]
    GateNotReached { node: String, waits_for: i16 },
    /// The job ended before the gate was decided.
    #[error("gate {node:?} waits for no decision, since the job is {status}")]
    GateOfFinishedJob { node: String, status: JobStatus },
    /// A schedule is not valid; the text names the field, its value and what is allowed.
    #[error("{0}")]
    BadSchedule(String),
    /// There is no such schedule.
    #[error("there is no schedule {name:?}")]
    UnknownSchedule {
        /// The name that was given.
        name: String,
    },
    /// A schedule of a workflow file is to be replaced or deleted by a request.
    #[error(
        "schedule {name:?} is declared in the file of workflow {workflow:?}: change it there and deploy the file, or pause it; \
         a schedule of your own needs another name"
    )]
    DeclaredInFile { name: String, workflow: String },
    /// Other requests changed the schedule at the same time, again and again.
    #[error("schedule {name:?} was changed by other requests at the same time; try again")]
    ScheduleChangedMeanwhile { name: String },
    /// Tasks of a stage that the job has not reached are to be changed.
    #[error("job {job_id} has not begun stage {stage}")]
    StageNotBegun { job_id: JobId, stage: Stage },
    /// Tasks of a stage that has ended are to be changed.
    #[error(
        "stage {stage} of job {job_id} has ended, so that its tasks cannot be changed any more"
    )]
    StageEnded { job_id: JobId, stage: Stage },
    /// Tasks of a job that is over are to be changed in a way that is only possible while it runs.
    #[error(
        "job {job_id} is {status}. Single tasks run again only while it runs: retry or resubmit the job; tasks that are \
         not to run again in a retry can be skipped before it"
    )]
    TasksOfOverJob { job_id: JobId, status: JobStatus },
    /// A single task is in a state in which it cannot be changed.
    #[error("task \"{task_id}\" is {status} and cannot be {action}")]
    TaskNotChanged { task_id: TaskId, status: TaskStatus, action: &'static str },
    /// There is no such bulk operation.
    #[error("there is no bulk operation {id}")]
    UnknownBulkOperation {
        /// The id that was given.
        id: Uuid,
    },
    /// A bulk operation that has ended is to be stopped.
    #[error("bulk operation {id} is {state}: there is nothing to stop")]
    BulkOperationEnded { id: Uuid, state: &'static str },
    /// No notification with this id was given up.
    #[error("there is no notification {id} that was given up")]
    UnknownNotification {
        /// The id that was given.
        id: Uuid,
    },
    /// The message cannot be decoded.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The host's payload cannot be decoded.
    #[error(transparent)]
    Invocation(#[from] InvocationError),
    /// Messages of a batch could be neither processed nor dead-lettered.
    #[error("{refused} of {total} messages were rejected and could not be dead-lettered: {detail}")]
    NotDeadLettered { refused: usize, total: usize, detail: String },
    /// The new message in place of an undeliverable one could not be sent.
    #[error("a new message for job {job_id} could not be sent: {detail}")]
    NotSentAgain { job_id: JobId, detail: String },
    /// No dead-letter queue has this name.
    #[error("queue must be one of {}, not {queue:?}", known.join(", "))]
    UnknownQueue {
        /// The name that was given.
        queue: String,
        /// The names of all dead-letter queues.
        known: Vec<String>,
    },
    /// The queue has no such message, or another request holds it.
    #[error(
        "message_id {message_id:?} is not in {queue}, or another request holds it for a moment"
    )]
    NoSuchMessage {
        queue: String,
        /// The id that was given.
        message_id: String,
    },
    /// The queue to which a message belongs cannot be determined.
    #[error(
        "message_id {message_id:?} cannot be sent again, since it is neither a task message ({as_task}) nor a job message \
         ({as_job}); send a corrected message and discard this one"
    )]
    NotRedrivable {
        message_id: String,
        /// Why it is not a task message.
        as_task: Box<MessageError>,
        /// Why it is not a job message.
        as_job: Box<MessageError>,
    },
    /// A dead-letter queue cannot be read, or a message taken from it cannot be sent.
    #[error(transparent)]
    Queue(#[from] SendError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

fn gate_list(gates: &[String]) -> String {
    match gates {
        [] => "it has none".to_owned(),
        gates => format!("its gates are {}", gates.join(", ")),
    }
}

fn part(before: &str, text: &Option<String>) -> String {
    text.as_ref().map(|text| format!("{before}{text}")).unwrap_or_default()
}

impl From<IllegalChange> for ControllerError {
    fn from(refusal: IllegalChange) -> Self {
        Self::NotAllowed(refusal)
    }
}

impl ControllerError {
    /// Whether the same message, unchanged, may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Database(_)
                | Self::UnreadableDefinition { .. }
                | Self::StageNotReached { .. }
                | Self::NotDeadLettered { .. }
                | Self::NotSentAgain { .. }
        )
    }
}
