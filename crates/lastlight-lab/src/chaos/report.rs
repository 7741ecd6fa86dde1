//! The report on the scenarios, as text and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use lastlight_testing::oracle::Violation;

/// Counts of one scenario.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Metrics {
    /// Number of jobs submitted.
    pub jobs: u64,
    /// Number of tasks with an outcome.
    pub tasks: u64,
    /// Number of runs of task handlers, by the ledger.
    pub runs: u64,
    /// Number of deliveries of messages to triggers, repeated ones included.
    pub deliveries: u64,
    /// Number of handlers that were killed, stopped, or ended by a fail point.
    pub kills: u64,
    /// Number of restarts and crashes of the database.
    pub restarts: u64,
    /// Number of deliveries that found nothing to do, by the audit.
    pub duplicates: u64,
    /// Number of ends of attempts that came too late to count, by the audit.
    pub stale_completions: u64,
    /// The longest time from a fault until the interrupted work continued; `None` if nothing was
    /// interrupted.
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

/// The result of a scenario.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    pub metrics: Metrics,
    /// Measurements beyond the oracle's checks, as text.
    pub notes: Vec<String>,
    /// Empty if all promises hold.
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
    /// Number in the table of scenarios.
    pub number: u8,
    pub name: &'static str,
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Duration of the scenario.
    pub seconds: f64,
    /// Measurements beyond the oracle's checks.
    pub notes: Vec<String>,
    pub violations: Vec<Violation>,
    /// Why the scenario did not finish, if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// All promises hold.
    pub passed: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct ChaosReport {
    /// The seed that repeats the same faults.
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

    /// The last lines of the text report.
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

/// The header of the text report.
pub const HEADER: &str = " # scenario           jobs    tasks     runs  deliveries  kills  restarts  duplicates  stale  recovery  seconds  verdict";

impl ScenarioReport {
    /// The scenario's row, followed by its measurements and violations.
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
