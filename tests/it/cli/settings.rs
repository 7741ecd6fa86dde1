//! Missing and malformed settings: the process names them and how to set them, and exits with 2.

use std::process::Command;

use lastlight_engine::config::{Env, Settings};
use sqlx::postgres::PgSslMode;

fn lastlight(settings: &[(&str, &str)]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lastlight"))
        .env_clear()
        .envs(settings.iter().copied())
        .output()
        .expect("the binary starts");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn all_missing_settings_are_named_at_once() {
    let (code, words) = lastlight(&[]);
    assert_eq!(code, 2);
    for setting in
        ["FUNCTIONS_CUSTOMHANDLER_PORT", "DATABASE_URL", "POSTGIS_HOST", "AzureWebJobsStorage"]
    {
        assert!(words.contains(setting), "{setting}: {words}");
    }
    assert!(words.contains("lastlight local"), "what to do next: {words}");
}

#[test]
fn malformed_settings_are_named_without_secrets() {
    let (code, words) = lastlight(&[
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "seventy"),
        ("DATABASE_URL", "mysql://root:hunter2@db/x"),
        ("AzureWebJobsStorage", "AccountName=geo;AccountKey=hunter2!"),
        ("ENABLE_SERVICE_BUS", "perhaps"),
        ("APP_SCHEMA", "app; DROP TABLE jobs"),
        (
            "SERVICE_BUS_CONNECTION_STRING",
            "Endpoint=sb://x;SharedAccessKeyName=n;SharedAccessKey=hunter2;Oops",
        ),
        ("LOG_LEVEL", "lastlight=loud"),
        ("LOG_FORMAT", "xml"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a, hunter2"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ]);
    assert_eq!(code, 2);
    for words_of in [
        "\"seventy\" is not a number",
        "DATABASE_URL",
        "AccountKey is not base64",
        "\"perhaps\" is neither true nor false",
        "is not a schema name",
        "LOG_LEVEL",
        "\"xml\" is not a log format",
        "OTEL_EXPORTER_OTLP_ENDPOINT: the address is http://collector.example: plain HTTP is allowed only to this machine",
        "OTEL_EXPORTER_OTLP_HEADERS: its entry number 2 is not name=value",
        "\"sometimes\" is not a sampler",
        "OTEL_TRACES_SAMPLER_ARG: \"2\" is not a number from 0 to 1",
    ] {
        assert!(words.contains(words_of), "{words_of}: {words}");
    }
    assert!(!words.contains("hunter2"), "a secret is shown: {words}");
}

#[test]
fn enabling_service_bus_needs_a_connection() {
    let (code, words) = lastlight(&[
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "9000"),
        ("DATABASE_URL", "postgresql://a@127.0.0.1/x"),
        ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
        ("ENABLE_SERVICE_BUS", "true"),
    ]);
    assert_eq!(code, 2);
    assert!(
        words.contains("SERVICE_BUS_CONNECTION_STRING: is not set, but ENABLE_SERVICE_BUS is true"),
        "{words}"
    );
}

#[test]
fn remote_databases_use_verified_tls_by_default() {
    let remote = "postgresql://u:p@db.example/x";
    for (url, also, mode, is_warned) in [
        ("postgresql://u:p@127.0.0.1/x", None, PgSslMode::Prefer, false),
        ("postgresql://u:p@localhost/x", None, PgSslMode::Prefer, false),
        ("postgresql://u:p@[::1]/x", None, PgSslMode::Prefer, false),
        ("postgresql://u:p@%2Frun%2Fpostgresql/x", None, PgSslMode::Prefer, false),
        ("postgresql:///x?host=/run/postgresql", None, PgSslMode::Prefer, false),
        ("postgresql://u:p@localhost/x?sslmode=disable", None, PgSslMode::Disable, false),
        (remote, None, PgSslMode::VerifyFull, false),
        ("postgres://u:p@10.0.0.4:6432/x", None, PgSslMode::VerifyFull, false),
        ("postgresql://u:p@localhost.example/x", None, PgSslMode::VerifyFull, false),
        ("postgresql://u:p@localhost/x?host=db.example", None, PgSslMode::VerifyFull, false),
        ("postgresql://u:p@localhost/x?hostaddr=10.0.0.4", None, PgSslMode::VerifyFull, false),
        ("postgresql://u:p@db.example/x?sslmode=verify-full", None, PgSslMode::VerifyFull, false),
        ("postgresql://u:p@db.example/x?sslmode=verify-ca", None, PgSslMode::VerifyCa, true),
        ("postgresql://u:p@db.example/x?ssl-mode=require", None, PgSslMode::Require, true),
        ("postgresql://u:p@db.example/x?sslmode=PREFER", None, PgSslMode::Prefer, true),
        ("postgresql://u:p@db.example/x?sslmode=disable", None, PgSslMode::Disable, true),
        // The last value counts, as in the driver.
        (
            "postgresql://u:p@db.example/x?sslmode=disable&sslmode=verify-full",
            None,
            PgSslMode::VerifyFull,
            false,
        ),
        (remote, Some("require"), PgSslMode::Require, true),
        (
            "postgresql://u:p@db.example/x?sslmode=verify-full",
            Some("disable"),
            PgSslMode::VerifyFull,
            false,
        ),
    ] {
        let pairs = [("DATABASE_URL", url)].into_iter().chain(also.map(|mode| ("PGSSLMODE", mode)));
        let (database, warnings) = Settings::load_database(Env::from_pairs(pairs)).unwrap();
        let found = database.connect.get_ssl_mode();
        assert_eq!(format!("{found:?}"), format!("{mode:?}"), "{url} {also:?}");
        assert_eq!(!warnings.is_empty(), is_warned, "{url} {also:?}: {warnings:?}");
        assert!(
            warnings.iter().all(|warning| warning.remedy.contains("verify-full")),
            "{warnings:?}"
        );
    }
    for (host, mode) in [("127.0.0.1", PgSslMode::Prefer), ("db.example", PgSslMode::VerifyFull)] {
        let parts = [("POSTGIS_HOST", host), ("POSTGIS_USER", "u"), ("POSTGIS_DATABASE", "x")];
        let (database, _) = Settings::load_database(Env::from_pairs(parts)).unwrap();
        assert_eq!(format!("{:?}", database.connect.get_ssl_mode()), format!("{mode:?}"));
    }
}

#[test]
fn migrate_fails_without_a_database() {
    let output = Command::new(env!("CARGO_BIN_EXE_lastlight"))
        .arg("migrate")
        .env_clear()
        .env("DATABASE_URL", "postgresql://nobody:hunter2@127.0.0.1:1/none")
        .env("LASTLIGHT_DATABASE_WAIT_SECONDS", "1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        words.contains("on 127.0.0.1, port 1, cannot be used") && !words.contains("hunter2"),
        "{words}"
    );
}

/// Settings from a vault that the app cannot read: all of them are named at once, by `doctor` those
/// of the host too.
#[test]
fn unresolved_key_vault_references_are_named() {
    let reference = |name: &str| {
        format!("@Microsoft.KeyVault(SecretUri=https://geo.vault.azure.net/secrets/{name}/)")
    };
    let (database, storage, queue) = (reference("db"), reference("storage"), reference("queue"));
    let settings = [
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "9000"),
        ("DATABASE_URL", database.as_str()),
        ("AzureWebJobsStorage", &storage),
        ("JOB_PROCESSING_QUEUE", &queue),
        ("ServiceBusConnection", &database),
    ];
    let (code, words) = lastlight(&settings);
    assert_eq!(code, 2);
    for (name, secret) in [
        ("DATABASE_URL", "db"),
        ("AzureWebJobsStorage", "storage"),
        ("JOB_PROCESSING_QUEUE", "queue"),
    ] {
        let line = format!(
            r#"{name}: is a Key Vault reference that was not resolved (secret "{secret}" of vault "geo")"#
        );
        assert!(words.contains(&line), "{line}: {words}");
    }
    assert!(words.contains("identity lacks the permission"), "{words}");
    assert!(!words.contains("does not start with"), "{words}");
    let doctor = Command::new(env!("CARGO_BIN_EXE_lastlight"))
        .args(["doctor", "--app-root", env!("CARGO_MANIFEST_DIR")])
        .env_clear()
        .envs([("ServiceBusConnection", &*database), ("FUNCTIONS_WORKER_RUNTIME", "custom")])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&doctor.stdout);
    assert!(words.contains("ServiceBusConnection: is a Key Vault reference"), "{words}");
}

