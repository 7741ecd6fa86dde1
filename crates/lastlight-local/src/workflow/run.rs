//! `lastlight workflow run`: a workflow file on a temporary local cloud.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use lastlight_cli::{
    exit::{failed, stopped},
    parameter, say, tell,
};
use lastlight_engine::server::asked_to_stop;
use lastlight_workflow::read_file;
use serde_json::{Map, Value, json};

use super::known;
use crate::{
    CloudError, LocalCloud,
    api::{Api, text},
    commands::{CloudArguments, log_to_stderr, no_cloud},
    host::LogSink,
    remove_data,
};

/// `lastlight workflow run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The workflow file.
    file: PathBuf,
    /// A parameter of the job; see `lastlight submit --help`.
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, Value)>,
    /// Approve this gate as soon as it waits. Can be repeated.
    #[arg(long, value_name = "NODE")]
    approve: Vec<String>,
    /// Reject this gate as soon as it waits. Can be repeated.
    #[arg(long, value_name = "NODE")]
    reject: Vec<String>,
    /// Seconds after which a job that has not ended counts as failed.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    #[command(flatten)]
    cloud: CloudArguments,
}

/// How a run ended.
enum End {
    /// The job's last status.
    Job(Value),
    /// The run could not be finished, for the reason given.
    Failed(String),
}

/// Runs a workflow file; the exit code is 1 if its job does not complete.
pub(super) async fn run(arguments: RunArguments) -> ExitCode {
    log_to_stderr();
    let workflow = match read_file(&arguments.file, &known()) {
        Ok(workflow) => workflow,
        Err(problems) => return failed(&problems, 1),
    };
    let folder = match arguments.file.canonicalize() {
        Ok(file) => file.parent().map(PathBuf::from).unwrap_or_default(),
        Err(error) => return failed(&format!("{}: {error}", arguments.file.display()), 2),
    };
    let data = std::env::temp_dir().join(format!("lastlight-run-{}", uuid::Uuid::new_v4()));
    let log = LogSink::new(|line| {
        if ["WARN", "ERROR"].iter().any(|level| line.contains(level)) {
            tell!("{line}");
        }
    });
    let mut options = match arguments.cloud.options(data.clone(), log) {
        Ok(options) => options,
        Err(problem) => return failed(&problem, 2),
    };
    if options.database_url.is_some() {
        let schema = format!("run_{}", uuid::Uuid::new_v4().simple());
        tell!("the tables of this run are in schema {schema}; drop it when you no longer need it");
        options.settings.insert("APP_SCHEMA".to_owned(), schema);
    }
    let named = folder.display().to_string();
    options.settings.insert("LASTLIGHT_WORKFLOWS".to_owned(), named);
    let name = workflow.name().to_owned();
    let running = async {
        let cloud = LocalCloud::start(options).await?;
        let end = job(&cloud, &name, &arguments).await;
        cloud.stop().await?;
        Ok::<_, CloudError>(end)
    };
    let end = tokio::select! {
        end = running => Some(end),
        () = asked_to_stop() => None,
    };
    let _ = remove_data(&data);
    match end {
        None => stopped(&"stopped before the job ended"),
        Some(Err(error)) => no_cloud(&error),
        Some(Ok(End::Failed(reason))) => failed(&reason, 1),
        Some(Ok(End::Job(status))) => {
            if arguments.cloud.json {
                say!("{status}");
            } else {
                told(&status);
            }
            if text(&status, "/status") == "completed" {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(1)
            }
        }
    }
}

