//! Databases for tests, on the server that `scripts/test` starts.

use std::{str::FromStr, time::Duration};

use lastlight_engine::config::DatabaseSettings;
use sqlx::{Connection, Executor, PgConnection, postgres::PgConnectOptions};

/// A setting that `scripts/test` sets; the test fails without it.
pub fn service(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests with scripts/test"))
}

/// The URL of a new, empty database.
pub async fn new_database_url() -> String {
    let server = service("LASTLIGHT_TEST_DATABASE_URL");
    let mut connection =
        PgConnection::connect(&server).await.expect("the test database server answers");
    let name = format!("t{}", uuid::Uuid::new_v4().simple());
    // The name is generated here, and `CREATE DATABASE` takes no parameters.
    connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    let (address, _) = server.rsplit_once('/').unwrap();
    format!("{address}/{name}")
}

pub fn database_settings(url: &str) -> DatabaseSettings {
    DatabaseSettings {
        connect: PgConnectOptions::from_str(url).unwrap(),
        schema: "app".to_owned(),
        connections: 8,
        acquire_timeout: Duration::from_secs(5),
    }
}

/// A connection for the test, with the app's schema.
pub async fn connection(url: &str) -> PgConnection {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute("SET search_path = app").await.unwrap();
    connection
}
