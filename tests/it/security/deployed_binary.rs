//! The deployed binary is built without the local cloud and without fail points.

use std::process::Command;

/// The crates of a build, each with its features.
fn crates_of(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p} {f}"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The crates and features of the local cloud and of chaos that a build contains.
fn not_to_deploy(crates: &str) -> Vec<&str> {
    let named = ["lastlight-local ", "lastlight-lab ", "lastlight-testing ", "pglite", "wasmer"];
    crates
        .lines()
        .filter(|line| {
            named.iter().any(|name| line.starts_with(name))
                || (line.starts_with("lastlight-engine ") && line.contains("fault-injection"))
        })
        .collect()
}

#[test]
fn the_deployed_binary_has_no_test_facilities() {
    let deployed = crates_of(&["--package", "lastlight-app", "--no-default-features"]);
    assert!(deployed.contains("lastlight-cli "), "{deployed}");
    assert_eq!(not_to_deploy(&deployed), Vec::<&str>::new());
    let framework = crates_of(&["--package", "lastlight"]);
    assert_eq!(not_to_deploy(&framework), Vec::<&str>::new());
    // The check finds them in a build that has them.
    let whole = crates_of(&["--package", "lastlight-app"]);
    assert!(not_to_deploy(&whole).len() > 3, "{whole}");
}
