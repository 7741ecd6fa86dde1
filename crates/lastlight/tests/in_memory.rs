//! `testing::run` runs a job as the engine would, and says clearly why one fails.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

use lastlight::{Again, Repeat, ResultExt, TaskPolicy, prelude::*, testing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job of one stage whose tasks do what the parameter says.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Odd {
    how: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Report {
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    km2: Vec<f64>,
    #[serde(skip_serializing_if = "HashMap::is_empty", default)]
    by_tile: HashMap<Tile, u8>,
}

#[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Tile {
    x: u8,
}

/// Counts the plans of this process.
static PLANS: Mutex<u64> = Mutex::new(0);

impl Job for Odd {
    const NAME: &'static str = "odd";
    type Last = Self;
}

impl Stage for Odd {
    type Job = Self;
    type Previous = Start;
    type Task = String;
    type Output = Report;
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<String> {
        let how = context.job.how;
        let planned = {
            let mut plans = PLANS.lock().unwrap();
            *plans += 1;
            *plans
        };
        match how.as_str() {
            "is another plan" => {
                Plan::of(0..3_u64, move |n| (format!("t-{}", n * planned), how.clone()))
            }
            "twice the same index" => Plan::of(0..3, move |_| ("t".to_owned(), how.clone())),
            "never ends" => Plan::of(0_u64.., move |n| (format!("t-{n}"), how.clone())),
            "panics while planning" => Plan::of(0..3, |n| {
                assert!(n < 2, "no third task");
                (format!("t-{n}"), String::new())
            }),
            "cannot be planned" => Plan::after(async {
                std::fs::read_dir("/no/such/folder")?;
                Ok(Plan::empty())
            }),
            "has a long index" => Plan::one("x".repeat(51), how),
            _ => Plan::of(0..3, move |n| (format!("t-{n}"), how.clone())),
        }
    }

    async fn run(context: TaskContext<Self>, how: String) -> Result<Report, TaskError> {
        let mut report = Report { km2: Vec::new(), by_tile: HashMap::new() };
        match how.as_str() {
            "is not a number" => report.km2 = vec![1.0, f64::NAN],
            "has odd keys" => drop(report.by_tile.insert(Tile { x: 1 }, 1)),
            "panics" => panic!("out of range"),
            "reads a file" => drop(std::fs::read("/no/such/file")?),
            "reads a bad file" => drop("seven".parse::<u8>().permanent()?),
            "is slow at first" if context.attempt() < 3 => {
                return Err(TaskError::transient("the service is busy"));
            }
            "continues" => {
                let done: u8 = context.checkpoint().await?.unwrap_or_default();
                assert_eq!(u32::from(done), context.attempt() - 1);
                context.progress(f64::from(done) / 3.0, "counting");
                context.log(format!("{done} of 3"));
                context.save_checkpoint(&(done + 1)).await?;
                if done < 2 {
                    return Err(TaskError::transient("the process died"));
                }
            }
            "saves too much" => context.save_checkpoint(&"x".repeat(65_535)).await?,
            "needs a predecessor" => context.predecessor()?,
            "is not idempotent" if context.attempt() > 1 => {
                return Err(TaskError::permanent("the file exists already"));
            }
            _ => {}
        }
        Ok(report)
    }

    fn fold(count: &mut u64, _: Report) {
        *count += 1;
    }

    fn policy() -> TaskPolicy {
        TaskPolicy { max_attempts: Some(3), ..TaskPolicy::default() }
    }
}

async fn odd(how: &str) -> testing::JobFailed {
    testing::run(Odd { how: how.to_owned() }).await.unwrap_err()
}

#[tokio::test]
async fn a_failed_job_says_why() {
    for (how, sentence) in [
        (
            "panics",
            "stage 1 (odd): 3 of 3 tasks failed\n  t-0: the task panicked: out of range (attempt 3 of 3)",
        ),
        ("reads a file", "  t-0: No such file or directory (os error 2) (attempt 3 of 3)\n  t-1"),
        ("reads a bad file", "  t-0: invalid digit found in string\n  t-1"),
        (
            "is not a number",
            "  t-0: km2[1] in the result cannot be stored: JSON has no NaN and no infinity",
        ),
        (
            "has odd keys",
            "  t-0: by_tile in the result cannot be written as JSON: key must be a string",
        ),
        (
            "saves too much",
            "  t-0: the checkpoint has 65537 bytes; at most 65536 are kept: store large data elsewhere",
        ),
        (
            "needs a predecessor",
            "  t-0: the task needs the result of its predecessor, and there is none",
        ),
        ("twice the same index", "stage 1 (odd): the plan yields the task index \"t\" twice"),
        ("never ends", "stage 1 (odd): the plan has more than 1000000 tasks, or never ends"),
        ("panics while planning", "stage 1 (odd): the job type panicked: no third task"),
        ("cannot be planned", "stage 1 (odd): No such file or directory"),
        (
            "has a long index",
            "stage 1 (odd): task_index must be text of 1 to 50 characters, not \"xxx",
        ),
        ("is another plan", "stage 1 (odd): the plan is not the same every time: task 1 was \"t-"),
    ] {
        let said = odd(how).await.to_string();
        assert!(said.contains(sentence), "{how}:\n{said}\n\nlacks:\n{sentence}");
    }
}

#[tokio::test]
async fn attempts_are_counted() {
    let job = testing::run(Odd { how: "is slow at first".to_owned() }).await.unwrap();
    assert_eq!((job.summary(), job.stage::<Odd>().attempts), (&3, 9));
}

#[tokio::test]
async fn an_attempt_finds_the_checkpoint_of_the_one_before() {
    let job = testing::run(Odd { how: "continues".to_owned() }).await.unwrap();
    assert_eq!(job.stage::<Odd>().attempts, 9);
}

#[tokio::test]
async fn a_task_that_is_not_idempotent_is_found() {
    let job = || testing::run(Odd { how: "is not idempotent".to_owned() });
    assert_eq!(job().await.unwrap().summary(), &3, "each task runs once");
    let failed = job().duplicates().await.unwrap_err();
    assert_eq!(failed.tasks()[0].reason, "when it ran a second time: the file exists already");
}

/// Adds up n numbers in rounds, each of which halves their number.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Pyramid {
    #[schemars(range(min = 1, max = 20))]
    levels: u32,
}

