//! Bulk operations: one action on all jobs that a filter finds. A request counts the jobs and shows some of them; once it
//! is confirmed, the sweeps change one job after the other, each as a request for this job alone would, and note
//! after each where they are. A process that dies is followed by another one; at most one job is asked twice.

use std::time::{Duration, Instant};

use lastlight_api::{
    bulk::{BulkAction, BulkAnswer, BulkFilter, BulkJob, BulkOperation, BulkState},
    jobs::ListedAs,
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Controller, ControllerError, ReconcileReport, find};
use crate::{
    failpoint::failpoint,
    model::{JobId, Prefix, Term, Timestamp, UserRequest},
    store::{
        BulkPosition, BulkProgress, BulkRecord, JobFilter, JobPosition, JobRecord, JobSearch,
        Marked, NewBulk, Page, Since, TakenBulk,
    },
};

/// Jobs are counted up to this number, and for this time.
const MOST_COUNTED: u64 = 10_000;
const LONGEST_COUNT: Duration = Duration::from_secs(5);

/// Jobs in the sample of a request.
const SAMPLE: usize = 10;

/// Jobs that are looked up at once.
const AT_ONCE: u16 = 200;

/// A sweep changes no further jobs after this time.
const LONGEST: Duration = Duration::from_secs(15);

/// For how long operations are kept that have ended.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a user wants to have done.
#[derive(Debug, Clone)]
pub struct BulkRequest {
    pub action: BulkAction,
    pub filter: BulkFilter,
    /// Without it, nothing is done.
    pub is_confirmed: bool,
    pub request: UserRequest,
}

impl Controller {
    /// Counts the jobs that a filter finds and that the action can change, and begins the operation if it
    /// is confirmed.
    ///
    /// # Errors
    /// The filter names a status whose jobs the action cannot change; the database failed.
    pub async fn bulk(&self, bulk: BulkRequest) -> Result<BulkAnswer, ControllerError> {
        let BulkRequest { action, filter, is_confirmed, request } = bulk;
        let lists = lists(action, &filter)?;
        let (jobs, has_more, sample) = self.count(action, &filter, &lists).await?;
        let mut operation = None;
        if is_confirmed && jobs > 0 {
            let operation_id = Uuid::new_v4();
            let new = NewBulk {
                operation_id,
                action,
                filter: &filter,
                request: &request,
                jobs,
                has_more,
            };
            self.0.database.bulk().create(new).await?;
            tracing::info!(%operation_id, action = action.as_str(), jobs, has_more, "bulk operation begun");
            self.bulk_soon();
            operation = Some(self.bulk_operation(operation_id).await?);
        }
        let counted = match (jobs, has_more) {
            (1, false) => "1 job".to_owned(),
            (jobs, false) => format!("{jobs} jobs"),
            (jobs, true) => format!("{jobs} jobs or more"),
        };
        let action_name = action.as_str();
        let message = match (&operation, jobs) {
            (_, 0) => format!("The filter finds no job to {action_name}."),
            (None, _) => format!("{counted} to {action_name}. Nothing was done: confirm it."),
            (Some(_), _) => format!(
                "{counted} to {action_name}. The next sweeps do it; the operation shows how far they are, and can be stopped."
            ),
        };
        Ok(BulkAnswer { action, filter, jobs, has_more, sample, operation, message })
    }

    /// The newest operations, up to 100.
    ///
    /// # Errors
    /// The database failed.
    pub async fn bulk_operations(&self) -> Result<Vec<BulkOperation>, ControllerError> {
        let listed = self.0.database.bulk().list(100, None).await?;
        Ok(listed.into_iter().map(view).collect())
    }

