//! Messages that nobody can process. A single one goes back to the host, which sets it aside after enough tries. One
//! within a batch is set aside here, in the poison queue, so that its siblings need not come again.

use serde_json::json;
use uuid::Uuid;

use super::{Controller, ControllerError, outgoing::reasons};
use crate::{
    model::ProcessingPath,
    repositories::sender::{OutgoingMessage, QueueRole},
};

impl Controller {
    /// Puts the texts of refused messages into the path's poison queue, each with its reason.
    ///
    /// # Errors
    /// They could not be stored there: the whole batch must come again.
    pub async fn set_aside(
        &self,
        path: ProcessingPath,
        refused: &[(&str, &ControllerError)],
        total: usize,
    ) -> Result<(), ControllerError> {
        let messages: Vec<OutgoingMessage> = refused
            .iter()
            .map(|(text, reason)| OutgoingMessage {
                message_id: format!("poison-{}", Uuid::new_v4()),
                correlation_id: String::new(),
                body: json!({ "reason": reason.to_string(), "message": text }).to_string(),
                delay: None,
            })
            .collect();
        let report = self.0.send(path, QueueRole::Poison, &messages).await;
        if report.success {
            return Ok(());
        }
        Err(ControllerError::NotSetAside {
            refused: refused.len(),
            total,
            detail: reasons(&report),
        })
    }
}
