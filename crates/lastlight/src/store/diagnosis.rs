//! What the database says about itself: sizes and upkeep, its types, and whether it accepts the
//! app's statements. For people who look into a database that behaves oddly; nothing here is
//! changed.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;
use sqlx::{Connection, Executor, Row, SqlStr, postgres::PgRow};
use time::OffsetDateTime;

use super::{Database, DatabaseError, statements::STATEMENTS};
use crate::model::{JobStatus, TaskStatus, Timestamp};

/// A table's size and upkeep, as the server last counted them.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TableStatistics {
    /// Its name.
    pub name: String,
    /// Rows, as of the last analysis.
    pub rows_estimate: i64,
    /// Rows, as counted since.
    pub live_rows: i64,
    /// Old versions that were not cleaned away yet.
    pub dead_rows: i64,
    /// Rows written anew.
    pub updates: i64,
    /// Of these, without a new index entry.
    pub heap_only_updates: i64,
    /// The table itself.
    pub table_bytes: i64,
    /// All its indexes.
    pub index_bytes: i64,
    /// When it was last cleaned.
    pub last_vacuum: Option<Timestamp>,
    /// When it was last analysed.
    pub last_analyze: Option<Timestamp>,
}

/// An index's size and use, as the server last counted them.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct IndexStatistics {
    /// Its table.
    pub table_name: String,
    /// Its name.
    pub name: String,
    /// On disk.
    pub bytes: i64,
    /// How often it was used.
    pub scans: i64,
    /// It holds keys.
    pub is_unique: bool,
    /// It may be used.
    pub is_valid: bool,
}

/// An enum type of the schema, beside what the app knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EnumDiagnosis {
    /// The type.
    pub name: String,
    /// Its labels, in order; empty: the database has no such type.
    pub labels: Vec<String>,
    /// What the app expects; empty: it does not know the type.
    pub expected: Vec<&'static str>,
    /// They are the same.
    pub agrees: bool,
}

/// Whether the database accepts one of the app's statements.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct StatementDiagnosis {
    /// Its file in `crates/lastlight/src/store/sql`.
    pub name: &'static str,
    /// It does.
    pub accepted: bool,
    /// Why not.
    pub error: Option<String>,
}

/// The enum types of the migrations.
fn expected_enums() -> [(&'static str, Vec<&'static str>); 3] {
    [
        // A batch is owed or sent: the first two states of its tasks.
        (
            "batch_status",
            [TaskStatus::PendingQueue, TaskStatus::Queued].map(TaskStatus::as_str).into(),
        ),
        ("job_status", JobStatus::ALL.iter().map(|status| status.as_str()).collect()),
        ("task_status", TaskStatus::ALL.iter().map(|status| status.as_str()).collect()),
    ]
}

impl Database {
    /// Size and upkeep of each table, by name.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn table_statistics(&self) -> Result<Vec<TableStatistics>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/table_statistics.sql"))
            .fetch_all(self.pool().await?)
            .await?;
        let time = |row: &PgRow, column| {
            row.try_get::<Option<OffsetDateTime>, _>(column).map(|time| time.map(Timestamp))
        };
        let table = |row: &PgRow| {
            Ok::<_, sqlx::Error>(TableStatistics {
                name: row.try_get("name")?,
                rows_estimate: row.try_get("rows_estimate")?,
                live_rows: row.try_get("live_rows")?,
                dead_rows: row.try_get("dead_rows")?,
                updates: row.try_get("updates")?,
                heap_only_updates: row.try_get("heap_only_updates")?,
                table_bytes: row.try_get("table_bytes")?,
                index_bytes: row.try_get("index_bytes")?,
                last_vacuum: time(row, "last_vacuum")?,
                last_analyze: time(row, "last_analyze")?,
            })
        };
        Ok(rows.iter().map(table).collect::<Result<_, _>>()?)
    }

    /// Size and use of each index, by table and name.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn index_statistics(&self) -> Result<Vec<IndexStatistics>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/index_statistics.sql"))
            .fetch_all(self.pool().await?)
            .await?;
        let index = |row: &PgRow| {
            Ok::<_, sqlx::Error>(IndexStatistics {
                table_name: row.try_get("table_name")?,
                name: row.try_get("name")?,
                bytes: row.try_get("bytes")?,
                scans: row.try_get("scans")?,
                is_unique: row.try_get("is_unique")?,
                is_valid: row.try_get("is_valid")?,
            })
        };
        Ok(rows.iter().map(index).collect::<Result<_, _>>()?)
    }

    /// The schema's enum types beside what the app expects, by name.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn diagnose_enums(&self) -> Result<Vec<EnumDiagnosis>, DatabaseError> {
        let rows =
            sqlx::query(include_str!("sql/enum_labels.sql")).fetch_all(self.pool().await?).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let name: String = row.try_get("name")?;
            found.push((name, row.try_get::<Vec<String>, _>("labels")?));
        }
        let mut diagnoses: Vec<EnumDiagnosis> = expected_enums()
            .into_iter()
            .map(|(name, expected)| {
                let labels = match found.iter().position(|(found, _)| found == name) {
                    Some(place) => found.swap_remove(place).1,
                    None => Vec::new(),
                };
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

    /// Has the database prepare each of the app's statements against its schema, and run none; and
    /// how long that took.
    ///
    /// # Errors
    /// There is no connection. A statement that is refused is part of the answer.
    pub async fn diagnose_statements(
        &self,
    ) -> Result<(Vec<StatementDiagnosis>, Duration), DatabaseError> {
        let mut session = self.pool().await?.pool().acquire().await?;
        // It is given up: its cache is full of these, and no longer holds what its next user would
        // find there.
        session.close_on_drop();
        let mut transaction = self.pool().await?.begin_on(&mut session).await?;
        let began = Instant::now();
        let mut diagnoses = Vec::with_capacity(STATEMENTS.len());
        for (name, statement) in STATEMENTS {
            // One that is refused must not end the transaction.
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
