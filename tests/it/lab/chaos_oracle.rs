//! The oracle of `lastlight chaos` must find violations: each test changes the rows or the ledger
//! of a correct job in one way, and the oracle must report it.

use std::{path::PathBuf, time::Duration};

use lastlight_testing::{
    ledger::{self, JobRuns, Ledger, RunEnd},
    oracle::{Expected, Judgement, Promise, judge},
    recorder::{JobFacts, Recorder},
    work::{Act, CHAOS, Rule, StageWork, Work},
};
use serde_json::json;

use crate::harness::{TestApp, catalog, quick};

/// A finished job, with everything that is known about it.
struct Done {
    app: TestApp,
    recorder: Recorder,
    expected: Expected,
    runs: JobRuns,
    _folder: tempfile::TempDir,
}

/// A stage of four tasks, one with a transient failure and one with a tolerated failure; then a
/// stage of two.
fn work() -> Work {
    let first = StageWork::of(4, 0)
        .with(Rule::only(1, Act::Stumble).first(1))
        .with(Rule::only(2, Act::Fail))
        .tolerating(1);
    Work {
        tag: "oracle".to_owned(),
        stages: vec![first, StageWork::of(2, 0)],
        tasks_per_message: Default::default(),
        use_service_bus: false,
        use_workers: false,
    }
}

