//! The rights that SECURITY.md lists are sufficient for the app, and each of them is necessary.

use lastlight_engine::config::Timing;
use lastlight_testing::{archive::archive_in, blobs::NewContainer};
use serde_json::json;
use sqlx::{Connection, Either, Executor, PgConnection, SqlSafeStr, Statement};

use crate::harness::{Probe, TestApp, catalog, database_settings, new_database_url, quick};

/// A database whose schema is owned by one role and used by another.
struct LeastPrivilege {
    admin: PgConnection,
    owner_url: String,
    app_url: String,
    app_role: String,
    grants: String,
}

fn as_role(url: &str, role: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_username(role).unwrap();
    url.to_string()
}

/// The SQL blocks of SECURITY.md, for roles that no other test has.
fn blocks(suffix: &str) -> Vec<String> {
    let page = include_str!("../../../SECURITY.md");
    page.split("```sql\n")
        .skip(1)
        .map(|rest| {
            let (block, _) = rest.split_once("```").expect("a block ends");
            block
                .replace("lastlight_owner", &format!("owner_{suffix}"))
                .replace("lastlight_app", &format!("app_{suffix}"))
        })
        .collect()
}

async fn run(connection: &mut PgConnection, sql: &str) {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    connection.execute(sqlx::raw_sql(sql)).await.unwrap();
}

impl LeastPrivilege {
    async fn new() -> Self {
        let url = new_database_url().await;
        let suffix = uuid::Uuid::new_v4().simple().to_string();
        let [before, after] =
            <[String; 2]>::try_from(blocks(&suffix)).expect("before and after migrating");
        let mut admin = PgConnection::connect(&url).await.unwrap();
        run(&mut admin, &before).await;
        Self {
            admin,
            owner_url: as_role(&url, &format!("owner_{suffix}")),
            app_url: as_role(&url, &format!("app_{suffix}")),
            app_role: format!("app_{suffix}"),
            grants: after,
        }
    }

    async fn migrate(&self) {
        let database = lastlight_engine::store::Database::new(&database_settings(&self.owner_url));
        database.migrate().await.expect("the owner may migrate");
        database.close().await;
    }

    async fn grant(&self) {
        let mut owner = PgConnection::connect(&self.owner_url).await.unwrap();
        run(&mut owner, &self.grants).await;
    }
}

#[tokio::test]
async fn an_app_without_schema_rights_completes_jobs() {
    let parted = LeastPrivilege::new().await;
    parted.migrate().await;
    parted.grant().await;
    let catalog = Probe::default().add_to(catalog());
    let app = TestApp::on(&parted.app_url, catalog, quick()).await;

    let mut role = PgConnection::connect(&parted.app_url).await.unwrap();
    for forbidden in [
        "CREATE TABLE app.more (id int)",
        "DROP TABLE app.tasks",
        "ALTER TABLE app.jobs ADD COLUMN more int",
        "DELETE FROM app.definitions",
        "TRUNCATE app.tasks",
        "DELETE FROM app._sqlx_migrations",
        "CREATE SCHEMA more",
    ] {
        let error = role.execute(forbidden).await.unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code()).unwrap().into_owned();
        assert_eq!(code, "42501", "{forbidden}: {error}");
    }

    for use_service_bus in [false, true] {
        let job_id = app
            .submitted("hello_world", json!({ "n": 150, "use_service_bus": use_service_bus }))
            .await;
        app.run_dry().await;
        assert_eq!(app.status(&job_id).await["status"], "completed");
        app.assert_consistent(&job_id).await;
    }
    let failed = app
        .submitted("probe", json!({ "stages": [5], "fails": [1], "tasks_per_message": 5 }))
        .await;
    app.run_dry().await;
    assert_eq!(app.status(&failed).await["status"], "failed");
    let open = app.submitted("probe", json!({ "stages": [3, 3] })).await;
    for (action, job) in
        [("retry", &failed), ("pause", &open), ("resume", &open), ("cancel", &open)]
    {
        let answer = app.request("POST", &format!("/api/jobs/{action}/{job}"), "").await;
        assert_eq!(answer.status, 200, "{action}: {}", answer.body);
    }
    let answer = app.request("GET", &format!("/api/jobs/audit/{failed}"), "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(app.deliver("reconcile", "{}").await.status, 200);
    assert_eq!(app.request("GET", "/api/health", "").await.status, 200);
}

