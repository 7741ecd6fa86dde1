use crate::local::chaos::{ChaosError, Findings, Run};
pub(super) async fn poison(_run: &Run) -> Result<Findings, ChaosError> { Err(ChaosError::Broken("wip".into())) }
pub(super) async fn payload(_run: &Run) -> Result<Findings, ChaosError> { Err(ChaosError::Broken("wip".into())) }
