//! Gates: what a user decides about a stage that waits for a decision, and what counts as decided
//! when its time has passed.

use lastlight_api::control::{GateRequest, GateResult};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{Controller, ControllerError, ReconcileReport, reconcile::or_left};
use crate::{
    model::{GateDecision, JobId, Stage, StageKind, timestamp},
    store::{GraphStage, StageKey},
};

/// Gates that one sweep decides.
const AT_ONCE: i64 = 500;

/// Longest text of who decided and why, in bytes.
const LONGEST_TEXT: usize = 2000;

/// Largest data of a decision, as JSON text in bytes: a task that receives it holds it in its
/// parameters.
const LARGEST_DATA: usize = 64 * 1024;

impl Controller {
    /// Decides at a gate. The same decision may be repeated; the first one counts.
    ///
    /// # Errors
    /// There is no such job or gate; the gate does not wait for a decision, or another decision was
    /// taken; the request is not valid; the database failed.
    pub async fn decide(
        &self,
        job_id: &JobId,
        node: &str,
        request: GateRequest,
    ) -> Result<GateResult, ControllerError> {
        let GateRequest { decision, by, comment, data } = request;
        if decision == GateDecision::Fail {
            return Err(ControllerError::BadSubmission(
                "decision must be \"approve\" or \"reject\", not \"fail\"".to_owned(),
            ));
        }
        for (field, text) in [("by", &by), ("comment", &comment)] {
            let bytes = text.as_ref().map_or(0, String::len);
            if bytes > LONGEST_TEXT {
                return Err(ControllerError::BadSubmission(format!(
                    "{field} has {bytes} bytes; at most {LONGEST_TEXT} are allowed"
                )));
            }
        }
        let bytes = data.as_ref().map_or(0, |data| data.to_string().len());
        if bytes > LARGEST_DATA {
            return Err(ControllerError::BadSubmission(format!(
                "data has {bytes} bytes of JSON; at most {LARGEST_DATA} are allowed: store large data elsewhere and send its \
                 address"
            )));
        }
        let job = self.job(job_id).await?;
        let stages = self.0.database.stages().of_graph(job_id).await?;
        let gates = || stages.iter().filter(|stage| stage.kind == StageKind::Gate);
        let Some(gate) = gates().find(|stage| stage.name == node) else {
            return Err(ControllerError::UnknownGate {
                job_id: *job_id,
                node: node.chars().take(80).collect(),
                gates: gates().map(|stage| stage.name.clone()).collect(),
            });
        };
        let key = StageKey { job_id: *job_id, stage: gate.stage };
        let output = json!({
            "success": true,
            "result": data,
            "decision": decision,
            "by": by,
            "comment": comment,
            "decided_at": timestamp::write(OffsetDateTime::now_utc()),
        });
        let decided =
            self.0.database.stages().decide_gate(&key, decision, &output.to_string()).await?;
        if !decided {
            return self
                .decided_before(job_id, job.status.is_terminal(), gate.stage, decision)
                .await;
        }
        tracing::info!(%job_id, stage = gate.stage.get(), name = node, %decision, by, "a gate was decided");
        self.advance(&key).await?;
        let job = self.job(job_id).await?;
        Ok(GateResult {
            job_id: *job_id,
            node: node.to_owned(),
            decision,
            output,
            status: job.status,
            message: match decision {
                GateDecision::Approve => "The job continues after the gate.".to_owned(),
                GateDecision::Reject | GateDecision::Fail => {
                    "What needs the gate is skipped; the rest of the job continues.".to_owned()
                }
            },
        })
    }

    /// The answer to a decision that was not recorded: the same as that to the first one if that was
    /// the same.
    async fn decided_before(
        &self,
        job_id: &JobId,
        was_finished: bool,
        number: Stage,
        decision: GateDecision,
    ) -> Result<GateResult, ControllerError> {
        let job = self.job(job_id).await?;
        let stages = self.0.database.stages().of_graph(job_id).await?;
        let gate = stages.into_iter().find(|stage| stage.stage == number);
        let Some(gate) = gate else { return Err(ControllerError::UnknownJob { job_id: *job_id }) };
        let node = gate.name.clone();
        match gate.decision {
            Some(taken) if taken == decision => {
                // The process that recorded it may have died before it went on.
                self.advance(&StageKey { job_id: *job_id, stage: number }).await?;
                let output = output_of(&gate);
                Ok(GateResult {
                    job_id: *job_id,
                    node,
                    decision,
                    output,
                    status: job.status,
                    message: "The gate was decided like this before; nothing changed.".to_owned(),
                })
            }
            Some(taken) => {
                let output = output_of(&gate);
                let part = |name: &str| output.get(name).and_then(Value::as_str).map(str::to_owned);
                Err(ControllerError::GateDecided {
                    node,
                    taken,
                    by: part("by"),
                    at: part("decided_at"),
                })
            }
            None if was_finished || job.status.is_terminal() => {
                Err(ControllerError::GateOfFinishedJob { node, status: job.status })
            }
            None => Err(ControllerError::GateNotReached { node, waits_for: gate.waits_for }),
        }
    }

    /// Decides at gates whose time has passed.
    pub(super) async fn decide_due_gates(
        &self,
        report: &mut ReconcileReport,
    ) -> Result<(), ControllerError> {
        for due in self.0.database.stages().gates_due(AT_ONCE).await? {
            let key = StageKey { job_id: due.job_id, stage: due.stage };
            let output = json!({
                "success": due.on_timeout != GateDecision::Fail,
                "result": null,
                "decision": due.on_timeout,
                "by": null,
                "comment": format!("nobody decided within {} s", due.timeout_seconds),
                "decided_at": timestamp::write(OffsetDateTime::now_utc()),
            });
            let stages = self.0.database.stages();
            let decided = stages.decide_gate(&key, due.on_timeout, &output.to_string()).await;
            if or_left(&key, decided.map_err(ControllerError::from))? {
                tracing::info!(job_id = %due.job_id, stage = due.stage.get(), decision = %due.on_timeout,
                    seconds = due.timeout_seconds, "the time of a gate has passed");
                report.gates_timed_out += 1;
                or_left(&key, self.advance(&key).await)?;
            }
        }
        Ok(())
    }
}

fn output_of(gate: &GraphStage) -> Value {
    gate.output
        .as_ref()
        .and_then(|output| serde_json::from_str(output.0.get()).ok())
        .unwrap_or_default()
}
