//! Tests of the declarations: every declared setting is read and has an effect, and the declared
//! defaults and bounds are the actual ones.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::GROUPS;
use crate::config::{
    ConfigError, Declared, Env, Form, Prices, ServiceBusAuth, Settings, StorageAuth, Timing,
    env::Asked,
};

type Pairs = BTreeMap<&'static str, String>;

fn all() -> impl Iterator<Item = &'static dyn Declared> {
    GROUPS.iter().flat_map(|group| group.settings).copied()
}

/// Valid settings without `name`, such that setting `name` has an effect.
fn around(name: &str) -> Pairs {
    let mut pairs: Pairs = [
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "9000"),
        // Not this machine, so that sslmode has an effect.
        ("DATABASE_URL", "postgresql://u@db.example/x"),
        ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
        ("SERVICE_BUS_NAMESPACE", "rmh"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    match name {
        "FUNCTIONS_HTTPWORKER_PORT" => {
            pairs.remove("FUNCTIONS_CUSTOMHANDLER_PORT");
        }
        _ if name.starts_with("POSTGIS_") => {
            pairs.remove("DATABASE_URL");
            for (name, value) in
                [("POSTGIS_HOST", "127.0.0.1"), ("POSTGIS_USER", "u"), ("POSTGIS_DATABASE", "x")]
            {
                pairs.insert(name, value.to_owned());
            }
        }
        "STORAGE_ACCOUNT_NAME"
        | "AzureWebJobsStorage__accountName"
        | "AzureWebJobsStorage__queueServiceUri" => {
            pairs.remove("AzureWebJobsStorage");
        }
        "AzureWebJobsStorage__blobServiceUri" => {
            pairs.remove("AzureWebJobsStorage");
            pairs.insert("AzureWebJobsStorage__accountName", "geo".to_owned());
        }
        // Different from functionTimeout in host.json.
        "FUNCTIONS_APP_ROOT_PATH" => {
            pairs.insert("FUNCTION_TIMEOUT_MINUTES", "60".to_owned());
        }
        _ => {}
    }
    pairs.remove(name);
    pairs
}

/// All loaded settings as text, including keys and passwords.
fn loaded(pairs: &Pairs) -> Result<String, ConfigError> {
    let settings = Settings::load(Env::from_pairs(pairs.clone()))?;
    let storage_key = match &settings.storage.auth {
        StorageAuth::SharedKey { key, .. } | StorageAuth::SharedAccessSignature(key) => {
            key.expose()
        }
        StorageAuth::Entra => "",
    };
    let bus_key = match settings.service_bus.as_ref().map(|settings| &settings.auth) {
        Some(ServiceBusAuth::SharedAccessKey { key, .. }) => key.expose(),
        _ => "",
    };
    let headers: Vec<&str> = settings
        .otlp
        .iter()
        .flat_map(|otlp| &otlp.headers)
        .map(|(_, value)| value.expose())
        .collect();
    let connect = &settings.database.connect;
    let notifications = &settings.notifications;
    let secrets: Vec<&[u8]> = notifications.secrets.iter().map(|secret| secret.expose()).collect();
    let topic_key = notifications.event_grid_key.as_ref().map(|key| key.expose());
    Ok(format!(
        "{settings:?} {connect:?} {storage_key} {bus_key} {headers:?} {secrets:?} {topic_key:?}"
    ))
}

fn loaded_with(setting: &dyn Declared, value: &str) -> Result<String, ConfigError> {
    let mut pairs = around(setting.name());
    pairs.insert(setting.name(), value.to_owned());
    loaded(&pairs)
}

fn assert_refused(setting: &dyn Declared, value: &str) {
    let name = setting.name();
    let error = loaded_with(setting, value).expect_err(&format!("{name}={value} is accepted"));
    assert!(
        error.problems.iter().any(|problem| problem.setting == name),
        "{name}={value}: {error}"
    );
    assert!(!error.to_string().contains("hunter2"), "{name}: a secret is shown: {error}");
}

/// Example values of settings whose form is described in words: two valid ones with different
/// effects, and some invalid ones.
fn examples(name: &str) -> ([&'static str; 2], Vec<String>) {
    fn of(good: [&'static str; 2], bad: &[&str]) -> ([&'static str; 2], Vec<String>) {
        (good, bad.iter().map(|value| (*value).to_owned()).collect())
    }
    const KEY: &str = "DefaultEndpointsProtocol=https;AccountName=geo;AccountKey=c2VjcmV0";
    const BUS: &str =
        "Endpoint=sb://geo.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=hunter2";
    const EMULATOR: &str = "Endpoint=sb://127.0.0.1:5300;SharedAccessKeyName=n;SharedAccessKey=k;\
                            UseDevelopmentEmulator=true";
    let with_long = |length: usize, (good, mut bad): ([&'static str; 2], Vec<String>)| {
        bad.push("a".repeat(length));
        (good, bad)
    };
    match name {
        "FUNCTIONS_APP_ROOT_PATH" => {
            of([concat!(env!("CARGO_MANIFEST_DIR"), "/../.."), "/nowhere"], &[])
        }
        "AzureFunctionsJobHost__functionTimeout" => of(["00:10:00", "-1"], &[]),
        "DATABASE_URL" => of(
            ["postgresql://u:p@db.example/x", "postgres://u:q@db.example:6432/x"],
            &[
                "mysql://u:hunter2@db.example/x",
                "db.example",
                "postgresql://u:hunter2@db.example:99999/x",
            ],
        ),
        "POSTGIS_HOST" => of(["db.example", "/run/postgresql"], &["db example", "u:hunter2@db"]),
        "POSTGIS_USER" | "POSTGIS_PASSWORD" | "POSTGIS_DATABASE" => of(["a", "b"], &[]),
        "PGSSLMODE" => of(["require", "verify-ca"], &["perhaps"]),
        "APP_SCHEMA" => with_long(64, of(["app", "other_1"], &["1a", "pg_a", "App", "a-b", "a;b"])),
        "AzureWebJobsStorage" => of(
            [KEY, "UseDevelopmentStorage=true"],
            &[
                "AccountName=geo",
                "AccountKey=hunter2",
                "hunter2",
                "AccountName=geo;AccountKey=hunter2!",
            ],
        ),
        "AzureWebJobsStorage__queueServiceUri" => of(
            ["https://a.queue.core.windows.net", "https://b.queue.core.windows.net/"],
            &["http://a.queue.core.windows.net", "a", "https://u:hunter2@a.example"],
        ),
        "AzureWebJobsStorage__blobServiceUri" => of(
            ["https://a.blob.core.windows.net", "https://b.blob.core.windows.net/"],
            &["http://a.blob.core.windows.net", "a", "https://u:hunter2@a.example"],
        ),
        "AzureWebJobsStorage__accountName" | "STORAGE_ACCOUNT_NAME" => {
            of(["geo", "geo2"], &["Geo", "a.b", "a-b"])
        }
        "ARCHIVE_CONTAINER" => with_long(
            64,
            of(["archive", "a-1"], &["ab", "Archive", "a_b", "-ab", "ab-", "a--b", "$root"]),
        ),
        "JOB_PROCESSING_QUEUE" | "TASK_PROCESSING_QUEUE" | "POISON_QUEUE" => with_long(
            64,
            of(["a-queue", "another-1"], &["ab", "Jobs", "a_b", "-ab", "ab-", "a--b"]),
        ),
        "SERVICE_BUS_CONNECTION_STRING" | "ServiceBusConnection" => of(
            [BUS, EMULATOR],
            &["Endpoint=sb://geo.servicebus.windows.net/;SharedAccessKey=hunter2", "hunter2"],
        ),
        "ServiceBusConnection__fullyQualifiedNamespace" | "SERVICE_BUS_NAMESPACE" => of(
            ["geo", "other.servicebus.windows.net"],
            &["a b", "https://geo.servicebus.windows.net"],
        ),
        "SERVICE_BUS_JOB_QUEUE" | "SERVICE_BUS_TASK_QUEUE" | "SERVICE_BUS_POISON_QUEUE" => {
            with_long(261, of(["a/b", "A.b-c_d~e"], &["a b", "a%b"]))
        }
        "LOG_LEVEL" => {
            of(["WARNING", "info,lastlight=debug"], &["lastlight=loud", "inof", "info,loud"])
        }
        "OTEL_EXPORTER_OTLP_ENDPOINT" => of(
            ["https://collector.example:4318", "http://127.0.0.1:4318"],
            &[
                "collector.example",
                "http://collector.example:4318",
                "https://u:hunter2@collector.example",
            ],
        ),
        "OTEL_EXPORTER_OTLP_HEADERS" => {
            of(["a=b", "a=c,d=e%20f"], &["hunter2", "a b=hunter2", "a=%00hunter2"])
        }
        "LASTLIGHT_HTTP_CALL_ALLOW" => of(
            ["https://api.example.com", "https://api.example.com/v1/,http://127.0.0.1:9000"],
            &[
                "api.example.com",
                "http://api.example.com",
                "https://a.example,https://u:hunter2@api.example.com",
                "https://api.example.com/?sig=hunter2",
            ],
        ),
        "NOTIFY_URLS" => of(
            [
                "https://a.example/b?sig=c",
                "https://a.example/, label.team=roads https://b.example/",
            ],
            &[
                "a.example",
                "https://a.example,http://b.example",
                "https://u:hunter2@a.example",
                "https://169.254.169.254/",
                "team=roads https://a.example/hunter2",
            ],
        ),
        "NOTIFY_ALLOWED_HOSTS" => of(
            ["hooks.example.org", "*.example.org, 10.1.2.3:8080, [fd00::1]"],
            &["https://a.example", "*", "*.org", "a.example:x", "u:hunter2@a.example"],
        ),
        "NOTIFY_SECRET" => of(
            [
                "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
                "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=,whsec_YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=",
            ],
            &["hunter2", "whsec_hunter2", "whsec_aHVudGVyMg=="],
        ),
        "NOTIFY_EVENT_GRID_KEY" => of(["a", "b"], &["hunter2\u{7f}"]),
        "WEBSITE_HOSTNAME" => of(["a.example", "localhost:7071"], &[]),
        "RETENTION_COMPLETED_DAYS" | "RETENTION_FAILED_DAYS" => {
            of(["7", "never"], &["0", "-1", "soon", "1.5", "36501"])
        }
        "LASTLIGHT_PRICE_CURRENCY" => of(["USD", "EUR"], &["usd", "US", "EURO", "€", "U D", "US1"]),
        "OTEL_SERVICE_NAME" | "WEBSITE_SITE_NAME" | "AZURE_FUNCTIONS_ENVIRONMENT" => {
            of(["a", "b"], &[])
        }
        "LASTLIGHT_WORKFLOWS" => of(["workflows-of-a-test", "/a/folder"], &[]),
        _ => panic!("{name} has no examples here: two valid values, and invalid ones"),
    }
}

#[test]
fn settings_read_are_the_settings_declared() {
    let asked = Asked::default();
    for setting in all() {
        let env = Env::from_pairs(around(setting.name()));
        let of_this = env.asked();
        // Another test checks that the settings can be loaded.
        let _ = Settings::load(env);
        asked.lock().unwrap().extend(of_this.lock().unwrap().iter());
    }
    let asked: Vec<&str> = asked.lock().unwrap().iter().copied().collect();
    let mut declared: Vec<&str> = all().map(Declared::name).collect();
    declared.sort_unstable();
    assert_eq!(asked, declared);
}

#[test]
fn defaults_apply_to_unset_and_empty_settings() {
    for setting in all() {
        let Some(default) = setting.default() else {
            continue;
        };
        let without = loaded(&around(setting.name())).unwrap();
        let with = loaded_with(setting, &default).unwrap();
        assert_eq!(with, without, "{}", setting.name());
        let empty = loaded_with(setting, "  ").unwrap();
        assert_eq!(empty, without, "{}", setting.name());
    }
}

#[test]
fn numbers_outside_their_bounds_are_rejected() {
    for setting in all() {
        let Form::Number { min, max, is_whole, .. } = setting.form() else {
            continue;
        };
        let [smallest, largest] = [&min, &max].map(|bound| loaded_with(setting, bound).unwrap());
        assert_ne!(smallest, largest, "{} has no effect", setting.name());
        let (below, above, others) = if is_whole {
            let [min, max] = [min, max].map(|bound| bound.parse::<i64>().unwrap());
            ((min - 1).to_string(), (max + 1).to_string(), ["ten", "1.5"])
        } else {
            let [min, max] = [min, max].map(|bound| bound.parse::<f64>().unwrap());
            ((min - 0.001).to_string(), (max + 0.001).to_string(), ["NaN", "inf"])
        };
        for refused in [&*below, &*above].into_iter().chain(others) {
            assert_refused(setting, refused);
        }
    }
}

#[test]
fn choices_accept_their_values_only() {
    for setting in all() {
        let names = match setting.form() {
            Form::OneOf(names) => names,
            Form::Flag => vec!["true", "false"],
            Form::Number { .. } | Form::Words(_) => continue,
        };
        let loaded: Vec<String> = names
            .iter()
            .map(|name| {
                let plain = loaded_with(setting, name).unwrap();
                assert_eq!(loaded_with(setting, &name.to_uppercase()).unwrap(), plain);
                plain
            })
            .collect();
        assert!(loaded.iter().any(|other| *other != loaded[0]), "{} has no effect", setting.name());
        assert_refused(setting, "sometimes");
    }
}

#[test]
fn texts_are_accepted_as_described() {
    for setting in all() {
        if !matches!(setting.form(), Form::Words(_)) {
            continue;
        }
        let (good, bad) = examples(setting.name());
        let [one, other] = good.map(|value| loaded_with(setting, value).unwrap());
        assert_ne!(one, other, "{} has no effect", setting.name());
        for value in bad {
            assert_refused(setting, &value);
        }
    }
}

#[test]
fn unresolved_references_are_reported() {
    for setting in all() {
        let name = setting.name();
        let mut pairs = around(name);
        let reference = "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s/)";
        pairs.insert(name, reference.to_owned());
        let problems = Settings::load(Env::from_pairs(pairs)).unwrap_err().problems;
        assert_eq!(problems.len(), 1, "{name}: {problems:?}");
        assert_eq!(problems[0].setting, name);
        assert!(problems[0].problem.contains("Key Vault reference"), "{problems:?}");
    }
}

#[test]
fn fallback_settings_apply_second() {
    let of = |pairs: &[(&'static str, &str)]| {
        let mut all = around("");
        all.extend(pairs.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Settings::load(Env::from_pairs(all)).unwrap()
    };
    let platform = ("WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT", "7");
    assert_eq!(of(&[platform]).timing.instances, 7);
    assert_eq!(of(&[platform, ("LASTLIGHT_INSTANCES", "3")]).timing.instances, 3);
    let site = ("WEBSITE_SITE_NAME", "geo");
    let name = |settings: Settings| settings.otlp.unwrap().service_name;
    assert_eq!(name(of(&[site])), "geo");
    assert_eq!(name(of(&[site, ("OTEL_SERVICE_NAME", "tiles")])), "tiles");
}

#[test]
fn unset_timing_and_prices_are_the_defaults() {
    let settings = Settings::load(Env::from_pairs(around(""))).unwrap();
    assert_eq!(format!("{:?}", settings.timing), format!("{:?}", Timing::default()));
    assert_eq!(settings.prices, Prices::default());
}

#[test]
fn invalid_prices_are_reported_with_the_remedy() {
    let mut pairs = around("");
    pairs.insert("LASTLIGHT_PRICE_CURRENCY", "EUR".to_owned());
    pairs.insert("LASTLIGHT_PRICE_STORAGE_PER_10000", "0".to_owned());
    pairs.insert("LASTLIGHT_PRICE_SERVICE_BUS_PER_MILLION", "0.75".to_owned());
    let prices = Settings::load(Env::from_pairs(pairs.clone())).unwrap().prices;
    assert_eq!(prices.currency, "EUR");
    assert_eq!((prices.storage_per_10_000, prices.service_bus_per_million), (0.0, 0.75));
    pairs.insert("LASTLIGHT_PRICE_CURRENCY", "euros".to_owned());
    pairs.insert("LASTLIGHT_PRICE_STORAGE_PER_10000", "0,004".to_owned());
    pairs.insert("LASTLIGHT_PRICE_SERVICE_BUS_PER_MILLION", "-0.01".to_owned());
    let error = Settings::load(Env::from_pairs(pairs)).unwrap_err();
    assert_eq!(error.problems.len(), 3, "{error}");
    for words in [
        "LASTLIGHT_PRICE_CURRENCY: \"euros\" is not a currency\n    Use three capital letters, such as USD or EUR; or omit \
         it for the default USD.",
        "LASTLIGHT_PRICE_STORAGE_PER_10000: \"0,004\" is not a number from 0 to 1000\n    Set it to a number from 0 to 1000, \
         or omit it for the default 0.004.",
        "LASTLIGHT_PRICE_SERVICE_BUS_PER_MILLION: \"-0.01\" is not a number from 0 to 1000",
    ] {
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

#[test]
fn example_settings_are_known_with_the_defaults() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join("local.settings.example.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let values = document["Values"].as_object().unwrap();
    for (name, value) in values.iter().filter(|(name, _)| !name.starts_with("_comment_")) {
        let value = value.as_str().unwrap();
        // tests/it/local/host.rs checks that these functions exist.
        if name.starts_with("AzureWebJobs.") {
            continue;
        }
        if name == "FUNCTIONS_WORKER_RUNTIME" {
            assert_eq!(value, "custom");
            continue;
        }
        let Some(setting) = all().find(|setting| setting.name() == name) else {
            panic!("the example has {name}, which is not read");
        };
        if matches!(setting.form(), Form::Number { .. }) {
            assert_eq!(Some(value.to_owned()), setting.default(), "{name}");
        }
    }
    let pairs = values.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
    let warnings = Settings::load_without_host(Env::from_pairs(pairs)).unwrap().warnings;
    assert!(warnings.is_empty(), "{warnings:?}");
}
