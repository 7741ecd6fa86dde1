//! Diagnosis of the database: sizes and maintenance of its tables, its enum types, and whether it
//! accepts the app's statements. Changes nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::Serialize;
use sqlx::{Connection, Executor, SqlStr};

use super::Diagnostics;
use crate::{
    model::{JobStatus, TaskStatus, Timestamp},
    store::{connection::DatabaseError, statements::STATEMENTS},
};

/// Size and maintenance of a table, from the server's statistics.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TableStatistics {
    /// Name of the table.
    pub name: String,
    /// Estimated number of rows, as of the last analysis.
    pub rows_estimate: i64,
    /// Number of rows, as counted since.
    pub live_rows: i64,
    /// Number of old row versions that were not vacuumed yet.
    pub dead_rows: i64,
    /// Number of row updates.
    pub updates: i64,
    /// Number of these updates that needed no new index entry.
    pub heap_only_updates: i64,
    /// Size of the table without its indexes, in bytes.
    pub table_bytes: i64,
    /// Size of all its indexes, in bytes.
    pub index_bytes: i64,
    /// When it was last vacuumed.
    pub last_vacuum: Option<Timestamp>,
    /// When it was last analyzed.
    pub last_analyze: Option<Timestamp>,
}

/// Size and use of an index, from the server's statistics.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct IndexStatistics {
    /// Name of its table.
    pub table_name: String,
    /// Name of the index.
    pub name: String,
    /// Size on disk, in bytes.
    pub bytes: i64,
    /// Number of scans that used it.
    pub scans: i64,
    /// Whether it is a unique index.
    pub is_unique: bool,
    /// Whether it is valid and can be used.
    pub is_valid: bool,
}

/// An enum type of the schema, compared with the app's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EnumDiagnosis {
    /// Name of the type.
    pub name: String,
    /// Its labels in the database, in order; empty if the database has no such type.
    pub labels: Vec<String>,
    /// The labels that the app expects; empty if the app does not know the type.
    pub expected: Vec<&'static str>,
    /// Whether both are the same.
    pub agrees: bool,
}

/// Whether the database accepts one of the app's statements.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct StatementDiagnosis {
    /// Name of its file in `crates/lastlight-engine/src/store/sql`.
    pub name: &'static str,
    /// Whether the database accepts it.
    pub accepted: bool,
    /// Why the database does not accept it.
    pub error: Option<String>,
}

/// The enum types of the migrations.
fn expected_enums() -> [(&'static str, Vec<&'static str>); 3] {
    [
        // A batch is unsent or sent: the first two states of its tasks.
        (
            "batch_status",
            [TaskStatus::PendingQueue, TaskStatus::Queued].map(TaskStatus::as_str).into(),
        ),
        ("job_status", JobStatus::ALL.iter().map(|status| status.as_str()).collect()),
        ("task_status", TaskStatus::ALL.iter().map(|status| status.as_str()).collect()),
    ]
}

impl Diagnostics<'_> {
    /// Size and maintenance of each table, by name.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn table_statistics(self) -> Result<Vec<TableStatistics>, DatabaseError> {
        Ok(sqlx::query_file!("src/store/sql/table_statistics.sql")
            .map(|row| TableStatistics {
                name: row.name,
                rows_estimate: row.rows_estimate,
                live_rows: row.live_rows,
                dead_rows: row.dead_rows,
                updates: row.updates,
                heap_only_updates: row.heap_only_updates,
                table_bytes: row.table_bytes,
                index_bytes: row.index_bytes,
                last_vacuum: row.last_vacuum.map(Timestamp),
                last_analyze: row.last_analyze.map(Timestamp),
            })
            .fetch_all(self.0.pool().await?)
            .await?)
    }

    /// Size and use of each index, by table and name.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn index_statistics(self) -> Result<Vec<IndexStatistics>, DatabaseError> {
        Ok(sqlx::query_file_as!(IndexStatistics, "src/store/sql/index_statistics.sql")
            .fetch_all(self.0.pool().await?)
            .await?)
    }

    /// The schema's enum types compared with those that the app expects, by name.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn enums(self) -> Result<Vec<EnumDiagnosis>, DatabaseError> {
        let mut found: BTreeMap<String, Vec<String>> =
            sqlx::query_file!("src/store/sql/enum_labels.sql")
                .map(|row| (row.name, row.labels))
                .fetch_all(self.0.pool().await?)
                .await?
                .into_iter()
                .collect();
        let mut diagnoses: Vec<EnumDiagnosis> = expected_enums()
            .into_iter()
            .map(|(name, expected)| {
                let labels = found.remove(name).unwrap_or_default();
                EnumDiagnosis {
                    agrees: labels == expected,
                    name: name.to_owned(),
                    labels,
                    expected,
                }
            })
            .collect();
        diagnoses.extend(found.into_iter().map(|(name, labels)| EnumDiagnosis {
            name,
            labels,
            expected: Vec::new(),
            agrees: false,
        }));
        diagnoses.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(diagnoses)
    }

    /// Has the database prepare each of the app's statements against its schema, without running
    /// it. Returns the diagnoses and how long that took.
    ///
    /// # Errors
    /// There is no connection. A statement that is rejected is part of the answer.
    pub async fn statements(self) -> Result<(Vec<StatementDiagnosis>, Duration), DatabaseError> {
        let mut session = self.0.pool().await?.pool().acquire().await?;
        // Close the connection afterwards: these statements have displaced the ones in its cache.
        session.close_on_drop();
        let mut transaction = self.0.pool().await?.begin_on(&mut session).await?;
        let began = Instant::now();
        let mut diagnoses = Vec::with_capacity(STATEMENTS.len());
        for (name, statement) in STATEMENTS {
            // A savepoint, so that a rejected statement does not abort the transaction.
            let mut attempt = (*transaction).begin().await?;
            let prepared = (&mut *attempt).prepare(SqlStr::from_static(statement)).await;
            attempt.rollback().await?;
            diagnoses.push(StatementDiagnosis {
                name,
                accepted: prepared.is_ok(),
                error: prepared.err().map(|error| error.to_string()),
            });
        }
        let took = began.elapsed();
        transaction.rollback().await?;
        Ok((diagnoses, took))
    }
}
