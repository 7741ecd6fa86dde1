//! Settings that contain secrets: their errors, warnings and `Debug` output hide them.

use std::fmt::Debug;

use lastlight_engine::config::{Env, Settings};

use super::{
    BUS_KEY, Forbidden, PASSWORD, SIGNATURE, closed, database_at, encoded, failing, log, logged,
    printed, storage_by_key, storage_key,
};

/// Malformed settings that contain a secret.
fn malformed() -> Vec<(&'static str, String)> {
    let key = storage_key();
    let password = encoded(PASSWORD);
    let signature = encoded(SIGNATURE);
    let bus = format!(
        "Endpoint=sb://rmh.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey={BUS_KEY}"
    );
    let storage = format!("AccountName=geo;AccountKey={key}");
    vec![
        ("DATABASE_URL", format!("postgresql://geo:{PASSWORD}@db.example/geo")),
        ("DATABASE_URL", format!("postgresql://geo:{password}@db.example:70000/geo")),
        ("DATABASE_URL", format!("postgresql://geo:{password}@/geo?port=x{password}")),
        ("DATABASE_URL", format!("postgresql://geo:{password}%ff@db.example/geo")),
        ("DATABASE_URL", format!("postgresql://geo@db.example/geo?sslmode={password}")),
        ("DATABASE_URL", format!("postgresql://geo@db.example/geo?hostaddr={password}")),
        ("DATABASE_URL", format!("geo:{PASSWORD}@db.example/geo")),
        ("POSTGIS_HOST", format!("geo:{PASSWORD}@db.example")),
        ("POSTGIS_PORT", format!("5432@{PASSWORD}")),
        ("APP_SCHEMA", key.clone()),
        ("LOG_LEVEL", format!("lastlight={key}")),
        ("LOG_FORMAT", key.clone()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://geo:{password}@collector.example")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://collector.example/?sig={signature}")),
        ("OTEL_EXPORTER_OTLP_HEADERS", format!("x-key:{key}")),
        ("OTEL_EXPORTER_OTLP_HEADERS", format!("x key={key}")),
        ("OTEL_TRACES_SAMPLER", key.clone()),
        ("ENABLE_SERVICE_BUS", bus.clone()),
        ("SERVICE_BUS_NAMESPACE", bus.clone()),
        ("ServiceBusConnection__fullyQualifiedNamespace", bus.clone()),
        ("SERVICE_BUS_CONNECTION_STRING", format!("{bus};{PASSWORD}")),
        ("SERVICE_BUS_CONNECTION_STRING", format!("SharedAccessKey={BUS_KEY}")),
        (
            "SERVICE_BUS_CONNECTION_STRING",
            format!(
                "Endpoint=sb://n:{BUS_KEY}@rmh.example;SharedAccessKeyName=n;SharedAccessKey={BUS_KEY}"
            ),
        ),
        (
            "SERVICE_BUS_CONNECTION_STRING",
            format!(
                "Endpoint=SharedAccessKey={BUS_KEY};SharedAccessKeyName=n;SharedAccessKey={BUS_KEY}"
            ),
        ),
        ("SERVICE_BUS_JOB_QUEUE", bus),
        ("AzureWebJobsStorage", format!("AccountName=geo;AccountKey={key}!")),
        ("AzureWebJobsStorage", format!("AccountKey={key};{key}")),
        (
            "AzureWebJobsStorage",
            format!("{storage};QueueEndpoint=https://geo.example/?sig={signature}"),
        ),
        (
            "AzureWebJobsStorage",
            format!("{storage};QueueEndpoint=https://geo:{password}@geo.example/"),
        ),
        ("AzureWebJobsStorage", format!("SharedAccessSignature=?sig={signature}")),
        (
            "AzureWebJobsStorage__queueServiceUri",
            format!("https://geo.example/?sv=1&sig={signature}"),
        ),
        (
            "AzureWebJobsStorage__blobServiceUri",
            format!("https://geo.example/?sv=1&sig={signature}"),
        ),
        ("AzureWebJobsStorage__accountName", storage.clone()),
        ("STORAGE_ACCOUNT_NAME", storage.clone()),
        ("LASTLIGHT_STORAGE_BRONZE", format!("{storage}!")),
        ("LASTLIGHT_STORAGE_BRONZE", format!("https://geo:{password}@geo.example/")),
        ("LASTLIGHT_HTTP_CALL_ALLOW", format!("https://geo.example/?sig={signature}")),
        ("STORAGE_QUEUE_ENCODING", storage.clone()),
        ("TASK_PROCESSING_QUEUE", storage),
        ("SERVICE_BUS_RETRY_COUNT", key),
    ]
}

/// Valid values for the other settings, which a malformed setting needs to be read at all.
fn good_but_for(setting: &str) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "9000".to_owned()),
        ("POSTGIS_USER", "geo".to_owned()),
        ("POSTGIS_DATABASE", "geo".to_owned()),
    ];
    if !setting.starts_with("POSTGIS") {
        settings.push(("DATABASE_URL", database_at("127.0.0.1")));
    }
    if setting == "POSTGIS_PORT" {
        settings.push(("POSTGIS_HOST", "127.0.0.1".to_owned()));
    }
    if !matches!(
        setting,
        "AzureWebJobsStorage"
            | "AzureWebJobsStorage__queueServiceUri"
            | "AzureWebJobsStorage__blobServiceUri"
            | "AzureWebJobsStorage__accountName"
            | "STORAGE_ACCOUNT_NAME"
    ) {
        settings.push(("AzureWebJobsStorage", "UseDevelopmentStorage=true".to_owned()));
    }
    if matches!(setting, "SERVICE_BUS_JOB_QUEUE" | "SERVICE_BUS_RETRY_COUNT") {
        settings.push(("SERVICE_BUS_NAMESPACE", "rmh".to_owned()));
    }
    if matches!(setting, "OTEL_EXPORTER_OTLP_HEADERS" | "OTEL_TRACES_SAMPLER") {
        settings.push(("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example".to_owned()));
    }
    settings.retain(|(name, _)| *name != setting);
    settings
}