    /// The operation with this id.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn bulk_operation(&self, id: Uuid) -> Result<BulkOperation, ControllerError> {
        let listed = self.0.database.bulk().list(1, Some(id)).await?;
        let found = listed.into_iter().next();
        found.map(view).ok_or(ControllerError::UnknownBulkOperation { id })
    }

    /// Stops an operation. What it did stays done.
    ///
    /// # Errors
    /// There is none with this id, or it has ended; the database failed.
    pub async fn stop_bulk(
        &self,
        id: Uuid,
        request: &UserRequest,
    ) -> Result<BulkOperation, ControllerError> {
        let is_stopped = self.0.database.bulk().stop(id, request).await?;
        let operation = self.bulk_operation(id).await?;
        if !is_stopped {
            let state = operation.state.as_str();
            return Err(ControllerError::BulkOperationEnded { id, state });
        }
        tracing::info!(operation_id = %id, done = operation.done, "bulk operation stopped");
        Ok(operation)
    }

    async fn count(
        &self,
        action: BulkAction,
        filter: &BulkFilter,
        lists: &[ListedAs],
    ) -> Result<(u64, bool, Vec<BulkJob>), ControllerError> {
        let began = Instant::now();
        let (mut jobs, mut sample) = (0, Vec::new());
        for (place, status) in lists.iter().enumerate() {
            // The same list again is for jobs that change their status meanwhile.
            if lists[..place].contains(status) {
                continue;
            }
            let mut after = None;
            loop {
                let page = self.page(filter, *status, None, after, AT_ONCE).await?;
                let looks_at_all = matches!(action, BulkAction::Pause | BulkAction::Resume);
                let shown = SAMPLE - sample.len();
                let wanted =
                    if looks_at_all { page.rows.len() } else { page.rows.len().min(shown) };
                let mut listed = self.0.database.jobs().at(&page.rows[..wanted]).await?;
                if looks_at_all {
                    listed.retain(|listed| !is_so_already(action, &listed.job));
                    jobs += listed.len() as u64;
                } else {
                    jobs += page.rows.len() as u64;
                }
                sample.extend(listed.into_iter().take(shown).map(|listed| BulkJob {
                    job_id: listed.job.job_id,
                    job_type: listed.job.job_type,
                    status: listed.job.status,
                    created_at: Timestamp(listed.job.created_at),
                }));
                after = page.next;
                if after.is_none() {
                    break;
                }
                if jobs >= MOST_COUNTED || began.elapsed() > LONGEST_COUNT {
                    return Ok((jobs, true, sample));
                }
            }
        }
        Ok((jobs, false, sample))
    }

    /// The next jobs of one list.
    async fn page(
        &self,
        filter: &BulkFilter,
        status: ListedAs,
        before: Option<OffsetDateTime>,
        after: Option<JobPosition>,
        limit: u16,
    ) -> Result<Page<JobPosition, JobPosition>, ControllerError> {
        let terms = filter
            .terms
            .iter()
            .map(|(name, value)| Term { name: name.clone(), value: value.clone() });
        let terms: Vec<Term> =
            terms.chain(filter.job_type.as_deref().map(Term::job_type)).collect();
        let prefix = filter.q.as_deref().and_then(Prefix::new);
        let until = match (filter.to.map(|to| to.0), before) {
            (Some(to), Some(before)) => Some(to.min(before)),
            (to, before) => to.or(before),
        };
        let search = JobSearch {
            filter: JobFilter {
                since: filter.from.map_or(Since::Ever, |from| Since::Time(from.0)),
                until,
                status: Some(status.stored()),
                is_paused: status == ListedAs::Paused,
                job_type: filter.job_type.as_deref(),
                path: filter.processing_path,
            },
            terms: &terms,
            prefix: prefix.as_ref(),
        };
        Ok(find::positions(&self.0.database, search, after, limit).await?)
    }

    /// Carries out what there is in the background, for as long as a request may take. An error is logged; the sweep does what is
    /// left.
    fn bulk_soon(&self) {
        let controller = self.clone();
        tokio::spawn(async move {
            let mut report = ReconcileReport::default();
            if let Err(error) = controller.carry_out_bulk(&mut report, LONGEST).await {
                tracing::warn!(%error, "a bulk operation was interrupted; the sweep goes on with it");
            }
        });
    }

    /// The part of the sweep: carries out operations, the oldest first, and forgets old ones.
    pub(super) async fn sweep_bulk(
        &self,
        report: &mut ReconcileReport,
        within: Duration,
    ) -> Result<(), ControllerError> {
        self.0.database.bulk().forget(KEPT.as_secs_f64()).await?;
        Box::pin(self.carry_out_bulk(report, within.min(LONGEST))).await
    }

    async fn carry_out_bulk(
        &self,
        report: &mut ReconcileReport,
        within: Duration,
    ) -> Result<(), ControllerError> {
        let until = Instant::now() + within;
        let owner = Uuid::new_v4();
        while Instant::now() < until {
            // Nobody else carries it out for so long after each job; if a change takes longer, it is refused the second time.
            let lease = self.0.timing.lease.as_secs_f64();
            let taken = self.0.database.bulk().take(owner, lease).await?;
            let Some(taken) = taken else { return Ok(()) };
            self.carry_out(&taken, owner, until, report).await?;
        }
        Ok(())
    }

    async fn carry_out(
        &self,
        bulk: &TakenBulk,
        owner: Uuid,
        until: Instant,
        report: &mut ReconcileReport,
    ) -> Result<(), ControllerError> {
        let store = self.0.database.bulk();
        let id = bulk.operation_id;
        let request = in_bulk(&bulk.request, id);
        let lists = lists(bulk.action, &bulk.filter)?;
        let mut position = bulk.position;
        let mut note = BulkProgress { done: false, refused: None, position, is_finished: false };
        while let Some(status) = lists.get(position.list) {
            let before = Some(bulk.created_at);
            let page = self.page(&bulk.filter, *status, before, position.after, AT_ONCE).await?;
            for job in page.rows {
                if Instant::now() >= until {
                    // Released: whoever sweeps next goes on at once.
                    store.advance(id, owner, 0.0, BulkProgress { position, ..note }).await?;
                    return Ok(());
                }
                let changed = self.change(bulk.action, &job.job_id, &request).await;
                failpoint!("bulk.changed");
                let refused = match &changed {
                    Ok(_) => None,
                    Err(error) if error.is_transient() => return changed.map(drop),
                    // It was deleted meanwhile: nothing is left to change.
                    Err(ControllerError::UnknownJob { .. }) => Some("the job is gone".to_owned()),
                    Err(error) => Some(error.to_string()),
                };
                let done = matches!(changed, Ok(true));
                report.bulk_jobs += u64::from(done);
                position.after = Some(job);
                let progress = BulkProgress {
                    done,
                    refused: refused.as_deref(),
                    position,
                    is_finished: false,
                };
                if !store.advance(id, owner, self.0.timing.lease.as_secs_f64(), progress).await? {
                    return Ok(());
                }
            }
            position = match page.next {
                Some(next) => BulkPosition { after: Some(next), ..position },
                None => BulkPosition { list: position.list + 1, after: None },
            };
            note.position = position;
            if Instant::now() >= until {
                store.advance(id, owner, 0.0, note).await?;
                return Ok(());
            }
        }
        if store.advance(id, owner, 0.0, BulkProgress { is_finished: true, ..note }).await? {
            tracing::info!(operation_id = %id, action = bulk.action.as_str(), "bulk operation finished");
        }
        Ok(())
    }

    /// Changes one job, as a request for it alone does; `false` if it was already as it is to be.
    async fn change(
        &self,
        action: BulkAction,
        job_id: &JobId,
        request: &UserRequest,
    ) -> Result<bool, ControllerError> {
        if matches!(action, BulkAction::Pause | BulkAction::Resume)
            && is_so_already(action, &self.job(job_id).await?)
        {
            return Ok(false);
        }
        match action {
            BulkAction::Cancel => self.cancel(job_id, request).await.map(drop),
            BulkAction::Retry => self.retry(job_id, request).await.map(drop),
            BulkAction::Pause => self.pause(job_id, request).await.map(drop),
            BulkAction::Resume => self.resume(job_id, request).await.map(drop),
            BulkAction::Resubmit => self.resubmit(job_id, false, request).await.map(drop),
            // Marked, it is deleted by the sweep, which does it for many jobs at once.
            BulkAction::Delete => match self.0.database.purge().mark(job_id, false, request).await?
            {
                Marked::Yes | Marked::RunsAgain | Marked::Unknown => Ok(()),
                Marked::NotYet => Err(ControllerError::StillNeeded { job_id: *job_id }),
                Marked::Runs => {
                    let status = self.job(job_id).await?.status;
                    Err(ControllerError::NotOver { job_id: *job_id, status })
                }
            },
        }?;
        Ok(true)
    }
}

