//! Every statement is in a file of its own, and the database accepts each of them with the schema
//! of the migrations.

use sqlx::{Executor, Row, SqlSafeStr};

use crate::harness::{OfThisApp, TestApp};

#[tokio::test]
async fn the_database_accepts_every_statement() {
    let app = TestApp::start().await;
    let mut connection = app.connection().await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crates/lastlight-engine/src/store/sql");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let statement = std::fs::read_to_string(&path).unwrap();
        assert!(statement.starts_with("-- "), "{} does not say what it is for", path.display());
        let prepared =
            (&mut connection).prepare(sqlx::AssertSqlSafe(statement).into_sql_str()).await;
        assert!(prepared.is_ok(), "{}: {}", path.display(), prepared.err().unwrap());
        count += 1;
    }
    assert!(count > 20, "{count} statements");
}

/// The compiler checks the code against descriptions of the statements that are kept beside it: they
/// must be those that the database gives. `scripts/sqlx` writes them.
#[tokio::test]
async fn the_compiler_knows_what_the_database_answers() {
    let app = TestApp::start().await;
    let mut connection = app.connection().await;
    let store = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/lastlight-engine");
    let mut described = std::collections::BTreeMap::new();
    let mut undescribed = Vec::new();
    for file in std::fs::read_dir(store.join(".sqlx")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let description: serde_json::Value = serde_json::from_str(&text).unwrap();
        let statement = description["query"].as_str().unwrap().to_owned();
        described.insert(statement, description["describe"].clone());
    }
    for file in std::fs::read_dir(store.join("src/store/sql")).unwrap() {
        let path = file.unwrap().path();
        let statement = std::fs::read_to_string(&path).unwrap();
        let Some(known) = described.remove(&statement) else {
            undescribed.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
            continue;
        };
        let found = (&mut connection)
            .describe(sqlx::AssertSqlSafe(statement).into_sql_str())
            .await
            .unwrap();
        let found = serde_json::to_value(found).unwrap();
        for part in ["columns", "parameters"] {
            assert_eq!(found[part], known[part], "{}: run scripts/sqlx", path.display());
        }
        // Whether a column of an outer join may be null is guessed from the plan; only what the
        // compiler takes for never null must be so.
        let is_never_null = |description: &serde_json::Value| -> Vec<bool> {
            let columns = description["nullable"].as_array().unwrap();
            columns.iter().map(|nullable| nullable == false).collect()
        };
        for (found, known) in is_never_null(&found).into_iter().zip(is_never_null(&known)) {
            assert!(found || !known, "{}: run scripts/sqlx", path.display());
        }
    }
    undescribed.sort();
    // Their columns are read by nobody, or they are run without being prepared.
    assert_eq!(
        undescribed,
        ["backend", "bound_reading", "own_connection", "session_settings"],
        "run scripts/sqlx"
    );
    assert!(described.is_empty(), "statements that exist no more: {:?}", described.keys());
}

#[tokio::test]
async fn migrations_are_repeatable_and_concurrent() {
    let url = crate::harness::new_database_url().await;
    let databases: Vec<_> = (0..5)
        .map(|_| lastlight_engine::store::Database::new(&crate::harness::database_settings(&url)))
        .collect();
    for result in
        futures_util::future::join_all(databases.iter().map(|database| database.migrate())).await
    {
        result.unwrap();
    }
    databases[0].migrate().await.unwrap();
}

/// Statements whose purpose is to read a whole stage or all open work.
const READS_STAGES: [&str; 16] = [
    // On request of users. The last two count what a user skipped, if anything was skipped.
    "audit_stages",
    "recount_stage",
    "lock_graph",
    "reopen_job",
    // Once per stage, after its end.
    "measure_stage",
    // Of open stages, once a minute: attempts whose lease expired; whether an attempt runs in a
    // stage without progress.
    "dead_attempts",
    "lost_batches",
    // Tasks of jobs that were deleted by hand, in steps; and, to find such jobs, the first task of
    // each job or of one stage.
    "clear_stage",
    "lease_stage",
    "orphaned_jobs",
    "remove_orphans",
    // Of a job that is deleted, in steps, or that runs again.
    "clear_run",
    "purge_batches",
    "purge_job",
    "purge_tasks",
    // Before that, page by page, once.
    "archive_tasks",
];

/// Statements that count the batches of a stage, or read them once, on request of a user or when its job is finished.
const READS_BATCHES: [&str; 3] = ["end_batches", "get_stages", "query_tasks"];

/// Statements that take the deferred tasks of all jobs in the order in which they are due, or count
/// those of a stage.
const READS_DEFERRED: [&str; 2] = ["get_stages", "take_deferred"];

/// Statements that read the ready tasks of a handler in the order in which they became ready.
const READS_READY: [&str; 4] = ["claim_ready", "ready_tasks", "unserved_handlers", "worker_queues"];

/// Statements that search jobs by status.
const READS_JOBS: [&str; 5] =
    ["open_on_paths", "open_work", "query_jobs_by_status", "search_by_status", "search_estimates"];