#[tokio::test]
async fn the_database_url_may_be_ado_net_or_libpq() {
    let url = crate::harness::new_database_url().await;
    let place = url::Url::parse(&url).unwrap();
    let (port, database) = (place.port().unwrap(), &place.path()[1..]);
    for text in [
        format!(
            "Host=127.0.0.1;Port={port};Database={database};Username=postgres;Password=postgres;Pooling=true"
        ),
        format!(
            "host=127.0.0.1 port={port} dbname={database} user=postgres password=postgres connect_timeout=10"
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_lastlight"))
            .arg("migrate")
            .env_clear()
            .env("DATABASE_URL", &text)
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}: {words}");
        assert!(words.contains("is unknown and is ignored"), "{words}");
    }
}

#[test]
fn no_database_format_shows_its_password() {
    for text in [
        "Host=127.0.0.1;Port=1;Database=d;Username=u;Password=hunter2",
        "Host=127.0.0.1;Port=one;Database=d;Username=u;Password=hunter2",
        "Host=127.0.0.1;Database=d;Username=u;Password='hunter2",
        "host=127.0.0.1 port=1 dbname=d user=u password=hunter2",
        "host=127.0.0.1 hunter2",
        "host=127.0.0.1 dbname=d user=u passwort=hunter2 port=1",
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_lastlight"))
            .arg("migrate")
            .env_clear()
            .env("DATABASE_URL", text)
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !words.contains("hunter2"), "{text}: {words}");
        let settings = Settings::load_database(Env::from_pairs([("DATABASE_URL", text)]));
        assert!(!format!("{settings:?}").contains("hunter2"), "{text}");
    }
}
