//! The migrations that have run against those of this binary. Asks; applies none.

use sqlx::{PgConnection, Row};

use super::MIGRATOR;

/// How a schema stands to this binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaState {
    /// There are no tables yet.
    Missing,
    /// No migration has run, and there are tables of these names: another program's.
    Foreign(Vec<String>),
    Current {
        version: i64,
    },
    /// These migrations have not run.
    Behind(Vec<i64>),
    /// Newer than this binary.
    Ahead {
        /// Migrations that have run, and that this binary does not know.
        unknown: Vec<i64>,
        /// The schema says that this binary works with them all the same.
        works: bool,
    },
    /// These have run with another text.
    Different(Vec<i64>),
    /// The role may not even look.
    Hidden,
}

impl SchemaState {
    /// Asks on a connection whose search path is `schema`.
    ///
    /// # Errors
    /// A statement failed; also if the role may not look.
    pub(super) async fn ask(
        connection: &mut PgConnection,
        schema: &str,
    ) -> Result<Self, sqlx::Error> {
        // Asked first: in a transaction a statement that fails would be the last one.
        let knows =
            sqlx::query(include_str!("sql/schema_knows.sql")).fetch_one(&mut *connection).await?;
        let rows = match knows.try_get("has_migrations")? {
            true => {
                sqlx::query(include_str!("sql/applied_migrations.sql"))
                    .fetch_all(&mut *connection)
                    .await?
            }
            false => Vec::new(),
        };
        if rows.is_empty() {
            let foreign: Vec<String> = sqlx::query_scalar(include_str!("sql/foreign_tables.sql"))
                .bind(schema)
                .fetch_all(&mut *connection)
                .await?;
            return Ok(match foreign.is_empty() {
                true => Self::Missing,
                false => Self::Foreign(foreign),
            });
        }
        let mut applied = Vec::with_capacity(rows.len());
        for row in rows {
            applied.push((row.try_get("version")?, row.try_get("checksum")?));
        }
        let state = compared(&applied, None);
        // Whoever made the schema may not say.
        if !matches!(state, Self::Ahead { .. }) || !knows.try_get("has_works_from")? {
            return Ok(state);
        }
        let works_from = sqlx::query_scalar(include_str!("sql/works_from.sql"))
            .fetch_one(&mut *connection)
            .await?;
        Ok(compared(&applied, Some(works_from)))
    }
}

/// `works_from`: the newest migration that a binary must know to work on the schema, if it says so.
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
    fn the_schema_s_version_is_told_from_the_migrations_that_ran() {
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
    fn a_newer_schema_is_worked_on_if_it_says_so_and_is_this_one_s_successor() {
        let newest = all().last().unwrap().0;
        let mut newer = all();
        newer.push((9999, vec![1]));
        let ahead = |works| SchemaState::Ahead { unknown: vec![9999], works };
        assert_eq!(compared(&newer, None), ahead(false), "it does not say");
        assert_eq!(compared(&newer, Some(newest)), ahead(true));
        assert_eq!(compared(&newer, Some(newest - 1)), ahead(true));
        assert_eq!(compared(&newer, Some(newest + 1)), ahead(false));
        newer[0].1 = vec![0];
        assert_eq!(compared(&newer, Some(newest)), ahead(false), "another program's");
        newer.remove(0);
        assert_eq!(compared(&newer, Some(newest)), ahead(false), "with a gap");
    }
}
