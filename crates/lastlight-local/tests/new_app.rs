//! An app that `lastlight new` wrote can be built, tested and run, and so can a job that `new-job`
//! added to it. It is compiled into the target folder of this workspace, with its versions.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::Parser;
use lastlight_cli::Commands as _;
use lastlight_engine::App;
use lastlight_local::Commands;
use serde_json::{Value, json};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Commands,
}

/// Runs a command of the local cloud in this process.
async fn lastlight(arguments: &[&str]) -> ExitCode {
    let arguments = [&["lastlight"], arguments].concat();
    Arguments::try_parse_from(arguments).unwrap().command.run(&App::new()).await
}

/// What a program printed, and how it ended.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

struct NewApp {
    folder: PathBuf,
    target: PathBuf,
}

impl NewApp {
    fn new(folder: &Path) -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned();
        Self { folder: folder.to_owned(), target }
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Said {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.folder).env("CARGO_TARGET_DIR", &self.target);
        // Statements are checked against their descriptions, whoever runs the tests; and a build script
        // that sees the variables that Cargo sets for tests would run again.
        for (name, _) in std::env::vars_os() {
            let is_of_tests = |prefix| name.to_string_lossy().starts_with(prefix);
            if ["SQLX_", "CARGO_MANIFEST_", "CARGO_PKG_"].into_iter().any(is_of_tests) {
                command.env_remove(name);
            }
        }
        if let Some(programs) = std::env::var_os("LASTLIGHT_TEST_POSTGRES_BIN") {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let folders = [PathBuf::from(programs)].into_iter().chain(std::env::split_paths(&path));
            command.env("PATH", std::env::join_paths(folders).unwrap());
        }
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    fn cargo(&self, arguments: &[&str]) -> Said {
        let said = self.run(env!("CARGO"), arguments);
        assert_eq!(said.code, 0, "cargo {arguments:?}\n{}\n{}", said.out, said.err);
        said
    }

    /// Runs a command of the app.
    fn app(&self, arguments: &[&str]) -> Said {
        let program = self.target.join("debug/tile-areas");
        self.run(program.to_str().unwrap(), arguments)
    }
}

#[tokio::test]
async fn a_new_app_is_built_tested_and_run() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("tile-areas");
    let path = folder.to_str().unwrap();
    assert_eq!(lastlight(&["new", "tile-areas", "--path", path]).await, ExitCode::SUCCESS);
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
    fs::copy(lock, folder.join("Cargo.lock")).unwrap();

    let app = NewApp::new(&folder);
    app.cargo(&["fmt", "--check"]);
    let tests = app.cargo(&["test", "--offline"]);
    assert!(tests.out.contains("3 passed"), "{}", tests.out);
    // With the features of the development dependencies, so that little is compiled again.
    app.cargo(&["test", "--offline", "--no-default-features"]);

    app.cargo(&["build", "--offline", "--bins", "--tests"]);
    let added = app.app(&["new-job", "scenes"]);
    assert_eq!(added.code, 0, "{}", added.err);
    assert!(
        added.out.starts_with("src/jobs/scenes.rs\nsrc/jobs/mod.rs\nsrc/main.rs\n"),
        "{}",
        added.out
    );
    app.cargo(&["fmt", "--check"]);
    let tests = app.cargo(&["test", "--offline"]);
    assert!(tests.out.contains("5 passed"), "{}", tests.out);

    app.cargo(&["build", "--offline", "--bins", "--tests"]);
    let demo = app.app(&["demo"]);
    for words in ["tile_areas, n = 100, database embedded", "queue_storage", "service_bus"] {
        assert!(demo.out.contains(words), "{}\n{}", demo.out, demo.err);
    }
    let demo = app.app(&["demo", "scenes", "--n", "20", "--json"]);
    let report: Value = serde_json::from_str(&demo.out).unwrap_or_else(|_| panic!("{demo:?}"));
    assert_eq!(
        (&report["job_type"], &report["parameters"]),
        (&json!("scenes"), &json!({ "n": 20 }))
    );
    let paths = report["paths"].as_array().unwrap();
    let ends: Vec<_> = paths.iter().map(|path| (&path["status"], &path["tasks"])).collect();
    assert_eq!(ends, [(&json!("completed"), &json!(20)); 2]);

    let checked = app.app(&["workflow", "check"]);
    assert_eq!(checked.out, "workflows/sum_of_squares.yaml: sum_of_squares, version 1, 2 nodes\n");
    let file = "workflows/sum_of_squares.yaml";
    let run = app.app(&["workflow", "run", file, "-p", "numbers=[1, 2, 3]", "--json"]);
    let status: Value = serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{run:?}"));
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(status["progress"][1]["node"]["output"], json!({ "total": 14 }), "{status}");

    for (code, arguments, reason) in [
        (2, &["new", "2d"][..], "\"2d\" cannot be the name of an app"),
        (2, &["new", "other", "--lastlight", "src"], "src is no checkout of lastlight"),
        (1, &["new", "other", "--path", "."], ". is not empty"),
        (1, &["new", "other", "--path", "/proc/other"], "/proc/other/Cargo.toml cannot be written"),
        (2, &["new-job", "Zones"], "\"Zones\" cannot be the name of a job"),
        (2, &["new-job", "zones", "--path", "/"], "/ is not within an app"),
        (1, &["new-job", "scenes"], "there is a job scenes already"),
        (2, &["demo", "zones"], "there is no job type \"zones\"; this app has tile_areas, scenes"),
        (2, &["demo", "-p", "n=0"], "n must be a whole number from 1 to 1000000, not 0"),
        (2, &["demo", "-p", "m=1"], "unknown field \"m\" (did you mean n?)"),
    ] {
        let said = app.app(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {said:?}");
        assert!(said.err.contains(reason), "{arguments:?}: {}", said.err);
    }
}

/// `rustfmt` must have nothing to change in an app with a long name either, as far as it can.
#[tokio::test]
async fn a_new_app_with_a_long_name_is_formatted() {
    for name in ["a", &"long_".repeat(10)[..49]] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        assert_eq!(lastlight(&["new", name, "--path", path]).await, ExitCode::SUCCESS);
        NewApp::new(folder.path()).cargo(&["fmt", "--check"]);
    }
}
