//! Jobs whose stages form a graph, in memory: what plans receive, which results tasks read, and what
//! fails a job.
#![allow(clippy::unwrap_used)]

use lastlight::{Again, Input, Repeat, prelude::*, testing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A stage with numbers as tasks, results and summary; `$plan` and `$run` are its functions.
macro_rules! stage {
    ($stage:ident, $name:expr, $job:ty, after $previous:ty, $plan:expr, $run:expr) => {
        struct $stage;

        impl Stage for $stage {
            const NAME: &'static str = $name;
            type Job = $job;
            type Previous = $previous;
            type Task = u64;
            type Output = u64;
            type Summary = u64;

            fn plan(context: PlanContext<Self>) -> Plan<u64> {
                let plan: fn($job, Input<Self>, usize) -> Vec<Planned<u64>> = $plan;
                let round = context.round;
                Plan::of(plan(context.job, context.input, round), |task| task)
            }

            async fn run(context: TaskContext<Self>, task: u64) -> Result<u64, TaskError> {
                let run: fn(TaskContext<Self>, u64) -> Result<u64, TaskError> = $run;
                run(context, task)
            }

            fn fold(sum: &mut u64, output: u64) {
                *sum += output;
            }
        }
    };
}

/// Two stages work on the tiles at the same time, and a third one on the results of both.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Terrain {
    how: String,
}

impl Job for Terrain {
    const NAME: &'static str = "terrain";
    type Last = Map;
}

stage!(Tiles, "tiles", Terrain, after Start,
    |_, (), _| (0..4).map(|n| Planned::new(format!("tile-{n}"), n)).collect(), |_, n| Ok(n));

stage!(
    Hills, "hills", Terrain, after Tiles,
    |job, sum, _| {
        assert_eq!(sum, 6);
        let fails = u64::from(job.how.contains("hills fail"));
        // The predecessors are the tiles with the same index.
        (0..4).map(|n| Planned::new(format!("tile-{n}"), fails)).collect()
    },
    |context, fails| match fails {
        0 => Ok(100 + context.predecessor()?),
        _ => Err(TaskError::permanent("there is fog")),
    }
);

stage!(
    Water, "water", Terrain, after Tiles,
    |job, sum, _| {
        assert_eq!(sum, 6);
        let task = |n| {
            let fails = u64::from(job.how.contains("water fails") && n == 3);
            let task = Planned::new(format!("water-{n}"), fails);
            match job.how.as_str() {
                "the water names a stage that runs at the same time" => {
                    task.after_in::<Hills>("tile-1")
                }
                _ => task.after(format!("tile-{n}")),
            }
        };
        (0..4).map(task).collect()
    },
    |context, fails| match fails {
        0 => Ok(1000 + context.predecessor()?),
        _ => Err(TaskError::permanent("it is frozen")),
    }
);

stage!(
    Map,
    "map",
    Terrain,
    after(Hills, Water),
    |job, (hills, water), _| {
        assert_eq!((hills, water), (406, 4006));
        let map = Planned::new("map", 1);
        match job.how.as_str() {
            "the map names no stage" => vec![map.after("tile-1")],
            "the map names itself" => vec![map.after_in::<Map>("map")],
            "the map names a task that is not there" => vec![map.after_in::<Hills>("tile-7")],
            "the map names nothing" => vec![map],
            _ => vec![
                Planned::new("map-0", 0).after_in::<Tiles>("tile-2"),
                Planned::new("map-1", 1).after_in::<Hills>("tile-2"),
                Planned::new("map-2", 2).after_in::<Water>("water-2"),
            ],
        }
    },
    |context, task| match task {
        0 => context.predecessor_of::<Tiles>(),
        1 => context.predecessor_of::<Hills>(),
        _ => context.predecessor_of::<Water>(),
    }
);

async fn terrain(how: &str) -> Result<testing::Finished<Terrain>, testing::JobFailed> {
    testing::run(Terrain { how: how.to_owned() }).duplicates().await
}

#[tokio::test]
async fn a_stage_receives_the_summaries_of_all_stages_before_it() {
    let job = terrain("").await.unwrap();
    assert_eq!(job.stage::<Tiles>().summary, 6);
    assert_eq!((job.stage::<Hills>().summary, job.stage::<Water>().summary), (406, 4006));
}

#[tokio::test]
async fn a_task_reads_a_result_of_any_stage_before_it() {
    let job = terrain("").await.unwrap();
    let map = job.stage::<Map>();
    assert_eq!(map.output("map-0"), Some(&2), "of a stage that is not the previous one");
    assert_eq!(map.output("map-1"), Some(&102));
    assert_eq!(map.output("map-2"), Some(&1002));
    assert_eq!(job.summary(), &1106);
}

