//! Access to the functions: the Functions host demands a key before the handler gets a request, as
//! the table of functions defines. SECURITY.md shows the table; `UPDATE_DOCS=1` writes it there.

use std::{fs, path::Path};

use lastlight_engine::functions::{Key, Trigger, compare_folders, functions};

const BEGIN: &str = "<!-- The table of functions: UPDATE_DOCS=1 cargo nextest run reference -->\n";
const END: &str = "<!-- The end of the table -->\n";

fn names_with(key: Key) -> Vec<&'static str> {
    let mut names: Vec<&str> = functions()
        .iter()
        .filter(
            |function| matches!(function.trigger, Trigger::Http { key: asked, .. } if asked == key),
        )
        .map(|function| function.name)
        .collect();
    names.sort_unstable();
    names
}

/// Adding a function that needs no key or the master key is a deliberate decision: this test must
/// be changed too.
#[test]
fn open_and_admin_functions_are_the_listed_ones() {
    // They show no job and change nothing: three are for probes and programs, one is a page without
    // data.
    assert_eq!(names_with(Key::Anonymous), ["dashboard", "health", "live", "openapi"]);
    // They destroy data, change many jobs, move messages, or show all fields of jobs.
    assert_eq!(
        names_with(Key::Admin),
        [
            "bulk_jobs",
            "bulk_operation",
            "db_debug_all",
            "delete_job",
            "monitor_poison",
            "purge_jobs",
            "schema_nuke",
            "schema_redeploy",
            "stop_bulk"
        ]
    );
}

#[test]
fn security_md_matches_the_table_of_functions() {
    let mut table = BEGIN.to_owned();
    table.push_str("| function | called by | key | what it does |\n| --- | --- | --- | --- |\n");
    for function in functions() {
        let (called_by, key) = match function.trigger {
            Trigger::Http { route, key } => (format!("`/api/{route}`"), key.as_str()),
            Trigger::Queue { queue } | Trigger::ServiceBus { queue, .. } => {
                (format!("queue `{queue}`"), "")
            }
            Trigger::Timer { schedule } => (format!("timer `{schedule}`"), ""),
        };
        let summary = function.summary.replace('|', "\\|");
        table.push_str(&format!("| {} | {called_by} | {key} | {summary} |\n", function.name));
    }
    table.push_str(END);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("SECURITY.md has a place for the table");
    let (_, after) = rest.split_once(END).expect("the table ends");
    let wanted = [before, &table, after].concat();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == wanted,
        "SECURITY.md has another table: UPDATE_DOCS=1 cargo nextest run reference"
    );
}

#[test]
fn function_folders_match_the_table_of_functions() {
    let differences = compare_folders(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert_eq!(differences.different, Vec::<&str>::new());
    assert_eq!(differences.unknown, Vec::<String>::new());
}
