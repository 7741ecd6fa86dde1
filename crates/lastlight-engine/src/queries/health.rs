//! Health: whether everything that the app needs responds.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use lastlight_api::workers::WorkerQueue;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Queries;
use crate::{
    model::{ProcessingPath, timestamp},
    store::{ArchiveBacklog, Backlog, DatabaseError, Instance, LastSweep, NotificationCounts},
    transport::{blob_storage::ContainerError, sender::QueueRole},
};

/// reconcile runs every minute: if no sweep ends for this long, something keeps it from running.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Timeout for each part of a health check.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Tasks may wait for so long until the lack of a worker is an error.
const PATIENCE: Duration = Duration::from_secs(120);

/// The health of everything that the app needs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Health {
    /// `healthy` or `unhealthy`.
    pub status: &'static str,
    /// The health of each component, by its name.
    pub components: BTreeMap<String, Component>,
    /// What is wrong, as text for a user.
    pub errors: Vec<String>,
    /// The metrics that were read for it.
    #[serde(skip)]
    pub readings: QueueMetrics,
}

/// Metrics that the health check read from the database; `None`: the database did not respond.
#[derive(Debug, Clone, Default)]
pub struct QueueMetrics {
    pub backlog: Option<Backlog>,
    /// The last sweep that ended, of any process; the inner `None`: no sweep has ended yet.
    pub sweep: Option<Option<LastSweep>>,
    /// The processes that are alive.
    pub instances: Option<Vec<Instance>>,
    /// The queues of tasks for workers.
    pub worker_queues: Option<Vec<WorkerQueue>>,
    /// The notifications that are not delivered.
    pub notifications: Option<NotificationCounts>,
    /// The jobs that wait for the archive, if the app has one.
    pub archive: Option<ArchiveBacklog>,
}

/// The health of one component.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Component {
    /// `healthy`, `unhealthy`, or `unknown` if the database does not respond.
    pub status: &'static str,
    /// The time that it took to respond, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// Number of messages, if it is a queue and its service reports the number; may include
    /// messages that are delayed or being processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// Why it is not healthy, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Further facts about it.
    #[serde(flatten)]
    pub facts: Map<String, Value>,
}

impl Component {
    /// A component with `facts`; `wrong` says why it is unhealthy.
    fn found(facts: Value, wrong: Option<String>) -> Self {
        Self {
            status: if wrong.is_none() { "healthy" } else { "unhealthy" },
            latency_ms: None,
            messages: None,
            error: wrong,
            facts: match facts {
                Value::Object(facts) => facts,
                _ => Map::new(),
            },
        }
    }

    /// For a component whose state is in a database that does not respond, which is reported once.
    fn unknown() -> Self {
        Self { status: "unknown", ..Self::found(Value::Null, None) }
    }

    /// A component that responded, or failed to.
    fn of<E: std::fmt::Display>(answer: Result<Duration, E>) -> Self {
        match answer {
            Ok(latency) => Self {
                latency_ms: Some(latency.as_secs_f64() * 1000.0),
                ..Self::found(Value::Null, None)
            },
            Err(error) => failed(error),
        }
    }
}

impl Queries {
    /// Checks the database and each queue that is in use.
    pub async fn health(&self) -> Health {
        self.health_within(TIMEOUT).await
    }

