//! A faulty job type: its own jobs fail with the reason, and no other job is affected.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use lastlight::{
    job::{
        CountFold, Fields, Fold, JobType, Plan, PlanContext, StageSpec, Task, TaskDefinition,
        TaskError, TaskPolicy, to_json,
    },
    model::{Stage, TaskIndex},
    transport::sender::QueueRole,
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::harness::{TestApp, quick};

/// A job type of two stages of three tasks that panics in a chosen place.
#[derive(Debug)]
struct Panicking;

#[derive(Debug, Deserialize)]
struct Where {
    slips: String,
}

#[async_trait::async_trait]
impl JobType for Panicking {
    type Parameters = Where;

    fn name(&self) -> &'static str {
        "clumsy"
    }

    fn check(&self, _fields: &mut Fields) {}

    fn stages(&self, parameters: &Where) -> Vec<StageSpec> {
        let task_type = match parameters.slips.as_str() {
            "policy" => "slippery",
            "fold" => "folded",
            "summary" => "summed",
            "deep summary" => "deep",
            _ => "plain",
        };
        vec![StageSpec::new(task_type), StageSpec::new("plain")]
    }

    fn plan(&self, parameters: Where, context: PlanContext) -> Plan {
        assert_ne!(parameters.slips, "plan", "slipped while planning");
        let one = move |number: u64| {
            assert!(
                parameters.slips != "task definition" || number < 2,
                "slipped at task {number}"
            );
            Ok(TaskDefinition {
                index: TaskIndex::try_from(format!("t-{number}").as_str()).unwrap(),
                parameters: to_json(&json!({}))?,
                predecessor: None,
            })
        };
        stream::iter(context.from..3).map(one).boxed()
    }

    fn task_policy(&self, task_type: &str) -> TaskPolicy {
        assert_ne!(task_type, "slippery", "slipped at the policy");
        TaskPolicy::default()
    }

    fn time_limit(&self, parameters: &Where) -> Option<Duration> {
        (parameters.slips == "time").then_some(Duration::MAX)
    }

    async fn run(&self, task: Task<'_>) -> Result<Box<RawValue>, TaskError> {
        Ok(to_json(&task.task_type)?)
    }

    fn fold(&self, stage: Stage) -> Box<dyn Fold> {
        if stage == Stage::FIRST {
            Box::new(Slips(String::new()))
        } else {
            Box::new(CountFold::new("runs"))
        }
    }
}

struct Slips(String);

impl Fold for Slips {
    fn add(&mut self, result: &RawValue) {
        self.0 = result.get().to_owned();
        assert_ne!(self.0, "\"folded\"", "slipped while folding");
    }

    fn finish(self: Box<Self>) -> Value {
        match self.0.as_str() {
            "\"summed\"" => panic!("slipped at the summary"),
            "\"deep\"" => (0..1000).fold(json!(1), |inner, _| json!([inner])),
            _ => json!({ "runs": 3 }),
        }
    }
}

#[tokio::test]
async fn a_panicking_job_type_fails_only_its_own_job() {
    let app = TestApp::with_job_type(Panicking, quick()).await;
    for (slips, end, words) in [
        ("nowhere", "completed", ""),
        ("policy", "completed", ""),
        ("time", "completed", ""),
        ("plan", "failed", "stage 1 cannot be planned: the job type panicked: "),
        (
            "task definition",
            "failed",
            "stage 1 cannot be planned: the job type panicked: slipped at task 2",
        ),
        ("fold", "failed", "stage 1: its results cannot be summed up: the job type panicked: "),
        (
            "summary",
            "failed",
            "stage 1: its results cannot be summed up: the job type panicked: slipped at the summary",
        ),
        (
            "deep summary",
            "failed",
            "stage 1: its results cannot be summed up: the summary is nested 1000 deep; at most 64",
        ),
    ] {
        let job_id = app.submitted("clumsy", json!({ "slips": slips })).await;
        let status = app.run_until_finished(&job_id).await;
        assert_eq!(status["status"], end, "{slips}: {status:.2000}");
        let reason = status["errorDetails"].as_str().unwrap_or_default();
        assert!(reason.starts_with(words), "{slips}: {reason}");
        app.assert_consistent(&job_id).await;
    }
    // The mistake is in the job type, not in its tasks: their results are still there after it is
    // fixed.
    let again = app.submit("clumsy", json!({ "slips": "fold" })).await;
    let job_id = again.body["job_id"].as_str().unwrap().to_owned();
    assert_eq!(app.status(&job_id).await["progress"][0]["completed"], 3);
    assert_eq!(app.control("retry", &job_id).await.body["tasks_reset"], 0);
    assert_eq!(app.run_until_finished(&job_id).await["status"], "failed");
}

#[tokio::test]
async fn a_stuck_stage_does_not_stop_the_sweep() {
    let app = TestApp::with_job_type(Panicking, quick()).await;
    let stuck = app.submitted("clumsy", json!({ "slips": "nowhere" })).await;
    let mut connection = app.connection().await;
    sqlx::raw_sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
         CREATE TRIGGER refuse BEFORE UPDATE ON jobs FOR EACH ROW WHEN (OLD.stage < NEW.stage) EXECUTE FUNCTION refuse();",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    for task in app.planned().await {
        app.deliver("process_queue_task", &task.body).await;
    }
    // Another job's message is unsent.
    app.queue.set_down(true);
    let other = app.submitted("hello_world", json!({ "n": 1 })).await;
    app.queue.set_down(false);
    app.time_passes(quick().send_grace * 2).await;
    let report = app.controller.reconcile().await.expect("the sweep comes to its end");
    assert_eq!((report.stages_advanced, report.job_messages_sent), (0, 1), "{report:?}");
    assert!(app.queue.take(QueueRole::Jobs)[0].body.contains(&other));
    // The stuck stage continues as soon as it can.
    sqlx::raw_sql("DROP TRIGGER refuse ON jobs").execute(&mut connection).await.unwrap();
    let report = app.controller.reconcile().await.unwrap();
    assert_eq!(report.stages_advanced, 1);
    assert_eq!(app.run_until_finished(&stuck).await["status"], "completed");
}

#[tokio::test]
async fn a_task_resent_for_weeks_stops_no_sweep() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 1 })).await;
    app.planned().await;
    let mut connection = app.connection().await;
    // Its function was disabled all the while.
    sqlx::query(
        "UPDATE tasks SET status = 'retrying', retry_count = 32767, lease_until = now() - interval '1 s'
         WHERE parent_job_id = $1",
    )
    .bind(&job_id)
    .execute(&mut connection)
    .await
    .unwrap();
    let report = app.controller.reconcile().await.expect("the sweep comes to its end");
    assert_eq!(report.dead_attempts_resent, 1);
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
}
