//! Health: does what the app needs answer?

use std::collections::BTreeMap;

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::Serialize;

use super::Controller;
use crate::repositories::sender::QueueRole;

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
    /// `healthy` or `unhealthy`.
    pub status: &'static str,
    /// How long it took to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// What it said, if it is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Component {
    fn of<E: std::fmt::Display>(answer: Result<f64, E>) -> Self {
        match answer {
            Ok(latency) => Self {
                status: "healthy",
                latency_ms: Some(latency),
                error: None,
            },
            Err(error) => Self {
                status: "unhealthy",
                latency_ms: None,
                error: Some(error.to_string()),
            },
        }
    }
}

impl Controller {
    /// Asks the database and each queue that is in use.
    pub async fn health(&self) -> Health {
        let database = async {
            let answer = self
                .0
                .database
                .ping()
                .await
                .map(|latency| latency.as_secs_f64() * 1000.0);
            ("database".to_owned(), Component::of(answer))
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
        let components: BTreeMap<String, Component> = queues.into_iter().chain([database]).collect();
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
}