/// A connection caches its plans, perhaps from a time when the tables were empty and had not been
/// analyzed. A plan that finds a task or a batch by its job alone, or a job by its status, and
/// filters the rest is just as fast then, and later takes time that grows with the square of the
/// job's size or of the number of jobs.
#[tokio::test]
async fn plans_on_empty_tables_use_the_whole_key() {
    let app = TestApp::start().await;
    let mut connection = app.connection().await;
    connection
        .execute(
            "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; \
             SET enable_mergejoin = off",
        )
        .await
        .unwrap();
    let mut found = std::collections::BTreeMap::<&str, u32>::new();
    let mut wrong = Vec::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crates/lastlight-engine/src/store/sql");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let statement = std::fs::read_to_string(&path).unwrap();
        let parameters = (1..)
            .take_while(|number| statement.contains(&format!("${number}")))
            .map(|_| "NULL")
            .collect::<Vec<_>>()
            .join(", ");
        let text = format!("PREPARE {name} AS {statement}");
        connection.execute(sqlx::AssertSqlSafe(text)).await.unwrap();
        let text = match &*parameters {
            "" => format!("EXPLAIN EXECUTE {name}"),
            _ => format!("EXPLAIN EXECUTE {name} ({parameters})"),
        };
        let plan: Vec<String> = connection
            .fetch_all(sqlx::AssertSqlSafe(text))
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        let plan = plan.join("\n");
        assert!(
            !plan.contains("jobs_by_status") || READS_JOBS.contains(&name),
            "{name} looks for jobs by their status:\n{plan}"
        );
        assert!(
            !plan.contains("task_batches_owed")
                || ["backlog", "get_pending_retry_batches"].contains(&name),
            "{name} reads unsent batches:\n{plan}"
        );
        if READS_STAGES.contains(&name) {
            continue;
        }
        for (index, column) in
            [(" using tasks_", "task_id"), (" using task_batches_pkey", "batch_no")]
        {
            for scan in plan.split(index).skip(1) {
                let condition = scan.split_once("Index Cond: ").map_or("none", |(_, rest)| rest);
                let condition = condition.lines().next().unwrap();
                let is_meant = (column == "batch_no" && READS_BATCHES.contains(&name))
                    || (scan.starts_with("deferred") && READS_DEFERRED.contains(&name))
                    || (scan.starts_with("ready")
                        && condition.contains("handler_id")
                        && READS_READY.contains(&name));
                if !condition.contains(column) && !is_meant {
                    wrong.push(format!("{name}: {condition}\n{plan}"));
                }
                *found.entry(index).or_default() += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(found[" using tasks_"] >= 15 && found[" using task_batches_pkey"] >= 5, "{found:?}");
}

/// With many rows and their statistics another index looks cheaper: that of all jobs by time, whose
/// rows would be read until enough of them match.
#[tokio::test]
async fn searches_keep_to_their_index_in_full_tables() {
    let app = TestApp::start().await;
    let mut connection = app.connection().await;
    for statement in [
        "INSERT INTO jobs (job_id, job_type, status, total_stages, parameters, labels, created_at, finished_at)
         SELECT encode(sha256(i::text::bytea), 'hex'), 'hello_world',
                (CASE WHEN i % 200 = 7 THEN 'failed' ELSE 'completed' END)::job_status, 2, '{}', '{}',
                now() - i * interval '1 second', now()
         FROM generate_series(1, 20000) i",
        "INSERT INTO job_terms (job_id, name, value, created_at)
         SELECT job_id, name, value, created_at
         FROM jobs CROSS JOIN LATERAL (VALUES ('job_type', 'hello_world'), ('label.run', left(job_id, 12))) t (name, value)",
        "VACUUM ANALYZE jobs",
        "VACUUM ANALYZE job_terms",
        "SET plan_cache_mode = force_generic_plan",
        "SET enable_seqscan = off",
        "SET enable_hashjoin = off",
        "SET enable_mergejoin = off",
    ] {
        connection.execute(statement).await.unwrap();
    }
    for (name, values, indexes) in [
        ("query_jobs_by_status", 11, &["jobs_by_status"][..]),
        ("search_by_status", 13, &["jobs_by_status", "job_terms_newest"]),
        ("search_by_time", 13, &["jobs_newest", "job_terms_newest"]),
        ("search_by_term", 15, &["job_terms_newest"]),
        ("search_by_prefix", 12, &["jobs_pkey", "job_terms_words", "job_terms_newest"]),
        (
            "search_estimates",
            10,
            &["job_terms_newest", "jobs_by_status", "jobs_pkey", "job_terms_words"],
        ),
    ] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("crates/lastlight-engine/src/store/sql/{name}.sql"));
        let statement = std::fs::read_to_string(path).unwrap();
        let prepare = format!("PREPARE {name} AS {statement}");
        connection.execute(sqlx::AssertSqlSafe(prepare)).await.unwrap();
        let explain = format!("EXPLAIN EXECUTE {name} ({})", vec!["NULL"; values].join(", "));
        let plan = connection.fetch_all(sqlx::AssertSqlSafe(explain)).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(indexes.iter().all(|index| plan.contains(index)), "{name}:\n{plan}");
        let is_by_time = indexes.contains(&"jobs_newest");
        assert_eq!(plan.contains("jobs_newest"), is_by_time, "{name} reads all jobs:\n{plan}");
        assert!(!plan.contains("Seq Scan"), "{name}:\n{plan}");
    }
}
