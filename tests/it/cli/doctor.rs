//! `lastlight doctor`: a correct configuration, and the reported fault and remedy for each broken
//! one.

use lastlight_engine::functions::{functions, write_folders};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use lastlight_engine::config::{DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY};
use lastlight_local::broker::{
    Endpoint, Faults, ServiceBus, StorageQueues,
    service_bus::{self, NewMessage, QueueOptions, ServiceBusAccess},
    storage_queue::{self, StorageAccount},
};
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    cli::harness::{Said, command, redacted, run},
    harness::new_database_url,
};

/// The folder of a deployed app and both queue services, all correct.
struct Deployed {
    folder: tempfile::TempDir,
    storage: StorageQueues,
    bus: ServiceBus,
    endpoints: [Endpoint; 2],
    settings: Vec<(String, String)>,
}

impl Deployed {
    /// Everything except the database.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_app(folder.path());
        let (storage, bus) = (StorageQueues::new(), ServiceBus::new());
        let account = StorageAccount {
            name: DEVELOPMENT_ACCOUNT.to_owned(),
            key: DEVELOPMENT_KEY.to_owned(),
        };
        let access = ServiceBusAccess { key_name: "Root".to_owned(), key: "topsecret".to_owned() };
        let storage_router = storage_queue::router(storage.clone(), account, Faults::default());
        let bus_router = service_bus::router(bus.clone(), access, Faults::default());
        let endpoints = [
            Endpoint::start("Storage Queues", 0, storage_router).await.unwrap(),
            Endpoint::start("Service Bus", 0, bus_router).await.unwrap(),
        ];
        let [storage_address, bus_address] = endpoints.each_ref().map(Endpoint::address);
        let connection = format!(
            "DefaultEndpointsProtocol=http;AccountName={DEVELOPMENT_ACCOUNT};AccountKey={DEVELOPMENT_KEY};\
             QueueEndpoint=http://{storage_address}/{DEVELOPMENT_ACCOUNT}"
        );
        let bus_connection = format!(
            "Endpoint=sb://{bus_address};SharedAccessKeyName=Root;SharedAccessKey=topsecret;UseDevelopmentEmulator=true"
        );
        let settings = [
            ("FUNCTIONS_WORKER_RUNTIME", "custom"),
            ("AzureWebJobsStorage", &connection),
            ("JOB_PROCESSING_QUEUE", "geospatial-jobs"),
            ("TASK_PROCESSING_QUEUE", "geospatial-tasks"),
            ("SERVICE_BUS_CONNECTION_STRING", &bus_connection),
            ("ServiceBusConnection", &bus_connection),
            ("SERVICE_BUS_JOB_QUEUE", "sb-jobs"),
            ("SERVICE_BUS_TASK_QUEUE", "sb-tasks"),
        ];
        Self {
            folder,
            storage,
            bus,
            endpoints,
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }
    }

    fn with_queues(self) -> Self {
        for queue in ["geospatial-jobs", "geospatial-tasks", "geospatial-poison"] {
            self.storage.create_queue(queue);
        }
        for queue in ["sb-jobs", "sb-tasks", "sb-poison"] {
            self.bus.create_queue(queue, QueueOptions::default());
        }
        self
    }

    fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.settings.push((name.to_owned(), value.to_owned()));
        }
    }

    fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Changes a JSON file of the app.
    fn edit(&self, path: &str, change: impl FnOnce(&mut serde_json::Value)) {
        let file = self.file(path);
        let mut document = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        change(&mut document);
        fs::write(file, document.to_string()).unwrap();
    }

    async fn doctor(&self, more: &[&str]) -> Said {
        let root = self.folder.path().to_str().unwrap();
        let settings: Vec<(&str, &str)> =
            self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let said = run(command(&[&["doctor", "--app-root", root], more].concat(), &settings)).await;
        let words = format!("{}{}", said.out, said.err);
        assert!(!words.contains("topsecret"), "{words}");
        assert!(!words.contains(DEVELOPMENT_KEY), "{words}");
        said
    }

    /// The warnings and faults of these checks, for a snapshot.
    async fn complaints(&self, checks: &[&str]) -> String {
        let said = self.doctor(&["--json"]).await;
        let report = said.json();
        let mut lines = Vec::new();
        for finding in report["checks"].as_array().unwrap() {
            let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
            if text("state") != "ok" && checks.contains(&text("check").as_str()) {
                lines.push(format!("{}: {}\n  {}", text("state"), text("what"), text("remedy")));
            }
        }
        let root = self.folder.path().to_str().unwrap();
        redacted(&lines.join("\n").replace(root, "<app>"))
    }
}

