//! The end of a world: every job is judged, and how long it took until things went on.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    time::{Duration, Instant},
};

use super::{LEASE, SWEEP, World};
use crate::chaos::{
    ChaosError,
    ledger::{self, JobRuns},
    oracle::{Expected, judge},
    recorder::JobFacts,
    report::Findings,
};
use lastlight::model::TaskStatus;

impl World {
    /// Everything about a job.
    pub(in crate::chaos) async fn facts(&self, job_id: &str) -> Result<JobFacts, ChaosError> {
        let facts = self.recorder.job(job_id).await?;
        facts.ok_or_else(|| ChaosError::Broken(format!("job {job_id} has no row")))
    }

    /// What ran, by the jobs' tags.
    pub(in crate::chaos) fn runs(&self) -> Result<HashMap<String, JobRuns>, ChaosError> {
        Ok(ledger::read(&self.ledger)?)
    }

    /// Has every job judged and stops everything.
    pub(in crate::chaos) async fn finish(mut self) -> Result<Findings, ChaosError> {
        self.quiet().await?;
        let runs = self.runs()?;
        let none = JobRuns::new();
        let mut recovery = Recovery::default();
        let jobs = std::mem::take(&mut self.jobs);
        for expected in &jobs {
            let runs = runs.get(&expected.work.tag).unwrap_or(&none);
            let facts = self.facts(&expected.job_id).await?;
            let judgement = judge(expected, &facts, runs);
            self.violations.extend(judgement.violations);
            self.metrics.runs += judgement.runs;
            self.metrics.tasks += judgement.outcomes;
            for stage in facts.stages.values() {
                self.metrics.duplicates += stage.ignored[0].unsigned_abs();
                self.metrics.stale_completions += stage.ignored[1].unsigned_abs();
            }
            recovery.learn(&expected.work.tag, &facts, runs, &self.faults);
            self.audit(expected).await;
        }
        self.metrics.jobs += jobs.len() as u64;
        let known: BTreeSet<&str> = jobs.iter().map(|job| job.work.tag.as_str()).collect();
        let strangers: Vec<&String> =
            runs.keys().filter(|tag| !known.contains(tag.as_str())).collect();
        self.check(strangers.is_empty(), || {
            format!("runs of jobs that nobody submitted: {strangers:?}")
        });
        if let Some((rescue, which)) = &recovery.longest_rescue {
            let (rescue, which, bound) = (*rescue, which.clone(), LEASE + SWEEP);
            if let Some(slack) = self.rescue_slack {
                self.check_timed(
                    rescue <= i64::try_from((bound + slack).as_micros()).unwrap_or(i64::MAX),
                    || format!("the rescue of {which} took {:.1} s", rescue as f64 / 1e6),
                );
            }
            self.note(format!(
                "longest rescue of an attempt that was cut off: {:.1} s (lease + sweep: {:.1} s), {which}",
                rescue as f64 / 1e6,
                bound.as_secs_f64()
            ));
        }
        self.metrics.longest_recovery_ms = recovery.longest(&self.faults);
        self.metrics.deliveries =
            self.cloud.storage.messages_received() + self.cloud.service_bus.messages_received();
        self.stop_sweeping();
        for host in std::mem::take(&mut self.others) {
            host.stop().await;
        }
        let findings =
            Findings { metrics: self.metrics, notes: self.notes, violations: self.violations };
        self.recorder.pool().close().await;
        self.cloud.stop().await?;
        Ok(findings)
    }

    /// The app's own audit must come to the same.
    async fn audit(&mut self, expected: &Expected) {
        let answer = self.get(&format!("/api/jobs/audit/{}", expected.job_id)).await;
        let is_consistent = matches!(&answer, Ok((200, audit)) if audit["consistent"] == true);
        let tag = expected.work.tag.clone();
        self.check(is_consistent, || format!("the audit of {tag} does not agree: {answer:?}"));
    }

    /// Waits until nothing runs any more: the ledger stands still.
    async fn quiet(&self) -> Result<(), ChaosError> {
        let size = || fs::metadata(&self.ledger).map_or(0, |file| file.len());
        let began = Instant::now();
        let mut before = size();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = size();
            if now == before || began.elapsed() > Duration::from_secs(30) {
                return Ok(());
            }
            before = now;
        }
    }
}

/// How long it took until things went on.
#[derive(Default)]
struct Recovery {
    /// All outcomes of all jobs.
    outcomes: Vec<i64>,
    /// From the last fault that an attempt did not survive until the task's next claim,
    /// microseconds; and which.
    longest_rescue: Option<(i64, String)>,
}

impl Recovery {
    fn learn(&mut self, tag: &str, facts: &JobFacts, runs: &JobRuns, faults: &[i64]) {
        for (key, writes) in &facts.writes {
            let is_end = |status: Option<TaskStatus>| status.is_some_and(TaskStatus::is_terminal);
            self.outcomes
                .extend(writes.iter().filter(|write| is_end(write.to)).map(|write| write.at));
            let claims: Vec<_> =
                writes.iter().filter(|write| write.to == Some(TaskStatus::Processing)).collect();
            let ended = |attempt: u32| {
                let runs = runs.get(key).map(Vec::as_slice).unwrap_or_default();
                runs.iter().any(|run| run.attempt == attempt && run.ended.is_some())
            };
            for pair in claims.windows(2) {
                let [first, next] = pair else { continue };
                // What was broken again meanwhile counts from then on.
                let cut_off = faults.iter().rfind(|fault| (first.at..next.at).contains(fault));
                if let (Some(cut_off), false) = (cut_off, ended(first.attempt)) {
                    let rescue = next.at - cut_off;
                    if self.longest_rescue.as_ref().is_none_or(|(longest, _)| *longest < rescue) {
                        let (stage, number) = key;
                        let which = format!(
                            "{tag}, stage {stage}, task {number}, attempt {}",
                            first.attempt
                        );
                        self.longest_rescue = Some((rescue, which));
                    }
                }
            }
        }
    }

    /// From any fault until the next outcome of any task, or the next claim of one that it cut off;
    /// milliseconds.
    fn longest(mut self, faults: &[i64]) -> Option<u64> {
        self.outcomes.sort_unstable();
        let next = |fault: &i64| {
            let place = self.outcomes.partition_point(|outcome| outcome <= fault);
            self.outcomes.get(place).map(|outcome| outcome - fault)
        };
        let longest = faults
            .iter()
            .filter_map(next)
            .chain(self.longest_rescue.map(|(rescue, _)| rescue))
            .max()?;
        Some(longest.unsigned_abs() / 1000)
    }
}
