//! Waiting for a condition, with a time limit.

use std::time::{Duration, Instant};

use super::World;
use crate::chaos::ChaosError;
use lastlight_testing::recorder::Progress;

impl World {
    /// The progress of all jobs; waits for a database that is unreachable.
    pub(in crate::chaos) async fn progress(&self) -> Result<Progress, ChaosError> {
        let began = Instant::now();
        loop {
            match self.recorder.progress().await {
                Ok(progress) => return Ok(progress),
                Err(error) if began.elapsed() > Duration::from_secs(60) => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Returns once this number of tasks have an outcome, or all jobs are finished. The result is
    /// whether jobs are left.
    pub(in crate::chaos) async fn until_done(
        &self,
        tasks: u64,
        within: Duration,
    ) -> Result<bool, ChaosError> {
        let began = Instant::now();
        loop {
            let progress = self.progress().await?;
            if progress.done >= tasks || progress.open_jobs == 0 {
                return Ok(progress.open_jobs > 0);
            }
            if began.elapsed() > within {
                return Err(ChaosError::Broken(format!(
                    "{} of {tasks} tasks are done after {within:?}",
                    progress.done
                )));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns once all jobs are finished and closed, or after `within`; the oracle then judges
    /// them.
    pub(in crate::chaos) async fn until_finished(
        &self,
        within: Duration,
    ) -> Result<(), ChaosError> {
        let began = Instant::now();
        let mut said = Instant::now();
        loop {
            let progress = self.progress().await?;
            if progress.open_jobs == 0 || began.elapsed() > within {
                return Ok(());
            }
            if said.elapsed() > Duration::from_secs(10) {
                said = Instant::now();
                self.say(&format!(
                    "{} tasks done, {} jobs open",
                    progress.done, progress.open_jobs
                ));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until a condition holds.
    pub(in crate::chaos) async fn until<F>(
        &self,
        what: &str,
        within: Duration,
        mut holds: F,
    ) -> Result<(), ChaosError>
    where
        F: AsyncFnMut() -> bool,
    {
        let began = Instant::now();
        while !holds().await {
            if began.elapsed() > within {
                return Err(ChaosError::Broken(format!("not within {within:?}: {what}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}
