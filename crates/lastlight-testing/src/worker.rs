//! A worker in the test's process: claims tasks from a handler, answers them, and says so.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::app::TestApp;

/// A worker of one queue.
#[derive(Clone, Copy)]
pub struct TestWorker<'a> {
    pub app: &'a TestApp,
    pub name: &'static str,
    pub queue: &'static str,
    pub handlers: &'a [&'a str],
}

impl<'a> TestWorker<'a> {
    /// A worker of the default queue.
    pub fn of(app: &'a TestApp, handlers: &'a [&'a str]) -> Self {
        Self { app, name: "a worker", queue: "default", handlers }
    }

    async fn post(&self, what: &str, body: Value) -> Value {
        let address = format!("/api/workers/{what}");
        let answer = self.app.request("POST", &address, body.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body
    }

    /// Claims up to `max` tasks, and waits for some time if there is none.
    pub async fn claim_within(&self, max: u16, wait_seconds: f64) -> Vec<Value> {
        let body = json!({
            "worker_id": self.name, "queue": self.queue, "handlers": self.handlers, "max": max,
            "wait_seconds": wait_seconds,
        });
        let mut answer = self.post("claim", body).await;
        serde_json::from_value(answer["tasks"].take()).unwrap()
    }

    /// Claims up to `max` tasks that are ready now.
    pub async fn claim(&self, max: u16) -> Vec<Value> {
        self.claim_within(max, 0.0).await
    }

    /// Says what became of tasks: `fields` are added to each; returns the answers.
    pub async fn finish(&self, outcomes: Vec<Value>) -> Vec<Value> {
        let body = json!({ "worker_id": self.name, "outcomes": outcomes });
        let mut answer = self.post("finish", body).await;
        serde_json::from_value(answer["outcomes"].take()).unwrap()
    }

    /// Says what became of one task; returns the answer's word.
    pub async fn ends(&self, task: &Value, fields: Value) -> String {
        let answers = self.finish(vec![with(task, fields)]).await;
        assert_eq!(answers.len(), 1);
        answers[0]["answer"].as_str().unwrap().to_owned()
    }

    /// Says that a task runs; returns the answer's word.
    pub async fn beats(&self, task: &Value, fields: Value) -> String {
        let body = json!({ "worker_id": self.name, "tasks": [with(task, fields)] });
        let answer = self.post("heartbeat", body).await;
        answer["tasks"][0]["answer"].as_str().unwrap().to_owned()
    }

    /// Runs all tasks that are ready or become ready with their completion, in any stage, by a
    /// function from a task to its result. Returns the number of tasks.
    pub async fn serve(&self, mut run: impl FnMut(&Value) -> Value) -> usize {
        let mut served = 0;
        loop {
            self.app.run_dry().await;
            let tasks = self.claim(100).await;
            if tasks.is_empty() {
                return served;
            }
            served += tasks.len();
            let complete =
                |task: &Value| with(task, json!({ "outcome": "completed", "result": run(task) }));
            let outcomes = tasks.iter().map(complete).collect();
            for answer in self.finish(outcomes).await {
                assert_eq!(answer["answer"], "counted", "{answer}");
            }
        }
    }
}

/// The attempt that a claimed task names, with more fields.
pub fn with(task: &Value, fields: Value) -> Value {
    let mut named = json!({
        "job_id": task["job_id"], "stage": task["stage"], "task_id": task["task_id"],
        "attempt": task["attempt"],
    });
    if let (Value::Object(named), Value::Object(fields)) = (&mut named, fields) {
        named.extend(fields);
    }
    named
}
