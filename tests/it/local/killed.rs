//! The local cloud, with its database, its queues, the host and the handler, may be killed at any
//! moment: a workflow goes on where it was, and has the result that it has undisturbed.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// A task, a condition, a fan-out, a fan-in, a gate and `finalize`.
const WORKFLOW: &str = r#"
workflow: killed
parameters: {count: {type: int, required: true}}
nodes:
  list: {type: task, handler: echo, constants: {items: [0.2, 0.4, 0.6, 0.8, 1, 1.2]}}
  size:
    type: conditional
    depends_on: [list]
    condition: params.count
    branches:
      - {name: many, condition: "gt 2", next: [tiles]}
      - {name: few, default: true, next: [alone]}
  tiles:
    type: fan_out
    source: list.result.items
    task: {handler: sleep, params: {seconds: "{{ item }}"}}
  alone: {type: task, handler: echo}
  all: {type: fan_in, depends_on: [tiles]}
  approve: {type: gate, depends_on: ["all?", "alone?"]}
  publish:
    type: task
    handler: echo
    depends_on: [approve]
    receives: {tiles: all.items, by: approve.by}
finalize: {handler: echo}
"#;

const KILLS: usize = 10;

/// A running local cloud, which ends with this value.
struct Cloud {
    process: Child,
    url: String,
}

impl Cloud {
    /// Starts a cloud, or the one whose data is in a folder again.
    async fn start(folder: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_lastlight"))
            .args([
                "local",
                "--json",
                "--port",
                "0",
                "--setting",
                "LASTLIGHT_LEASE_SECONDS=10",
                "--setting",
            ])
            .arg(format!("LASTLIGHT_WORKFLOWS={}", folder.join("workflows").display()))
            .arg("--data")
            .arg(folder.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let addresses: Value =
            serde_json::from_str(&lines.next_line().await.unwrap().expect("it starts")).unwrap();
        // Without a reader its next line would end it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { process, url: addresses["url"].as_str().unwrap().to_owned() }
    }

    async fn ask(&self, path: &str, body: Option<Value>) -> Value {
        let client = reqwest::Client::new();
        let url = format!("{}{path}", self.url);
        let request = match body {
            Some(body) => client.post(url).body(body.to_string()),
            None => client.get(url),
        };
        let text = request.send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    async fn submit(&self, count: u64, use_service_bus: bool) -> String {
        let body = json!({ "count": count, "use_service_bus": use_service_bus });
        let answer = self.ask("/api/jobs/submit/killed", Some(body)).await;
        answer["job_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn status(&self, job_id: &str) -> Value {
        self.ask(&format!("/api/jobs/status/{job_id}"), None).await
    }

    /// Approves the gate, if it waits.
    async fn approve(&self, job_id: &str) {
        let status = self.status(job_id).await;
        let nodes = status["progress"].as_array().unwrap();
        if nodes.iter().any(|progress| progress["node"]["waitsForDecision"] == true) {
            let body = json!({ "decision": "approve", "by": "Ada" });
            self.ask(&format!("/api/jobs/gate/{job_id}/approve"), Some(body)).await;
        }
    }

    async fn until_over(&self, job_id: &str) -> Value {
        loop {
            self.approve(job_id).await;
            let status = self.status(job_id).await;
            if !["queued", "processing"].contains(&status["status"].as_str().unwrap()) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_survives_ten_kills_of_the_whole_cloud_over_both_paths() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("workflows")).unwrap();
    std::fs::write(folder.path().join("workflows/killed.yaml"), WORKFLOW).unwrap();
    let mut random = fastrand::Rng::with_seed(16);
    let mut cloud = Cloud::start(folder.path()).await;
    let undisturbed = cloud.submit(3, false).await;
    let undisturbed = cloud.until_over(&undisturbed).await;
    assert_eq!(undisturbed["status"], "completed", "{undisturbed}");

    let mut jobs = Vec::new();
    for (count, use_service_bus) in [(4, false), (5, true)] {
        jobs.push(cloud.submit(count, use_service_bus).await);
    }
    for kill in 0..KILLS {
        // Half of the kills come before the gate's decision.
        if kill > KILLS / 2 {
            for job_id in &jobs {
                cloud.approve(job_id).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(random.u64(0..1200))).await;
        cloud.process.kill().await.unwrap();
        cloud = Cloud::start(folder.path()).await;
    }
    for job_id in &jobs {
        let status = cloud.until_over(job_id).await;
        assert_eq!(status["status"], "completed", "{status}");
        assert_eq!(status["resultData"]["outcomes"], undisturbed["resultData"]["outcomes"]);
        assert_eq!(status["resultData"]["completed_tasks"], 9, "{status}");
        let results =
            |status: &Value| status["stageResults"]["7"]["summary"]["result"]["tiles"].clone();
        assert_eq!(results(&status).as_array().map(Vec::len), Some(6), "{status}");
        assert_eq!(results(&status), results(&undisturbed));
        let audit = cloud.ask(&format!("/api/jobs/audit/{job_id}"), None).await;
        assert_eq!(audit["consistent"], true, "{audit}");
    }
}
