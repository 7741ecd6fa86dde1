//! Compares the migrations that have run with those of this binary. Applies none.

use sqlx::PgConnection;

use super::MIGRATOR;

/// State of a schema compared with this binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaState {
    /// The schema has no tables yet.
    Missing,
    /// No migration has run, and tables with these names exist, which belong to another program.
    Foreign(Vec<String>),
    Current {
        version: i64,
    },
    /// These migrations have not run.
    Behind(Vec<i64>),
    /// The schema is newer than this binary.
    Ahead {
        /// Migrations that have run and that this binary does not know.
        unknown: Vec<i64>,
        /// Whether this binary works on the schema nevertheless, as declared by the schema.
        works: bool,
    },
    /// These migrations have run with a different text.
    Different(Vec<i64>),
    /// The role may not use the schema.
    Hidden,
}

impl SchemaState {
    /// Reads the state over a connection whose search path is `schema`.
    ///
    /// # Errors
    /// A statement failed; also if the role may not use the schema.
    pub(super) async fn ask(
        connection: &mut PgConnection,
        schema: &str,
    ) -> Result<Self, sqlx::Error> {
        // Check first which objects exist: a statement that fails would abort the transaction.
        let knows =
            sqlx::query_file!("src/store/sql/schema_knows.sql").fetch_one(&mut *connection).await?;
        let applied = match knows.has_migrations {
            true => {
                sqlx::query_file!("src/store/sql/applied_migrations.sql")
                    .map(|row| (row.version, row.checksum))
                    .fetch_all(&mut *connection)
                    .await?
            }
            false => Vec::new(),
        };
        if applied.is_empty() {
            let foreign = sqlx::query_file_scalar!("src/store/sql/foreign_tables.sql", schema)
                .fetch_all(&mut *connection)
                .await?;
            return Ok(match foreign.is_empty() {
                true => Self::Missing,
                false => Self::Foreign(foreign),
            });
        }
        let state = compared(&applied, None);
        // A schema from before migration 0011 has no `works_from()`.
        if !matches!(state, Self::Ahead { .. }) || !knows.has_works_from {
            return Ok(state);
        }
        let works_from = sqlx::query_file_scalar!("src/store/sql/works_from.sql")
            .fetch_one(&mut *connection)
            .await?;
        Ok(compared(&applied, Some(works_from)))
    }
}

/// `works_from`: the newest migration that a binary must know to work on the schema, if the schema
/// declares it.
fn compared(applied: &[(i64, Vec<u8>)], works_from: Option<i64>) -> SchemaState {
    let unknown: Vec<i64> = applied
        .iter()
        .map(|(version, _)| *version)
        .filter(|version| !MIGRATOR.version_exists(*version))
        .collect();
    let different: Vec<i64> = MIGRATOR
        .iter()
        .filter(|known| {
            applied.iter().any(|(version, checksum)| {
                *version == known.version && checksum[..] != *known.checksum
            })
        })
        .map(|known| known.version)
        .collect();
    let behind: Vec<i64> = MIGRATOR
        .iter()
        .map(|known| known.version)
        .filter(|known| !applied.iter().any(|(version, _)| version == known))
        .collect();
    let newest_known = MIGRATOR.iter().map(|known| known.version).max();
    if !unknown.is_empty() {
        let works = different.is_empty()
            && behind.is_empty()
            && works_from.is_some_and(|from| newest_known.is_some_and(|newest| from <= newest));
        SchemaState::Ahead { unknown, works }
    } else if !different.is_empty() {
        SchemaState::Different(different)
    } else if !behind.is_empty() {
        SchemaState::Behind(behind)
    } else {
        SchemaState::Current { version: newest_known.unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<(i64, Vec<u8>)> {
        MIGRATOR.iter().map(|migration| (migration.version, migration.checksum.to_vec())).collect()
    }

    #[test]
    fn schema_state_follows_from_migrations() {
        let newest = all().last().unwrap().0;
        assert_eq!(compared(&all(), None), SchemaState::Current { version: newest });
        let mut older = all();
        older.pop();
        assert_eq!(compared(&older, None), SchemaState::Behind(vec![newest]));
        let mut other = all();
        other[0].1 = vec![0];
        assert_eq!(compared(&other, None), SchemaState::Different(vec![other[0].0]));
    }

    #[test]
    fn newer_schemas_work_only_if_declared() {
        let newest = all().last().unwrap().0;
        let mut newer = all();
        newer.push((9999, vec![1]));
        let ahead = |works| SchemaState::Ahead { unknown: vec![9999], works };
        assert_eq!(compared(&newer, None), ahead(false), "it does not declare that");
        assert_eq!(compared(&newer, Some(newest)), ahead(true));
        assert_eq!(compared(&newer, Some(newest - 1)), ahead(true));
        assert_eq!(compared(&newer, Some(newest + 1)), ahead(false));
        newer[0].1 = vec![0];
        assert_eq!(compared(&newer, Some(newest)), ahead(false), "with a different migration");
        newer.remove(0);
        assert_eq!(compared(&newer, Some(newest)), ahead(false), "with a gap");
    }
}
