//! The rows of the model and those of PostgreSQL as the same text.

use lastlight_engine::model::TaskStatus;
use sqlx::{Executor, Row};
use uuid::Uuid;

use super::Real;
use crate::{
    state::{self, Batch, Decision, Planner},
    transactions::Rules,
};

/// All rows as text, with the columns that the model has.
pub(super) fn rows_of_the_model(database: &state::Database, rules: &Rules) -> String {
    let mut words = Vec::new();
    if let Some(job) = database.job {
        words.push(format!(
            "job {} stage {} pause {} {} open {:?} ends as {:?} run {} attempts before {}",
            job.status,
            job.stage + 1,
            job.pause_requested,
            job.paused,
            job.open_stages,
            job.ends_as.map(|status| status.as_str().to_owned()),
            database.reruns + 1,
            database.attempts_before
        ));
    }
    for (number, stage) in database.stages() {
        words.push(format!(
            "stage {}: {} {} {} {} cursor {} lease {:?} planned {} advanced {} unsent {}",
            number + 1,
            stage.total,
            stage.completed,
            stage.failed,
            stage.skipped,
            stage.plan_cursor,
            stage.lease_owner,
            stage.planned,
            stage.advanced,
            stage.unsent
        ));
        if database.job.is_some_and(|job| job.open_stages.is_some()) {
            let not_chosen = (0..8).filter(|one| stage.not_chosen & (1 << one) != 0);
            words.push(format!(
                "node {}: waits for {} unmet {} plan failed {} outcome {:?} not chosen {:?} decision {:?}",
                number + 1,
                stage.waits_for,
                stage.unmet,
                stage.plan_failed,
                stage.outcome.map(|outcome| outcome.as_str().to_owned()),
                not_chosen.map(|one| one + 1).collect::<Vec<i16>>(),
                stage.decision.map(|decision| match decision {
                    Decision::Approve => "approve".to_owned(),
                    Decision::Reject => "reject".to_owned(),
                }),
            ));
        }
        for (task, row) in stage.tasks() {
            words.push(format!(
                "task {}/{task}: {} attempt {} forgiven {} deferred {} ready {} claimed {} by user {}",
                number + 1,
                row.status,
                row.attempt,
                row.forgiven,
                row.deferred,
                row.ready,
                row.claimed,
                row.skipped_by_user
            ));
        }
        for batch in (0..).take_while(|batch| !rules.tasks_of(number, *batch).is_empty()) {
            if let Some(row) = database.batch(number, batch) {
                let status = match row {
                    Batch::Unsent => "pending_queue",
                    Batch::Sent => "queued",
                };
                words.push(format!("batch {}/{batch}: {status}", number + 1));
            }
        }
    }
    words.join("\n")
}

impl Real {
    pub(super) async fn rows(&mut self, planners: &[(Planner, Uuid)], rules: &Rules) -> String {
        let mut words = Vec::new();
        let jobs = self
            .connection
            .fetch_all(
                "SELECT status::text, stage, pause_requested, paused_at IS NOT NULL AS paused, open_stages, ends_as::text, run, attempts_before FROM jobs",
            )
            .await
            .unwrap();
        for row in jobs {
            let (status, stage): (String, i16) = (row.get("status"), row.get("stage"));
            let (requested, paused): (bool, bool) = (row.get("pause_requested"), row.get("paused"));
            let open: Option<i16> = row.get("open_stages");
            words.push(format!(
                "job {status} stage {stage} pause {requested} {paused} open {open:?} ends as {:?} run {} attempts before {}",
                row.get::<Option<String>, _>("ends_as"),
                row.get::<i32, _>("run"),
                row.get::<i16, _>("attempts_before")
            ));
        }
        let stages = self
            .connection
            .fetch_all(
                "SELECT s.stage, total, completed, failed, skipped, plan_cursor, lease_owner,
                        planned_at IS NOT NULL AS planned, advanced_at IS NOT NULL AS advanced,
                        kind, waits_for, unmet, COALESCE(kind = 'tasks' AND output IS NOT NULL, false) AS plan_failed, outcome, COALESCE(not_chosen, '{}') AS not_chosen, decision,
                        EXISTS (SELECT FROM outbox o WHERE o.job_id = s.job_id AND o.stage = s.stage) AS unsent
                 FROM stages s ORDER BY s.stage",
            )
            .await
            .unwrap();
        for row in stages {
            let number: i16 = row.get("stage");
            let [total, completed, failed, skipped, cursor] =
                ["total", "completed", "failed", "skipped", "plan_cursor"]
                    .map(|column| row.get::<i64, _>(column));
            let owner: Option<Uuid> = row.get("lease_owner");
            let owner =
                owner.map(|owner| planners.iter().position(|(_, uuid)| *uuid == owner).unwrap());
            let [planned, advanced, unsent] =
                ["planned", "advanced", "unsent"].map(|column| row.get::<bool, _>(column));
            words.push(format!(
                "stage {number}: {total} {completed} {failed} {skipped} cursor {cursor} lease {owner:?} planned {planned} \
                 advanced {advanced} unsent {unsent}"
            ));
            if row.get::<Option<String>, _>("kind").is_some() {
                let [outcome, decision] =
                    ["outcome", "decision"].map(|column| row.get::<Option<String>, _>(column));
                words.push(format!(
                    "node {number}: waits for {} unmet {} plan failed {} outcome {outcome:?} not chosen {:?} decision {decision:?}",
                    row.get::<i16, _>("waits_for"),
                    row.get::<Option<bool>, _>("unmet").unwrap_or_default(),
                    row.get::<bool, _>("plan_failed"),
                    row.get::<Vec<i16>, _>("not_chosen"),
                ));
            }
            words.extend(self.tasks_and_batches(number, rules).await);
        }
        words.join("\n")
    }

