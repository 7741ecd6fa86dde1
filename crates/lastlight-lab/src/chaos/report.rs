//! What came of the scenarios, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::oracle::Violation;

/// What was counted in one scenario.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Metrics {
    /// Jobs that were submitted.
    pub jobs: u64,
    /// Tasks with an outcome.
    pub tasks: u64,
    /// Runs of task handlers, by their ledger.
    pub runs: u64,
    /// Messages that the queues handed to a trigger, each as often as they did.
    pub deliveries: u64,
    /// Handlers that were killed, stopped, or ended by a fail point.
    pub kills: u64,
    /// Restarts and crashes of the database.
    pub restarts: u64,
    /// Deliveries that found nothing to do, by the audit.
    pub duplicates: u64,
    /// Ends of attempts that came too late to count, by the audit.
    pub stale_completions: u64,
    /// The longest time from a fault until what it had cut off went on; `None` where nothing was
    /// cut off.
    pub longest_recovery_ms: Option<u64>,
}

impl Metrics {
    pub(super) fn add(&mut self, other: &Self) {
        self.jobs += other.jobs;
        self.tasks += other.tasks;
        self.runs += other.runs;
        self.deliveries += other.deliveries;
        self.kills += other.kills;
        self.restarts += other.restarts;
        self.duplicates += other.duplicates;
        self.stale_completions += other.stale_completions;
        self.longest_recovery_ms = self.longest_recovery_ms.max(other.longest_recovery_ms);
    }
}

/// What a scenario found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    pub metrics: Metrics,
    /// What was measured beyond the oracle, in words.
    pub notes: Vec<String>,
    /// Empty where all is well.
    pub violations: Vec<Violation>,
}

impl Findings {
    pub(super) fn add(&mut self, other: Self) {
        self.metrics.add(&other.metrics);
        self.notes.extend(other.notes);
        self.violations.extend(other.violations);
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct ScenarioReport {
    /// As in the table of scenarios.
    pub number: u8,
    pub name: &'static str,
    #[serde(flatten)]
    #[serde(rename = "figures")]
    pub metrics: Metrics,
    /// How long it took.
    pub seconds: f64,
    /// What was measured beyond the oracle.
    pub notes: Vec<String>,
    pub violations: Vec<Violation>,
    /// Why it came to no end, if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// All promises were kept.
    pub passed: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct ChaosReport {
    /// What to give to `--seed` to have the same faults again.
    pub seed: u64,
    /// `small` or `full`.
    pub size: &'static str,
    pub scenarios: Vec<ScenarioReport>,
    pub total: Metrics,
    pub seconds: f64,
    pub passed: bool,
}

impl ChaosReport {
    pub(super) fn new(
        seed: u64,
        size: &'static str,
        scenarios: Vec<ScenarioReport>,
        seconds: f64,
    ) -> Self {
        let mut total = Metrics::default();
        for scenario in &scenarios {
            total.add(&scenario.metrics);
        }
        Self {
            seed,
            size,
            passed: scenarios.iter().all(|scenario| scenario.passed),
            scenarios,
            total,
            seconds,
        }
    }

    /// The last lines, for people.
    pub fn summary(&self) -> String {
        let failed = self.scenarios.iter().filter(|scenario| !scenario.passed).count();
        let mut text = row(
            "",
            "all",
            &self.total,
            self.seconds,
            if failed == 0 { "passed" } else { "FAILED" },
        );
        let _ = write!(
            text,
            "\n\nseed {}, size {}: {} of {} scenarios passed in {:.0} s",
            self.seed,
            self.size,
            self.scenarios.len() - failed,
            self.scenarios.len(),
            self.seconds
        );
        text
    }
}

/// The line above the scenarios'.
pub const HEADER: &str = " # scenario           jobs    tasks     runs  deliveries  kills  restarts  duplicates  stale  recovery  seconds  verdict";

impl ScenarioReport {
    /// Its line, and what was measured and broken below it.
    pub fn lines(&self) -> String {
        let verdict = if self.passed { "passed" } else { "FAILED" };
        let mut text =
            row(&self.number.to_string(), self.name, &self.metrics, self.seconds, verdict);
        for note in &self.notes {
            let _ = write!(text, "\n     {note}");
        }
        for Violation { promise, job, detail } in &self.violations {
            let _ = write!(text, "\n   ! {promise:?} {job}: {detail}");
        }
        if let Some(error) = &self.error {
            let _ = write!(text, "\n   ! {error}");
        }
        text
    }
}

fn row(number: &str, name: &str, metrics: &Metrics, seconds: f64, verdict: &str) -> String {
    let recovery = metrics
        .longest_recovery_ms
        .map_or("-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1000.0));
    format!(
        "{number:>2} {name:<16} {:>6} {:>8} {:>8} {:>11} {:>6} {:>9} {:>11} {:>6} {recovery:>9} {seconds:>8.1}  {verdict}",
        metrics.jobs,
        metrics.tasks,
        metrics.runs,
        metrics.deliveries,
        metrics.kills,
        metrics.restarts,
        metrics.duplicates,
        metrics.stale_completions,
    )
}
