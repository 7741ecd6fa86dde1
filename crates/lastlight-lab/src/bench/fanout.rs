//! Planning and sending without running tasks: the time until every message of a stage is in its
//! queue, with a latency of some milliseconds to the queue service.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    BenchError,
    bed::{Bed, Stop},
};
use lastlight_engine::model::ProcessingPath;
use lastlight_local::{
    CloudOptions, LocalCloud,
    api::{Api, text},
    broker::FaultPlan,
};

/// How messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SendWay {
    /// One message per request, one request at a time.
    OneByOne,
    /// As lastlight sends: many concurrent requests to a Storage Queue, concurrent batches to
    /// Service Bus.
    Pipelined,
}

/// One measurement: a path and a way of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FanoutLeg {
    pub path: ProcessingPath,
    pub way: SendWay,
}

impl FanoutLeg {
    pub const ALL: [Self; 4] = [
        Self::of(ProcessingPath::QueueStorage, SendWay::OneByOne),
        Self::of(ProcessingPath::QueueStorage, SendWay::Pipelined),
        Self::of(ProcessingPath::ServiceBus, SendWay::OneByOne),
        Self::of(ProcessingPath::ServiceBus, SendWay::Pipelined),
    ];

    const fn of(path: ProcessingPath, way: SendWay) -> Self {
        Self { path, way }
    }
}

#[derive(Debug, Clone)]
pub struct FanoutOptions {
    /// The local cloud to run on; its data folder must be empty.
    pub cloud: CloudOptions,
    pub leg: FanoutLeg,
    /// Number of tasks to plan, and of messages to send.
    pub n: u64,
    /// The minimum duration of each request to a queue service.
    pub latency: Duration,
    /// The longest time that sending may take.
    pub timeout: Duration,
}

#[derive(Debug, Clone, Serialize)]
pub struct FanoutReport {
    #[serde(flatten)]
    pub leg: FanoutLeg,
    pub n: u64,
    /// From the submission until a client saw that all messages were sent.
    pub seconds: f64,
    /// `n / seconds`.
    pub messages_per_second: f64,
}

/// Plans and sends one stage on a local cloud of its own, whose task triggers are disabled.
///
/// # Errors
/// The local cloud did not start, not all messages were sent in time, or the benchmark was stopped.
pub async fn bench_fanout(options: FanoutOptions, stop: &Stop) -> Result<FanoutReport, BenchError> {
    let mut cloud = options.cloud.clone();
    for function in ["process_queue_task", "process_sb_task"] {
        let switch = format!("AzureWebJobs.{function}.Disabled");
        cloud.settings.insert(switch, "true".to_owned());
    }
    if options.leg.way == SendWay::OneByOne {
        for setting in [
            "LASTLIGHT_SENDS_IN_FLIGHT",
            "STORAGE_QUEUE_SENDS_IN_FLIGHT",
            "SERVICE_BUS_SENDS_IN_FLIGHT",
            "SERVICE_BUS_MAX_BATCH_SIZE",
        ] {
            cloud.settings.insert(setting.to_owned(), "1".to_owned());
        }
    }
    Bed::lend(cloud, stop, async |bed| measure(&bed.cloud, &options).await).await
}

async fn measure(cloud: &LocalCloud, options: &FanoutOptions) -> Result<FanoutReport, BenchError> {
    let api = Api::new(cloud.base_url())?;
    api.ready().await?;
    let away = FaultPlan { latency: options.latency, ..FaultPlan::default() };
    cloud.storage_faults.set(away);
    cloud.service_bus_faults.set(away);
    let began = Instant::now();
    let parameters = json!({ "n": options.n, "use_service_bus": options.leg.path == ProcessingPath::ServiceBus });
    let job_id = api.submit("hello_world", &parameters).await?;
    loop {
        let status = api.status(&job_id).await?;
        let stage = status.pointer("/progress/0").cloned().unwrap_or_default();
        let number = |name: &str| stage.get(name).and_then(Value::as_u64);
        let is_planned = stage.get("planned") == Some(&Value::Bool(true));
        if is_planned && number("pendingQueue") == Some(0) && number("total") == Some(options.n) {
            break;
        }
        let seconds = began.elapsed().as_secs_f64();
        if text(&status, "/status") == "failed" || began.elapsed() > options.timeout {
            return Err(BenchError::Job {
                status: text(&status, "/status"),
                seconds,
                detail: stage.to_string(),
            });
        }
        tokio::time::sleep((began.elapsed() / 100).max(Duration::from_millis(10))).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(FanoutReport {
        leg: options.leg,
        n: options.n,
        seconds,
        messages_per_second: options.n as f64 / seconds,
    })
}
