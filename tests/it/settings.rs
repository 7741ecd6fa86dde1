//! Settings that are missing or malformed: the process says which, and how to set them, and exits with 2.

use std::process::Command;

fn lastlight(settings: &[(&str, &str)]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lastlight"))
        .env_clear()
        .envs(settings.iter().copied())
        .output()
        .expect("the binary starts");
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn everything_that_is_missing_is_named_at_once() {
    let (code, words) = lastlight(&[]);
    assert_eq!(code, 2);
    for setting in [
        "FUNCTIONS_CUSTOMHANDLER_PORT",
        "DATABASE_URL",
        "POSTGIS_HOST",
        "AzureWebJobsStorage",
    ] {
        assert!(words.contains(setting), "{setting}: {words}");
    }
    assert!(words.contains("lastlight local"), "what to do next: {words}");
}

#[test]
fn what_is_malformed_is_named_with_its_value_but_never_a_secret() {
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
    ]);
    assert_eq!(code, 2);
    for words_of in [
        "\"seventy\" is not a number",
        "DATABASE_URL",
        "AccountKey is not base64",
        "\"perhaps\" is neither true nor false",
        "is not a schema name",
        "LOG_LEVEL",
    ] {
        assert!(words.contains(words_of), "{words_of}: {words}");
    }
    assert!(!words.contains("hunter2"), "a secret is shown: {words}");
}

#[test]
fn service_bus_that_is_switched_on_needs_a_connection() {
    let (code, words) = lastlight(&[
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "9000"),
        ("DATABASE_URL", "postgresql://a@127.0.0.1/x"),
        ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
        ("ENABLE_SERVICE_BUS", "true"),
    ]);
    assert_eq!(code, 2);
    assert!(
        words.contains("SERVICE_BUS_CONNECTION_STRING: is not set, though ENABLE_SERVICE_BUS is true"),
        "{words}"
    );
}

#[test]
fn migrate_says_what_it_did_and_fails_without_a_database() {
    let output = Command::new(env!("CARGO_BIN_EXE_lastlight"))
        .arg("migrate")
        .env_clear()
        .env("DATABASE_URL", "postgresql://nobody:hunter2@127.0.0.1:1/none")
        .env("LASTLIGHT_DATABASE_WAIT_SECONDS", "1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        words.contains("the database is not available") && !words.contains("hunter2"),
        "{words}"
    );
}
