//! A plan must yield each index once, and must be the same whenever it is made: its job fails with
//! the reason instead of losing tasks.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::stream;
use lastlight_engine::job::{
    Context, ContextError, Job, Plan, PlanContext, PlanError, Stage, Start, TaskContext, TaskError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::harness::{TestApp, catalog, quick};

/// Longer than every lease, grace period and pause.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// Number of tasks of a plan that are stored together.
const CHUNK: usize = 1000;

/// The folder that the plan lists: the names of its files. Listing stops at `None`.
#[derive(Debug, Clone, Default)]
struct Folder(Arc<Mutex<Vec<Option<String>>>>);

impl Folder {
    fn becomes(&self, names: impl IntoIterator<Item = Option<String>>) {
        *self.0.lock().unwrap() = names.into_iter().collect();
    }
}

impl Context for Folder {
    const NAME: &'static str = "folder";

    async fn start() -> Result<Self, ContextError> {
        Ok(Self::default())
    }
}

/// One task for each file of a folder.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Import {
    number: usize,
}

impl Job for Import {
    const NAME: &'static str = "import";
    type Last = Self;
}

impl Stage for Import {
    type Job = Self;
    type Previous = Start;
    type Task = ();
    type Output = ();
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<()> {
        let folder = context.get::<Folder>();
        Plan::after(async move {
            let names = folder.await?.0.lock().unwrap().clone();
            let task = |name: Option<String>| match name {
                Some(name) => Ok((name, ())),
                None => Err(PlanError::Unavailable("the listing stopped".to_owned())),
            };
            Ok(Plan::stream(move |from| {
                stream::iter(names.into_iter().skip(usize::try_from(from).unwrap()).map(task))
            }))
        })
    }

    async fn run(_: TaskContext<Self>, (): ()) -> Result<(), TaskError> {
        Ok(())
    }

    fn fold(count: &mut u64, (): ()) {
        *count += 1;
    }
}

fn files(numbers: impl IntoIterator<Item = usize>) -> impl Iterator<Item = Option<String>> {
    numbers.into_iter().map(|number| Some(format!("t-{number}")))
}

async fn start(folder: &Folder) -> TestApp {
    let catalog = catalog().job::<Import>(None);
    catalog.contexts().provide(folder.clone());
    TestApp::with(catalog, quick()).await
}

fn reason(status: &Value) -> &str {
    assert_eq!(status["status"], "failed", "{status}");
    status["errorDetails"].as_str().unwrap()
}

#[tokio::test]
async fn a_plan_that_yields_an_index_twice_fails_its_job() {
    let folder = Folder::default();
    let app = start(&folder).await;
    for (number, names) in
        [vec![0, 1, 2, 1], (0..CHUNK).chain([1]).collect()].into_iter().enumerate()
    {
        folder.becomes(files(names));
        let job_id = app.submitted("import", json!({ "number": number })).await;
        app.planned().await;
        assert_eq!(
            reason(&app.status(&job_id).await),
            "stage 1 cannot be planned: the plan yields the task index \"t-1\" twice"
        );
        app.assert_consistent(&job_id).await;
    }
}

#[tokio::test]
async fn a_plan_that_changes_before_it_is_whole_fails_its_job() {
    let folder = Folder::default();
    let app = start(&folder).await;
    let first = Some("first".to_owned());
    let changed: [(Vec<Option<String>>, &str); 3] = [
        (
            files(0..CHUNK - 1).chain([Some("other".to_owned())]).collect(),
            "its task 1000 was \"t-999\" and is now \"other\"",
        ),
        (
            [first].into_iter().chain(files(0..CHUNK)).collect(),
            "its task 1000 was \"t-999\" and is now \"t-998\"",
        ),
        (files(0..10).collect(), "its task 1000 was \"t-999\" and is not in it now"),
    ];
    for (number, (names, words)) in changed.into_iter().enumerate() {
        folder.becomes(files(0..CHUNK).chain([None]));
        let job_id = app.submitted("import", json!({ "number": number })).await;
        assert_eq!(app.planned().await.len(), CHUNK);
        folder.becomes(names);
        app.time_passes(AN_HOUR).await;
        app.controller.reconcile().await.unwrap();
        app.planned().await;
        assert_eq!(
            reason(&app.status(&job_id).await),
            format!("stage 1 cannot be planned: the plan is not the same as before: {words}")
        );
        app.assert_consistent(&job_id).await;
    }
}

#[tokio::test]
async fn an_interrupted_plan_is_continued() {
    let folder = Folder::default();
    let app = start(&folder).await;
    folder.becomes(files(0..CHUNK).chain([None]));
    let job_id = app.submitted("import", json!({ "number": 0 })).await;
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "processing");
    folder.becomes(files(0..CHUNK + 5));
    let status = app.sweep_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(status["stageResults"]["1"]["summary"], CHUNK + 5);
    app.assert_consistent(&job_id).await;
}
