//! The client: sends requests, and repeats a submission until it is answered.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{HandlerNumber, World};
use crate::chaos::ChaosError;
use lastlight_testing::{
    graph_work::{GRAPH, GraphWork},
    oracle::{Expected, ExpectedGraph},
    work::{CHAOS, Work},
};

impl World {
    /// The base URL of a handler's host.
    pub(in crate::chaos) fn base_url(&self, handler: HandlerNumber) -> String {
        match handler.checked_sub(1).and_then(|other| self.others.get(other)) {
            Some(other) => other.base_url(),
            None => self.cloud.base_url(),
        }
    }

    pub(in crate::chaos) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Sends one request to the first handler; returns status and body, or why there was no answer.
    pub(in crate::chaos) async fn request(
        &self,
        method: reqwest::Method,
        path: &str,
        body: String,
    ) -> Result<(u16, Value), String> {
        let url = format!("{}{path}", self.cloud.base_url());
        let request = self.client.request(method, url).body(body);
        let response = request.send().await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(|error| error.to_string())?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    pub(in crate::chaos) async fn get(&self, path: &str) -> Result<(u16, Value), String> {
        self.request(reqwest::Method::GET, path, String::new()).await
    }

    pub(in crate::chaos) async fn post(&self, path: &str) -> Result<(u16, Value), String> {
        self.request(reqwest::Method::POST, path, String::new()).await
    }

    /// Waits until the first handler reports that it is healthy.
    pub(in crate::chaos) async fn healthy(&self, within: Duration) -> Result<(), ChaosError> {
        let began = Instant::now();
        loop {
            let answer = self.get("/api/health").await;
            if matches!(answer, Ok((200, _))) {
                return Ok(());
            }
            if began.elapsed() > within {
                return Err(ChaosError::Broken(format!(
                    "the handler is not healthy after {within:?}: {answer:?}"
                )));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Submits a job, repeatedly until it is accepted: a client that got no answer repeats its
    /// request.
    pub(in crate::chaos) async fn submit(
        &mut self,
        work: Work,
        within: Duration,
    ) -> Result<String, ChaosError> {
        let job_id = self.submit_unexpecting(&work).await?;
        self.expect(Expected::new(job_id.clone(), work, within));
        Ok(job_id)
    }

    /// The same, without an expected outcome; the caller adds one later.
    pub(in crate::chaos) async fn submit_unexpecting(
        &self,
        work: &Work,
    ) -> Result<String, ChaosError> {
        self.submit_parameters(CHAOS, serde_json::to_string(work)?, &work.tag).await
    }

    /// Submits a job whose stages form a graph, without an expected outcome.
    pub(in crate::chaos) async fn submit_graph(
        &self,
        work: &GraphWork,
    ) -> Result<String, ChaosError> {
        self.submit_parameters(GRAPH, serde_json::to_string(work)?, &work.tag).await
    }

    async fn submit_parameters(
        &self,
        job_type: &str,
        body: String,
        tag: &str,
    ) -> Result<String, ChaosError> {
        let path = format!("/api/jobs/submit/{job_type}");
        let began = Instant::now();
        loop {
            let answer = self.request(reqwest::Method::POST, &path, body.clone()).await;
            match &answer {
                Ok((200, submission)) => {
                    let job_id = submission.pointer("/job_id").and_then(Value::as_str);
                    return job_id
                        .map(str::to_owned)
                        .ok_or_else(|| ChaosError::Broken(format!("no job_id in {submission}")));
                }
                Ok((status, answer)) if *status < 500 => {
                    return Err(ChaosError::Broken(format!(
                        "{tag} was refused: {status} {answer}"
                    )));
                }
                _ if began.elapsed() > Duration::from_secs(60) => {
                    return Err(ChaosError::Broken(format!("{tag} was not accepted: {answer:?}")));
                }
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    pub(in crate::chaos) fn expect(&mut self, expected: Expected) {
        self.jobs.push(expected);
    }

    /// The jobs for which it waits are expected with it.
    pub(in crate::chaos) fn expect_graph(&mut self, expected: ExpectedGraph) {
        self.graphs.push(expected);
    }
}
