//! What the controller refuses, and why. The triggers turn it into answers in one place.

use super::{IllegalChange, PreflightProblem};
use crate::{
    invocation::InvocationError,
    job::FieldProblem,
    model::{BatchId, JobId, JobStatus, Stage, TaskId, messages::MessageError},
    store::DatabaseError,
    transport::sender::SendError,
};

/// Why a request or a message came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControllerError {
    /// The body of a submission cannot be read.
    #[error("{0}")]
    BadBody(String),
    /// What lastlight itself makes cannot be written as JSON.
    #[error("lastlight cannot write what it made: {0}")]
    Unwritten(String),
    /// Fields of a submission that are not allowed, all of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    BadParameters(Vec<FieldProblem>),
    /// The catalog has no such job type.
    #[error("there is no job type {job_type:?}; known job types: {}", known.join(", "))]
    UnknownJobType {
        /// The name that was given.
        job_type: String,
        /// The names that there are.
        known: Vec<&'static str>,
    },
    /// The job cannot work here, for the reasons given.
    #[error("the job cannot work: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    CannotWork(Vec<PreflightProblem>),
    /// The job wants Service Bus, which is switched off.
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
    /// A job message and the job disagree.
    #[error("the message says that job {job_id} is a {message_says:?}; it is a {stored:?}")]
    JobTypeMismatch {
        job_id: JobId,
        /// The message's job type.
        message_says: String,
        stored: String,
    },
    /// A message for a stage that the job has not come to.
    #[error("job {job_id} is in stage {current}; stage {stage} has not begun")]
    StageNotReached { job_id: JobId, stage: Stage, current: Stage },
    /// A person asked for what the job's state does not allow.
    #[error("{0}")]
    NotAllowed(IllegalChange),
    /// Somebody else changed the job at the same moment.
    #[error(
        "job {job_id} was changed by somebody else at the same moment and is {status} now; look, and ask again"
    )]
    ChangedMeanwhile {
        job_id: JobId,
        /// Where it stands now.
        status: JobStatus,
    },
    /// The message cannot be understood.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The host's payload cannot be understood.
    #[error(transparent)]
    Invocation(#[from] InvocationError),
    /// Messages of a batch could be neither processed nor set aside.
    #[error("{refused} of {total} messages were refused and could not be set aside: {detail}")]
    NotDeadLettered { refused: usize, total: usize, detail: String },
    /// A new message in place of one that could not be delivered could not be sent.
    #[error("a new message for job {job_id} could not be sent: {detail}")]
    NotSentAgain { job_id: JobId, detail: String },
    /// No queue of messages set aside has this name.
    #[error("queue must be one of {}, not {queue:?}", known.join(", "))]
    UnknownQueue {
        /// The name that was given.
        queue: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The queue has no such message, or somebody else has taken it.
    #[error(
        "message_id {message_id:?} is not in {queue}, or somebody has taken it for a moment; \
         GET /api/monitor/poison?peek=32 shows what is there"
    )]
    NoSuchMessage {
        queue: String,
        /// The id that was given.
        message_id: String,
    },
    /// Nobody can say which queue a message belongs to.
    #[error(
        "message_id {message_id:?} cannot be sent again, since it is neither a task message ({as_task}) nor a job message \
         ({as_job}); send what was meant and discard this one"
    )]
    NotRedrivable {
        message_id: String,
        /// What keeps it from being a task message.
        as_task: Box<MessageError>,
        /// What keeps it from being a job message.
        as_job: Box<MessageError>,
    },
    /// A queue of messages set aside cannot be read, or what was taken from it cannot be sent.
    #[error(transparent)]
    Queue(#[from] SendError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<IllegalChange> for ControllerError {
    fn from(refusal: IllegalChange) -> Self {
        Self::NotAllowed(refusal)
    }
}

impl ControllerError {
    /// The same message may succeed later without anybody changing it.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Database(_)
                | Self::StageNotReached { .. }
                | Self::NotDeadLettered { .. }
                | Self::NotSentAgain { .. }
        )
    }
}