/// Submits the job and waits for its end.
async fn job(cloud: &LocalCloud, name: &str, arguments: &RunArguments) -> End {
    let parameters: Map<String, Value> = arguments.parameters.iter().cloned().collect();
    let began = Instant::now();
    let api = match Api::new(cloud.base_url()) {
        Ok(api) => api,
        Err(error) => return End::Failed(error.to_string()),
    };
    let job_id = match api.submit(name, &Value::Object(parameters)).await {
        Ok(job_id) => job_id,
        Err(error) => return End::Failed(error.to_string()),
    };
    let mut seen = BTreeMap::new();
    let mut decided = BTreeSet::new();
    loop {
        let status = match api.status(&job_id).await {
            Ok(status) => status,
            Err(error) => return End::Failed(error.to_string()),
        };
        if !arguments.cloud.json {
            tell_changes(&status, &mut seen);
        }
        if matches!(&*text(&status, "/status"), "completed" | "failed" | "cancelled") {
            return End::Job(status);
        }
        if began.elapsed() > Duration::from_secs(arguments.timeout) {
            return End::Failed(format!("the job has not ended after {} s", arguments.timeout));
        }
        for gate in waiting_gates(&status) {
            if !decided.insert(gate.clone()) {
                continue;
            }
            let address = format!("/api/jobs/gate/{job_id}/{gate}");
            let decision = match (
                arguments.approve.contains(&gate),
                arguments.reject.contains(&gate),
            ) {
                (true, _) => "approve",
                (false, true) => "reject",
                (false, false) => {
                    tell!(
                        "gate {gate} waits for a decision: curl -X POST {}{address} -d '{{\"decision\": \"approve\"}}'",
                        cloud.base_url()
                    );
                    continue;
                }
            };
            let body = json!({ "decision": decision, "by": "lastlight workflow run" });
            if let Err(error) = api.post(&address, &body).await {
                return End::Failed(format!("gate {gate} cannot be decided: {error}"));
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn nodes(status: &Value) -> impl Iterator<Item = &Value> {
    status.pointer("/progress").and_then(Value::as_array).into_iter().flatten()
}

fn waiting_gates(status: &Value) -> Vec<String> {
    let waits =
        |stage: &&Value| stage.pointer("/node/waitsForDecision") == Some(&Value::Bool(true));
    nodes(status).filter(waits).map(|stage| text(stage, "/node/name")).collect()
}

/// The state of a node, in words.
fn state(stage: &Value) -> String {
    let count = |name: &str| stage.get(name).and_then(Value::as_i64).unwrap_or_default();
    if let Some(outcome) = stage.pointer("/node/outcome").and_then(Value::as_str) {
        return match (count("total"), count("failed")) {
            (0, _) => outcome.to_owned(),
            (total, 0) => format!("{outcome}, {total} tasks"),
            (total, failed) => format!("{outcome}, {total} tasks, {failed} failed"),
        };
    }
    if stage.pointer("/node/waitsForDecision") == Some(&Value::Bool(true)) {
        return "waits for a decision".to_owned();
    }
    match stage.pointer("/node/waitsFor").and_then(Value::as_i64) {
        Some(0) => "runs".to_owned(),
        _ => "waits".to_owned(),
    }
}

/// Tells the nodes whose state has changed.
fn tell_changes(status: &Value, seen: &mut BTreeMap<String, String>) {
    for stage in nodes(status) {
        let (name, state) = (text(stage, "/node/name"), state(stage));
        if state != "waits" && seen.get(&name) != Some(&state) {
            tell!("{name}: {state}");
            seen.insert(name, state);
        }
    }
}

/// Prints the end of a job: each node, and the output of those that have one.
fn told(status: &Value) {
    say!("\njob {}: {}", text(status, "/jobId"), text(status, "/status"));
    let error = text(status, "/errorDetails");
    if !error.is_empty() {
        say!("{error}");
    }
    for stage in nodes(status) {
        let number = stage.get("stage").and_then(Value::as_u64).unwrap_or_default();
        let output = stage.pointer("/node/output").filter(|output| !output.is_null());
        let summary = status.pointer(&format!("/stageResults/{number}/summary"));
        let output = output.or(summary.filter(|summary| !summary.is_null()));
        let shown = output.map(|output| format!("  {}", shortened(&output.to_string())));
        say!(
            "{number:>4}  {:<24}{:<28}{}",
            text(stage, "/node/name"),
            state(stage),
            shown.unwrap_or_default()
        );
    }
}

fn shortened(output: &str) -> String {
    const LONGEST: usize = 200;
    match output.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &output[..end]),
        None => output.to_owned(),
    }
}
