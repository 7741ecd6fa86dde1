//! What measurements wait for: an app that is ready, a job that has got so far, and the transactions
//! of some seconds.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{BenchError, bed::Bed};
use lastlight_local::{
    LocalCloud,
    api::{Api, text},
};

pub(super) async fn ready(cloud: &LocalCloud) -> Result<Api, BenchError> {
    let api = Api::new(cloud.base_url())?;
    api.ready().await?;
    Ok(api)
}

/// Waits until a job's status is as it should be.
pub(super) async fn wait(
    api: &Api,
    job_id: &str,
    timeout: Duration,
    is_reached: impl Fn(&Value) -> bool,
) -> Result<(), BenchError> {
    let began = Instant::now();
    loop {
        let status = api.status(job_id).await?;
        if is_reached(&status) {
            return Ok(());
        }
        let state = text(&status, "/status");
        if matches!(&*state, "failed" | "cancelled") || began.elapsed() > timeout {
            return Err(BenchError::Job {
                status: state,
                seconds: began.elapsed().as_secs_f64(),
                detail: text(&status, "/errorDetails"),
            });
        }
        tokio::time::sleep((began.elapsed() / 100).max(Duration::from_millis(10))).await;
    }
}

/// Transactions per second in the next seconds.
pub(super) async fn transactions(bed: &mut Bed, seconds: u64) -> Result<f64, BenchError> {
    let ledger = bed.ledger.as_mut().ok_or(BenchError::NeedsServer)?;
    let before = ledger.transactions().await?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let after = ledger.transactions().await?;
    // One of them is the reading itself.
    Ok((after - before - 1).max(0) as f64 / seconds as f64)
}