#[test]
fn errors_of_malformed_settings_hide_secrets() {
    log();
    let forbidden = Forbidden::all();
    for (setting, value) in malformed() {
        let pairs = good_but_for(setting).into_iter().chain([(setting, value.clone())]);
        let error = match Settings::load(Env::from_pairs(pairs)) {
            Err(error) => error,
            Ok(settings) => panic!("{setting}={value} was accepted: {settings:?}"),
        };
        let words = format!("{error} {error:?}");
        let is_named =
            words.contains(setting) || (setting == "ENABLE_SERVICE_BUS" && !words.is_empty());
        assert!(is_named, "{setting}={value}: {words}");
        forbidden.assert_none_in(setting, &words);
    }
    forbidden.assert_none_in("the log", &logged());
}

#[test]
fn an_unknown_url_parameter_shows_no_value() {
    log();
    let url =
        format!("{}?passwrd={}&{}", database_at("127.0.0.1"), encoded(PASSWORD), encoded(PASSWORD));
    let pairs = good_but_for("DATABASE_URL").into_iter().chain([("DATABASE_URL", url)]);
    let settings = Settings::load(Env::from_pairs(pairs)).unwrap();
    let words = format!("{:?}", settings.warnings);
    assert!(
        words.contains("its parameter passwrd is unknown")
            && words.contains("one of its parameters is unknown"),
        "{words}"
    );
    Forbidden::all().assert_none_in("a warning", &words);
    Forbidden::all().assert_none_in("the log", &logged());
}

#[test]
fn the_binary_prints_no_secret_of_bad_settings() {
    let forbidden = Forbidden::all();
    for (setting, value) in malformed() {
        let settings = good_but_for(setting).into_iter().chain([(setting, value)]);
        let words = printed(&["serve"], settings);
        assert!(words.contains("lastlight cannot start"), "{setting}: {words}");
        forbidden.assert_none_in(setting, &words);
    }
}

#[test]
fn debug_output_contains_no_secret() {
    fn assert_debug_of<T: Debug>(forbidden: &Forbidden, value: &T) {
        forbidden.assert_none_in(std::any::type_name::<T>(), &format!("{value:?} {value:#?}"));
    }
    let forbidden = Forbidden::all();
    let address = closed();
    let mut pairs = failing(9000, &database_at("db.example"), address);
    let by_signature = Settings::load(Env::from_pairs(pairs.clone())).unwrap();
    pairs.push(("AzureWebJobsStorage", storage_by_key(address)));
    let by_key = Settings::load(Env::from_pairs(pairs.clone())).unwrap();
    for settings in [&by_signature, &by_key] {
        assert_debug_of(&forbidden, settings);
        assert_debug_of(&forbidden, &settings.database);
        assert_debug_of(&forbidden, &settings.storage);
        assert_debug_of(&forbidden, &settings.service_bus);
    }
    assert_debug_of(&forbidden, &Env::from_pairs(pairs));
}
