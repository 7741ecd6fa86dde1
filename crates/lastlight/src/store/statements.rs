//! All statements of the app, by the name of their file, so that the database can prepare them all.
//! The functions that run them include them directly.

macro_rules! statements {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every file in `sql/`.
        pub(crate) const STATEMENTS: &[(&str, &str)] = &[$(($name, include_str!(concat!("sql/", $name, ".sql")))),*];
    };
}

statements![
    "advance_stage",
    "applied_migrations",
    "audit_stages",
    "backend",
    "backlog",
    "batch_create_tasks",
    "batch_failed",
    "batch_update_status",
    "bound_reading",
    "claim_tasks",
    "clear_stage",
    "close_stage",
    "colliding_tasks",
    "complete_tasks",
    "connection_limits",
    "count_ignored",
    "create_batches",
    "dead_attempts",
    "dead_lettered_stage",
    "dead_lettered_tasks",
    "dead_planners",
    "defer_tasks",
    "due_job_messages",
    "end_early",
    "end_job",
    "ended_stage",
    "enum_labels",
    "examine_server",
    "extend_leases",
    "extend_plan",
    "fail_tasks",
    "fail_unplanned_job",
    "finish_plan",
    "finished_job",
    "foreign_tables",
    "forget_instances",
    "get_job",
    "get_pending_retry_batches",
    "get_stages",
    "get_tasks_by_batch",
    "hold_measure",
    "index_statistics",
    "insert_job",
    "instances",
    "job_message_failed",
    "job_message_sent",
    "job_pulse",
    "job_rollups",
    "keep_plan",
    "last_sweep",
    "latency_rollups",
    "lease_stage",
    "lock_stage",
    "lost_batches",
    "measure_jobs",
    "measure_stage",
    "migration_lock",
    "missing_rights",
    "next_stage",
    "open_on_paths",
    "open_partially_reopened",
    "open_work",
    "orphaned_jobs",
    "overdue_jobs",
    "own_connection",
    "query_failed_tasks",
    "query_jobs",
    "query_jobs_by_status",
    "query_tasks",
    "record_measure",
    "record_sweep",
    "recount_stage",
    "release_claims",
    "release_stage",
    "remove_orphans",
    "reopen_job",
    "reopen_tasks",
    "repair_counters",
    "report_instance",
    "request_pause",
    "results_page",
    "resume_job",
    "running_in_stages",
    "schema_knows",
    "schema_rights",
    "session_settings",
    "silent_stages",
    "skip_open_tasks",
    "stage_redelivered",
    "stages_of_job_with_tasks",
    "stages_to_advance",
    "stages_to_close",
    "stages_to_measure",
    "stages_with_tasks",
    "statement_renamed",
    "stop_plan",
    "table_statistics",
    "take_deferred",
    "task_ids_of_batches",
    "task_inputs",
    "task_rollups",
    "tasks_redelivered",
    "total_jobs",
    "total_latencies",
    "total_tasks",
    "unclaimed_tasks",
    "unmeasured",
    "unsent_task",
    "works_from",
];

#[cfg(test)]
mod tests {
    use super::STATEMENTS;

    #[test]
    fn the_list_has_every_file() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sql");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let listed: Vec<String> =
            STATEMENTS.iter().map(|(name, _)| format!("{name}.sql")).collect();
        assert_eq!(listed, files);
    }
}
