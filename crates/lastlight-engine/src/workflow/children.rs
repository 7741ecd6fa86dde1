//! Jobs that stages of other jobs submit and wait for. A stage that is ready submits its job, which is
//! the same job each time, and notes its id; when that job has ended, so has the stage. What a process
//! that dies leaves undone, the sweep does.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Controller, ControllerError, reconcile::or_left, upstream::StoredResults};
use crate::{
    failpoint::failpoint,
    job::{PlanError, erased::Child},
    model::{GateDecision, JobId, JobStatus, ProcessingPath, UserRequest},
    store::{ChildToSubmit, StageKey},
};

/// How deep jobs may wait for jobs.
const DEEPEST: i32 = 5;

/// Stages that one step of a sweep takes.
const AT_ONCE: i64 = 200;

impl Controller {
    /// Submits the jobs for which stages of a job, or of all jobs, are ready to wait; returns how
    /// many.
    pub(super) async fn submit_children(
        &self,
        of_job: Option<&JobId>,
    ) -> Result<u64, ControllerError> {
        let mut submitted = 0;
        for ready in self.0.database.stages().children_to_submit(of_job, AT_ONCE).await? {
            let key = ready.key();
            let failure = |reason| json!({ "success": false, "error": reason, "result": null });
            let ended = match self.submit_child(&ready).await {
                Ok(Submitted::Waits) => None,
                Ok(Submitted::Skipped) => Some((GateDecision::Reject, Value::Null, None)),
                Ok(Submitted::InACircle(child)) => Some((
                    GateDecision::Fail,
                    failure(in_a_circle(&child.job_type)),
                    Some(child.job_id),
                )),
                Err(Unsubmitted::Later(reason)) => {
                    tracing::warn!(job_id = %key.job_id, stage = key.stage.get(), reason, "a job cannot be submitted now");
                    continue;
                }
                Err(Unsubmitted::Never(reason)) => {
                    Some((GateDecision::Fail, failure(reason), None))
                }
            };
            submitted += 1;
            let Some((decision, output, child)) = ended else { continue };
            let stages = self.0.database.stages();
            let ended =
                stages.end_without_child(&key, decision, &output.to_string(), child.as_ref()).await;
            if or_left(&key, ended.map_err(ControllerError::from))? {
                or_left(&key, Box::pin(self.advance(&key)).await)?;
            }
        }
        Ok(submitted)
    }

    async fn submit_child(&self, ready: &ChildToSubmit) -> Result<Submitted, Unsubmitted> {
        let key = ready.key();
        let definition = self.job_type_by(&ready.job_type, ready.definition_id.as_deref()).await?;
        let parameters: Map<String, Value> =
            serde_json::from_str(ready.parameters.get()).map_err(|error| {
                Unsubmitted::Never(format!("the job's row cannot be read: {error}"))
            })?;
        let upstream =
            Arc::new(StoredResults { database: self.0.database.clone(), job_id: key.job_id });
        let child = definition.child(&key.job_id, &parameters, key.stage, upstream).await?;
        let Child::Job { job_type, mut parameters } = child else { return Ok(Submitted::Skipped) };
        let child_type = self.job_type(&job_type)?;
        if child_type.prescribed_path().is_none() && !parameters.contains_key("use_service_bus") {
            let same = ready.path == ProcessingPath::ServiceBus;
            parameters.insert("use_service_bus".to_owned(), Value::Bool(same));
            if ready.path == ProcessingPath::Worker && !parameters.contains_key("use_workers") {
                parameters.insert("use_workers".to_owned(), Value::Bool(true));
            }
        }
        let stages = self.0.database.stages();
        let ancestors =
            stages.ancestors(&key.job_id, DEEPEST).await.map_err(ControllerError::from)?;
        if ancestors.iter().any(|(_, steps)| *steps >= DEEPEST) {
            return Err(Unsubmitted::Never(format!(
                "jobs wait for jobs {} deep here; at most {DEEPEST} are allowed",
                DEEPEST + 1
            )));
        }
        let child_id = super::submit::id_of(child_type, parameters.clone())?;
        if child_id == key.job_id || ancestors.iter().any(|(job_id, _)| *job_id == child_id) {
            return Err(Unsubmitted::Never(in_a_circle(&job_type)));
        }
        let child_id = Box::pin(self.submit_awaited(ready, child_type, parameters)).await?;
        tracing::info!(job_id = %key.job_id, stage = key.stage.get(), name = ready.name, child = %child_id,
            child_type = job_type, "a stage waits for a job");
        // Another job may have begun to wait for this one at the same moment. The last one of a circle
        // that is noted sees all others.
        let ancestors =
            stages.ancestors(&key.job_id, DEEPEST).await.map_err(ControllerError::from)?;
        if ancestors.iter().any(|(job_id, _)| *job_id == child_id) {
            return Ok(Submitted::InACircle(WaitedFor { job_id: child_id, job_type }));
        }
        // It may have ended already.
        self.child_ended(&child_id).await?;
        Ok(Submitted::Waits)
    }