    async fn tasks_and_batches(&mut self, number: i16, rules: &Rules) -> Vec<String> {
        let tasks = sqlx::query(
            "SELECT ordinal, status::text, attempt, COALESCE(attempts_forgiven, 0::smallint) AS forgiven,
                    next_send_at IS NOT NULL AS deferred, COALESCE(skipped_by_user, false) AS skipped_by_user,
                    ready_at IS NOT NULL
                    OR is_fresh AND EXISTS (
                        SELECT FROM task_batches b
                        WHERE b.job_id = t.parent_job_id AND b.stage = t.stage
                          AND t.task_id = ANY (b.task_ids[cardinality(b.task_ids) - b.untaken + 1 :])) AS ready,
                    is_fresh AND EXISTS (
                        SELECT FROM worker_claims c
                        WHERE c.job_id = t.parent_job_id AND c.stage = t.stage
                          AND t.ordinal BETWEEN c.first_ordinal AND c.last_ordinal) AS claimed
             FROM (SELECT *, handler_id IS NOT NULL AND attempt = COALESCE(attempts_forgiven, 0) AND ready_at IS NULL
                               AND status = 'queued' AS is_fresh
                   FROM tasks) t
             WHERE stage = $1 ORDER BY ordinal",
        )
        .bind(number)
        .fetch_all(&mut self.connection)
        .await
        .unwrap();
        let batches = sqlx::query(
            "SELECT b.batch_no, b.status::text, cardinality(b.task_ids) AS tasks,
                    (b.ready_at IS NOT NULL) = (b.untaken > 0)
                    OR b.ready_at IS NULL AND NOT EXISTS (
                        SELECT FROM tasks t
                        WHERE t.parent_job_id = b.job_id AND t.stage = b.stage AND t.task_id = ANY (b.task_ids)
                          AND t.handler_id IS NOT NULL AND t.attempt = COALESCE(t.attempts_forgiven, 0)
                          AND t.status = 'queued' AND t.ready_at IS NULL
                          AND EXISTS (SELECT FROM jobs j WHERE j.job_id = b.job_id AND j.finished_at IS NULL)) AS is_ready_right
             FROM task_batches b WHERE b.stage = $1
             ORDER BY b.batch_no",
        )
        .bind(number)
        .fetch_all(&mut self.connection)
        .await
        .unwrap();
        let tasks = tasks.iter().map(|row| {
            let (ordinal, status): (i32, String) = (row.get("ordinal"), row.get("status"));
            let (attempt, forgiven): (i16, i16) = (row.get("attempt"), row.get("forgiven"));
            assert!(TaskStatus::from_name(&status).is_some());
            let [deferred, ready, claimed, by_user] =
                ["deferred", "ready", "claimed", "skipped_by_user"].map(|column| row.get::<bool, _>(column));
            format!(
                "task {number}/{ordinal}: {status} attempt {attempt} forgiven {forgiven} deferred {deferred} ready {ready} claimed {claimed} by user {by_user}"
            )
        });
        let batches = batches.iter().map(|row| {
            let (batch, status): (i32, String) = (row.get("batch_no"), row.get("status"));
            assert!(
                row.get::<bool, _>("is_ready_right"),
                "batch {batch} is ready without tasks, or not ready"
            );
            let expected = rules.tasks_of(number as u8 - 1, batch as u8).len();
            assert_eq!(
                row.get::<i32, _>("tasks") as usize,
                expected,
                "batch {batch} has other tasks"
            );
            format!("batch {number}/{batch}: {status}")
        });
        tasks.chain(batches).collect()
    }
}
