//! All files of a folder are read; one that is wrong keeps only its own workflow out.

use std::{fs, path::Path};

use lastlight_workflow::{Folder, Known, read_file, read_folder};

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn workflow(name: &str) -> Vec<u8> {
    format!("workflow: {name}\nnodes: {{a: {{type: gate}}}}\n").into_bytes()
}

fn read(folder: &Path) -> Folder {
    read_folder(folder, &Known::blob_validators()).unwrap()
}

/// The problems, without the path of the folder.
fn problems(read: &Folder, folder: &Path) -> Vec<(Option<String>, String)> {
    let prefix = format!("{}/", folder.display());
    let told = |problems: &lastlight_workflow::Problems| {
        (problems.workflow.clone(), problems.to_string().replace(&prefix, ""))
    };
    read.problems.iter().map(told).collect()
}

#[test]
fn a_folder_has_the_workflows_of_its_yaml_files() {
    let folder = folder(&[
        ("b.yaml", &workflow("second")),
        ("a.yml", &workflow("first")),
        ("c.YAML", &workflow("third")),
        (".hidden.yaml", b"["),
        ("notes.txt", b"["),
    ]);
    fs::create_dir(folder.path().join("more.yaml")).unwrap();
    let read = read(folder.path());
    let names: Vec<&str> = read.workflows.iter().map(lastlight_workflow::Workflow::name).collect();
    assert_eq!(names, ["first", "second", "third"]);
    assert!(read.problems.is_empty());
    assert!(read.workflows[0].file().ends_with("a.yml"));
}

#[test]
fn a_wrong_file_keeps_its_own_workflow_out_and_no_other() {
    let folder = folder(&[
        ("broken.yaml", b"workflow: broken\nnodes: [\n"),
        ("good.yaml", &workflow("good")),
        ("unnamed.yaml", b"nodes: {a: {type: gate}}\n"),
        ("wrong.yaml", b"workflow: wrong\nnodes: {a: {type: gat}}\n"),
    ]);
    let read = read(folder.path());
    assert_eq!(read.workflows.len(), 1);
    assert_eq!(
        problems(&read, folder.path()),
        [
            (
                Some("broken".to_owned()),
                "broken.yaml:2:8: the file is no valid YAML: unclosed bracket '['".to_owned()
            ),
            (
                None,
                "unnamed.yaml:1:1: the file must have the field workflow: a name of 1 to 50 \
                 letters, digits, _ and -, which begins with a letter or _"
                    .to_owned()
            ),
            (
                Some("wrong".to_owned()),
                "wrong.yaml:2:19: type of node \"a\" must be task or conditional or fan_out or \
                 fan_in or gate or job, not \"gat\"; did you mean gate?"
                    .to_owned()
            ),
        ]
    );
}

#[test]
fn two_files_with_the_same_workflow_keep_both_out() {
    let folder = folder(&[
        ("a.yaml", &workflow("same")),
        ("b.yaml", &[&b"# A copy.\n"[..], &workflow("same")].concat()),
        ("c.yaml", &workflow("other")),
    ]);
    let read = read(folder.path());
    assert_eq!(read.workflows.len(), 1);
    let name = || Some("same".to_owned());
    assert_eq!(
        problems(&read, folder.path()),
        [
            (name(), "a.yaml:1:11: another workflow is named \"same\", too: in b.yaml".to_owned()),
            (name(), "b.yaml:2:11: another workflow is named \"same\", too: in a.yaml".to_owned()),
        ]
    );
}

#[test]
fn a_file_that_is_no_text_or_too_large_is_told() {
    let mut large = b"workflow: large\n# ".to_vec();
    large.resize(1_000_001, b'x');
    let folder = folder(&[("a.yaml", b"workflow: latin\n# \xe9t\xe9\n"), ("b.yaml", &large)]);
    assert_eq!(
        problems(&read(folder.path()), folder.path()),
        [
            (
                Some("latin".to_owned()),
                "a.yaml:2:3: the file must be UTF-8; here it is not".to_owned()
            ),
            (
                Some("large".to_owned()),
                "b.yaml:1:1: a workflow file may have at most 1000000 bytes, not 1000001"
                    .to_owned()
            ),
        ]
    );
}

#[test]
fn a_folder_that_cannot_be_read_is_an_error() {
    let error = read_folder(Path::new("no/such/folder"), &Known::default()).unwrap_err();
    assert_eq!(error.to_string(), "the folder of workflows no/such/folder cannot be read");
    assert_eq!(error.source.kind(), std::io::ErrorKind::NotFound);
    let problems = read_file(Path::new("no/such.yaml"), &Known::default()).unwrap_err();
    assert!(problems.to_string().starts_with("no/such.yaml:1:1: the file cannot be read: "));
}