#[tokio::test]
async fn an_app_without_schema_rights_archives_deletes_and_repeats_jobs() {
    let parted = LeastPrivilege::new().await;
    parted.migrate().await;
    parted.grant().await;
    let container = NewContainer::create().await;
    let catalog = Probe::default().add_to(catalog());
    let archive = archive_in(&container);
    let app = TestApp::archiving(&parted.app_url, catalog, quick(), archive).await;
    let job_id = app.submitted("probe", json!({ "stages": [5, 2] })).await;
    app.run_until_finished(&job_id).await;
    let again = app.request("POST", &format!("/api/jobs/resubmit/{job_id}"), "").await;
    assert_eq!(again.body["is_begun"], true, "{}", again.body);
    app.run_until_finished(&job_id).await;
    let deleted = app.request("DELETE", &format!("/api/jobs/{job_id}"), "").await;
    assert_eq!(deleted.body["is_deleted"], true, "{}", deleted.body);
    let blobs = container.blobs(&job_id).await;
    assert_eq!(blobs.iter().map(|blob| blob.of("task").len()).collect::<Vec<_>>(), [7, 7]);
    let mut role = PgConnection::connect(&parted.app_url).await.unwrap();
    let error = role.execute("INSERT INTO app.job_events (job_id, run, kind) VALUES ('a', 1, 'b')");
    assert!(
        error.await.unwrap_err().to_string().contains("permission denied"),
        "events stay what triggers write"
    );
}

/// The name of each statement of the app, prepared on this connection, and the EXPLAIN of its
/// execution with null values.
async fn prepared_statements(connection: &mut PgConnection) -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crates/lastlight-engine/src/store/sql");
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let statement = sqlx::AssertSqlSafe(text.clone()).into_sql_str();
        let values = match (&mut *connection).prepare(statement).await.unwrap().parameters() {
            Some(Either::Left(types)) => types.len(),
            Some(Either::Right(count)) => count,
            None => 0,
        };
        run(connection, &format!("PREPARE s_{name} AS {text}")).await;
        let values = vec!["NULL"; values].join(", ");
        let call = if values.is_empty() { String::new() } else { format!("({values})") };
        found.push((name.clone(), format!("EXPLAIN EXECUTE s_{name}{call}")));
    }
    found
}

/// The statements that the app's role may not run. EXPLAIN checks the rights and runs nothing.
async fn refused(
    parted: &mut LeastPrivilege,
    statements: &[(String, String)],
    revoke: Option<&str>,
) -> Vec<String> {
    let mut refused = Vec::new();
    for (name, explain) in statements {
        let mut transaction = parted.admin.begin().await.unwrap();
        if let Some(revoke) = revoke {
            run(&mut transaction, revoke).await;
        }
        run(&mut transaction, &format!("SET LOCAL ROLE {}", parted.app_role)).await;
        let explained =
            transaction.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(explain.clone()))).await;
        if let Err(error) = explained {
            let code =
                error.as_database_error().and_then(|error| error.code()).unwrap().into_owned();
            assert_eq!(code, "42501", "{name}: {error}");
            refused.push(name.clone());
        }
        transaction.rollback().await.unwrap();
    }
    refused
}

#[tokio::test]
async fn the_documented_rights_are_exactly_sufficient() {
    let mut parted = LeastPrivilege::new().await;
    parted.migrate().await;
    parted.grant().await;
    // Custom plans: a cached plan would not be checked again for each role.
    run(&mut parted.admin, "SET search_path = app; SET plan_cache_mode = force_custom_plan").await;
    let statements = prepared_statements(&mut parted.admin).await;
    assert!(statements.len() > 50, "{} statements", statements.len());
    assert_eq!(refused(&mut parted, &statements, None).await, Vec::<String>::new());

    let rights: Vec<(String, String)> = sqlx::query_as(
        "SELECT table_name::text, privilege_type::text FROM information_schema.role_table_grants
         WHERE grantee = $1 AND table_schema = 'app' ORDER BY 1, 2",
    )
    .bind(&parted.app_role)
    .fetch_all(&mut parted.admin)
    .await
    .unwrap();
    assert_eq!(rights.len(), 7 * 3 + 14 * 4 + 2 + 2 + 1, "{rights:?}");
    for (table, right) in rights {
        let revoke = format!("REVOKE {right} ON app.{table} FROM {}", parted.app_role);
        let without = refused(&mut parted, &statements, Some(&revoke)).await;
        assert!(!without.is_empty(), "no statement needs {right} on {table}");
    }
}

