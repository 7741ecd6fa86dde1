//! A client of the app's HTTP API for the command line: addresses, keys, retries and typed answers.
//! It depends on the shapes of the API and on none of the modules behind it.
//!
//! A request that is safe to repeat (a read, or a submission, which is idempotent) is repeated if
//! the app answers 503 with `Retry-After`. No request is repeated if there was no answer: whether
//! to wait is the caller's decision.

mod address;
mod error;

use std::time::Duration;

use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use url::Url;

pub use address::AppAddress;
pub use error::ClientError;

use lastlight_api::{
    JobVersion,
    audit::JobAudit,
    bulk::{BulkAnswer, BulkOperation, BulkOperations, BulkRequest},
    comparison::Comparison,
    control::{GateRequest, GateResult, Resubmission},
    events::JobEvents,
    job_types::JobTypes,
    jobs::{JobDetails, JobStatusAnswer, Jobs, Submission},
    notifications::{NotificationList, NotificationsRetried, RetryNotifications},
    poison::{Discarded, PoisonOrder, PoisonProcessed, PoisonSettled, PoisonStatus, Redriven},
    purge::{Deletion, PurgeJobs, Purged},
    schedules::{
        ScheduleDeleted, ScheduleDetails, SchedulePause, ScheduleRequest, ScheduleSet,
        ScheduleStarted, Schedules,
    },
    tasks::{ChangeTasks, TaskDetails, TasksChanged, TasksOfJob},
    workers::WorkerList,
};
use lastlight_engine::config::Secret;

/// Timeout of one request, in addition to the wait that the request asks for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum number of tries for a request that is safe to repeat.
const MOST_TRIES: u32 = 4;

/// Upper limit of the `Retry-After` that is honoured.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// An answer: the document as received, and its typed part.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// The document exactly as the app sent it.
    pub document: Value,
    pub body: T,
}

/// Who asks for a change of a job, and why.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    pub by: Option<&'a str>,
    pub reason: Option<&'a str>,
}

/// A pause before a retry that the app asked for, to report to the user.
#[derive(Debug)]
pub struct Pause<'a> {
    pub asked: &'a str,
    /// The app's message.
    pub message: &'a str,
    /// Time until the next try.
    pub pause: Duration,
}

/// A client of one app. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    address: AppAddress,
    key: Option<HeaderValue>,
    http: reqwest::Client,
    on_pause: fn(&Pause<'_>),
}

/// Whether a request may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Safe,
    Never,
}

#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only jobs that were submitted in the last N hours.
    pub hours: Option<u16>,
    pub status: Option<String>,
    pub job_type: Option<String>,
    pub processing_path: Option<String>,
    /// `label.KEY` and `param.NAME` with the values that the jobs must have.
    pub terms: Vec<(String, String)>,
    /// What their id, type or a label's value begins with.
    pub prefix: Option<String>,
    /// Only jobs that were submitted at this time or later; a time or a date.
    pub from: Option<String>,
    /// Only jobs that were submitted before this time, or up to the end of this date.
    pub to: Option<String>,
}

/// A filter for the tasks of a job.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    pub status: Option<String>,
    pub stage: Option<u8>,
}

impl Client {
    /// Creates a client of the app at `address`. The key is sent only in a header.
    ///
    /// # Errors
    /// The key is not a valid header value or would be sent unencrypted, or TLS cannot be set up.
    pub fn new(address: AppAddress, key: Option<&Secret>) -> Result<Self, ClientError> {
        let key = match key.map(Secret::expose).filter(|key| !key.trim().is_empty()) {
            None => None,
            Some(_) if !address.is_private() => {
                return Err(ClientError::Settings(format!(
                    "{address} is plain HTTP to another machine, so the key could be read in transit: use https://, or no key"
                )));
            }
            Some(key) => {
                let mut header = HeaderValue::from_str(key.trim()).map_err(|_| {
                    ClientError::Settings(
                        "the key has characters that a header cannot contain".to_owned(),
                    )
                })?;
                header.set_sensitive(true);
                Some(header)
            }
        };
        let mut http = reqwest::Client::builder()
            // A redirect would forward the key.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10));
        if address.is_this_machine() {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| {
            ClientError::Settings(format!("the HTTP client cannot be created: {error}"))
        })?;
        Ok(Self { address, key, http, on_pause: |_| () })
    }

