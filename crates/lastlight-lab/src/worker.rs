//! A worker in Rust, for measurements and faults: it claims tasks over HTTP in batches, answers each by
//! a function, and says so. Knows neither database nor queues.

use std::time::Duration;

use lastlight_api::workers::{
    Beat, Claim, ClaimedTask, ClaimedTasks, Finish, FinishAnswers, Heartbeat, HeartbeatAnswers,
    MOST_TASKS, Outcome, OutcomeAnswer, OutcomeKind, Standing,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a claim waits for a task, in seconds.
const WAIT_SECONDS: f64 = 20.0;

/// The pause after a request that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// How often a finish is repeated until it is answered.
const MOST_FINISHES: u32 = 50;

/// A worker of one queue.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    http: reqwest::Client,
    base: String,
    id: String,
    queue: Option<String>,
    handlers: Vec<String>,
}

/// A request of a worker that failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("a request or an answer is not JSON as expected: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{address} answered {status}: {body}")]
    Status { address: String, status: u16, body: String },
}

impl Worker {
    /// A worker of the default queue, for the app at this address.
    pub(crate) fn new(base: &str, id: &str, handlers: &[&str]) -> Result<Self, WorkerError> {
        Ok(Self {
            http: reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?,
            base: base.trim_end_matches('/').to_owned(),
            id: id.to_owned(),
            queue: None,
            handlers: handlers.iter().map(|name| (*name).to_owned()).collect(),
        })
    }

    async fn post<A: DeserializeOwned>(
        &self,
        what: &str,
        body: &impl Serialize,
    ) -> Result<A, WorkerError> {
        let address = format!("{}/api/workers/{what}", self.base);
        let body = serde_json::to_vec(body)?;
        let request = self.http.post(&address).header("content-type", "application/json");
        let response = request.body(body).send().await?;
        let status = response.status();
        let text = response.bytes().await?;
        if status.is_success() {
            return Ok(serde_json::from_slice(&text)?);
        }
        let body = String::from_utf8_lossy(&text).into_owned();
        Err(WorkerError::Status { address, status: status.as_u16(), body })
    }

    /// Claims up to `max` tasks; waits for `wait_seconds` if there is none.
    pub(crate) async fn claim(
        &self,
        max: u16,
        wait_seconds: f64,
    ) -> Result<Vec<ClaimedTask>, WorkerError> {
        let claim = Claim {
            worker_id: self.id.clone(),
            queue: self.queue.clone(),
            handlers: self.handlers.clone(),
            max: Some(max),
            wait_seconds: Some(wait_seconds),
        };
        let claimed: ClaimedTasks = self.post("claim", &claim).await?;
        Ok(claimed.tasks)
    }

    /// Says that these tasks run; returns for each whether it is to go on.
    pub(crate) async fn heartbeat(
        &self,
        tasks: &[ClaimedTask],
    ) -> Result<Vec<Standing>, WorkerError> {
        let beat = |task: &ClaimedTask| Beat {
            key: task.key(),
            progress: None,
            message: None,
            log_tail: None,
        };
        let heartbeat =
            Heartbeat { worker_id: self.id.clone(), tasks: tasks.iter().map(beat).collect() };
        let answers: HeartbeatAnswers = self.post("heartbeat", &heartbeat).await?;
        Ok(answers.tasks.into_iter().map(|task| task.answer).collect())
    }

    /// Says what became of tasks, once.
    pub(crate) async fn finish(
        &self,
        outcomes: Vec<Outcome>,
    ) -> Result<Vec<OutcomeAnswer>, WorkerError> {
        let finish = Finish { worker_id: self.id.clone(), outcomes };
        let answers: FinishAnswers = self.post("finish", &finish).await?;
        Ok(answers.outcomes)
    }

    /// Claims and answers tasks in `loops` loops until it is stopped. A request that fails is
    /// repeated.
    pub(crate) async fn serve(
        &self,
        loops: usize,
        run: fn(&ClaimedTask) -> Value,
        stop: CancellationToken,
    ) {
        let mut running = JoinSet::new();
        for _ in 0..loops {
            let (worker, stop) = (self.clone(), stop.clone());
            running.spawn(async move { stop.run_until_cancelled(worker.serve_one(run)).await });
        }
        running.join_all().await;
    }

    async fn serve_one(&self, run: fn(&ClaimedTask) -> Value) {
        loop {
            let Ok(tasks) = self.claim(MOST_TASKS, WAIT_SECONDS).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            if tasks.is_empty() {
                continue;
            }
            for _ in 0..MOST_FINISHES {
                let outcomes = tasks.iter().map(|task| completed(task, run(task))).collect();
                match self.finish(outcomes).await {
                    Ok(_) => break,
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        }
    }
}

/// A task that completed with this result.
pub(crate) fn completed(task: &ClaimedTask, result: Value) -> Outcome {
    Outcome {
        key: task.key(),
        outcome: OutcomeKind::Completed,
        result: Some(result),
        error: None,
        error_type: None,
        retry_after_seconds: None,
        log_tail: None,
    }
}

/// The handlers of `hello_world`.
pub(crate) const GREETINGS: [&str; 2] = ["hello_world_greeting", "hello_world_reply"];

/// The result of a task of `hello_world`.
pub(crate) fn greeting(task: &ClaimedTask) -> Value {
    let read = |json: &str| serde_json::from_str::<Value>(json).unwrap_or_default();
    let params = read(task.params.get());
    let number = &params["task_number"];
    if task.handler == GREETINGS[0] {
        return json!({ "greeting": params["message"], "task_number": number });
    }
    let before = task.predecessor_result.as_ref().map(|result| read(result.get()));
    let greeting = before.as_ref().and_then(|result| result["greeting"].as_str());
    let reply = format!("Reply to \"{}\"", greeting.unwrap_or_default());
    json!({ "reply": reply, "task_number": number })
}