/// Copies the repository's host.json, all function folders and a handler.
fn copy_app(to: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(root.join("host.json"), to.join("host.json")).unwrap();
    fs::write(to.join("lastlight"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(to.join("lastlight"), fs::Permissions::from_mode(0o755)).unwrap();
    write_folders(to, functions().iter().map(|function| function.name)).unwrap();
}

#[tokio::test]
async fn a_correct_configuration_passes_every_check() {
    let mut app = Deployed::new().await.with_queues();
    let url = new_database_url().await;
    app.set("DATABASE_URL", &url);
    let before = app.doctor(&[]).await;
    assert_eq!(before.code, 0, "{}", before.out);
    assert!(before.out.contains("\"app\" does not exist yet"), "{}", before.out);
    let migrated = run(command(&["migrate"], &[("DATABASE_URL", &url)])).await;
    assert_eq!(migrated.code, 0, "{}", migrated.err);
    let said = app.doctor(&[]).await;
    assert_eq!(said.code, 0, "{}", said.out);
    assert!(said.out.ends_with("\nNo problems found.\n"), "{}", said.out);
    for words in [
        "every setting can be read",
        "it fits the app",
        "folders match this version",
        "PostgreSQL",
        "matches this version",
        "clock agrees",
        "geospatial-jobs, geospatial-tasks, geospatial-poison",
        "sb-tasks, lock <time>, 10 deliveries, duplicate detection off",
    ] {
        assert!(redacted(&said.out).contains(words), "{words}: {}", said.out);
    }
    let report = app.doctor(&["--json"]).await.json();
    assert_eq!((&report["faults"], &report["warnings"]), (&0.into(), &0.into()));
    assert!(app.endpoints.iter().all(|endpoint| endpoint.address().port() > 0));
}

#[tokio::test]
async fn invalid_settings_are_named_with_a_remedy() {
    let mut app = Deployed::new().await;
    app.set("FUNCTIONS_WORKER_RUNTIME", "python");
    app.set("FUNCTION_TIMEOUT_MINUTES", "soon");
    app.set("STORAGE_QUEUE_ENCODING", "rot13");
    app.set("AzureWebJobsStorage", "AccountName=geo;AccountKey=topsecret!");
    app.set("ENABLE_SERVICE_BUS", "perhaps");
    insta::assert_snapshot!("doctor_settings", app.complaints(&["settings"]).await);
    // An unusable settings file is a fault like any other.
    for (text, words) in [
        ("{\"Values\": {\"A\": 1}}", "Values.A is not text"),
        ("{\"Values\": 5}", "it has no object \"Values\""),
        ("{\"IsEncrypted\": true, \"Values\": {}}", "its values are encrypted"),
        ("{", "it is not JSON"),
    ] {
        fs::write(app.file("local.settings.json"), text).unwrap();
        let said = app.doctor(&[]).await;
        assert_eq!(said.code, 1);
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    let nowhere = app.doctor(&["--settings", "/nowhere/settings.json"]).await;
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.out.contains("/nowhere/settings.json: No such file"), "{}", nowhere.out);
}

#[tokio::test]
async fn workflow_files_that_are_wrong_are_named_with_line_and_column() {
    let mut app = Deployed::new().await;
    app.set("LASTLIGHT_WORKFLOWS", "flows");
    fs::create_dir(app.file("flows")).unwrap();
    let right = "workflow: right\nnodes:\n  only: {type: task, handler: echo}\n";
    fs::write(app.file("flows/right.yaml"), right).unwrap();
    assert_eq!(app.complaints(&["workflows"]).await, "");
    let said = app.doctor(&[]).await;
    assert!(said.out.contains("1 can be submitted: right"), "{}", said.out);
    for (file, text) in [
        ("wrong.yaml", right.replace("right", "wrong").replace("task", "tusk")),
        ("rust.yaml", right.replace("right", "hello_world")),
        ("worker.yaml", right.replace("right", "worker").replace("echo", "raster_cog")),
    ] {
        fs::write(app.file(&format!("flows/{file}")), text).unwrap();
    }
    insta::assert_snapshot!(app.complaints(&["workflows"]).await, @r#"
    fault: the workflow "wrong" cannot be submitted: <app>/flows/wrong.yaml:3:16: type of node "only" must be task or conditional or fan_out or fan_in or gate or job, not "tusk"; did you mean task?
      Correct the file; no other workflow is affected.
    fault: the workflow "hello_world" cannot be submitted: <app>/flows/rust.yaml:1:11: the app has a job type "hello_world" in Rust: one of the two needs another name
      Correct the file; no other workflow is affected.
    warning: worker: handler "raster_cog" is not in this app: a worker must have it
      Start a worker with it, register it in the app, or correct its name.
    "#);
    assert_eq!(app.doctor(&[]).await.code, 1);
}

#[tokio::test]
async fn a_settings_file_is_read_as_by_func_start() {
    let app = Deployed::new().await;
    let file = app.file("local.settings.json");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("local.settings.example.json");
    fs::copy(example, &file).unwrap();
    let file = file.to_str().unwrap();
    let root = app.folder.path().to_str().unwrap();
    let arguments = ["doctor", "--app-root", root, "--settings", file, "--json"];
    let report = run(command(&arguments, &[("POSTGIS_PORT", "1")])).await.json();
    let whats: Vec<&str> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["what"].as_str().unwrap())
        .collect();
    assert!(whats.contains(&"every setting can be read"), "{whats:?}");
    // A comment is not a setting.
    let text = std::fs::read_to_string(file).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names = document["Values"].as_object().unwrap().keys();
    let settings = names.filter(|name| !name.starts_with("_comment")).count();
    let counted = format!("local.settings.json: {settings} settings");
    assert!(whats.iter().any(|what| what.ends_with(&counted)), "{counted}: {whats:?}");
    // The environment overrides the file.
    assert!(whats.iter().any(|what| what.starts_with("127.0.0.1:1/postgres: ")), "{whats:?}");
    assert!(!whats.iter().any(|what| what.contains("Service Bus")), "{whats:?}");
}

#[tokio::test]
async fn each_fault_of_host_json_is_reported() {
    let mut app = Deployed::new().await;
    app.edit("host.json", |host| {
        host["version"] = "1.0".into();
        host["customHandler"]["enableForwardingHttpRequest"] = false.into();
        host["extensionBundle"]["version"] = "[2.*, 3.0.0)".into();
        host["functionTimeout"] = "00:05:00".into();
        host["extensions"]["http"]["routePrefix"] = "".into();
        host["extensions"]["queues"]["messageEncoding"] = "none".into();
        host["extensions"]["queues"]["maxDequeueCount"] = 1.into();
        host["extensions"]["queues"]["batchSize"] = 64.into();
        host["extensions"]["queues"]["visibilityTimeout"] = "00:00:00".into();
        host["extensions"]["serviceBus"]["maxAutoLockRenewalDuration"] = "00:01:00".into();
        host["extensions"]["serviceBus"]["autoCompleteMessages"] = false.into();
    });
    fs::set_permissions(app.file("lastlight"), fs::Permissions::from_mode(0o644)).unwrap();
    insta::assert_snapshot!("doctor_host_json", app.complaints(&["host.json"]).await);

    app.edit("host.json", |host| {
        host["customHandler"]["description"]["defaultExecutablePath"] = "handler".into();
        host["functionTimeout"] = "half an hour".into();
    });
    app.set("AzureFunctionsJobHost__extensions__queues__batchSize", "16");
    let said = app.complaints(&["host.json"]).await;
    assert!(said.contains("the handler \"handler\""), "{said}");
    assert!(
        said.contains("functionTimeout is \"half an hour\", which is not a time span"),
        "{said}"
    );
    assert!(!said.contains("batchSize"), "the app setting wins: {said}");

    for (text, words) in [("[]", "it is JSON, but not an object"), ("{,", "it is not JSON")] {
        fs::write(app.file("host.json"), text).unwrap();
        assert!(app.complaints(&["host.json"]).await.contains(words));
    }
    fs::remove_file(app.file("host.json")).unwrap();
    assert!(app.complaints(&["host.json"]).await.contains("--app-root"));
}

/// Checks a host.json that was made for short tasks.
#[tokio::test]
async fn host_json_numbers_are_checked_for_long_tasks() {
    const PREFIX: &str = "AzureFunctionsJobHost__";
    let mut app = Deployed::new().await;
    assert_eq!(app.complaints(&["host.json"]).await, "", "the shipped numbers fit");
    app.set("LASTLIGHT_TASKS_IN_FLIGHT", "5");
    app.set(&format!("{PREFIX}extensions__serviceBus__prefetchCount"), "200");
    app.set(&format!("{PREFIX}functionTimeout"), "00:10:00");
    insta::assert_snapshot!("doctor_long_tasks", app.complaints(&["host.json"]).await);
    // With one message at a time another number matters.
    app.edit("process_sb_task/function.json", |function| {
        function["bindings"][0]["cardinality"] = "one".into();
    });
    let said = app.complaints(&["host.json", "functions"]).await;
    assert!(said.contains("maxConcurrentCalls is 200"), "{said}");
    assert!(!said.contains("maxMessageBatchSize"), "{said}");
    assert!(!said.contains("cardinality is"), "{said}");
    // The suggested settings are sufficient.
    for (setting, value) in [
        ("extensions__queues__batchSize", "3"),
        ("extensions__queues__newBatchThreshold", "2"),
        ("extensions__serviceBus__maxConcurrentCalls", "5"),
        ("extensions__serviceBus__prefetchCount", "0"),
    ] {
        app.set(&format!("{PREFIX}{setting}"), value);
    }
    app.set("FUNCTION_TIMEOUT_MINUTES", "10");
    assert_eq!(app.complaints(&["host.json", "functions"]).await, "");
    // Without a timeout there is nothing to compare with.
    app.set(&format!("{PREFIX}functionTimeout"), "-1");
    let said = app.complaints(&["host.json"]).await;
    assert!(!said.contains("functionTimeout is"), "{said}");
}

#[tokio::test]
async fn missing_or_changed_folders_are_named() {
    let app = Deployed::new().await;
    fs::remove_dir_all(app.file("reconcile")).unwrap();
    fs::write(app.file("pause_job/function.json"), "oops").unwrap();
    fs::create_dir(app.file("old_function")).unwrap();
    fs::copy(app.file("health/function.json"), app.file("old_function/function.json")).unwrap();
    app.edit("monitor_poison/function.json", |function| {
        function["bindings"][0]["authLevel"] = "anonymous".into();
    });
    app.edit("health/function.json", |function| {
        function["bindings"][0]["authLevel"] = "admin".into();
    });
    app.edit("submit_job/function.json", |function| {
        function["bindings"][0]["route"] = "submit/{job_type}".into();
        function["bindings"][0]["methods"] = serde_json::json!(["get"]);
    });
    app.edit("process_sb_task/function.json", |function| {
        // Correct for long tasks.
        function["bindings"][0]["cardinality"] = "one".into();
        function["bindings"][0]["queueName"] = "%SERVICE_BUS_TASK_QUEUE".into();
    });
    app.edit("process_sb_job/function.json", |function| {
        function["bindings"][0]["cardinality"] = "many".into();
    });
    app.edit("process_queue_task/function.json", |function| {
        function["bindings"][0]["queueName"] = "tasks".into();
    });
    app.edit("process_queue_task_poison/function.json", |function| {
        function["disabled"] = true.into();
    });
    insta::assert_snapshot!("doctor_functions", app.complaints(&["functions"]).await);
}

#[tokio::test]
async fn settings_used_by_functions_are_checked() {
    let mut app = Deployed::new().await;
    app.set("JOB_PROCESSING_QUEUE", "");
    app.set("ServiceBusConnection", "");
    app.set("AzureWebJobs.process_sb_job.Disabled", "true");
    insta::assert_snapshot!("doctor_functions_settings", app.complaints(&["functions"]).await);
    let mut app = Deployed::new().await;
    app.set("ENABLE_SERVICE_BUS", "false");
    app.set("AzureWebJobs.reconcile.Disabled", "1");
    insta::assert_snapshot!("doctor_functions_switches", app.complaints(&["functions"]).await);
    let mut app = Deployed::new().await;
    let other = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=topsecret;UseDevelopmentEmulator=true";
    app.set("ServiceBusConnection", other);
    let said = app.complaints(&["functions"]).await;
    assert!(said.contains("the host listens at"), "{said}");
    let mut app = Deployed::new().await;
    app.set("AzureWebJobsStorage", "");
    let said = app.complaints(&["functions"]).await;
    assert!(said.contains("AzureWebJobsStorage__accountName"), "{said}");
    // The handler uses this account and the host does not: both are reported, with the setting to
    // change.
    app.set("STORAGE_ACCOUNT_NAME", "geo");
    let said = app.complaints(&["functions", "settings", "storage queues"]).await;
    for words in [
        "AzureWebJobsStorage is not set, and the host cannot start",
        "Set AzureWebJobsStorage__accountName to the value of STORAGE_ACCOUNT_NAME",
        "Sign in: az login",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("Correct AzureWebJobsStorage"), "{said}");
}

#[tokio::test]
async fn an_unusable_database_is_named_with_a_remedy() {
    let url = new_database_url().await;
    let mut app = Deployed::new().await;
    let (server, _) = url.rsplit_once('/').unwrap();
    let mut all = String::new();
    for bad in [
        "postgresql://nobody@127.0.0.1:1/x".to_owned(),
        format!("{server}/no_such_database"),
        "postgresql://u:topsecret@nowhere.invalid/x".to_owned(),
    ] {
        app.set("DATABASE_URL", &bad);
        all.push_str(&app.complaints(&["database"]).await);
        all.push('\n');
    }
    // The error for an unknown host name differs between machines.
    let sure: Vec<&str> = all
        .lines()
        .filter(|line| !line.contains("nowhere.invalid"))
        // The position in the server's source differs between versions.
        .map(|line| line.split(" at line ").next().unwrap())
        .collect();
    insta::assert_snapshot!("doctor_database_away", sure.join("\n"));
    assert!(all.contains("nowhere.invalid:5432/x"), "{all}");
}

#[tokio::test]
async fn schema_connections_and_rights_are_checked() {
    let url = new_database_url().await;
    let mut app = Deployed::new().await;
    app.set("DATABASE_URL", &url);
    app.set("LASTLIGHT_INSTANCES", "1000");
    let said = app.complaints(&["database"]).await;
    assert!(said.contains("1000 instance(s) x 8 connections = 8000"), "{said}");
    app.set("LASTLIGHT_INSTANCES", "");

    let migrated = run(command(&["migrate"], &[("DATABASE_URL", &url)])).await;
    assert_eq!(migrated.code, 0, "{}", migrated.err);
    let mut admin = PgConnection::connect(&url).await.unwrap();
    admin
        .execute(
            "INSERT INTO app.worker_handlers (queue, name) VALUES ('gpu', 'raster');
             INSERT INTO app.tasks (parent_job_id, stage, task_id, ordinal, status, job_type, task_type, task_index, batch_id,
                                    parameters, handler_id, ready_at)
             SELECT repeat('a', 64), 1, 'a task', 0, 'queued', 'j', 't', 'i', 'b', '{}', handler_id, now()
             FROM app.worker_handlers",
        )
        .await
        .unwrap();
    let said = app.complaints(&["database"]).await;
    assert!(said.contains("handler \"raster\" in queue \"gpu\" wait for a worker"), "{said}");
    admin.execute("DELETE FROM app.tasks").await.unwrap();
    let role = format!("doctor_{}", uuid::Uuid::new_v4().simple());
    for statement in [
        format!("CREATE ROLE {role} LOGIN PASSWORD 'topsecret'"),
        format!("GRANT USAGE ON SCHEMA app TO {role}"),
        format!("GRANT SELECT ON app._sqlx_migrations, app.jobs, app.stages, app.tasks TO {role}"),
    ] {
        admin.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    }
    let mut as_role = url::Url::parse(&url).unwrap();
    as_role.set_username(&role).unwrap();
    as_role.set_password(Some("topsecret")).unwrap();
    app.set("DATABASE_URL", as_role.as_str());
    let said = app.complaints(&["database"]).await;
    for words in ["lacks", "INSERT on jobs", "DELETE on outbox", "SECURITY.md"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("SELECT on jobs"), "{said}");
    // Each cause is reported as one fault.
    for (statement, words) in [
        (
            format!("REVOKE SELECT ON app._sqlx_migrations FROM {role}"),
            "SELECT on _sqlx_migrations",
        ),
        (format!("REVOKE USAGE ON SCHEMA app FROM {role}"), "may not read schema \"app\""),
    ] {
        admin.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
        let said = app.complaints(&["database"]).await;
        assert!(said.contains(words), "{words}: {said}");
        assert_eq!(said.matches("fault: ").count(), 1, "{said}");
    }

    app.set("DATABASE_URL", &url);
    admin
        .execute(
            "INSERT INTO app._sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'from the future', true, '\\x00', 0)",
        )
        .await
        .unwrap();
    let said = app.complaints(&["database"]).await;
    assert!(
        said.contains(
            "schema \"app\" is newer than this version, which works with it: migrations 9999"
        ),
        "{said}"
    );
    admin.execute("DROP FUNCTION app.works_from()").await.unwrap();
    let said = app.complaints(&["database"]).await;
    assert!(said.contains("schema \"app\" is newer than this version: migrations 9999"), "{said}");
    admin.execute("DELETE FROM app._sqlx_migrations WHERE version > 1").await.unwrap();
    let said = app.complaints(&["database"]).await;
    assert!(said.contains("is older than this version: migrations 0002"), "{said}");
    admin.execute("UPDATE app._sqlx_migrations SET checksum = '\\x00'").await.unwrap();
    let said = app.complaints(&["database"]).await;
    assert!(said.contains("was migrated by another program: migrations 0001"), "{said}");
    admin.execute("DROP TABLE app._sqlx_migrations").await.unwrap();
    let said = app.complaints(&["database"]).await;
    assert!(
        said.contains("holds tables of another program: jobs, outbox, stages, task_batches, tasks")
            && said.contains("APP_SCHEMA"),
        "{said}"
    );
}

#[tokio::test]
async fn missing_and_misconfigured_queues_are_named() {
    let mut app = Deployed::new().await;
    app.bus.create_queue(
        "sb-tasks",
        QueueOptions {
            lock_duration: std::time::Duration::from_secs(5),
            max_delivery_count: 2,
            ..QueueOptions::default()
        },
    );
    app.bus.create_queue("sb-poison", QueueOptions::default());
    let message = NewMessage { body: "left over".into(), ..NewMessage::default() };
    app.bus.send("sb-poison", vec![message]).unwrap();
    insta::assert_snapshot!(
        "doctor_queues",
        app.complaints(&["storage queues", "service bus"]).await
    );

    let key = "Endpoint=sb://{};SharedAccessKeyName=Root;SharedAccessKey=wrong;UseDevelopmentEmulator=true";
    let address = app.endpoints[1].address().to_string();
    app.set("SERVICE_BUS_CONNECTION_STRING", &key.replace("{}", &address));
    let storage = format!(
        "DefaultEndpointsProtocol=http;AccountName={DEVELOPMENT_ACCOUNT};AccountKey={DEVELOPMENT_KEY};\
         QueueEndpoint=http://127.0.0.1:1/{DEVELOPMENT_ACCOUNT}"
    );
    app.set("AzureWebJobsStorage", &storage);
    insta::assert_snapshot!(
        "doctor_queues_away",
        app.complaints(&["storage queues", "service bus"]).await
    );
}