#[tokio::test]
async fn a_task_after_several_stages_says_whose_result_it_reads() {
    for (how, sentence) in [
        (
            "the map names no stage",
            "stage 4 (map): task \"map\" of stage \"map\" is to read the result of \"tile-1\", and several stages precede \
             it (hills, water): say which one with `after_in`",
        ),
        (
            "the map names itself",
            "stage 4 (map): task \"map\" of stage \"map\" is to read the result of \"map\" of stage \"map\", which does \
             not precede stage \"map\"; these do: tiles, hills, water",
        ),
        (
            "the water names a stage that runs at the same time",
            "stage 3 (water): task \"water-0\" of stage \"water\" is to read the result of \"tile-1\" of stage \"hills\", \
             which does not precede stage \"water\"; these do: tiles\nstage 4 (map): skipped",
        ),
        (
            "the map names a task that is not there",
            "  map: the task needs the result of its predecessor, and there is none",
        ),
        (
            "the map names nothing",
            "  map: the task needs the result of its predecessor, and there is none",
        ),
    ] {
        let said = terrain(how).await.unwrap_err().to_string();
        assert!(said.contains(sentence), "{how}:\n{said}\n\nlacks:\n{sentence}");
    }
}

#[tokio::test]
async fn a_stage_after_a_failed_one_is_skipped_and_the_others_run() {
    let failed = terrain("hills fail, water fails").await.unwrap_err();
    assert_eq!(
        failed.to_string(),
        "stage 2 (hills): 4 of 4 tasks failed\n  tile-0: there is fog\n  tile-1: there is fog\n  tile-2: there is fog\n  \
         tile-3: there is fog\nstage 3 (water): 1 of 4 tasks failed\n  water-3: it is frozen\nstage 4 (map): skipped, since \
         a stage before it did not complete"
    );
    assert_eq!(failed.tasks().len(), 4);
    assert_eq!(failed.others().len(), 1);
    assert_eq!(failed.others()[0].tasks()[0].index, "water-3");
    assert_eq!(failed.skipped().collect::<Vec<_>>(), ["map"]);
}

/// A repeated stage as one of several before another one.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Relief {
    rounds: usize,
}

impl Job for Relief {
    const NAME: &'static str = "relief";
    type Last = Print;
}

stage!(
    Smooth, "smooth", Relief, after Again<Self>,
    |_, sum, round| {
        assert_eq!(sum.is_some(), round > 0);
        let task = Planned::new("sheet", sum.unwrap_or(1));
        vec![if round > 1 { task.after_in::<Self>("sheet") } else { task }]
    },
    |context, sum| match context.predecessor_if_completed()? {
        Some(before) => Ok(before + sum),
        None => Ok(sum),
    }
);

impl Repeat for Smooth {
    fn rounds(job: &Relief) -> usize {
        job.rounds
    }
}

stage!(Ink, "ink", Relief, after Start, |_, (), _| vec![Planned::new("ink", 7)], |_, n| Ok(n));

// Its name is that of a round of the stage `Smooth`, if there are enough rounds.
stage!(
    Paper, "smooth-3", Relief, after Ink,
    |_, sum, _| vec![Planned::new("paper", sum)],
    |_, n| Ok(n)
);

stage!(
    Print,
    "print",
    Relief,
    after(Smooth, Ink, Paper),
    |_, (smooth, ink, paper), _| {
        vec![Planned::new("print", smooth + ink + paper).after_in::<Smooth>("sheet")]
    },
    |context, sum| Ok(1000 * context.predecessor_of::<Smooth>()? + sum)
);

#[tokio::test]
async fn a_repeated_stage_is_several_stages_of_a_graph() {
    let relief = |rounds| testing::run(Relief { rounds });
    assert_eq!(relief(1).await.unwrap().summary(), &1015);
    assert_eq!(relief(2).await.unwrap().summary(), &2016, "of the last round");
    assert_eq!(
        relief(3).await.unwrap_err().to_string(),
        "two of its stages are named \"smooth-3\" with these parameters, of which one is a round of a repeated stage: give the \
         other one another name"
    );
    assert_eq!(
        relief(0).await.unwrap_err().to_string(),
        "its stage \"smooth\" has 0 rounds with these parameters; it must have at least 1, since other stages need it"
    );
    let many = relief(1000).await.unwrap_err().to_string();
    assert_eq!(many, "the job has 104 stages with these parameters; 1 to 100 are allowed");
}

/// Stages in a line, of which the last one reads results of the first one.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Line {}

impl Job for Line {
    const NAME: &'static str = "line";
    type Last = Third;
}

stage!(First, "first", Line, after Start, |_, (), _| vec![Planned::new("a", 5)], |_, n| Ok(n));
stage!(Second, "second", Line, after First, |_, sum, _| vec![Planned::new("b", sum + 1)], |_, n| {
    Ok(n)
});
stage!(
    Third, "third", Line, after Second,
    |_, sum, _| vec![Planned::new("c", sum).after_in::<First>("a")],
    |context, sum| Ok(10 * context.predecessor_of::<First>()? + sum)
);

#[tokio::test]
async fn a_task_of_a_line_reads_a_result_of_any_stage_before_it() {
    assert_eq!(testing::run(Line {}).duplicates().await.unwrap().summary(), &56);
}