#[tokio::test]
async fn missing_grants_and_migrations_are_reported() {
    let parted = LeastPrivilege::new().await;
    let database = lastlight_engine::store::Database::new(&database_settings(&parted.app_url));
    for is_migrated in [false, true] {
        // First the schema is missing and this role may not create it; then the schema exists and
        // the role may not read it.
        if is_migrated {
            parted.migrate().await;
        }
        let error = database.migrate().await.unwrap_err().to_string();
        assert!(
            error.contains("`lastlight migrate` with a role that may")
                && error.contains("SECURITY.md"),
            "{error}"
        );
        assert!(error.contains("schema \"app\"") && error.contains(&parted.app_role), "{error}");
        let grant = format!("GRANT USAGE ON SCHEMA app TO {}", parted.app_role);
        assert!(error.contains(&grant), "{error}");
    }
    // The role may read the schema, and a migration has not run.
    let mut owner = PgConnection::connect(&parted.owner_url).await.unwrap();
    parted.grant().await;
    let is_run = async |owner: &mut PgConnection, is_run: &str| {
        let update =
            format!("UPDATE app._sqlx_migrations SET success = {is_run} WHERE version > 1");
        run(owner, &update).await;
    };
    is_run(&mut owner, "false").await;
    let error = database.migrate().await.unwrap_err().to_string();
    assert!(
        error.contains("schema \"app\" is not of this version")
            && error.contains("may not create in it"),
        "{error}"
    );
    is_run(&mut owner, "true").await;
    database.migrate().await.unwrap();

    let app = TestApp::on(&parted.app_url, catalog(), Timing::default()).await;
    run(&mut owner, &format!("REVOKE INSERT ON app.jobs FROM {}", parted.app_role)).await;
    let answer = app.submit("hello_world", json!({ "n": 1 })).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    let words = answer.body["message"].as_str().unwrap();
    assert!(
        words.contains("permission denied for table jobs") && words.contains("SECURITY.md"),
        "{words}"
    );
    parted.grant().await;
    app.submitted("hello_world", json!({ "n": 1 })).await;
}

#[tokio::test]
async fn a_newer_schema_is_used_only_if_compatible() {
    let parted = LeastPrivilege::new().await;
    parted.migrate().await;
    parted.grant().await;
    let mut owner = PgConnection::connect(&parted.owner_url).await.unwrap();
    run(
        &mut owner,
        "INSERT INTO app._sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', true, '', 0)",
    )
    .await;
    let migrate = async |url: &str| {
        let database = lastlight_engine::store::Database::new(&database_settings(url));
        database.migrate().await.map_err(|error| error.to_string())
    };
    for url in [&parted.owner_url, &parted.app_url] {
        assert_eq!(migrate(url).await, Ok(()), "the schema works from this version on");
    }
    run(
        &mut owner,
        "CREATE OR REPLACE FUNCTION app.works_from() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 9999::bigint'",
    )
    .await;
    for says_so in [true, false] {
        if !says_so {
            run(&mut owner, "DROP FUNCTION app.works_from()").await;
        }
        for url in [&parted.owner_url, &parted.app_url] {
            let error = migrate(url).await.unwrap_err();
            assert!(
                error.contains("9999") && error.contains("another version of lastlight"),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn tables_of_another_program_are_not_touched() {
    let parted = LeastPrivilege::new().await;
    let mut owner = PgConnection::connect(&parted.owner_url).await.unwrap();
    run(&mut owner, "CREATE TABLE app.jobs (job_id text PRIMARY KEY)").await;
    run(&mut owner, "CREATE TABLE app.tasks (task_id text PRIMARY KEY)").await;
    let database = lastlight_engine::store::Database::new(&database_settings(&parted.owner_url));
    let error = database.migrate().await.unwrap_err().to_string();
    assert!(
        error.contains("another program (jobs, tasks)") && error.contains("APP_SCHEMA"),
        "{error}"
    );
    let made: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'app'")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(made, 2, "nothing was added");
}