    /// The same; a component that has not responded after `timeout` is unhealthy. A component that
    /// hangs does not keep the others from being checked.
    pub async fn health_within(&self, timeout: Duration) -> Health {
        let began = Instant::now();
        let left = || timeout.saturating_sub(began.elapsed());
        let database = async {
            let answer = in_time(left(), timeout, self.0.database.ping()).await;
            let answers = answer.is_ok();
            let database = Component::of(answer);
            let mut components = vec![("database".to_owned(), database)];
            let mut readings = QueueMetrics::default();
            let (mut stranded, mut unserved, mut untold) = (None, None, None);
            let [schema, outbox, sweep, instances] = if answers {
                let (schema, outbox, sweep, instances, open, work, notifications, unarchived) = futures_util::join!(
                    in_time(left(), timeout, self.schema_health()),
                    in_time(left(), timeout, self.0.database.diagnostics().backlog()),
                    in_time(left(), timeout, self.0.database.diagnostics().last_sweep()),
                    in_time(left(), timeout, self.0.database.diagnostics().instances()),
                    in_time(left(), timeout, self.stranded_health()),
                    in_time(left(), timeout, self.worker_queues(None)),
                    in_time(left(), timeout, self.0.database.notifications().counts()),
                    in_time(left(), timeout, self.unarchived()),
                );
                untold = notifications.as_ref().ok().and_then(notifications_health);
                // A database that does not answer this is reported by the others.
                unserved = work.as_deref().ok().and_then(unserved_health);
                stranded = open.unwrap_or_else(|error| Some(failed(error)));
                let shown = [
                    schema.unwrap_or_else(failed),
                    outbox.as_ref().map_or_else(failed, outbox_health),
                    sweep.as_ref().map_or_else(failed, |sweep| {
                        sweep_health(sweep.as_ref(), instances.as_deref().unwrap_or_default())
                    }),
                    instances.as_ref().map_or_else(failed, |alive| instances_health(alive)),
                ];
                readings = QueueMetrics {
                    backlog: outbox.ok(),
                    sweep: sweep.ok(),
                    instances: instances.ok(),
                    worker_queues: work.ok(),
                    notifications: notifications.ok(),
                    archive: unarchived.ok().flatten(),
                };
                shown
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
            components.extend(stranded.map(|stranded| ("switched_off".to_owned(), stranded)));
            components.extend(unserved.map(|unserved| ("workers".to_owned(), unserved)));
            components.extend(untold.map(|untold| ("notifications".to_owned(), untold)));
            (components, readings)
        };
        let queues = self.0.senders.enabled().flat_map(|sender| {
            [QueueRole::Jobs, QueueRole::Tasks].map(|role| async move {
                let began = Instant::now();
                let answer = in_time(timeout, timeout, sender.probe(role)).await;
                let messages = answer.as_ref().ok().copied().flatten();
                (
                    format!("{}:{}", sender.path(), sender.queue_name(role)),
                    Component { messages, ..Component::of(answer.map(|_| began.elapsed())) },
                )
            })
        });
        let contexts =
            self.0.catalog.contexts().checks().into_iter().map(|(name, check)| async move {
                let began = Instant::now();
                let answer = in_time(timeout, timeout, check).await;
                (format!("context:{name}"), Component::of(answer.map(|()| began.elapsed())))
            });
        let archive = async {
            let archive = self.0.controller.archive()?;
            Some(in_time(timeout, timeout, archive.probe()).await)
        };
        let ((database, readings), queues, contexts, probed) =
            futures_util::join!(database, join_all(queues), join_all(contexts), archive);
        let archive = probed
            .map(|probed| ("archive".to_owned(), self.archive_health(probed, readings.archive)));
        let files = self.workflow_files_health().map(|files| ("workflow_files".to_owned(), files));
        let components: BTreeMap<String, Component> = queues
            .into_iter()
            .chain(contexts)
            .chain(database)
            .chain(files)
            .chain(archive)
            .collect();
        let errors: Vec<String> = components
            .iter()
            .filter_map(|(name, component)| {
                component.error.as_ref().map(|error| format!("{name}: {error}"))
            })
            .collect();
        Health {
            status: if errors.is_empty() { "healthy" } else { "unhealthy" },
            components,
            errors,
            readings,
        }
    }

    /// Open jobs whose path is switched off; `None` if there are none.
    async fn stranded_health(&self) -> Result<Option<Component>, DatabaseError> {
        let off: Vec<ProcessingPath> = ProcessingPath::ALL
            .into_iter()
            .filter(|path| self.0.senders.for_path(*path).is_none())
            .collect();
        if off.is_empty() {
            return Ok(None);
        }
        let open = self.0.database.diagnostics().open_on_paths(&off).await?;
        Ok((open > 0).then(|| {
            Component::found(
                json!({ "open_jobs": open }),
                Some(format!(
                    "{open} open jobs use Service Bus, which is switched off: they cannot continue. Set its connection, and \
                     ENABLE_SERVICE_BUS=true if that is set to false, or cancel the jobs"
                )),
            )
        }))
    }

    /// The jobs that wait for the archive; `None` if the app has none.
    async fn unarchived(&self) -> Result<Option<ArchiveBacklog>, DatabaseError> {
        match self.0.controller.archive() {
            Some(_) => self.0.database.archive().backlog().await.map(Some),
            None => Ok(None),
        }
    }

    /// An archive that cannot be used does not make the app unhealthy: jobs run, and are kept for longer.
    fn archive_health(
        &self,
        probed: Result<(), Unanswered<ContainerError>>,
        backlog: Option<ArchiveBacklog>,
    ) -> Component {
        let (container, host) =
            self.0.controller.archive().map(|one| (one.container(), one.host())).unzip();
        let trouble = self.0.controller.archive_trouble();
        let since = trouble.as_ref().map(|trouble| timestamp::write(trouble.since));
        let (problem, remedy) = match (probed, trouble) {
            (Err(Unanswered::Failed(error)), _) => (Some(error.to_string()), Some(error.remedy())),
            (Err(late), _) => (Some(late.to_string()), None),
            (Ok(()), Some(trouble)) => (Some(trouble.problem), Some(trouble.remedy)),
            (Ok(()), None) => (None, None),
        };
        let facts = json!({
            "container": container,
            "host": host,
            "waiting_jobs": backlog.map(|backlog| backlog.jobs),
            "oldest_wait_seconds": backlog.and_then(|backlog| backlog.oldest).map(|wait| wait.as_secs_f64()),
            "problem": problem,
            "remedy": remedy,
            "failing_since": since,
        });
        Component::found(facts, None)
    }

    /// Workflow files that are wrong; `None` if there are none.
    fn workflow_files_health(&self) -> Option<Component> {
        let wrong = self.0.catalog.wrong_files();
        if wrong.is_empty() {
            return None;
        }
        let files: Vec<Value> = wrong
            .iter()
            .map(|wrong| json!({ "file": wrong.file, "job_type": wrong.job_type, "problems": wrong.problems }))
            .collect();
        let problems: Vec<&str> = wrong.iter().map(|wrong| wrong.problems.as_str()).collect();
        Some(Component::found(
            json!({ "wrong_files": files }),
            Some(format!(
                "{} workflow files are wrong, and their workflows cannot be submitted:\n{}",
                wrong.len(),
                problems.join("\n")
            )),
        ))
    }

    /// A newer schema belongs to another version, which is being deployed; it fits both versions.
    async fn schema_health(&self) -> Result<Component, DatabaseError> {
        let versions = self.0.database.diagnostics().schema_versions().await?;
        let wrong = (versions.applied < versions.known).then(|| {
            format!(
                "migration {} has not run (the newest that has run is {}): run lastlight migrate",
                versions.known, versions.applied
            )
        });
        Ok(Component::found(json!({ "version": versions.applied, "known": versions.known }), wrong))
    }
}

/// Why the health of a component is unknown.
enum Unanswered<E> {
    Failed(E),
    Late(Duration),
}

impl<E: std::fmt::Display> std::fmt::Display for Unanswered<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Late(timeout) => {
                write!(f, "it did not answer within {} s", timeout.as_secs_f64())
            }
        }
    }
}

