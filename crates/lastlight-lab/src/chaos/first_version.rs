//! The schema as the first version stored it, with a job in it, which a later version finds when it
//! is deployed.

use sqlx::{Connection, Executor, PgConnection, migrate::Migrator};

use super::ChaosError;
use lastlight_engine::store::MIGRATOR;
use lastlight_testing::work::{CHAOS, Work};

/// Creates the schema of the first migration with a job that was submitted to that version: without
/// a deadline, a pause or anything of later versions. Its message is unsent, and not due before the
/// recorder is installed.
pub(super) async fn store_as_first_version(url: &str, job: &Work) -> Result<(), ChaosError> {
    let mut connection = PgConnection::connect(url).await?;
    for statement in ["CREATE SCHEMA app", "SET search_path = app"] {
        connection.execute(statement).await?;
    }
    let first = MIGRATOR.iter().take(1).cloned().collect();
    Migrator::with_migrations(first)
        .run(&mut connection)
        .await
        .map_err(|error| ChaosError::Broken(error.to_string()))?;
    let job_id = job.job_id()?;
    let parameters = serde_json::to_string(job)?;
    let mut transaction = connection.begin().await?;
    sqlx::query(
        "INSERT INTO app.jobs (job_id, job_type, total_stages, parameters, processing_path)
         VALUES ($1, $2, $3, $4::json, 'service_bus')",
    )
    .bind(&job_id)
    .bind(CHAOS)
    .bind(i16::try_from(job.stages.len()).unwrap_or(i16::MAX))
    .bind(parameters)
    .execute(&mut *transaction)
    .await?;
    for statement in [
        "INSERT INTO app.stages (job_id, stage) VALUES ($1, 1)",
        "INSERT INTO app.outbox (job_id, stage, next_send_at) VALUES ($1, 1, now() + interval '1 hour')",
    ] {
        sqlx::query(statement).bind(&job_id).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    connection.close().await?;
    Ok(())
}
