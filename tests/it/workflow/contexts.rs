//! A value that tasks or plans share and that cannot be made only delays them: no attempt counts,
//! and no job fails.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use lastlight_engine::{
    job::{
        Context, ContextError, Job, Plan, PlanContext, Stage, Start, TaskContext, TaskError,
        erased::Catalog,
    },
    transport::sender::QueueRole,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::harness::{TestApp, catalog, quick, until};

/// Longer than every lease, grace period and pause.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// More often than a task is tried.
const OFTEN: usize = 7;

/// A service that is down until its test says that it is up.
macro_rules! service {
    ($service:ident, $is_up:ident) => {
        static $is_up: AtomicBool = AtomicBool::new(false);

        #[derive(Debug)]
        struct $service;

        impl Context for $service {
            const NAME: &'static str = stringify!($service);

            async fn start() -> Result<Self, ContextError> {
                if $is_up.load(Ordering::SeqCst) {
                    Ok(Self)
                } else {
                    Err("no route to host".into())
                }
            }
        }
    };
}

service!(Blobs, BLOBS_ARE_UP);
service!(List, LIST_IS_UP);

/// Three tasks that need the blobs, or a plan that needs the list.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Fetch {
    listed: bool,
}

impl Job for Fetch {
    const NAME: &'static str = "fetch";
    type Last = Self;
}

impl Stage for Fetch {
    type Job = Self;
    type Previous = Start;
    type Task = bool;
    type Output = u32;
    type Summary = u32;

    fn plan(context: PlanContext<Self>) -> Plan<bool> {
        let listed = context.job.listed;
        let list = context.get::<List>();
        Plan::after(async move {
            if listed {
                list.await?;
            }
            Ok(Plan::of(0..3, move |number| (format!("t-{number}"), listed)))
        })
    }

    async fn run(context: TaskContext<Self>, listed: bool) -> Result<u32, TaskError> {
        if !listed {
            context.get::<Blobs>().await?;
        }
        Ok(context.attempt())
    }

    fn fold(largest: &mut u32, attempt: u32) {
        *largest = (*largest).max(attempt);
    }
}

/// Returns once the value can be made: after a failure its start is not tried again at once.
async fn until_made<C: Context>(catalog: &Catalog) {
    until("it can be made", async || catalog.contexts().get::<C>().await.ok()).await;
}

#[tokio::test]
async fn tasks_wait_for_a_value_that_cannot_be_made() {
    let catalog = catalog().job::<Fetch>(None);
    let app = TestApp::with(catalog.clone(), quick()).await;
    let job_id = app.submitted("fetch", json!({ "listed": false })).await;
    app.run_dry().await;
    for _ in 0..OFTEN {
        let waiting: Vec<(String, String)> = sqlx::query_as(
            "SELECT status::text, error_details FROM tasks WHERE parent_job_id = $1",
        )
        .bind(&job_id)
        .fetch_all(&mut app.connection().await)
        .await
        .unwrap();
        let reason = "Blobs is not available: no route to host".to_owned();
        assert_eq!(waiting, vec![("retrying".to_owned(), reason); 3]);
        assert_eq!(app.status(&job_id).await["status"], "processing");
        app.time_passes(AN_HOUR).await;
        let delayed = app.queue.take_delayed(QueueRole::Tasks);
        assert_eq!(delayed.len(), 3, "each task has one message");
        app.deliver_each("process_queue_task", &delayed).await;
    }
    BLOBS_ARE_UP.store(true, Ordering::SeqCst);
    until_made::<Blobs>(&catalog).await;
    let status = app.sweep_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(status["stageResults"]["1"]["summary"], 1, "no earlier attempt counts: {status}");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_plan_waits_for_a_value_that_cannot_be_made() {
    let catalog = catalog().job::<Fetch>(None);
    let app = TestApp::with(catalog.clone(), quick()).await;
    let job_id = app.submitted("fetch", json!({ "listed": true })).await;
    for _ in 0..OFTEN {
        assert_eq!(app.planned().await.len(), 0);
        let status = app.status(&job_id).await;
        assert_eq!(status["status"], "processing", "{status}");
        assert_eq!(status["progress"][0]["planned"], false, "{status}");
        assert_eq!(status["errorDetails"], Value::Null);
        app.controller.reconcile().await.unwrap();
        assert_eq!(app.queue.count(QueueRole::Jobs), 0, "it is not asked for again at once");
        app.time_passes(AN_HOUR).await;
        app.controller.reconcile().await.unwrap();
        assert_eq!(app.queue.count(QueueRole::Jobs), 1);
    }
    LIST_IS_UP.store(true, Ordering::SeqCst);
    until_made::<List>(&catalog).await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    app.assert_consistent(&job_id).await;
}
