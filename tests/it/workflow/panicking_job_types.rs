//! A faulty job type: its own jobs fail with the reason, and no other job is affected.

use std::{collections::BTreeMap, time::Duration};

use lastlight_engine::{
    job::{Job, Plan, PlanContext, Stage, Start, TaskContext, TaskError, TaskPolicy},
    transport::sender::QueueRole,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use crate::harness::{OfThisApp, TestApp, catalog, quick};

/// A job type of two stages of three tasks that panics in a chosen place.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Clumsy {
    slips: String,
}

impl Job for Clumsy {
    const NAME: &'static str = "clumsy";
    type Last = Second;

    fn time_limit(&self) -> Option<Duration> {
        (self.slips == "time").then_some(Duration::MAX)
    }
}

impl Stage for Clumsy {
    type Job = Self;
    type Previous = Start;
    type Task = String;
    type Output = String;
    type Summary = Total;

    fn plan(context: PlanContext<Self>) -> Plan<String> {
        let slips = context.job.slips;
        assert!(slips != "plan", "slipped while planning");
        Plan::of(0..3, move |number| {
            assert!(slips != "task definition" || number < 2, "slipped at task {number}");
            (format!("t-{number}"), slips.clone())
        })
    }

    async fn run(_: TaskContext<Self>, slips: String) -> Result<String, TaskError> {
        Ok(slips)
    }

    fn fold(total: &mut Total, slips: String) {
        assert!(slips != "fold", "slipped while folding");
        total.0 = match slips.as_str() {
            "deep summary" => (0..1000).fold(json!(1), |inner, _| json!([inner])),
            _ => json!(slips),
        };
    }
}

/// A summary that panics when it is written, on request.
#[derive(Debug, Default, Deserialize)]
struct Total(Value);

impl Serialize for Total {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(self.0 != "summary", "slipped at the summary");
        self.0.serialize(serializer)
    }
}

struct Second;

impl Stage for Second {
    const NAME: &'static str = "plain";
    type Job = Clumsy;
    type Previous = Clumsy;
    type Task = u64;
    type Output = ();
    type Summary = ();

    fn plan(_: PlanContext<Self>) -> Plan<u64> {
        Plan::of(0..3, |number| (format!("t-{number}"), number))
    }

    async fn run(_: TaskContext<Self>, _: u64) -> Result<(), TaskError> {
        Ok(())
    }

    fn fold((): &mut (), (): ()) {}
}

/// A job type whose policy panics.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Slippery {}

impl Job for Slippery {
    const NAME: &'static str = "slippery";
    type Last = Self;
}

impl Stage for Slippery {
    type Job = Self;
    type Previous = Start;
    type Task = u64;
    type Output = ();
    type Summary = ();

    fn plan(_: PlanContext<Self>) -> Plan<u64> {
        Plan::one("t", 0)
    }

    async fn run(_: TaskContext<Self>, _: u64) -> Result<(), TaskError> {
        Ok(())
    }

    fn fold((): &mut (), (): ()) {}

    fn policy() -> TaskPolicy {
        panic!("slipped at the policy")
    }
}

#[tokio::test]
async fn a_panicking_job_type_fails_only_its_own_job() {
    let catalog = catalog().job::<Clumsy>(None).job::<Slippery>(None);
    let app = TestApp::with(catalog, quick()).await;
    for (slips, end, words) in [
        ("nowhere", "completed", ""),
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
    let slippery = app.submitted("slippery", json!({})).await;
    assert_eq!(app.run_until_finished(&slippery).await["status"], "completed");
    // The mistake is in the job type, not in its tasks: their results are still there after it is
    // fixed.
    let again = app.submit("clumsy", json!({ "slips": "fold" })).await;
    let job_id = again.body["job_id"].as_str().unwrap().to_owned();
    assert_eq!(app.status(&job_id).await["progress"][0]["completed"], 3);
    assert_eq!(app.control("retry", &job_id).await.body["tasks_reset"], 0);
    assert_eq!(app.run_until_finished(&job_id).await["status"], "failed");
}

/// A job type whose results cannot be stored.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Measure {
    is_infinite: bool,
}

impl Job for Measure {
    const NAME: &'static str = "measure";
    type Last = Self;
}

#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    areas: Vec<f64>,
    tiles: BTreeMap<(u8, u8), f64>,
}

impl Stage for Measure {
    type Job = Self;
    type Previous = Start;
    type Task = bool;
    type Output = Measured;
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<bool> {
        Plan::one("t", context.job.is_infinite)
    }

    async fn run(_: TaskContext<Self>, is_infinite: bool) -> Result<Measured, TaskError> {
        Ok(match is_infinite {
            true => Measured { areas: vec![1.0, f64::NAN], tiles: BTreeMap::new() },
            false => Measured { areas: Vec::new(), tiles: [((0, 1), 1.0)].into() },
        })
    }

    fn fold(count: &mut u64, _: Measured) {
        *count += 1;
    }
}

#[tokio::test]
async fn a_result_that_cannot_be_stored_fails_its_task_at_once() {
    let app = TestApp::with_job::<Measure>(quick()).await;
    for (is_infinite, reason) in [
        (true, "areas[1] in the result cannot be stored: JSON has no NaN and no infinity"),
        (false, "tiles in the result cannot be written as JSON: key must be a string"),
    ] {
        let job_id = app.submitted("measure", json!({ "is_infinite": is_infinite })).await;
        let status = app.run_until_finished(&job_id).await;
        assert_eq!(status["status"], "failed", "{status}");
        assert_eq!(status["stageResults"]["1"]["errors"][0]["error"], reason);
        assert_eq!(app.audit(&job_id).await["stages"][0]["attempts"], 1);
    }
}

#[tokio::test]
async fn a_stuck_stage_does_not_stop_the_sweep() {
    let app = TestApp::with_job::<Clumsy>(quick()).await;
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
