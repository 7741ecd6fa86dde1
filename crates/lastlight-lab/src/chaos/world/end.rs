//! The end of a world: judges every job and measures how long recoveries took.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    time::{Duration, Instant},
};

use super::{LEASE, SWEEP, World};
use crate::chaos::{ChaosError, report::Findings};
use lastlight_engine::model::TaskStatus;
use lastlight_testing::{
    graph_work::GRAPH,
    ledger::{self, JobRuns},
    oracle::{ExpectedGraph, Judgement, judge, judge_graph},
    recorder::JobFacts,
};

/// A handler that was ended is back long before.
const AUDITED_WITHIN: Duration = Duration::from_secs(30);

impl World {
    /// Everything about a job.
    pub(in crate::chaos) async fn facts(&self, job_id: &str) -> Result<JobFacts, ChaosError> {
        let facts = self.recorder.job(job_id).await?;
        facts.ok_or_else(|| ChaosError::Broken(format!("job {job_id} has no row")))
    }

    /// All runs, by the jobs' tags.
    pub(in crate::chaos) fn runs(&self) -> Result<HashMap<String, JobRuns>, ChaosError> {
        Ok(ledger::read(&self.ledger)?)
    }

    /// Judges every job and stops everything.
    pub(in crate::chaos) async fn finish(mut self) -> Result<Findings, ChaosError> {
        self.quiet().await?;
        let runs = self.runs()?;
        let none = JobRuns::new();
        let mut recovery = Recovery::default();
        let jobs = std::mem::take(&mut self.jobs);
        for expected in &jobs {
            let runs = runs.get(&expected.work.tag).unwrap_or(&none);
            let facts = self.facts(&expected.job_id).await?;
            self.take(judge(expected, &facts, runs), &facts);
            recovery.learn(&expected.work.tag, &facts, runs, &self.faults);
            self.audit(&expected.job_id, &expected.work.tag).await;
        }
        let graphs = self.graphs_and_their_children()?;
        for expected in graphs.values() {
            let tag = &expected.work.tag;
            let runs = runs.get(tag).unwrap_or(&none);
            let Some(facts) = self.recorder.graph(&expected.job_id).await? else {
                self.check(false, || format!("the job {tag} does not exist"));
                continue;
            };
            self.take(judge_graph(expected, &facts, runs), &facts.job);
            recovery.learn(tag, &facts.job, runs, &self.faults);
            self.audit(&expected.job_id, tag).await;
        }
        self.no_other_graphs(&graphs).await?;
        let of_graphs = graphs.values().map(|graph| graph.work.tag.as_str());
        let known: BTreeSet<&str> =
            jobs.iter().map(|job| job.work.tag.as_str()).chain(of_graphs).collect();
        let strangers: Vec<&String> = runs
            .keys()
            .filter(|tag| !known.contains(tag.as_str()) && !self.deleted.contains(*tag))
            .collect();
        self.check(strangers.is_empty(), || {
            format!("runs of jobs that were not submitted: {strangers:?}")
        });
        if let Some((rescue, which)) = &recovery.longest_rescue {
            let (rescue, which, bound) = (*rescue, which.clone(), LEASE + SWEEP);
            if let Some(slack) = self.rescue_slack {
                self.check_timed(
                    rescue <= i64::try_from((bound + slack).as_micros()).unwrap_or(i64::MAX),
                    || format!("the recovery of {which} took {:.1} s", rescue as f64 / 1e6),
                );
            }
            self.note(format!(
                "longest recovery of an interrupted attempt: {:.1} s (lease + sweep: {:.1} s), {which}",
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

    /// Adds what the oracle found about a job.
    fn take(&mut self, judgement: Judgement, facts: &JobFacts) {
        self.violations.extend(judgement.violations);
        self.metrics.jobs += 1;
        self.metrics.runs += judgement.runs;
        self.metrics.tasks += judgement.outcomes;
        for stage in facts.stages.values() {
            self.metrics.duplicates += stage.ignored[0].unsigned_abs();
            self.metrics.stale_completions += stage.ignored[1].unsigned_abs();
        }
    }

    /// The expected jobs whose stages form a graph, and those for which they wait, by id.
    fn graphs_and_their_children(&mut self) -> Result<BTreeMap<String, ExpectedGraph>, ChaosError> {
        let mut graphs = BTreeMap::new();
        let mut left = std::mem::take(&mut self.graphs);
        while let Some(graph) = left.pop() {
            left.extend(graph.children()?);
            graphs.insert(graph.job_id.clone(), graph);
        }
        Ok(graphs)
    }

    /// No job exists that no node was to submit.
    async fn no_other_graphs(
        &mut self,
        graphs: &BTreeMap<String, ExpectedGraph>,
    ) -> Result<(), ChaosError> {
        let found: Vec<String> =
            sqlx::query_scalar("SELECT job_id FROM app.jobs WHERE job_type = $1")
                .bind(GRAPH)
                .fetch_all(self.recorder.pool())
                .await?;
        let others: Vec<&String> =
            found.iter().filter(|found| !graphs.contains_key(*found)).collect();
        self.check(others.is_empty(), || format!("jobs that nobody was to submit: {others:?}"));
        Ok(())
    }

    /// The app's own audit must agree. A host may just be ending its handler: then it is asked again.
    async fn audit(&mut self, job_id: &str, tag: &str) {
        let path = format!("/api/jobs/audit/{job_id}");
        let began = Instant::now();
        let answer = loop {
            let answer = self.get(&path).await;
            let is_away = !matches!(&answer, Ok((status, _)) if *status < 500);
            if !is_away || began.elapsed() > AUDITED_WITHIN {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let is_consistent = matches!(&answer, Ok((200, audit)) if audit["consistent"] == true);
        self.check(is_consistent, || format!("the audit of {tag} finds differences: {answer:?}"));
    }

    /// Waits until no task runs any more, which is when the ledger stops growing.
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

/// How long recoveries took.
#[derive(Default)]
struct Recovery {
    /// The times of all outcomes of all jobs, microseconds since 1970.
    outcomes: Vec<i64>,
    /// The longest time from the last fault that interrupted an attempt until the task's next
    /// claim, in microseconds, with a description of the attempt.
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
                // If several faults interrupted it, the last one counts.
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

    /// The longest time from a fault until the next outcome of any task, or until the next claim of
    /// a task that it interrupted; milliseconds.
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
