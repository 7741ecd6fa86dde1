//! The comparison of the pipelines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The metrics of all paths, and the difference of the two with messages.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    pub queue_storage: PathMetrics,
    pub service_bus: PathMetrics,
    /// Tasks that workers ran, in jobs of all paths.
    #[serde(default)]
    pub worker: PathMetrics,
    pub comparison: Improvements,
    #[serde(default)]
    pub query_info: ComparisonInfo,
}

/// The metrics of one path. A metric that is not available is null.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PathMetrics {
    pub jobs_processed: i64,
    pub avg_latency_ms: Option<f64>,
    pub timeout_rate: Option<f64>,
    pub tasks_per_second: Option<f64>,
    pub tasks_processed: i64,
    pub tasks_failed: i64,
    pub retries: i64,
    pub messages_per_task: Option<f64>,
    pub credits_per_task: Option<f64>,
    pub cost_per_million_tasks: Option<Cost>,
    pub queue_wait_ms: Percentiles,
    pub run_ms: Percentiles,
    pub job_ms: Percentiles,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    pub currency: String,
    pub amount: f64,
    pub operations_per_task: f64,
    pub price_per_million_operations: f64,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Percentiles {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub samples: i64,
}

/// Improvements of Service Bus over Storage Queues, in percent; negative where Service Bus is
/// worse.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Improvements {
    pub latency_improvement: Option<f64>,
    pub throughput_improvement: Option<f64>,
    pub timeout_reduction: Option<f64>,
    pub note: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ComparisonInfo {
    pub hours_back: u16,
    pub job_type: Option<String>,
    pub since: String,
    pub until: String,
    /// Stages of all job types that have ended and are not in these metrics yet: reconcile adds
    /// them. 1000 means 1000 or more.
    pub stages_not_counted_yet: i64,
    /// The same for jobs.
    pub jobs_not_counted_yet: i64,
}
