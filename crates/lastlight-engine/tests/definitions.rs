//! An app whose definitions are not valid says what is wrong with each, in one sentence.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use lastlight_engine::{
    App,
    job::{Job, Plan, PlanContext, Stage, Start, TaskContext, TaskError, erased::StageSpec},
    model::{ProcessingPath, StageKind},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Map;

/// A stage without tasks.
macro_rules! stage {
    ($stage:ident, $name:expr, $job:ty, $previous:ty) => {
        impl Stage for $stage {
            const NAME: &'static str = $name;
            type Job = $job;
            type Previous = $previous;
            type Task = ();
            type Output = ();
            type Summary = ();

            fn plan(_: PlanContext<Self>) -> Plan<()> {
                Plan::empty()
            }

            async fn run(_: TaskContext<Self>, (): ()) -> Result<(), TaskError> {
                Ok(())
            }

            fn fold((): &mut (), (): ()) {}
        }
    };
}

/// A job, and its last stage.
macro_rules! job {
    ($job:ident, $name:expr, $last:ty) => {
        #[derive(Debug, Serialize, Deserialize, JsonSchema)]
        struct $job {}

        impl Job for $job {
            const NAME: &'static str = $name;
            type Last = $last;
        }
    };
}

const FIFTY: &str = "a-name-of-fifty-characters-that-is-just-short-enou";
const FIFTY_ONE: &str = "a-name-of-fifty-one-characters-that-is-a-bit-to-lon";

job!(Plain, "plain", Plain);
stage!(Plain, "plain", Plain, Start);

job!(Namesake, "plain", Namesake);
stage!(Namesake, "plain", Namesake, Start);

job!(Longest, FIFTY, Longest);
stage!(Longest, FIFTY, Longest, Start);

job!(TooLong, FIFTY_ONE, TooLong);
stage!(TooLong, "stage", TooLong, Start);

job!(LongStage, "long_stage", LongStage);
stage!(LongStage, FIFTY_ONE, LongStage, Start);

job!(Nameless, "", Nameless);
stage!(Nameless, "stage", Nameless, Start);

job!(Twins, "twins", Second);
struct First;
struct Second;
stage!(First, "twin", Twins, Start);
stage!(Second, "twin", Twins, First);

job!(Circle, "circle", Chicken);
struct Chicken;
struct Egg;
stage!(Chicken, "chicken", Circle, Egg);
stage!(Egg, "egg", Circle, Chicken);

job!(Ring, "ring", North);
struct North;
struct East;
struct West;
stage!(North, "north", Ring, (East, West));
stage!(East, "east", Ring, West);
stage!(West, "west", Ring, (East, North));

job!(Pair, "pair", Both);
struct One;
struct Both;
stage!(One, "one", Pair, Start);
stage!(Both, "both", Pair, (One, One));

job!(Diamond, "diamond", Bottom);
struct Top;
struct Left;
struct Right;
struct Bottom;
stage!(Top, "top", Diamond, Start);
stage!(Left, "left", Diamond, Top);
stage!(Right, "right", Diamond, Top);
stage!(Bottom, "bottom", Diamond, (Left, Right, Top));

/// No struct with named fields.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Tuple(BTreeMap<String, u8>, u8);

impl Job for Tuple {
    const NAME: &'static str = "tuple";
    type Last = Self;
}

stage!(Tuple, "tuple", Tuple, Start);

#[test]
fn each_problem_is_one_sentence() {
    let too_long = format!("the name of job type {FIFTY_ONE:?} must have 1 to 50 characters");
    let long_stage = format!(
        "job type \"long_stage\": the name of its stage {FIFTY_ONE:?} must have 1 to 50 characters"
    );
    assert_eq!((FIFTY.len(), FIFTY_ONE.len()), (50, 51));
    for (app, problem) in [
        (App::new().job::<Plain>().job::<Namesake>(), "two job types are named \"plain\""),
        (
            App::new().job::<Plain>().job_over::<Longest>("plain", ProcessingPath::ServiceBus),
            "two job types are named \"plain\"",
        ),
        (App::new().job::<TooLong>(), too_long.as_str()),
        (App::new().job_over::<Plain>(FIFTY_ONE, ProcessingPath::QueueStorage), too_long.as_str()),
        (App::new().job::<LongStage>(), long_stage.as_str()),
        (App::new().job::<Nameless>(), "the name of job type \"\" must have 1 to 50 characters"),
        (App::new().job::<Twins>(), "job type \"twins\": two of its stages are named \"twin\""),
        (
            App::new().job::<Circle>(),
            "job type \"circle\": its stages precede each other in a circle",
        ),
        (App::new().job::<Ring>(), "job type \"ring\": its stages precede each other in a circle"),
        (
            App::new().job::<Pair>(),
            "job type \"pair\": its stage \"both\" names the same stage twice as previous",
        ),
        (
            App::new().job::<Tuple>(),
            "job type \"tuple\": its parameters must be a struct with named fields",
        ),
    ] {
        assert_eq!(app.problems(), [problem]);
    }
}

#[test]
fn all_problems_are_named() {
    let app = App::new().job::<Circle>().job::<Plain>().job::<Twins>();
    assert_eq!(app.problems().len(), 2);
    assert_eq!(app.catalog().names(), ["plain"], "a job type with a problem is left out");
}

#[test]
fn valid_definitions_have_no_problem() {
    let app = App::new().job::<Plain>().job::<Longest>();
    let app = app.job_over::<Plain>("plain_over_bus", ProcessingPath::ServiceBus);
    assert!(app.problems().is_empty(), "{:?}", app.problems());
    let stages = |name: &str| {
        let catalog = app.catalog();
        let stages = catalog.get(name).unwrap().stages(&Map::new()).unwrap();
        stages.into_iter().map(|stage| stage.task_type.into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(stages("plain_over_bus"), ["plain"]);
    assert_eq!(stages(FIFTY), [FIFTY]);
}

#[test]
fn stages_of_a_graph_need_those_before_them_and_stages_of_a_line_have_no_place() {
    let app = App::new().job::<Diamond>().job::<Plain>();
    let places = |name: &str| {
        let catalog = app.catalog();
        let stages = catalog.get(name).unwrap().stages(&Map::new()).unwrap();
        let place = |spec: StageSpec| {
            let place = spec.place?;
            assert_eq!((place.kind, place.best_effort), (StageKind::Tasks, false));
            assert_eq!((place.follows.len(), place.timeout), (0, None));
            Some((place.name, place.needs.iter().map(|stage| stage.get()).collect::<Vec<_>>()))
        };
        stages.into_iter().map(place).collect::<Vec<_>>()
    };
    let expected =
        [("top", vec![]), ("left", vec![1]), ("right", vec![1]), ("bottom", vec![1, 2, 3])];
    let expected = expected.map(|(name, needs)| Some((name.to_owned(), needs)));
    assert_eq!(places("diamond"), expected);
    assert_eq!(places("plain"), [None]);
}