impl Job for Pyramid {
    const NAME: &'static str = "pyramid";
    type Last = Top;
}

struct Level;

impl Stage for Level {
    const NAME: &'static str = "level";
    type Job = Pyramid;
    type Previous = Again<Self>;
    type Task = u64;
    type Output = u64;
    type Summary = BTreeMap<u64, u64>;

    fn plan(context: PlanContext<Self>) -> Plan<u64> {
        let left = context.job.levels - context.round as u32;
        let numbers = context.input;
        Plan::of(0..1_u64 << (left - 1), move |n| {
            let below = |n| numbers.as_ref().map_or(1, |numbers| numbers[&n]);
            Planned::new(format!("n-{n}"), below(2 * n) + below(2 * n + 1))
                .after(format!("n-{}", 2 * n))
        })
    }

    async fn run(context: TaskContext<Self>, sum: u64) -> Result<u64, TaskError> {
        if let Some(below) = context.predecessor_if_completed()? {
            assert_eq!(below * 2, sum, "the predecessor is of the round before");
        }
        Ok(sum)
    }

    fn fold(sums: &mut BTreeMap<u64, u64>, sum: u64) {
        sums.insert(sums.len() as u64, sum);
    }
}

impl Repeat for Level {
    fn rounds(job: &Pyramid) -> usize {
        job.levels as usize
    }
}

struct Top;

impl Stage for Top {
    const NAME: &'static str = "top";
    type Job = Pyramid;
    type Previous = Level;
    type Task = BTreeMap<u64, u64>;
    type Output = u64;
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<BTreeMap<u64, u64>> {
        Plan::stream(move |from| {
            let tasks = [Ok::<_, PlanError>(Planned::new("top", context.input).after("n-0"))];
            futures_util::stream::iter(tasks.into_iter().skip(from as usize))
        })
    }

    async fn run(context: TaskContext<Self>, sums: BTreeMap<u64, u64>) -> Result<u64, TaskError> {
        assert_eq!(context.predecessor()?, sums[&0]);
        Ok(sums[&0])
    }

    fn fold(summary: &mut u64, sum: u64) {
        *summary += sum;
    }
}

#[tokio::test]
async fn a_stage_is_repeated_on_its_own_results() {
    let job = testing::run(Pyramid { levels: 5 }).duplicates().await.unwrap();
    assert_eq!(job.summary(), &32);
    assert_eq!(job.stage::<Level>().outputs().len(), 1, "of the last round");
    let rejected = testing::run(Pyramid { levels: 21 }).await.unwrap_err().to_string();
    assert_eq!(
        rejected,
        "the submission is rejected: levels must be a whole number from 1 to 20, not 21"
    );
}

#[tokio::test]
async fn a_handler_is_called_by_its_name() {
    async fn area(
        context: lastlight::TaskContext,
        [width, height]: [f64; 2],
    ) -> Result<f64, TaskError> {
        context.progress(1.0, "done");
        Ok(width * height)
    }
    let app = App::new().handler("area", area);
    assert_eq!(testing::call::<f64>(&app, "area", [2.0, 3.5]).await, Ok(7.0));
    let failed = |failed: Result<f64, TaskError>| failed.unwrap_err().to_string();
    assert_eq!(
        failed(testing::call(&app, "aera", [2.0, 3.5]).await),
        "there is no handler \"aera\"; there are [\"area\", \"echo\", \"fail\", \"http_call\", \"sleep\"]"
    );
    assert!(failed(testing::call(&app, "area", ["two", "3.5"]).await).starts_with(
        "[0] in the parameters does not match its type: invalid type: string \"two\""
    ));
    let twice = app.handler("area", area);
    assert_eq!(twice.problems(), ["two handlers are named \"area\""]);
    let echoed: BTreeMap<String, u64> =
        testing::call(&App::new(), "echo", BTreeMap::from([("n", 7)])).await.unwrap();
    assert_eq!(echoed["n"], 7);
}
