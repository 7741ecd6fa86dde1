//! `lastlight bench` on a server that outlives it removes what it created there, even when it is
//! stopped.

use std::{process::Stdio, time::Duration};

use sqlx::{Connection, PgConnection};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use crate::{
    cli::harness::command,
    harness::{LIMIT, new_database_url, until},
};

/// A benchmark that runs long, and the lines of its standard error.
fn long_bench(url: &str) -> (Child, Lines<BufReader<ChildStderr>>) {
    let root = env!("CARGO_MANIFEST_DIR");
    let arguments = ["bench", "run", "--app-root", root, "--database-url", url, "--n", "1000000"];
    let mut bench = command(&arguments, &[("PATH", "/usr/bin:/bin")])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(bench.stderr.take().unwrap()).lines();
    (bench, said)
}

async fn schemas(server: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'bench%'")
        .fetch_all(server)
        .await
        .unwrap()
}

/// Waits until it has stored tasks; returns the name of its schema.
async fn until_it_runs(server: &mut PgConnection) -> String {
    until("the benchmark has stored tasks", async || {
        let schema = schemas(server).await.pop()?;
        let table = format!("{schema}.tasks");
        let stored: Result<bool, sqlx::Error> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT EXISTS (SELECT FROM {table})")))
                .fetch_one(&mut *server)
                .await;
        matches!(stored, Ok(true)).then_some(schema)
    })
    .await
}

async fn signal(bench: &Child, name: &str) {
    let pid = bench.id().unwrap().to_string();
    let sent = Command::new("kill").args([name, &pid]).status().await.unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn a_stopped_benchmark_drops_its_schema() {
    let url = new_database_url().await;
    let mut server = PgConnection::connect(&url).await.unwrap();
    for name in ["-INT", "-TERM"] {
        let (mut bench, mut said) = long_bench(&url);
        until_it_runs(&mut server).await;
        signal(&bench, name).await;
        let ended = tokio::time::timeout(LIMIT, bench.wait()).await;
        assert_eq!(ended.expect("it stops").unwrap().code(), Some(130), "{name}");
        assert_eq!(schemas(&mut server).await, Vec::<String>::new(), "{name}");
        let mut last = String::new();
        while let Some(line) = said.next_line().await.unwrap() {
            last = line;
        }
        assert_eq!(last, "lastlight: stopped before the benchmark was done");
    }
}

#[tokio::test]
async fn a_second_ctrl_c_names_the_schema_left_behind() {
    let url = new_database_url().await;
    let mut server = PgConnection::connect(&url).await.unwrap();
    let (mut bench, mut said) = long_bench(&url);
    let schema = until_it_runs(&mut server).await;
    // Another session reads its tables, so that they cannot be dropped.
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut looking = other.begin().await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("SELECT FROM {schema}.jobs")))
        .execute(&mut *looking)
        .await
        .unwrap();
    signal(&bench, "-INT").await;
    while said.next_line().await.unwrap().expect("it says that it stops") != "stopping" {}
    tokio::time::sleep(Duration::from_secs(1)).await;
    signal(&bench, "-INT").await;
    let ended = tokio::time::timeout(LIMIT, bench.wait()).await;
    assert_eq!(ended.expect("it ends at once").unwrap().code(), Some(130));
    let mut last = String::new();
    while let Some(line) = said.next_line().await.unwrap() {
        last = line;
    }
    let words =
        format!("schema {schema} stays on the server; remove it with DROP SCHEMA {schema} CASCADE");
    assert_eq!(last, format!("lastlight: {words}"));
    looking.rollback().await.unwrap();
}
