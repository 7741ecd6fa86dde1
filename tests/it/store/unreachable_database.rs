//! Every command that needs a database reports an unusable one at once, with host, port, database
//! and reason. The handler waits for its database and reports that.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::{
    cli::harness::{BINARY, Said, command, run},
    harness::{new_database_url, service},
};

const NOBODY: &str = "postgresql://postgres:topsecret@127.0.0.1:1/none";

/// The output of each command for this database, given by a setting or by an argument.
async fn said_of(url: &str) -> Vec<(&'static str, Said)> {
    let settings = [("DATABASE_URL", url), ("AzureWebJobsStorage", "UseDevelopmentStorage=true")];
    let on_a_local_cloud = [
        ("demo", &["demo", "--n", "1"][..]),
        ("local", &["local", "--port", "0", "--data", "/nonexistent/lastlight"]),
        ("bench run", &["bench", "run", "--n", "2"]),
        ("bench fanout", &["bench", "fanout", "--n", "1"]),
        ("bench reads", &["bench", "reads", "--tasks", "4", "--jobs", "2"]),
    ]
    .map(|(name, arguments)| {
        let mut command = command(arguments, &[]);
        command.args(["--database-url", url, "--app-root", env!("CARGO_MANIFEST_DIR")]);
        (name, command)
    });
    let by_settings = ["migrate", "reconcile"].map(|name| (name, command(&[name], &settings)));
    let all = on_a_local_cloud.into_iter().chain(by_settings);
    futures_util::future::join_all(all.map(async |(name, command)| (name, ended(command).await)))
        .await
}

/// The output of a command; fails if it waits for its database forever.
async fn ended(command: Command) -> Said {
    tokio::time::timeout(Duration::from_secs(60), run(command))
        .await
        .expect("the command ends without a signal")
}

#[tokio::test]
async fn an_unreachable_server_is_exit_code_3() {
    for (name, said) in said_of(NOBODY).await {
        assert_eq!(said.code, 3, "{name}: {}", said.err);
        for words in [
            r#"database "none" on 127.0.0.1, port 1,"#,
            "Connection refused",
            "Start PostgreSQL there",
        ] {
            assert!(said.err.contains(words), "{name}: no {words:?} in {}", said.err);
        }
        assert!(!said.err.contains("topsecret"), "{name}: {}", said.err);
    }
}

#[tokio::test]
async fn a_missing_database_is_exit_code_2() {
    let server = service("LASTLIGHT_TEST_DATABASE_URL");
    let (address, _) = server.rsplit_once('/').unwrap();
    let port = address.rsplit_once(':').unwrap().1;
    for (name, said) in said_of(&format!("{address}/nowhere")).await {
        assert_eq!(said.code, 2, "{name}: {}", said.err);
        for words in [
            &*format!(r#"database "nowhere" on 127.0.0.1, port {port},"#),
            r#"database "nowhere" does not exist"#,
            "Create the database",
        ] {
            assert!(said.err.contains(words), "{name}: no {words:?} in {}", said.err);
        }
    }
}

/// A firewall that drops packets or a hanging server: there is a connection and never an answer.
#[tokio::test]
async fn an_unresponsive_server_is_exit_code_3() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgresql://postgres@127.0.0.1:{port}/none");
    for (name, said) in said_of(&url).await {
        assert_eq!(said.code, 3, "{name}: {}", said.err);
        for words in [&*format!("port {port}, cannot be used"), "no answer within 4 s"] {
            assert!(said.err.contains(words), "{name}: no {words:?} in {}", said.err);
        }
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn the_handler_waits_for_its_database() {
    let url = new_database_url().await;
    let (address, _) = url.rsplit_once('/').unwrap();
    let late = format!("{address}/late_{}", uuid::Uuid::new_v4().simple());
    let name = late.rsplit_once('/').unwrap().1;
    let mut handler = Command::new(BINARY)
        .arg("serve")
        .env_clear()
        .env("DATABASE_URL", &late)
        .env("AzureWebJobsStorage", "UseDevelopmentStorage=true")
        .env("LASTLIGHT_DATABASE_WAIT_SECONDS", "1")
        .env("FUNCTIONS_CUSTOMHANDLER_PORT", free_port().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(handler.stdout.take().unwrap()).lines();
    let mut next = async |words: &str| loop {
        let line = lines.next_line().await.unwrap().expect("the handler keeps running");
        if line.contains(words) {
            return line;
        }
    };
    let waits = next("waits for it").await;
    assert!(waits.contains(name) && waits.contains("does not exist"), "{waits}");
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::raw_sql(create).execute(&mut connection).await.unwrap();
    next("the database is ready").await;
}
