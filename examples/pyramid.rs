//! A repeated stage: the job's parameters say how many rounds it has, and each round works on the
//! results of the one before. Here a round makes one level of an image pyramid: it halves the image
//! of the level below, strip by strip.
//!
//! `curl -X POST localhost:7071/api/jobs/submit/pyramid -d '{"strips": 10, "levels": 5}'`

use lastlight::{Again, Repeat, prelude::*};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Smaller and smaller copies of an artificial image.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Pyramid {
    #[schemars(range(min = 1, max = 10_000))]
    pub strips: u32,
    #[schemars(range(min = 1, max = 8))]
    pub levels: u32,
}

impl Job for Pyramid {
    const NAME: &'static str = "pyramid";
    type Last = Level;
}

pub type Image = Vec<Vec<f32>>;

pub struct Level;

impl Stage for Level {
    const NAME: &'static str = "level";
    type Job = Pyramid;
    type Previous = Again<Self>;
    type Task = (usize, u32);
    type Output = Image;
    type Summary = usize;

    fn plan(context: PlanContext<Self>) -> Plan<(usize, u32)> {
        let PlanContext { job, round, .. } = context;
        Plan::of(0..job.strips, move |strip| (format!("strip-{strip}"), (round, strip)))
    }

    async fn run(context: TaskContext<Self>, task: (usize, u32)) -> Result<Image, TaskError> {
        Ok(match task {
            (0, strip) => vec![vec![strip as f32; 128]; 128],
            // The predecessor is the task with the same index in the round before.
            _ => halved(&context.predecessor()?),
        })
    }

    fn fold(pixels: &mut usize, strip: Image) {
        *pixels += strip.iter().map(Vec::len).sum::<usize>();
    }
}

/// Each pixel is the mean of four.
fn halved(image: &Image) -> Image {
    let mean =
        |rows: &[Vec<f32>], x| (rows[0][x] + rows[0][x + 1] + rows[1][x] + rows[1][x + 1]) / 4.0;
    let row = |rows: &[Vec<f32>]| (0..rows[0].len()).step_by(2).map(|x| mean(rows, x)).collect();
    image.chunks(2).map(row).collect()
}

impl Repeat for Level {
    fn rounds(job: &Pyramid) -> usize {
        job.levels as usize
    }
}

fn main() -> ExitCode {
    App::new().job::<Pyramid>().main()
}
