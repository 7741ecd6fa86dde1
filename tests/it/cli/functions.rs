//! `lastlight functions` writes the function folders that a Functions host reads, and reports where
//! they differ from those of this version.

use std::fs;

use lastlight_engine::functions::functions;

use crate::cli::harness::{command, run};

#[tokio::test]
async fn function_folders_are_written_once_and_checked() {
    let app = tempfile::tempdir().unwrap();
    let folder = app.path().to_str().unwrap();
    let check = async |wanted: i32| {
        let said = run(command(&["functions", "--check", folder], &[])).await;
        assert_eq!(said.code, wanted, "{}{}", said.out, said.err);
        said
    };
    let missing = check(1).await;
    assert!(missing.err.contains("missing: submit_job"), "{}", missing.err);
    assert!(
        missing.err.contains(&format!("lastlight functions --write {folder}")),
        "{}",
        missing.err
    );
    let written = run(command(&["functions", "--write", folder], &[])).await;
    assert_eq!(written.code, 0, "{}", written.err);
    let all = functions().len();
    assert!(written.out.starts_with(&format!("{all} function folders written")), "{}", written.out);
    check(0).await;
    let again = run(command(&["functions", "--write", folder, "--json"], &[])).await;
    assert_eq!(again.json()["written"], serde_json::json!([]));
}

#[tokio::test]
async fn an_edited_function_json_is_kept_without_force() {
    let app = tempfile::tempdir().unwrap();
    let folder = app.path().to_str().unwrap();
    assert_eq!(run(command(&["functions", "--write", folder], &[])).await.code, 0);
    let file = app.path().join("process_sb_task/function.json");
    let own = fs::read_to_string(&file).unwrap().replace("\"many\"", "\"one\"");
    fs::write(&file, &own).unwrap();
    fs::create_dir(app.path().join("our_own")).unwrap();
    fs::write(app.path().join("our_own/function.json"), "{}").unwrap();

    let kept = run(command(&["functions", "--write", folder], &[])).await;
    assert_eq!(kept.code, 1);
    assert!(kept.err.contains("different: process_sb_task"), "{}", kept.err);
    assert!(kept.err.contains("not of this version: our_own"), "{}", kept.err);
    assert_eq!(fs::read_to_string(&file).unwrap(), own);

    let forced = run(command(&["functions", "--write", folder, "--force"], &[])).await;
    assert_ne!(fs::read_to_string(&file).unwrap(), own);
    assert!(!forced.err.contains("process_sb_task"), "{}", forced.err);
    assert!(app.path().join("our_own/function.json").exists());
}

#[tokio::test]
async fn the_list_shows_triggers_and_keys_of_functions() {
    let said = run(command(&["functions", "--list"], &[])).await;
    assert_eq!(said.code, 0, "{}", said.err);
    for function in functions() {
        assert!(said.out.contains(function.name), "{}", said.out);
    }
    let listed = run(command(&["functions", "--list", "--json"], &[])).await.json();
    let nuke = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|function| function["name"] == "schema_nuke")
        .unwrap();
    assert_eq!(nuke["key"], "admin");
    assert_eq!(nuke["on"], "/api/db/schema/nuke");
}

#[tokio::test]
async fn invalid_requests_are_refused_with_a_reason() {
    for (arguments, words) in [
        (vec!["functions"], "<--write <DIR>|--check <DIR>|--list>"),
        (vec!["functions", "--check", "/nowhere"], "/nowhere cannot be read"),
        (vec!["functions", "--list", "--force"], "cannot be used with"),
    ] {
        let said = run(command(&arguments, &[])).await;
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.err);
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    }
}