    /// Retries a job that failed or was cancelled before the stage was ready to wait for it: whoever
    /// retries the job that has the stage wants it to run again. One that failed since then was
    /// submitted for this stage, by a process that died before it could note that, or by another one
    /// at the same moment: the stage ends as that job did.
    pub(super) async fn retry_if_it_failed_before(
        &self,
        child_id: &JobId,
        ready: &ChildToSubmit,
    ) -> Result<(), ControllerError> {
        let child = self.job(child_id).await?;
        let has_failed = matches!(child.status, JobStatus::Failed | JobStatus::Cancelled);
        if !has_failed || child.finished_at.is_none_or(|finished| finished >= ready.ready_at) {
            return Ok(());
        }
        match Box::pin(self.retry(child_id, &UserRequest::NOBODY)).await {
            // Another process retried it a moment ago.
            Ok(_)
            | Err(ControllerError::NotAllowed(_) | ControllerError::ChangedMeanwhile { .. }) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Advances the stages that waited for a job that has ended. Does nothing for one that has not.
    pub(super) async fn child_ended(&self, child: &JobId) -> Result<(), ControllerError> {
        for key in self.0.database.stages().children_ended(Some(child), AT_ONCE).await? {
            failpoint!("child.ended");
            Box::pin(self.advance(&key)).await?;
        }
        Ok(())
    }

    /// Ends the stages whose jobs have ended without anyone noticing.
    pub(super) async fn end_stages_of_ended_children(
        &self,
    ) -> Result<Vec<StageKey>, ControllerError> {
        Ok(self.0.database.stages().children_ended(None, AT_ONCE).await?)
    }

    /// Cancels the jobs for which a job waited that has ended, unless another job waits for them.
    pub(super) async fn cancel_children(&self, job_id: &JobId) -> Result<(), ControllerError> {
        for child in self.0.database.stages().children_of(job_id).await? {
            match Box::pin(self.cancel(&child, &UserRequest::NOBODY)).await {
                Ok(_)
                // It has ended.
                | Err(ControllerError::NotAllowed(_) | ControllerError::UnknownJob { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What became of a stage that was to submit a job.
enum Submitted {
    /// It waits for the job.
    Waits,
    /// It does not run.
    Skipped,
    /// It waits for a job that waits for its own job.
    InACircle(WaitedFor),
}

/// A job for which a stage waits.
struct WaitedFor {
    job_id: JobId,
    job_type: String,
}

fn in_a_circle(job_type: &str) -> String {
    format!(
        "the job of type {job_type:?} would wait for itself: it has the same parameters as a job that waits for it"
    )
}

/// Why a job was not submitted.
enum Unsubmitted {
    /// That cannot be done now.
    Later(String),
    /// The stage fails with this reason.
    Never(String),
}

impl From<PlanError> for Unsubmitted {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Failed(reason) => Self::Never(reason),
            PlanError::Unavailable(reason) => Self::Later(reason),
        }
    }
}

impl From<ControllerError> for Unsubmitted {
    fn from(error: ControllerError) -> Self {
        if error.is_transient() || matches!(error, ControllerError::NotChecked(_)) {
            Self::Later(error.to_string())
        } else {
            Self::Never(error.to_string())
        }
    }
}
