//! The smallest app: one job type with one stage. Run it on this machine with
//! `cargo run --example squares -- local`.

use std::process::ExitCode;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use lastlight::{App, job::*, model::Stage};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The job type. POST /api/jobs/submit/squares {"n": 100} submits a job.
#[derive(Debug)]
struct Squares;

#[derive(Deserialize)]
struct Parameters {
    n: u64,
}

#[derive(Serialize, Deserialize)]
struct Square {
    number: u64,
}

#[rustfmt::skip]
#[async_trait]
impl JobType for Squares {
    type Parameters = Parameters;

    fn name(&self) -> &'static str { "squares" }
    fn description(&self) -> &'static str { "Squares the numbers below n." }
    fn check(&self, fields: &mut Fields) { fields.integer("n", 1..=1_000_000); }
    fn stages(&self, _: &Parameters) -> Vec<StageSpec> { vec![StageSpec::new("square")] }

    fn plan(&self, parameters: Parameters, context: PlanContext) -> Plan {
        stream::iter(context.from..parameters.n)
            .map(|number| TaskDefinition::new(&format!("square-{number}"), &Square { number }))
            .boxed()
    }

    async fn run(&self, task: Task<'_>) -> Result<Box<RawValue>, TaskError> {
        let Square { number } = task.parameters()?;
        Ok(to_json(&(number * number))?)
    }

    fn fold(&self, _: Stage) -> Box<dyn Fold> { Box::new(CountFold::new("squares")) }
}

pub(crate) fn app() -> App {
    App::new().job(Squares)
}

fn main() -> ExitCode {
    lastlight_cli::main::<lastlight_local::Commands>(app())
}
