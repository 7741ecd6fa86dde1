//! Schedules that workflow files declare: at the start of a process they are written to the database, and those that no
//! file declares any more are deleted. A pause and the history stay.

use std::time::Duration;

use time::OffsetDateTime;

use super::orders::checked;
use crate::workflow::{Controller, ControllerError};

impl Controller {
    /// Writes the schedules of this app's workflow files to the database, as soon as it can be reached.
    pub fn declare_schedules_in_background(&self) {
        let shared = std::sync::Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let mut pause = Duration::from_secs(1);
            loop {
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                match Self(shared).declare_schedules().await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::debug!(%error, "the schedules of workflow files could not be stored");
                    }
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(30));
            }
        });
    }

    /// Writes the schedules of this app's workflow files to the database, and deletes those that no file declares any
    /// more. One that is not valid is logged, and does not keep others from it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn declare_schedules(&self) -> Result<(), ControllerError> {
        let now = self.0.database.schedules().clock().await?.now;
        self.declare_schedules_at(now).await
    }

    /// As [`Controller::declare_schedules`], at the time `now` of the database.
    ///
    /// # Errors
    /// As for [`Controller::declare_schedules`].
    pub async fn declare_schedules_at(&self, now: OffsetDateTime) -> Result<(), ControllerError> {
        let mut declared = Vec::new();
        for request in self.0.catalog.iter().flat_map(|job_type| job_type.schedules()) {
            declared.push(request.name.clone());
            let schedule = &request.name;
            let checked = match checked(&request, now) {
                Ok(checked) => checked,
                Err(error) => {
                    tracing::error!(schedule, %error, "a schedule of a workflow file is wrong");
                    continue;
                }
            };
            match self.try_out(&request, &checked).await {
                Ok(warnings) => {
                    for warning in warnings {
                        tracing::warn!(
                            schedule,
                            warning,
                            "a schedule of a workflow file is doubtful"
                        );
                    }
                }
                Err(error @ ControllerError::Database(_)) => return Err(error),
                // Its due times fail with the reason, which is then in its history.
                Err(error) => {
                    tracing::error!(schedule, %error, "the job of a schedule of a workflow file would be refused");
                }
            }
            let written = self.write(&request, &checked, Some(&request.job_type)).await?;
            if written.is_none() {
                tracing::error!(
                    schedule,
                    "a schedule of this name was made by a request, so that of the workflow file does not count: delete it"
                );
            }
        }
        // A file that cannot be read may declare schedules; one without a name may be of any workflow.
        let wrong = self.0.catalog.wrong_files();
        if wrong.iter().any(|file| file.job_type.is_none()) {
            return Ok(());
        }
        let unreadable: Vec<String> =
            wrong.iter().filter_map(|file| file.job_type.clone()).collect();
        let schedules = self.0.database.schedules();
        for schedule in schedules.delete_undeclared(&declared, &unreadable).await? {
            tracing::info!(
                schedule,
                "a schedule was deleted, since no workflow file declares it any more"
            );
        }
        Ok(())
    }
}