    /// Calls `on_pause` before each pause that the app asked for.
    #[must_use]
    pub fn with_pauses_told(mut self, on_pause: fn(&Pause<'_>)) -> Self {
        self.on_pause = on_pause;
        self
    }

    pub fn address(&self) -> &AppAddress {
        &self.address
    }

    /// Submits a job. An identical submission returns the first job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn submit(
        &self,
        job_type: &str,
        parameters: &Map<String, Value>,
    ) -> Result<Answer<Submission>, ClientError> {
        let request = self
            .request(Method::POST, &["jobs", "submit", job_type], &[])
            .header(CONTENT_TYPE, "application/json")
            .body(Value::from(parameters.clone()).to_string());
        // Repeated, it would find the job running.
        let repeat = match parameters.get("rerun") {
            Some(Value::Bool(true)) => Repeat::Never,
            _ => Repeat::Safe,
        };
        self.ask(&format!("submit {job_type}"), request, repeat).await
    }

    /// The status of a job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status(&self, job_id: &str) -> Result<Answer<JobStatusAnswer>, ClientError> {
        self.get(&format!("status {job_id}"), &["jobs", "status", job_id], &[]).await
    }

    /// The status of a job as soon as its version differs from `seen` (the version in an earlier
    /// answer), or after `wait` seconds.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status_after(
        &self,
        job_id: &str,
        seen: Option<JobVersion>,
        wait: u8,
    ) -> Result<Answer<JobStatusAnswer>, ClientError> {
        let (seconds, seen) = (wait.to_string(), seen.map(|version| version.to_string()));
        let query = given([("wait", Some(seconds.as_str())), ("seen", seen.as_deref())]);
        let request = self
            .request(Method::GET, &["jobs", "status", job_id], &query)
            .timeout(TIMEOUT + Duration::from_secs(wait.into()));
        self.ask(&format!("status {job_id}"), request, Repeat::Safe).await
    }

    /// Changes a job; `action`: `cancel`, `retry`, `pause` or `resume`, whose answer is a
    /// `Cancellation`, `Retry` or `Pause`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn change<T: DeserializeOwned>(
        &self,
        action: &str,
        job_id: &str,
        asked: Asked<'_>,
    ) -> Result<Answer<T>, ClientError> {
        let query = given([("by", asked.by), ("reason", asked.reason)]);
        let request = self.request(Method::POST, &["jobs", action, job_id], &query);
        self.ask(&format!("{action} {job_id}"), request, Repeat::Never).await
    }

    /// Runs a job again that is over; `by_stored`: also if its definition changed since.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn resubmit(
        &self,
        job_id: &str,
        by_stored: bool,
        asked: Asked<'_>,
    ) -> Result<Answer<Resubmission>, ClientError> {
        let definition = by_stored.then_some("stored");
        let query = given([("definition", definition), ("by", asked.by), ("reason", asked.reason)]);
        let request = self.request(Method::POST, &["jobs", "resubmit", job_id], &query);
        self.ask(&format!("resubmit {job_id}"), request, Repeat::Never).await
    }

    /// Deletes a job that is over; `cancels`: a job that runs is cancelled first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete(
        &self,
        job_id: &str,
        cancels: bool,
        asked: Asked<'_>,
    ) -> Result<Answer<Deletion>, ClientError> {
        let cancel = cancels.then_some("true");
        let query = given([("cancel", cancel), ("by", asked.by), ("reason", asked.reason)]);
        let request = self.request(Method::DELETE, &["jobs", job_id], &query);
        self.ask(&format!("delete {job_id}"), request, Repeat::Never).await
    }

    /// Deletes up to 1,000 jobs that have been over for some time, or says which ones that would be.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn purge(&self, jobs: &PurgeJobs) -> Result<Answer<Purged>, ClientError> {
        let request = self
            .request(Method::POST, &["jobs", "purge"], &[])
            .header(CONTENT_TYPE, "application/json")
            .body(json!(jobs).to_string());
        self.ask("purge", request, Repeat::Never).await
    }

    /// Says which jobs a filter finds, and begins to change them if it is confirmed.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn bulk(
        &self,
        bulk: &BulkRequest,
        asked: Asked<'_>,
    ) -> Result<Answer<BulkAnswer>, ClientError> {
        let query = given([("by", asked.by), ("reason", asked.reason)]);
        let request = self
            .request(Method::POST, &["jobs", "bulk"], &query)
            .header(CONTENT_TYPE, "application/json")
            .body(json!(bulk).to_string());
        let repeat = if bulk.confirm { Repeat::Never } else { Repeat::Safe };
        self.ask("bulk", request, repeat).await
    }

    /// The bulk operations, the newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn bulk_operations(&self) -> Result<Answer<BulkOperations>, ClientError> {
        let request = self.request(Method::GET, &["jobs", "bulk"], &[]);
        self.ask("bulk operations", request, Repeat::Safe).await
    }

    /// A bulk operation.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn bulk_operation(&self, id: &str) -> Result<Answer<BulkOperation>, ClientError> {
        let request = self.request(Method::GET, &["jobs", "bulk", id], &[]);
        self.ask(&format!("bulk operation {id}"), request, Repeat::Safe).await
    }

    /// Stops a bulk operation.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn stop_bulk(
        &self,
        id: &str,
        asked: Asked<'_>,
    ) -> Result<Answer<BulkOperation>, ClientError> {
        let query = given([("by", asked.by), ("reason", asked.reason)]);
        let request = self.request(Method::POST, &["jobs", "bulk", "stop", id], &query);
        self.ask(&format!("stop bulk operation {id}"), request, Repeat::Never).await
    }

    /// Retries (or skips) single tasks of a job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn change_tasks(
        &self,
        verb: &'static str,
        tasks: &ChangeTasks,
        asked: Asked<'_>,
    ) -> Result<Answer<TasksChanged>, ClientError> {
        let query = given([("by", asked.by), ("reason", asked.reason)]);
        let request = self
            .request(Method::POST, &["tasks", verb], &query)
            .header(CONTENT_TYPE, "application/json")
            .body(json!(tasks).to_string());
        self.ask(&format!("{verb} tasks of {}", tasks.job_id), request, Repeat::Safe).await
    }

    /// Decides at a gate of a job. The same decision may be repeated.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn decide(
        &self,
        job_id: &str,
        node: &str,
        decision: &GateRequest,
    ) -> Result<Answer<GateResult>, ClientError> {
        let request = self
            .request(Method::POST, &["jobs", "gate", job_id, node], &[])
            .header(CONTENT_TYPE, "application/json")
            .body(json!(decision).to_string());
        self.ask(&format!("gate {node}"), request, Repeat::Safe).await
    }

    /// The notifications that were not delivered; of one job, all of them.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn notifications(
        &self,
        job_id: Option<&str>,
        state: Option<&str>,
        limit: u16,
    ) -> Result<Answer<NotificationList>, ClientError> {
        let limit = limit.to_string();
        let query = given([("job_id", job_id), ("state", state), ("limit", Some(limit.as_str()))]);
        self.get("notifications", &["notifications"], &query).await
    }

    /// Sends notifications again that were given up.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn retry_notifications(
        &self,
        which: &RetryNotifications,
    ) -> Result<Answer<NotificationsRetried>, ClientError> {
        let request = self
            .request(Method::POST, &["notifications", "retry"], &[])
            .header(CONTENT_TYPE, "application/json")
            .body(json!(which).to_string());
        self.ask("retry notifications", request, Repeat::Never).await
    }

    /// A page of the events of a job, the oldest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn events(
        &self,
        job_id: &str,
        cursor: Option<&str>,
    ) -> Result<Answer<JobEvents>, ClientError> {
        let query = given([("cursor", cursor)]);
        self.get(&format!("events {job_id}"), &["jobs", "events", job_id], &query).await
    }

    /// The audit of a job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn audit(&self, job_id: &str) -> Result<Answer<JobAudit>, ClientError> {
        self.get(&format!("audit {job_id}"), &["jobs", "audit", job_id], &[]).await
    }

    /// The job types, with the schemas of their parameters.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn job_types(&self) -> Result<Answer<JobTypes>, ClientError> {
        self.get("types", &["jobs", "types"], &[]).await
    }

    /// A page of jobs, newest first; `limit`: 1 to 100.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn jobs(
        &self,
        filter: &JobFilter,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Answer<Jobs>, ClientError> {
        let (limit, hours) = (limit.to_string(), filter.hours.map(|hours| hours.to_string()));
        let mut query = given([
            ("limit", Some(limit.as_str())),
            ("hours", hours.as_deref()),
            ("from", filter.from.as_deref()),
            ("to", filter.to.as_deref()),
            ("q", filter.prefix.as_deref()),
            ("status", filter.status.as_deref()),
            ("job_type", filter.job_type.as_deref()),
            ("processing_path", filter.processing_path.as_deref()),
            ("cursor", cursor),
        ]);
        query.extend(filter.terms.iter().map(|(name, value)| (&**name, &**value)));
        self.get("list", &["db", "jobs"], &query).await
    }

    /// A job as stored in the database, with its stages.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn job(&self, job_id: &str) -> Result<Answer<JobDetails>, ClientError> {
        self.get(&format!("job {job_id}"), &["db", "jobs", job_id], &[]).await
    }

    /// One task, with the log and the checkpoint of its attempts.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn task(
        &self,
        job_id: &str,
        task_id: &str,
    ) -> Result<Answer<TaskDetails>, ClientError> {
        self.get(&format!("task {task_id}"), &["db", "tasks", job_id, task_id], &[]).await
    }

    /// A page of the tasks of a job, in stage order; `limit`: 1 to 100. A page with fewer tasks may
    /// still have a next page.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn tasks(
        &self,
        job_id: &str,
        filter: &TaskFilter,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Answer<TasksOfJob>, ClientError> {
        let (limit, stage) = (limit.to_string(), filter.stage.map(|stage| stage.to_string()));
        let query = given([
            ("limit", Some(limit.as_str())),
            ("status", filter.status.as_deref()),
            ("stage", stage.as_deref()),
            ("cursor", cursor),
        ]);
        self.get(&format!("tasks {job_id}"), &["db", "tasks", job_id], &query).await
    }

    /// The dead-letter queues; `peek`: number of messages to show per queue, up to 32.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn poison(&self, peek: u8) -> Result<Answer<PoisonStatus>, ClientError> {
        let peek = peek.to_string();
        self.get("poison list", &["monitor", "poison"], &[("peek", &peek)]).await
    }

    /// Processes all messages that were delivered too often.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn process_poison(&self) -> Result<Answer<PoisonProcessed>, ClientError> {
        let request = self.request(Method::POST, &["monitor", "poison"], &[]);
        self.ask("poison process", request, Repeat::Never).await
    }

    /// Sends one message again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn redrive(
        &self,
        queue: &str,
        message_id: &str,
    ) -> Result<Answer<PoisonSettled<Redriven>>, ClientError> {
        self.order_poison("redrive", queue, message_id).await
    }

    /// Deletes one message.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn discard(
        &self,
        queue: &str,
        message_id: &str,
    ) -> Result<Answer<PoisonSettled<Discarded>>, ClientError> {
        self.order_poison("discard", queue, message_id).await
    }

    async fn order_poison<T: DeserializeOwned>(
        &self,
        action: &str,
        queue: &str,
        message_id: &str,
    ) -> Result<Answer<T>, ClientError> {
        let order = PoisonOrder {
            action: Some(action.to_owned()),
            queue: Some(queue.to_owned()),
            message_id: Some(message_id.to_owned()),
        };
        let request = self
            .request(Method::POST, &["monitor", "poison"], &[])
            .header(CONTENT_TYPE, "application/json")
            .body(json!(order).to_string());
        self.ask(&format!("poison {action}"), request, Repeat::Never).await
    }

    /// The queues of tasks for workers, or one of them, and the workers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn workers(&self, queue: Option<&str>) -> Result<Answer<WorkerList>, ClientError> {
        self.get("workers", &["workers"], &given([("queue", queue)])).await
    }

    /// All schedules.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn schedules(&self) -> Result<Answer<Schedules>, ClientError> {
        self.get("schedules", &["schedules"], &[]).await
    }

    /// A schedule with its next due times and its history.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn schedule(&self, name: &str) -> Result<Answer<ScheduleDetails>, ClientError> {
        self.get(&format!("schedule {name}"), &["schedules", name], &[]).await
    }

    /// Makes or replaces a schedule.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_schedule(
        &self,
        schedule: &ScheduleRequest,
    ) -> Result<Answer<ScheduleSet>, ClientError> {
        let request = self
            .request(Method::POST, &["schedules"], &[])
            .header(CONTENT_TYPE, "application/json")
            .body(json!(schedule).to_string());
        self.ask(&format!("schedule set {}", schedule.name), request, Repeat::Safe).await
    }

    /// Deletes a schedule with its history.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete_schedule(
        &self,
        name: &str,
    ) -> Result<Answer<ScheduleDeleted>, ClientError> {
        let request = self.request(Method::DELETE, &["schedules", name], &[]);
        self.ask(&format!("schedule delete {name}"), request, Repeat::Never).await
    }

    /// Pauses or resumes a schedule.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pause_schedule(
        &self,
        name: &str,
        pauses: bool,
    ) -> Result<Answer<SchedulePause>, ClientError> {
        let action = if pauses { "pause" } else { "resume" };
        let request = self.request(Method::POST, &["schedules", action, name], &[]);
        self.ask(&format!("schedule {action} {name}"), request, Repeat::Safe).await
    }

    /// Submits the job of a schedule now.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn run_schedule(&self, name: &str) -> Result<Answer<ScheduleStarted>, ClientError> {
        let request = self.request(Method::POST, &["schedules", "run", name], &[]);
        self.ask(&format!("schedule run {name}"), request, Repeat::Never).await
    }

    /// The comparison of the two paths, over all jobs of the last `hours`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn comparison(
        &self,
        hours: u16,
        job_type: Option<&str>,
    ) -> Result<Answer<Comparison>, ClientError> {
        let hours = hours.to_string();
        let query = given([("hours", Some(hours.as_str())), ("job_type", job_type)]);
        self.get("metrics/comparison", &["metrics", "comparison"], &query).await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        asked: &str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Answer<T>, ClientError> {
        self.ask(asked, self.request(Method::GET, path, query), Repeat::Safe).await
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let url: Url = self.address.of(path, query);
        let request = self.http.request(method, url).timeout(TIMEOUT);
        match &self.key {
            Some(key) => request.header("x-functions-key", key.clone()),
            None => request,
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        asked: &str,
        request: RequestBuilder,
        repeat: Repeat,
    ) -> Result<Answer<T>, ClientError> {
        let mut tries = 1;
        loop {
            let Some(copy) = request.try_clone() else {
                return Err(ClientError::Settings("the request cannot be repeated".to_owned()));
            };
            let unreachable =
                |error: reqwest::Error| ClientError::unreachable(asked, &self.address, &error);
            let response = copy.send().await.map_err(unreachable)?;
            let status = response.status();
            let header = |name| {
                let value: Option<&HeaderValue> = response.headers().get(name);
                value.and_then(|value| value.to_str().ok()).map(str::to_owned)
            };
            let (pause, location) = (header(RETRY_AFTER), header(LOCATION));
            let text = response.text().await.map_err(unreachable)?;
            if status.is_success() {
                return self.read(asked, status, &text);
            }
            let refusal = ClientError::refusal(asked, &self.address, status, location, &text);
            let pause = pause.and_then(|seconds| seconds.trim().parse().ok());
            match (pause.map(Duration::from_secs), &refusal) {
                (Some(pause), ClientError::Refused { message, .. })
                    if status == StatusCode::SERVICE_UNAVAILABLE
                        && repeat == Repeat::Safe
                        && tries < MOST_TRIES =>
                {
                    tries += 1;
                    let pause = pause.min(LONGEST_PAUSE);
                    (self.on_pause)(&Pause { asked, message, pause });
                    tokio::time::sleep(pause).await;
                }
                _ => return Err(refusal),
            }
        }
    }

    fn read<T: DeserializeOwned>(
        &self,
        asked: &str,
        status: StatusCode,
        text: &str,
    ) -> Result<Answer<T>, ClientError> {
        let not_the_app = |problem: String| ClientError::NotTheApp {
            asked: asked.to_owned(),
            address: self.address.to_string(),
            status: status.as_u16(),
            problem,
        };
        let document: Value = serde_json::from_str(text)
            .map_err(|error| not_the_app(format!("the answer is not JSON ({error})")))?;
        let body = T::deserialize(&document).map_err(|error| {
            not_the_app(format!("the answer has an unexpected shape ({error})"))
        })?;
        Ok(Answer { document, body })
    }
}

/// The query parameters that have a value.
fn given<'a, const N: usize>(parts: [(&'a str, Option<&'a str>); N]) -> Vec<(&'a str, &'a str)> {
    parts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
