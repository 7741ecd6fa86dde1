//! Every statement is in a file of its own, and the database accepts each against the schema of the migrations.

use sqlx::{Executor, Row, SqlSafeStr};

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

/// A connection makes its plans once, maybe while the tables are empty and nobody has counted their rows. A plan that finds
/// a task by its job alone, and looks through the rest, is as quick then, and takes the square of the job later.
#[tokio::test]
async fn a_plan_made_on_empty_tables_finds_each_task_by_its_whole_key() {
    let app = TestApp::start().await;
    let mut connection = app.connection().await;
    connection
        .execute(
            "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; \
             SET enable_mergejoin = off",
        )
        .await
        .unwrap();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/repositories/postgres/sql");
    for name in [
        "claim_tasks",
        "complete_tasks",
        "extend_leases",
        "query_tasks",
        "query_failed_tasks",
    ] {
        let statement = std::fs::read_to_string(folder.join(format!("{name}.sql"))).unwrap();
        let parameters = (1..)
            .take_while(|number| statement.contains(&format!("${number}")))
            .map(|_| "NULL")
            .collect::<Vec<_>>()
            .join(", ");
        let text = format!("PREPARE {name} AS {statement}");
        connection.execute(sqlx::AssertSqlSafe(text)).await.unwrap();
        let text = format!("EXPLAIN EXECUTE {name} ({parameters})");
        let plan: Vec<String> = connection
            .fetch_all(sqlx::AssertSqlSafe(text))
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        let plan = plan.join("\n");
        let scans: Vec<&str> = plan.split(" using tasks_").skip(1).collect();
        assert!(!scans.is_empty(), "{name} reads no task:\n{plan}");
        for scan in scans {
            let condition = scan.split_once("Index Cond: ").unwrap().1;
            let condition = condition.lines().next().unwrap();
            assert!(condition.contains("task_id"), "{name}: {condition}\n{plan}");
        }
    }
}
