//! `lastlight gate`: decides at a gate of a job.

use clap::{Args, builder::PossibleValuesParser};
use lastlight_api::{GateDecision, control::GateRequest};

use super::{AppArguments, CommandError, Verdict, look_of, short};
use crate::say;

/// `lastlight gate`.
#[derive(Debug, Args)]
pub(crate) struct GateArguments {
    /// Job id, or its first 4 or more characters.
    job_id: String,
    /// The name of the gate, as `status` shows it.
    node: String,
    /// The decision. Rejecting skips what needs the gate; the rest of the job continues.
    #[arg(value_parser = PossibleValuesParser::new([GateDecision::Approve, GateDecision::Reject].map(GateDecision::as_str)))]
    decision: String,
    /// Who decides; shown with the gate.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Why; shown with the gate.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// The gate's result, for the nodes that depend on it: JSON.
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

pub(super) async fn gate(arguments: &GateArguments) -> Result<Verdict, CommandError> {
    let data = arguments.data.as_deref().map(serde_json::from_str).transpose();
    let data =
        data.map_err(|error| CommandError::Argument(format!("--data: it is not JSON: {error}")))?;
    let decision = GateDecision::from_name(&arguments.decision).ok_or_else(|| {
        CommandError::Argument(format!("{:?} is not a decision", arguments.decision))
    })?;
    let session = arguments.app.session()?;
    let job_id = session.job_id(&arguments.job_id).await?;
    let request = GateRequest {
        decision,
        by: arguments.by.clone(),
        comment: arguments.comment.clone(),
        data,
    };
    let answer = session.client.decide(&job_id, &arguments.node, &request).await?;
    if !session.printed(&answer.document) {
        let status = session.paint.text(look_of(answer.body.status), answer.body.status.as_str());
        say!("{} is {status}. {}", short(&job_id), answer.body.message);
    }
    Ok(Verdict::Good)
}
