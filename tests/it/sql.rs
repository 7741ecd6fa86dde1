//! Every statement is in a file of its own, and the database accepts each against the schema of the migrations.

use sqlx::{Executor, SqlSafeStr};

use crate::harness::TestApp;

#[tokio::test]
async fn the_database_accepts_every_statement() {
    let app = TestApp::start().await;
    let mut connection = app.connection().await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/repositories/postgres/sql");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let statement = std::fs::read_to_string(&path).unwrap();
        assert!(
            statement.starts_with("-- "),
            "{} does not say what it is for",
            path.display()
        );
        let prepared = (&mut connection)
            .prepare(sqlx::AssertSqlSafe(statement).into_sql_str())
            .await;
        assert!(
            prepared.is_ok(),
            "{}: {}",
            path.display(),
            prepared.err().unwrap()
        );
        count += 1;
    }
    assert!(count > 20, "{count} statements");
}

#[tokio::test]
async fn migrations_may_run_again_and_at_once() {
    let url = crate::harness::new_database_url().await;
    let databases: Vec<_> = (0..5)
        .map(|_| lastlight::repositories::postgres::Database::new(&crate::harness::database_settings(&url)))
        .collect();
    for result in futures_util::future::join_all(databases.iter().map(|database| database.migrate())).await {
        result.unwrap();
    }
    databases[0].migrate().await.unwrap();
}