/// Whether a job that is in a list of the action is one that it does not change: lists of queued jobs have paused ones, too.
fn is_so_already(action: BulkAction, job: &JobRecord) -> bool {
    let stands_still = job.paused_at.is_some() || job.is_pause_requested;
    match action {
        BulkAction::Pause => stands_still,
        BulkAction::Resume => !stands_still,
        _ => false,
    }
}

/// The lists of jobs that an operation goes through. A job that changes between queued and processing meanwhile
/// is in one of them.
fn lists(action: BulkAction, filter: &BulkFilter) -> Result<Vec<ListedAs>, ControllerError> {
    let all = action.applies_to();
    match (filter.status, action) {
        (None, BulkAction::Cancel | BulkAction::Pause) => {
            Ok(vec![ListedAs::Queued, ListedAs::Processing, ListedAs::Queued])
        }
        (None, _) => Ok(all.to_vec()),
        (Some(status), _) if all.contains(&status) => Ok(vec![status]),
        (Some(status), _) => {
            let allowed: Vec<&str> = all.iter().map(|status| status.as_str()).collect();
            Err(ControllerError::BadSubmission(format!(
                "status must be one of {} for {}, not {:?}",
                allowed.join(", "),
                action.as_str(),
                status.as_str()
            )))
        }
    }
}

