//! The nodes of a graph as the database has them, with the log of what happened to each.

use std::collections::BTreeMap;

use lastlight_engine::model::{GateDecision, StageOutcome};
use serde_json::Value;
use sqlx::Row;

use super::{JobFacts, Recorder, number};

/// Something that happened to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeChange {
    /// The last node before it ended.
    Ready,
    /// Its plan is complete, or it has ended without one.
    Planned,
    Ended(StageOutcome),
    Decided(GateDecision),
    /// It waits for the job with this id.
    Child(String),
    /// A retry of its job reopened it.
    Reopened,
}

/// The current state of a node, with all that happened to it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeFacts {
    pub name: String,
    /// `None` if it has not ended.
    pub outcome: Option<StageOutcome>,
    /// What a node without tasks resulted in.
    pub output: Value,
    /// Its entry in the results of the job.
    pub result: Value,
    /// The job that it waits for.
    pub child_job_id: Option<String>,
    /// What happened to it, in order, with the time in microseconds since 1970, by the database's
    /// clock.
    pub changes: Vec<(i64, NodeChange)>,
}

/// The current state of a job whose stages form a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphFacts {
    pub job: JobFacts,
    /// The result of the job; null without one.
    pub result: Value,
    /// By number of the stage.
    pub nodes: BTreeMap<u8, NodeFacts>,
}

impl Recorder {
    /// Everything about one job whose stages form a graph; `None` if there is no such job.
    ///
    /// # Errors
    /// A statement failed, or a status is unknown.
    pub async fn graph(&self, job_id: &str) -> Result<Option<GraphFacts>, sqlx::Error> {
        let Some(job) = self.job(job_id).await? else { return Ok(None) };
        let result: Option<Option<Value>> =
            sqlx::query_scalar("SELECT result_data FROM app.jobs WHERE job_id = $1")
                .bind(job_id)
                .fetch_optional(self.pool())
                .await?;
        let rows = sqlx::query(
            "SELECT stage, name, outcome::text, output, result, child_job_id
             FROM app.stages WHERE job_id = $1 AND name IS NOT NULL",
        )
        .bind(job_id)
        .fetch_all(self.pool())
        .await?;
        let mut nodes = BTreeMap::new();
        for row in &rows {
            let node = NodeFacts {
                name: row.try_get("name")?,
                outcome: row.try_get("outcome")?,
                output: row.try_get::<Option<Value>, _>("output")?.unwrap_or_default(),
                result: row.try_get::<Option<Value>, _>("result")?.unwrap_or_default(),
                child_job_id: row.try_get("child_job_id")?,
                changes: Vec::new(),
            };
            nodes.insert(number(row.try_get("stage")?), node);
        }
        self.changes(job_id, &mut nodes).await?;
        Ok(Some(GraphFacts { job, result: result.flatten().unwrap_or_default(), nodes }))
    }

    async fn changes(
        &self,
        job_id: &str,
        nodes: &mut BTreeMap<u8, NodeFacts>,
    ) -> Result<(), sqlx::Error> {
        let rows = sqlx::query(
            "SELECT stage, what, value, (EXTRACT(EPOCH FROM at) * 1000000)::bigint AS at
             FROM chaos.node_changes WHERE job_id = $1 ORDER BY number",
        )
        .bind(job_id)
        .fetch_all(self.pool())
        .await?;
        for row in &rows {
            let change = match row.try_get("what")? {
                "ready" => NodeChange::Ready,
                "planned" => NodeChange::Planned,
                "ended" => NodeChange::Ended(row.try_get("value")?),
                "decided" => NodeChange::Decided(row.try_get("value")?),
                "child" => NodeChange::Child(row.try_get("value")?),
                "reopened" => NodeChange::Reopened,
                other => {
                    let unknown = format!("{other:?} is not a known change of a node");
                    return Err(sqlx::Error::Decode(unknown.into()));
                }
            };
            if let Some(node) = nodes.get_mut(&number(row.try_get("stage")?)) {
                node.changes.push((row.try_get("at")?, change));
            }
        }
        Ok(())
    }
}
