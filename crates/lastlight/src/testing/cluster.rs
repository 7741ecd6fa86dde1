//! An app on a local cloud in the process of a test: the real engine, PostgreSQL, both queues and a
//! Functions host.

use std::{
    env, fmt, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use lastlight_local::{
    CloudError, CloudOptions, LocalCloud,
    api::{Api, ApiError},
    host::{HandlerCommand, LogSink},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{App, Job, Stage};

/// How long a job may take.
const LONGEST: Duration = Duration::from_secs(300);

/// Interval between looks at a job.
const LOOK: Duration = Duration::from_millis(100);

/// The settings of the Functions host that matter here.
const HOST_JSON: &str = r#"{
  "version": "2.0",
  "customHandler": { "description": { "defaultExecutablePath": "app" }, "enableForwardingHttpRequest": true },
  "extensions": { "queues": { "maxPollingInterval": "00:00:01" } }
}"#;

/// Starts an app on a local cloud of its own: a PostgreSQL server in a temporary folder, both queue
/// services and a Functions host on free ports of 127.0.0.1. It takes a few seconds; the programs of
/// PostgreSQL are downloaded once if this machine has none.
///
/// ```no_run
/// # use lastlight::{App, testing};
/// # async fn test(app: App) -> Result<(), testing::ClusterError> {
/// let cluster = testing::cluster(app).await?;
/// let response = cluster.status("…").await?;
/// cluster.stop().await
/// # }
/// ```
///
/// # Errors
/// A part did not start, for the reason given.
pub async fn cluster(app: App) -> Result<Cluster, ClusterError> {
    let id = format!("lastlight-cluster-{}-{:x}", std::process::id(), fastrand::u64(..));
    let folder = Folder(env::temp_dir().join(id));
    let app_root = folder.0.join("app");
    fs::create_dir_all(&app_root).map_err(ClusterError::Folder)?;
    fs::write(app_root.join("host.json"), HOST_JSON).map_err(ClusterError::Folder)?;
    let cloud = LocalCloud::start(CloudOptions {
        app_root,
        data: folder.0.join("data"),
        port: 0,
        storage_port: 0,
        service_bus_port: 0,
        database_url: None,
        handler: HandlerCommand::InThisProcess(app.into_engine().catalog()),
        settings: std::collections::BTreeMap::new(),
        log: LogSink::new(|_| {}),
    })
    .await?;
    let api = Api::new(cloud.base_url())?;
    // Answers once the database is ready. Health would also wait for contexts.
    api.get("db/jobs?limit=1").await?;
    Ok(Cluster { cloud, api, _folder: folder })
}

/// A running local cloud with an app.
#[derive(Debug)]
pub struct Cluster {
    cloud: LocalCloud,
    api: Api,
    _folder: Folder,
}

/// A folder that is removed with this value.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A job that completed on a local cloud.
#[non_exhaustive]
pub struct Completed<J: Job> {
    /// Id of the job.
    pub job_id: String,
    /// The summary of its last stage.
    pub summary: <J::Last as Stage>::Summary,
    /// The answer of `GET /api/jobs/status/{job_id}`.
    pub status: Value,
}

impl<J: Job> fmt::Debug for Completed<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completed").field("job_id", &self.job_id).finish_non_exhaustive()
    }
}

/// Why a local cloud, or a job on it, failed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The temporary folder cannot be used.
    #[error("the temporary folder cannot be used: {0}")]
    Folder(std::io::Error),
    /// A part did not start, or did not stop cleanly.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The app gave an unexpected answer.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The job did not complete.
    #[error("job {job_id} is {status}: {reason}")]
    Job {
        /// Id of the job.
        job_id: String,
        /// Its status.
        status: String,
        /// Why it failed, or how long it was waited for.
        reason: String,
    },
    /// The parameters or the summary of the job are not valid JSON of its types.
    #[error("{what} cannot be used: {error}")]
    Json {
        /// What is not valid.
        what: &'static str,
        /// Why.
        error: serde_json::Error,
    },
}

impl Cluster {
    /// `http://127.0.0.1:<port>` of the Functions host.
    pub fn url(&self) -> String {
        self.cloud.base_url()
    }

    /// The URL of its database, for a test that reads or changes the rows; the tables are in the
    /// schema `app`.
    pub fn database_url(&self) -> &str {
        self.cloud.settings().get("DATABASE_URL").map_or("", String::as_str)
    }

    /// Submits a job and returns its id.
    ///
    /// # Errors
    /// The app rejects it.
    pub async fn submit<J: Job>(&self, job: &J) -> Result<String, ClusterError> {
        let parameters = serde_json::to_value(job)
            .map_err(|error| ClusterError::Json { what: "the parameters of the job", error })?;
        Ok(self.api.submit(J::NAME, &parameters).await?)
    }

    /// The answer of `GET /api/jobs/status/{job_id}`.
    ///
    /// # Errors
    /// There is no such job.
    pub async fn status(&self, job_id: &str) -> Result<Value, ClusterError> {
        Ok(self.api.status(job_id).await?)
    }

    /// Submits a job and waits until it completes.
    ///
    /// # Errors
    /// The app rejects it, it fails, or it takes longer than 5 minutes.
    pub async fn run<J: Job>(&self, job: &J) -> Result<Completed<J>, ClusterError> {
        let job_id = self.submit(job).await?;
        let began = Instant::now();
        loop {
            let status = self.status(&job_id).await?;
            let name = status["status"].as_str().unwrap_or_default().to_owned();
            let failed = |reason: String| ClusterError::Job {
                job_id: job_id.clone(),
                status: name.clone(),
                reason,
            };
            match name.as_str() {
                "completed" => return completed(job_id, status),
                "failed" | "cancelled" => {
                    return Err(failed(
                        status["errorDetails"].as_str().unwrap_or_default().to_owned(),
                    ));
                }
                _ if began.elapsed() > LONGEST => {
                    return Err(failed(format!("not finished after {} s", LONGEST.as_secs())));
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Stops everything and removes the data.
    ///
    /// # Errors
    /// A part did not stop cleanly.
    pub async fn stop(self) -> Result<(), ClusterError> {
        Ok(self.cloud.stop().await?)
    }
}

fn completed<J: Job>(job_id: String, status: Value) -> Result<Completed<J>, ClusterError> {
    let last = status["totalStages"].to_string();
    let summary = &status["stageResults"][last.as_str()]["summary"];
    let summary = <J::Last as Stage>::Summary::deserialize(summary)
        .map_err(|error| ClusterError::Json { what: "the summary of the job", error })?;
    Ok(Completed { job_id, summary, status })
}
