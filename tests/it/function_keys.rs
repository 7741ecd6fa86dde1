//! Who may call what: the Functions host asks for a key before the handler sees a request, as `authLevel` says in each
//! function.json. The table below is the decision, one line a folder: a new folder fails the test until it has its line.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a caller must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// Nothing: for probes. Changes nothing and shows no job.
    Anyone,
    /// The key of the function or of the app: submits, reads and changes jobs.
    Function,
    /// The master key: destroys data, or moves what others sent.
    Admin,
    /// The host itself calls it, for a queue or a timer; there is no URL.
    Host,
}

const DECIDED: &[(&str, Caller)] = &[
    ("cancel_job", Caller::Function),
    // The page alone; what it shows it asks the API for, with a key.
    ("dashboard", Caller::Anyone),
    ("db_debug_all", Caller::Admin),
    ("db_enums_diagnostic", Caller::Function),
    ("db_functions_test", Caller::Function),
    ("db_stats", Caller::Function),
    ("get_job_audit", Caller::Function),
    ("get_job_status", Caller::Function),
    ("health", Caller::Anyone),
    ("job_types", Caller::Function),
    ("monitor_poison", Caller::Admin),
    ("pause_job", Caller::Function),
    ("process_queue_job", Caller::Host),
    ("process_queue_job_poison", Caller::Host),
    ("process_queue_task", Caller::Host),
    ("process_queue_task_poison", Caller::Host),
    ("process_sb_job", Caller::Host),
    ("process_sb_job_dead_letter", Caller::Host),
    ("process_sb_task", Caller::Host),
    ("process_sb_task_dead_letter", Caller::Host),
    ("query_job", Caller::Function),
    ("query_job_tasks", Caller::Function),
    ("query_jobs", Caller::Function),
    ("query_tasks", Caller::Function),
    ("reconcile", Caller::Host),
    ("resume_job", Caller::Function),
    ("retry_job", Caller::Function),
    ("schema_nuke", Caller::Admin),
    ("schema_redeploy", Caller::Admin),
    ("submit_job", Caller::Function),
];

/// Each function folder, with what its function.json asks of a caller.
fn folders() -> BTreeMap<String, Caller> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let folder = entry.unwrap();
        let file = folder.path().join("function.json");
        if !file.exists() {
            continue;
        }
        let name = folder.file_name().into_string().unwrap();
        let function: Value = serde_json::from_slice(&std::fs::read(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let triggers: Vec<&Value> = function["bindings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|binding| binding["type"].as_str().unwrap().ends_with("Trigger"))
            .collect();
        assert_eq!(triggers.len(), 1, "{name} has one trigger");
        let caller = match (
            triggers[0]["type"].as_str().unwrap(),
            triggers[0]["authLevel"].as_str(),
        ) {
            ("httpTrigger", Some("anonymous")) => Caller::Anyone,
            ("httpTrigger", Some("function")) => Caller::Function,
            ("httpTrigger", Some("admin")) => Caller::Admin,
            ("httpTrigger", other) => panic!("{name} says authLevel {other:?}: say it explicitly"),
            (_, None) => Caller::Host,
            (trigger, Some(level)) => panic!("{name} says authLevel {level} for a {trigger}"),
        };
        found.insert(name, caller);
    }
    found
}

#[test]
fn every_function_asks_for_the_key_that_was_decided_on() {
    let decided: BTreeMap<String, Caller> = DECIDED
        .iter()
        .map(|(name, caller)| ((*name).to_owned(), *caller))
        .collect();
    assert_eq!(decided.len(), DECIDED.len(), "a folder stands twice in the table");
    let found = folders();
    for (name, caller) in &found {
        match decided.get(name) {
            None => panic!("{name} is new: decide who may call it, in the table of this test"),
            Some(wanted) => assert_eq!(caller, wanted, "{name}/function.json"),
        }
    }
    for name in decided.keys() {
        assert!(
            found.contains_key(name),
            "{name} is gone: take it out of the table"
        );
    }
}

#[test]
fn what_shows_no_job_is_open_and_what_destroys_or_moves_messages_takes_the_master_key() {
    let found = folders();
    let open: Vec<&str> = found
        .iter()
        .filter(|(_, caller)| **caller == Caller::Anyone)
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(open, ["dashboard", "health"]);
    for (name, caller) in &found {
        let is_grave = ["schema", "poison", "dead_letter"]
            .iter()
            .any(|word| name.contains(word));
        if is_grave {
            assert!(
                matches!(caller, Caller::Admin | Caller::Host),
                "{name}: {caller:?}"
            );
        }
    }
}
