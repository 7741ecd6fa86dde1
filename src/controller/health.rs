//! Health: does what the app needs answer?

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Controller;
use crate::{
    model::timestamp,
    repositories::{
        postgres::{DatabaseError, Instance},
        sender::QueueRole,
    },
};

/// reconcile runs every minute: after so long without a sweep something keeps it from running.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The state of everything that the app needs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Health {
    /// `healthy` or `unhealthy`.
    pub status: &'static str,
    /// Each thing by its name.
    pub components: BTreeMap<String, Component>,
    /// What is wrong, for people.
    pub errors: Vec<String>,
}

/// The state of one thing.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Component {
    /// `healthy`, `unhealthy`, or `unknown` where the database does not answer.
    pub status: &'static str,
    /// How long it took to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// What it said, if it is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is known of it.
    #[serde(flatten)]
    pub facts: Map<String, Value>,
}

impl Component {
    /// What was found; `wrong`: why that is not well.
    fn found(facts: Value, wrong: Option<String>) -> Self {
        Self {
            status: if wrong.is_none() { "healthy" } else { "unhealthy" },
            latency_ms: None,
            error: wrong,
            facts: match facts {
                Value::Object(facts) => facts,
                _ => Map::new(),
            },
        }
    }

    /// Stands in a database that does not answer, which is said once.
    fn unknown() -> Self {
        Self {
            status: "unknown",
            ..Self::found(Value::Null, None)
        }
    }

    fn of<E: std::fmt::Display>(answer: Result<f64, E>) -> Self {
        match answer {
            Ok(latency) => Self {
                status: "healthy",
                latency_ms: Some(latency),
                error: None,
                facts: Map::new(),
            },
            Err(error) => Self {
                status: "unhealthy",
                latency_ms: None,
                error: Some(error.to_string()),
                facts: Map::new(),
            },
        }
    }
}

impl Controller {
    /// Asks the database and each queue that is in use.
    pub async fn health(&self) -> Health {
        let database = async {
            let answer = self.0.database.ping().await;
            let answers = answer.is_ok();
            let database = Component::of(answer.map(|latency| latency.as_secs_f64() * 1000.0));
            let mut components = vec![("database".to_owned(), database)];
            let [schema, outbox, sweep, instances] = if answers {
                let (schema, outbox, (sweep, instances)) =
                    futures_util::join!(self.schema_health(), self.outbox_health(), self.sweep_health());
                [schema, outbox, sweep, instances].map(|found| found.unwrap_or_else(failed))
            } else {
                std::array::from_fn(|_| Component::unknown())
            };
            components.extend(
                [
                    ("schema", schema),
                    ("outbox", outbox),
                    ("reconcile", sweep),
                    ("instances", instances),
                ]
                .map(|(name, component)| (name.to_owned(), component)),
            );
            components
        };
        let queues = self.0.senders.enabled().flat_map(|sender| {
            [QueueRole::Jobs, QueueRole::Tasks].map(|role| async move {
                let began = std::time::Instant::now();
                let answer = sender
                    .probe(role)
                    .await
                    .map(|()| began.elapsed().as_secs_f64() * 1000.0);
                (
                    format!("{}:{}", sender.path(), sender.queue_name(role)),
                    Component::of(answer),
                )
            })
        });
        let (database, queues) = futures_util::join!(database, join_all(queues));
        let components: BTreeMap<String, Component> = queues.into_iter().chain(database).collect();
        let errors: Vec<String> = components
            .iter()
            .filter_map(|(name, component)| component.error.as_ref().map(|error| format!("{name}: {error}")))
            .collect();
        Health {
            status: if errors.is_empty() { "healthy" } else { "unhealthy" },
            components,
            errors,
        }
    }
    /// A schema that is newer is another version's, which is being deployed and fits both.
    async fn schema_health(&self) -> Result<Component, DatabaseError> {
        let versions = self.0.database.schema_versions().await?;
        let wrong = (versions.applied < versions.known).then(|| {
            format!(
                "migration {} has not run, the newest that has is {}: run lastlight migrate",
                versions.known, versions.applied
            )
        });
        Ok(Component::found(
            json!({ "version": versions.applied, "known": versions.known }),
            wrong,
        ))
    }

    async fn outbox_health(&self) -> Result<Component, DatabaseError> {
        let backlog = self.0.database.backlog().await?;
        Ok(Component::found(
            json!({
                "batches_owed": backlog.batches,
                "job_messages_owed": backlog.job_messages,
                "oldest_seconds": backlog.oldest.map(|oldest| oldest.as_secs_f64()),
            }),
            None,
        ))
    }

    /// The last sweep, and who is alive: nobody can have swept while nobody was there.
    async fn sweep_health(&self) -> (Result<Component, DatabaseError>, Result<Component, DatabaseError>) {
        let database = &self.0.database;
        let (sweep, instances) = futures_util::join!(database.last_sweep(), database.instances());
        let sweep = sweep.map(|sweep| {
            let up = match &instances {
                Ok(alive) => alive.iter().map(|instance| instance.up).max().unwrap_or_default(),
                Err(_) => Duration::ZERO,
            };
            let is_late = sweep.as_ref().is_none_or(|sweep| sweep.age > LONGEST_PAUSE) && up > LONGEST_PAUSE;
            let wrong = is_late.then(|| {
                "nobody has swept for 5 minutes: the timer function reconcile is disabled or fails; until it runs, what \
                 gets lost stays lost"
                    .to_owned()
            });
            let facts = json!({
                "last_run": sweep.as_ref().map(|sweep| timestamp::write(sweep.finished_at)),
                "age_seconds": sweep.as_ref().map(|sweep| sweep.age.as_secs_f64()),
                "took_seconds": sweep.as_ref().map(|sweep| sweep.took.as_secs_f64()),
                "found": sweep.as_ref().map(|sweep| &sweep.found),
            });
            Component::found(facts, wrong)
        });
        let alive = instances.map(|alive| {
            let shown: Vec<Value> = alive.iter().map(shown).collect();
            Component::found(json!({ "alive": alive.len(), "instances": shown }), None)
        });
        (sweep, alive)
    }
}

fn failed(error: DatabaseError) -> Component {
    Component::found(Value::Null, Some(error.to_string()))
}

fn shown(instance: &Instance) -> Value {
    json!({
        "instance_id": instance.id.to_string(),
        "version": instance.version,
        "started_at": timestamp::write(instance.started_at),
        "seen_at": timestamp::write(instance.seen_at),
        "running": instance.running,
        "pool": {
            "open": instance.pool.open, "in_use": instance.pool.in_use, "limit": instance.pool.limit,
        },
    })
}
