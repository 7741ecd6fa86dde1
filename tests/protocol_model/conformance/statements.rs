//! Which statement files write, and that each of them is called or left out for a reason.

use std::collections::BTreeSet;

/// Statements that write and are not called here, with the reason.
const LEFT_OUT: [(&str, &str); 55] = [
    ("clear_stage", "jobs that are deleted by hand"),
    ("over_jobs", "jobs that are over; tests/it/operations/retention.rs"),
    ("forget_deleted", "jobs that are over; tests/it/operations/retention.rs"),
    ("purge_job", "jobs that are over; tests/it/operations/retention.rs"),
    ("claim_archive", "the archive, which the model leaves out; tests/it/operations/archive"),
    ("hold_archive", "the archive; tests/it/operations/archive"),
    ("release_archive", "the archive; tests/it/operations/archive"),
    ("record_archive", "the archive; tests/it/operations/archive"),
    ("end_notification_events", "who is told of a job; tests/it/operations/notifications.rs"),
    ("write_notifications", "who is told of a job; tests/it/operations/notifications.rs"),
    ("take_notifications", "who is told of a job; tests/it/operations/notifications.rs"),
    ("notification_delivered", "who is told of a job; tests/it/operations/notifications.rs"),
    ("notification_failed", "who is told of a job; tests/it/operations/notifications.rs"),
    ("retry_notifications", "who is told of a job; tests/it/operations/notifications.rs"),
    ("forget_notifications", "who is told of a job; tests/it/operations/notifications.rs"),
    ("remove_orphans", "jobs that are deleted by hand"),
    ("batch_failed", "information for operators"),
    ("job_message_failed", "information for operators"),
    ("count_ignored", "counters for operators"),
    ("record_measure", "metrics of finished stages"),
    ("measure_jobs", "metrics of finished jobs"),
    ("report_instance", "for operators: the running processes"),
    ("forget_instances", "for operators: the running processes"),
    ("worker_handler_id", "the names of handlers"),
    ("serve_handlers", "for operators: the handlers that workers serve"),
    ("report_workers", "for operators: the running workers"),
    ("forget_workers", "for operators: the running workers"),
    ("record_sweep", "information for operators"),
    ("extend_leases", "the clock: a lease that is extended"),
    ("keep_plan", "the clock: a lease that is extended"),
    ("forgive_attempt", "an attempt that does not count; modelled as one that is released"),
    ("save_checkpoint", "data of a task's own, on which no transition depends"),
    ("write_notes", "information for operators"),
    ("silent_stages", "the clock: when a stage was last checked"),
    ("tasks_redelivered", "counts messages, of which the model sends any number"),
    ("insert_definition", "the text of a job, which never changes"),
    ("wait_for_child", "a job that another waits for; tests/it/workflow_files/child_jobs.rs"),
    ("fail_child", "a job that another waits for; tests/it/workflow_files/child_jobs.rs"),
    ("add_terms", "what jobs of an older version can be found by; tests/it/operations/terms.rs"),
    ("children_ended", "a job that another waits for; tests/it/workflow_files/child_jobs.rs"),
    ("create_bulk", "one action on many jobs; tests/it/operations/bulk.rs"),
    ("take_bulk", "one action on many jobs; tests/it/operations/bulk.rs"),
    ("advance_bulk", "one action on many jobs; tests/it/operations/bulk.rs"),
    ("stop_bulk", "one action on many jobs; tests/it/operations/bulk.rs"),
    ("forget_bulk", "one action on many jobs; tests/it/operations/bulk.rs"),
    ("set_schedule", "schedules; tests/it/operations/schedules"),
    ("delete_schedule", "schedules; tests/it/operations/schedules"),
    ("delete_undeclared_schedules", "schedules; tests/it/operations/schedules"),
    ("pause_schedule", "schedules; tests/it/operations/schedules"),
    ("resume_schedule", "schedules; tests/it/operations/schedules"),
    ("advance_schedule", "schedules; tests/it/operations/schedules"),
    ("touch_schedule", "schedules; tests/it/operations/schedules"),
    ("decide_run", "schedules; tests/it/operations/schedules"),
    ("run_exists", "schedules; tests/it/operations/schedules"),
    ("prune_schedule_runs", "schedules; tests/it/operations/schedules"),
];

/// Statements that write and are called here, some through a function of another name.
const CALLED: [&str; 55] = [
    "advance_stage",
    "batch_create_tasks",
    "batch_update_status",
    "claim_batches",
    "claim_ready",
    "claim_tasks",
    "clear_run",
    "close_stage",
    "complete_tasks",
    "create_batches",
    "decide_gate",
    "dead_attempts",
    "dead_claims",
    "dead_planners",
    "defer_tasks",
    "due_job_messages",
    "end_batches",
    "end_early",
    "end_graph",
    "end_job",
    "end_stage",
    "extend_plan",
    "fail_stage_plan",
    "fail_tasks",
    "fail_unplanned_job",
    "finalize_job",
    "finish_plan",
    "get_pending_retry_batches",
    "insert_graph",
    "insert_job",
    "job_message_sent",
    "lease_stage",
    "lost_batches",
    "mark_job",
    "repair_counters",
    "next_stage",
    "open_partially_reopened",
    "own_claimed",
    "purge_batches",
    "purge_tasks",
    "release_claims",
    "release_stage",
    "reopen_graph",
    "reopen_job",
    "reopen_stages",
    "reopen_tasks",
    "request_pause",
    "resume_job",
    "retry_tasks",
    "skip_open_tasks",
    "skip_tasks",
    "start_dependents",
    "stage_redelivered",
    "stop_plan",
    "take_deferred",
];

/// Statements in the repository's folder that write and are neither called here nor excluded with a
/// reason; and listed statements that do not exist.
pub(crate) fn unknown_statements() -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crates/lastlight-engine/src/store/sql");
    let mut writing = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let statement = std::fs::read_to_string(&path).unwrap();
        let code = statement.lines().filter(|line| !line.trim_start().starts_with("--"));
        let words: Vec<&str> = code.flat_map(str::split_whitespace).collect();
        let writes = |place: usize, word: &&str| match *word {
            "INSERT" | "DELETE" => true,
            // Not the UPDATE of FOR UPDATE, which locks, nor that of DO UPDATE, which belongs to an
            // INSERT.
            "UPDATE" => place == 0 || !["FOR", "DO"].contains(&words[place - 1]),
            _ => false,
        };
        if words.iter().enumerate().any(|(place, word)| writes(place, word)) {
            writing.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
    }
    let left_out = LEFT_OUT.map(|(name, _)| name);
    let known: BTreeSet<String> =
        CALLED.iter().chain(&left_out).map(|name| (*name).to_owned()).collect();
    writing.symmetric_difference(&known).cloned().collect()
}
