//! Resubmission: a job that is over runs again from its beginning, under its id. It is marked, its tasks are deleted
//! in steps as those of a job that is deleted, and then its next run begins in one transaction, with the result of the run
//! before in the job's events. Whoever continues a deletion continues this, too.

use std::time::{Duration, Instant};

use lastlight_api::control::Resubmission;
use serde_json::{Map, Value};

use super::{
    Controller, ControllerError, ReconcileReport,
    control::LONGEST_REQUEST,
    purge::{Pace, Purging},
};
use crate::{
    job::erased::{JobType, StageSpec},
    model::{JobId, Stage, StageInGraph, StageKind, Term, UserRequest},
    store::{JobRecord, Marked, NewDefinition, NewJob, StageKey},
    telemetry,
};

/// Time in which the run that is over is added to the metrics, before its tasks are deleted.
const MEASURED_WITHIN: Duration = Duration::from_secs(5);

impl Controller {
    /// Has a job run again that is over. Its tasks are deleted; a large job begins in the next sweeps.
    ///
    /// # Errors
    /// There is no such job; it runs, is being deleted, or another job waits for its result; its
    /// definition changed since, and `accepts_definition` is not set; it could not run any more; the database failed.
    pub async fn resubmit(
        &self,
        job_id: &JobId,
        accepts_definition: bool,
        request: &UserRequest,
    ) -> Result<Resubmission, ControllerError> {
        let until = Instant::now() + LONGEST_REQUEST;
        let job = self.job(job_id).await?;
        if !job.status.is_terminal() {
            return Err(ControllerError::NotOver { job_id: *job_id, status: job.status });
        }
        let current = self.job_type(&job.job_type)?.definition().map(|text| text.id);
        if !accepts_definition && current != job.definition_id.as_deref() {
            return Err(ControllerError::DefinitionChanged { job_id: *job_id });
        }
        let definition = self.job_type_by(&job.job_type, job.definition_id.as_deref()).await?;
        let next = NextRun::of(&job, definition.as_ref())?;
        let limit = self.time_limit(&job).await;
        self.preflight(&next.stages, job.parameters.get(), limit).await?;
        if self.0.senders.for_path(job.path).is_none() {
            return Err(ControllerError::ServiceBusDisabled);
        }
        self.measure(MEASURED_WITHIN).await?;
        match self.0.database.purge().mark(job_id, true, request).await? {
            Marked::RunsAgain => {}
            Marked::Yes => return Err(ControllerError::BeingDeleted { job_id: *job_id }),
            Marked::Unknown => return Err(ControllerError::UnknownJob { job_id: *job_id }),
            Marked::Runs => {
                let status = self.job(job_id).await?.status;
                return Err(ControllerError::NotOver { job_id: *job_id, status });
            }
            Marked::NotYet => return Err(ControllerError::StillNeeded { job_id: *job_id }),
        }
        let mut report = ReconcileReport::default();
        let archived = self.archive_first(job_id, until).await?;
        let pace = &mut Pace::default();
        let purging = self.purge_job(job_id, archived, pace, until, &mut report).await?;
        let begun = purging.is_done();
        let run = job.run.unwrap_or(1) + 1;
        tracing::info!(%job_id, run, begun, tasks = report.tasks_purged, "job resubmitted");
        Ok(Resubmission {
            job_id: *job_id,
            run,
            is_begun: begun,
            previous_status: job.status,
            message: match purging {
                Purging::Done => format!(
                    "Run {run} of the job began; the result of the run before is in its events."
                ),
                Purging::GoesOn => format!(
                    "The tasks of the run before are being deleted; the next sweeps do the rest, and begin run {run}."
                ),
                Purging::Unarchived(None) => format!(
                    "The run before is being archived; the next sweeps delete its tasks after that, and begin run {run}."
                ),
                Purging::Unarchived(Some(problem)) => format!(
                    "Run {run} begins once the run before is archived, which is not possible now: {problem}."
                ),
            },
        })
    }

    /// Begins the next run of a job that is marked for it, once all tasks of the run before are deleted.
    /// Returns whether it did.
    pub(super) async fn begin_next_run(&self, job_id: &JobId) -> Result<bool, ControllerError> {
        let Some(job) = self.0.database.jobs().get(job_id).await? else { return Ok(false) };
        if job.is_resubmitted != Some(true) {
            return Ok(false);
        }
        let definition = match self.job_type_by(&job.job_type, job.definition_id.as_deref()).await {
            Ok(definition) => definition,
            Err(error) if error.is_transient() => return Err(error),
            // A process that has the job type begins it.
            Err(error) => {
                tracing::warn!(%job_id, %error, "the next run of a job cannot begin in this process");
                return Ok(false);
            }
        };
        let next = NextRun::of(&job, definition.as_ref())?;
        let graph: Option<Vec<StageInGraph>> =
            next.stages.iter().map(|stage| stage.place.clone()).collect();
        let text = definition.definition();
        let new = NewJob {
            job_id,
            job_type: &job.job_type,
            total_stages: next.total_stages,
            parameters: job.parameters.get(),
            path: job.path,
            deadline_seconds: self.time_limit(&job).await.as_secs_f64(),
            trace: Some(telemetry::submitted_in(None)),
            labels: &job.labels,
            terms: &next.terms,
            graph: graph.as_deref(),
            definition: text.map(|text| NewDefinition {
                id: text.id,
                name: &job.job_type,
                version: text.version,
                source: text.source,
            }),
            // Those of its first submission stay.
            notify: &[],
        };
        // Whoever sweeps may send its messages: they are unsent until somebody does.
        if !self.0.database.jobs().begin_next_run(new, 0.0, self.0.archiving.first()).await? {
            return Ok(false);
        }
        self.send_unsent_job_messages(&mut ReconcileReport::default()).await?;
        for (stage, spec) in (1..=100).filter_map(|one| Stage::try_from(one).ok()).zip(&next.stages)
        {
            // A decision that is ready has ended.
            if spec.place.as_ref().is_some_and(|place| place.kind == StageKind::Decision) {
                self.advance(&StageKey { job_id: *job_id, stage }).await?;
            }
        }
        self.submit_children(Some(job_id)).await?;
        Ok(true)
    }
}

/// What the next run of a job begins with.
struct NextRun {
    stages: Vec<StageSpec>,
    total_stages: Stage,
    terms: Vec<Term>,
}

impl NextRun {
    fn of(job: &JobRecord, definition: &dyn JobType) -> Result<Self, ControllerError> {
        let unusable = |reason: String| ControllerError::BadSubmission(reason);
        let parameters: Map<String, Value> = serde_json::from_str(job.parameters.get())
            .map_err(|error| ControllerError::Unwritten(error.to_string()))?;
        let stages = definition.stages(&parameters).map_err(|error| unusable(error.to_string()))?;
        let total = u8::try_from(stages.len()).ok().and_then(|count| Stage::try_from(count).ok());
        let total_stages = total.ok_or_else(|| {
            unusable(format!("the job has {} stages; 1 to 100 are allowed", stages.len()))
        })?;
        let terms = Term::of_job(&job.job_type, &job.labels, &parameters);
        Ok(Self { stages, total_stages, terms })
    }
}