/// The answer, if it arrives within `left`, the rest of the `timeout`.
async fn in_time<T, E>(
    left: Duration,
    timeout: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, Unanswered<E>> {
    match tokio::time::timeout(left, answer).await {
        Ok(answer) => answer.map_err(Unanswered::Failed),
        Err(_) => Err(Unanswered::Late(timeout)),
    }
}

fn outbox_health(backlog: &Backlog) -> Component {
    Component::found(
        json!({
            "batches_owed": backlog.batches,
            "job_messages_owed": backlog.job_messages,
            "oldest_seconds": backlog.oldest.map(|oldest| oldest.as_secs_f64()),
        }),
        None,
    )
}

/// Notifications that are not delivered; `None` if there are none. A receiver that does not answer does
/// not make the app unhealthy.
fn notifications_health(counts: &NotificationCounts) -> Option<Component> {
    let NotificationCounts { pending, given_up } = *counts;
    let facts = json!({ "pending": pending, "given_up": given_up });
    (pending > 0 || given_up > 0).then(|| Component::found(facts, None))
}

/// A missing sweep counts only if an instance has been up for long enough to run one.
fn sweep_health(sweep: Option<&LastSweep>, alive: &[Instance]) -> Component {
    let up = alive.iter().map(|instance| instance.up).max().unwrap_or_default();
    let is_late = sweep.is_none_or(|sweep| sweep.age > LONGEST_PAUSE) && up > LONGEST_PAUSE;
    let wrong = is_late.then(|| {
        "no sweep has ended for 5 minutes: the timer function reconcile is disabled or fails; until it runs, lost messages \
         are not sent again"
            .to_owned()
    });
    let facts = json!({
        "last_run": sweep.map(|sweep| timestamp::write(sweep.finished_at)),
        "age_seconds": sweep.map(|sweep| sweep.age.as_secs_f64()),
        "took_seconds": sweep.map(|sweep| sweep.took.as_secs_f64()),
        "found": sweep.map(|sweep| &sweep.found),
    });
    Component::found(facts, wrong)
}

fn instances_health(alive: &[Instance]) -> Component {
    let shown: Vec<Value> = alive.iter().map(shown).collect();
    Component::found(json!({ "alive": alive.len(), "instances": shown }), None)
}

fn failed(error: impl std::fmt::Display) -> Component {
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

/// Queues with tasks that wait for a handler that no worker serves; `None` if there are none.
fn unserved_health(queues: &[WorkerQueue]) -> Option<Component> {
    let mut unserved = Vec::new();
    let mut late = Vec::new();
    for queue in queues.iter().filter(|queue| queue.unserved) {
        let waiting = queue.handlers.iter().filter(|handler| handler.is_unserved());
        for handler in waiting {
            let waits = handler.oldest_wait_seconds.unwrap_or_default();
            unserved.push(json!({
                "queue": queue.queue, "handler": handler.name, "depth": handler.depth,
                "oldest_wait_seconds": waits,
            }));
            if waits > PATIENCE.as_secs_f64() {
                late.push(format!(
                    "{} tasks have waited for up to {waits:.0} s for handler {:?}, which no worker of queue {:?} serves: \
                     start one, or cancel their jobs",
                    handler.depth, handler.name, queue.queue
                ));
            }
        }
    }
    let late = (!late.is_empty()).then(|| late.join("; "));
    (!unserved.is_empty()).then(|| Component::found(json!({ "unserved": unserved }), late))
}