impl Done {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("ledger");
        let ledger = Ledger::open(&path).unwrap();
        let app = TestApp::with(ledger.add_to(catalog()), quick()).await;
        let recorder = Recorder::new(&app.url).unwrap();
        recorder.install().await.unwrap();
        let work = work();
        let job_id = app.submitted(CHAOS, json!(work)).await;
        app.run_until_finished(&job_id).await;
        let runs = ledger::read(&path).unwrap().remove("oracle").unwrap();
        Self {
            app,
            recorder,
            expected: Expected::new(job_id, work, Duration::from_secs(60)),
            runs,
            _folder: folder,
        }
    }

    async fn facts(&self) -> JobFacts {
        self.recorder.job(&self.expected.job_id).await.unwrap().unwrap()
    }

    async fn judged(&self) -> Judgement {
        judge(&self.expected, &self.facts().await, &self.runs)
    }

    /// Changes the tables.
    async fn meddle(&self, statements: &[&'static str]) {
        let mut connection = self.app.connection().await;
        for statement in statements {
            let done = sqlx::query(*statement).execute(&mut connection).await.unwrap();
            assert!(done.rows_affected() > 0, "{statement} met nothing");
        }
    }

    /// The promises that the oracle reports as broken, each once, after these statements changed a
    /// correct job.
    async fn broken_by(statements: &[&'static str]) -> Vec<Promise> {
        let done = Self::new().await;
        assert_eq!(done.judged().await.violations, []);
        done.meddle(statements).await;
        promises(&done.judged().await)
    }

    /// The same for changes of the ledger.
    async fn broken_by_runs(change: impl FnOnce(&mut JobRuns)) -> Vec<Promise> {
        let mut done = Self::new().await;
        change(&mut done.runs);
        promises(&done.judged().await)
    }
}

fn promises(judgement: &Judgement) -> Vec<Promise> {
    let mut promises: Vec<Promise> =
        judgement.violations.iter().map(|violation| violation.promise).collect();
    promises.sort();
    promises.dedup();
    promises
}

#[tokio::test]
async fn a_correct_job_has_no_violations() {
    let done = Done::new().await;
    let judgement = done.judged().await;
    assert_eq!(judgement.violations, []);
    assert_eq!((judgement.outcomes, judgement.runs), (6, 7), "one of six tasks ran twice");
}

#[tokio::test]
async fn the_oracle_finds_a_deleted_task_row() {
    let broken =
        Done::broken_by(&["DELETE FROM tasks WHERE stage = 2 AND task_index = 't-1'"]).await;
    assert!(broken.contains(&Promise::NothingLost), "{broken:?}");
    // Its run has no row, its counter has no task, and its outcome was recorded.
    assert!(broken.contains(&Promise::CountersAgree), "{broken:?}");
}

#[tokio::test]
async fn the_oracle_finds_a_row_replaced_by_another() {
    let broken = Done::broken_by(&[
        "UPDATE tasks SET task_index = 't-9', task_id = task_id || '9' WHERE stage = 2 AND task_index = 't-1'",
    ])
    .await;
    assert!(broken.contains(&Promise::NothingLost), "{broken:?}");
    assert!(broken.contains(&Promise::NothingTwice), "{broken:?}");
}

#[tokio::test]
async fn the_oracle_finds_a_reverted_outcome() {
    let broken = Done::broken_by(&[
        "UPDATE tasks SET status = 'processing' WHERE stage = 1 AND task_index = 't-0'",
    ])
    .await;
    assert!(broken.contains(&Promise::NothingLost), "{broken:?}");
    assert!(broken.contains(&Promise::NothingTwice), "{broken:?}");
}

#[tokio::test]
async fn the_oracle_finds_a_repeated_outcome() {
    let broken = Done::broken_by(&[
        "UPDATE tasks SET status = 'completed' WHERE stage = 2 AND task_index = 't-0'",
    ])
    .await;
    assert_eq!(broken, [Promise::NothingTwice]);
}

#[tokio::test]
async fn the_oracle_finds_a_changed_outcome() {
    let broken = Done::broken_by(&[
        "UPDATE tasks SET status = 'failed' WHERE stage = 1 AND task_index = 't-0'",
        "UPDATE stages SET completed = completed - 1, failed = failed + 1 WHERE stage = 1",
    ])
    .await;
    assert!(broken.contains(&Promise::NothingTwice), "{broken:?}");
    assert!(broken.contains(&Promise::NothingLost), "not the outcome that was due: {broken:?}");
}

#[tokio::test]
async fn the_oracle_finds_an_unrecorded_status_change() {
    let broken = Done::broken_by(&[
        "UPDATE chaos.task_writes SET new_status = 'skipped' WHERE task_index = 't-3' AND new_status = 'completed'",
    ])
    .await;
    assert_eq!(broken, [Promise::NothingTwice]);
}

#[tokio::test]
async fn the_oracle_finds_a_wrong_counter() {
    let broken =
        Done::broken_by(&["UPDATE stages SET completed = completed - 1 WHERE stage = 2"]).await;
    assert_eq!(broken, [Promise::CountersAgree]);
}

#[tokio::test]
async fn the_oracle_finds_a_stage_advanced_twice() {
    let broken = Done::broken_by(&["UPDATE stages SET advanced_at = now() WHERE stage = 1"]).await;
    assert_eq!(broken, [Promise::StagesInTurn]);
}

#[tokio::test]
async fn the_oracle_finds_a_stage_that_never_advanced() {
    let broken = Done::broken_by(&["DELETE FROM chaos.advances WHERE stage = 1"]).await;
    assert_eq!(broken, [Promise::StagesInTurn]);
}

#[tokio::test]
async fn the_oracle_finds_a_claim_before_its_stage() {
    let broken = Done::broken_by(&["UPDATE chaos.task_writes SET at = at - interval '1 minute'
         WHERE stage = 2 AND task_index = 't-0' AND new_status = 'processing'"])
    .await;
    assert_eq!(broken, [Promise::StagesInTurn]);
}

#[tokio::test]
async fn the_oracle_finds_a_run_before_its_stage() {
    let broken =
        Done::broken_by_runs(|runs| runs.get_mut(&(2, 1)).unwrap()[0].began -= 60_000_000).await;
    assert_eq!(broken, [Promise::StagesInTurn]);
}

#[tokio::test]
async fn the_oracle_finds_a_job_that_never_finishes() {
    let broken =
        Done::broken_by(&["UPDATE jobs SET status = 'processing', finished_at = NULL"]).await;
    assert!(broken.contains(&Promise::NothingStuck), "{broken:?}");
    assert!(broken.contains(&Promise::NothingTwice), "nothing leaves an end: {broken:?}");
}

#[tokio::test]
async fn the_oracle_finds_a_job_that_takes_too_long() {
    let broken =
        Done::broken_by(&["UPDATE jobs SET finished_at = created_at + interval '61 seconds'"])
            .await;
    assert_eq!(broken, [Promise::NothingStuck]);
}

#[tokio::test]
async fn the_oracle_finds_an_unexpected_final_status() {
    let mut done = Done::new().await;
    done.expected.work.stages[0].tolerates = 0;
    done.expected =
        Expected::new(done.expected.job_id, done.expected.work, Duration::from_secs(60));
    assert_eq!(promises(&done.judged().await), [Promise::NothingStuck]);
}

#[tokio::test]
async fn the_oracle_finds_a_stage_passed_with_too_many_failures() {
    let mut done = Done::new().await;
    done.expected.work.stages[0].tolerates = 0;
    assert_eq!(promises(&done.judged().await), [Promise::NothingStuck]);
}

#[tokio::test]
async fn the_oracle_finds_a_result_missing_from_a_fold() {
    let broken = Done::broken_by(&[
        "UPDATE jobs SET stage_results = jsonb_set(stage_results::jsonb, '{2,summary,sum}', '0')::json",
    ])
    .await;
    assert_eq!(broken, [Promise::CountersAgree]);
}

#[tokio::test]
async fn the_oracle_finds_a_result_without_a_run() {
    let broken = Done::broken_by_runs(|runs| drop(runs.remove(&(1, 3)))).await;
    assert_eq!(broken, [Promise::NothingLost]);
}

#[tokio::test]
async fn the_oracle_finds_a_run_without_a_claim() {
    let again = ledger::Run {
        attempt: 2,
        process: 1,
        began: i64::MAX,
        ended: Some((i64::MAX, RunEnd::Completed)),
    };
    let broken = Done::broken_by_runs(|runs| runs.get_mut(&(1, 3)).unwrap().push(again)).await;
    assert_eq!(broken, [Promise::NothingTwice]);
}

#[tokio::test]
async fn the_oracle_finds_two_runs_of_one_claim() {
    let broken = Done::broken_by_runs(|runs| {
        // The task with the transient failure was claimed twice; now both runs belong to the first
        // claim.
        for run in runs.get_mut(&(1, 1)).unwrap() {
            run.attempt = 1;
        }
    })
    .await;
    assert_eq!(broken, [Promise::NothingTwice]);
}

#[tokio::test]
async fn the_oracle_finds_a_run_of_an_unplanned_task() {
    let stranger = ledger::Run { attempt: 1, process: 1, began: i64::MAX, ended: None };
    let broken = Done::broken_by_runs(|runs| drop(runs.insert((1, 77), vec![stranger]))).await;
    assert_eq!(broken, [Promise::NothingTwice]);
}
