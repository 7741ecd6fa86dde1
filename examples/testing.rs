//! Tests of a job: `testing::run` runs it in memory, without queues and database.
//! `cargo test --example testing` runs them.
//!
//! `curl -X POST localhost:7071/api/jobs/submit/population -d '{"places": ["Bern", "Thun"]}'`

use std::collections::HashMap;

use lastlight::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The population of places, from the JSON file that the variable CENSUS names.
struct Census(HashMap<String, u64>);

impl Context for Census {
    const NAME: &'static str = "census";

    async fn start() -> Result<Self, ContextError> {
        let file = tokio::fs::read(std::env::var("CENSUS")?).await?;
        Ok(Self(serde_json::from_slice(&file)?))
    }
}

/// Adds up the population of places.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Population {
    places: Vec<String>,
}

impl Job for Population {
    const NAME: &'static str = "population";
    type Last = Self;
}

impl Stage for Population {
    type Job = Self;
    type Previous = Start;
    type Task = String;
    type Output = u64;
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<String> {
        Plan::of(context.job.places, |place| (place.clone(), place))
    }

    async fn run(context: TaskContext<Self>, place: String) -> Result<u64, TaskError> {
        let census = context.get::<Census>().await?;
        let people = census.0.get(&place).copied();
        people.ok_or_else(|| TaskError::permanent(format!("{place} is not in the census")))
    }

    fn fold(sum: &mut u64, people: u64) {
        *sum += people;
    }
}

fn main() -> ExitCode {
    App::new().job::<Population>().context::<Census>().main()
}

#[cfg(test)]
mod tests {
    use lastlight::testing;

    use super::*;

    fn population(places: &[&str]) -> testing::Run<Population> {
        let census = [("Bern", 137_000), ("Thun", 44_000)];
        let census = census.map(|(place, people)| (place.to_owned(), people));
        let places = places.iter().map(ToString::to_string).collect();
        testing::run(Population { places }).provide(Census(census.into()))
    }

    #[tokio::test]
    async fn the_population_is_added_up() {
        // Each task runs twice, as it may with a queue.
        let job = population(&["Bern", "Thun"]).duplicates().await.unwrap();
        assert_eq!(job.summary(), &181_000);
        assert_eq!(job.stage::<Population>().output("Thun"), Some(&44_000));
    }

    #[tokio::test]
    async fn an_unknown_place_fails_the_job() {
        let failed = population(&["Bern", "Atlantis"]).await.unwrap_err();
        assert_eq!(failed.tasks()[0].index, "Atlantis");
        assert_eq!(failed.tasks()[0].reason, "Atlantis is not in the census");
    }
}