/// The request as the events of each job show it: with the operation.
fn in_bulk(request: &UserRequest, id: Uuid) -> UserRequest {
    let id = id.to_string();
    let operation = format!("bulk operation {}", id.get(..8).unwrap_or(&id));
    let reason = match request.reason.as_deref() {
        Some(reason) => {
            let most = UserRequest::LONGEST_REASON.saturating_sub(operation.len() + 3);
            let reason: String = reason.chars().take(most).collect();
            format!("{reason} ({operation})")
        }
        None => operation,
    };
    UserRequest { by: request.by.clone(), reason: Some(reason) }
}

fn view(record: BulkRecord) -> BulkOperation {
    BulkOperation {
        operation_id: record.operation_id.to_string(),
        action: record.action,
        filter: serde_json::from_str(record.filter.0.get()).unwrap_or_default(),
        state: match (record.finished_at, record.is_stopped) {
            (None, _) => BulkState::Running,
            (Some(_), false) => BulkState::Finished,
            (Some(_), true) => BulkState::Stopped,
        },
        jobs: record.jobs.unsigned_abs(),
        has_more: record.has_more,
        done: record.done.unsigned_abs(),
        refused: record.refused.unsigned_abs(),
        last_refusal: record.last_refusal,
        by: record.requested_by,
        reason: record.reason,
        created_at: Timestamp(record.created_at),
        finished_at: record.finished_at.map(Timestamp),
        stopped_by: record.stopped_by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_must_be_one_that_the_action_can_change() {
        let of = |action, status| {
            lists(action, &BulkFilter { status, ..BulkFilter::default() })
                .map_err(|error| error.to_string())
        };
        assert_eq!(of(BulkAction::Retry, Some(ListedAs::Failed)), Ok(vec![ListedAs::Failed]));
        assert_eq!(
            of(BulkAction::Cancel, Some(ListedAs::Completed)),
            Err("status must be one of queued, paused, processing for cancel, not \"completed\""
                .to_owned())
        );
        for action in BulkAction::ALL {
            assert!(!of(action, None).unwrap().is_empty());
        }
    }

    #[test]
    fn events_name_the_operation_beside_the_reason() {
        let id = Uuid::from_u128(0x1234_5678 << 96);
        let asked = |reason: Option<&str>| {
            in_bulk(&UserRequest { by: None, reason: reason.map(str::to_owned) }, id)
                .reason
                .unwrap()
        };
        assert_eq!(asked(None), "bulk operation 12345678");
        assert_eq!(asked(Some("wrong input")), "wrong input (bulk operation 12345678)");
        let long = asked(Some(&"ä".repeat(2000)));
        assert!(
            long.chars().count() == UserRequest::LONGEST_REASON
                && long.ends_with("(bulk operation 12345678)")
        );
    }
}
