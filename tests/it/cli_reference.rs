//! docs/CLI.md: the reference of the command line, generated from clap. A test compares the page
//! with it; `UPDATE_DOCS=1` writes it.

use std::path::Path;

use clap::{Arg, Command};

const HEAD: &str = "# The command line

Made from the program by a test (`tests/it/cli_reference.rs`); `UPDATE_DOCS=1 cargo nextest run reference` writes it anew.

The commands from `submit` to `compare` ask a running app over its HTTP API. `--url` and `--key` say which app and with which
key; `LASTLIGHT_URL` and `LASTLIGHT_KEY` do so for all of them. A key is shown nowhere, and goes over HTTPS or to this machine
alone. A job's id may be cut short to its first characters, as `list` shows them. With `--json` every command prints one
document, as the app gave it (`watch`: one a line, a change each); an error is a document too, with `message`. Colours are for
terminals, without `NO_COLOR`.

";

fn page() -> String {
    let mut whole = lastlight_cli::command_line::<lastlight_lab::Commands>();
    whole.build();
    let mut page = HEAD.to_owned();
    let asks = whole.find_subcommand("status");
    let global: Vec<&Arg> = asks
        .into_iter()
        .flat_map(Command::get_arguments)
        .filter(|argument| argument.is_global_set())
        .collect();
    page.push_str("Every one of them takes:\n");
    table(&global, &mut page);
    if let Some(codes) = whole.get_after_help() {
        page.push_str(&format!("\n{codes}\n"));
    }
    for command in whole.get_subcommands().filter(|command| command.get_name() != "help") {
        describe("lastlight", command, &mut page);
    }
    page
}

fn describe(above: &str, command: &Command, page: &mut String) {
    let name = format!("{above} {}", command.get_name());
    let heading = if above == "lastlight" { "##" } else { "###" };
    page.push_str(&format!("\n{heading} {name}\n"));
    if let Some(about) = command.get_about() {
        page.push_str(&format!("\n{about}.\n"));
    }
    let usage = command.clone().render_usage().to_string();
    page.push_str(&format!(
        "\n`{}`\n",
        usage.trim_start_matches("Usage: ").split_whitespace().collect::<Vec<_>>().join(" ")
    ));
    let arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|argument| {
            !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version")
        })
        // Global arguments are listed once, at the top of the page.
        .filter(|argument| !argument.is_global_set())
        .collect();
    if !arguments.is_empty() {
        page.push_str("\n| | |\n| --- | --- |\n");
        for argument in arguments {
            page.push_str(&format!("| `{}` | {} |\n", spelled(argument), explained(argument)));
        }
    }
    for below in command.get_subcommands().filter(|command| command.get_name() != "help") {
        describe(&name, below, page);
    }
}

fn table(arguments: &[&Arg], page: &mut String) {
    if arguments.is_empty() {
        return;
    }
    page.push_str("\n| | |\n| --- | --- |\n");
    for argument in arguments {
        page.push_str(&format!("| `{}` | {} |\n", spelled(argument), explained(argument)));
    }
}

fn spelled(argument: &Arg) -> String {
    let values: Vec<String> =
        argument.get_value_names().into_iter().flatten().map(|name| format!("<{name}>")).collect();
    if argument.is_positional() {
        return values.join(" ");
    }
    let mut names = Vec::new();
    if let Some(short) = argument.get_short() {
        names.push(format!("-{short}"));
    }
    if let Some(long) = argument.get_long() {
        names.push(format!("--{long}"));
    }
    let mut text = names.join(", ");
    if argument.get_action().takes_values() {
        text.push_str(&format!(" {}", values.join(" ")));
    }
    text
}

fn explained(argument: &Arg) -> String {
    let mut text = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let choices: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if argument.get_action().takes_values() && !choices.is_empty() {
        text.push_str(&format!(": {}", choices.join(", ")));
    }
    let defaults: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        text.push_str(&format!(" (default `{}`)", defaults.join(",")));
    }
    if let Some(variable) = argument.get_env() {
        text.push_str(&format!("; or `{}`", variable.to_string_lossy()));
    }
    text.replace('|', "\\|").replace('<', "\\<").replace('\n', " ")
}

#[test]
fn docs_cli_md_matches_the_command_line() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CLI.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let stored = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        stored == page,
        "docs/CLI.md is not what the program takes: UPDATE_DOCS=1 cargo nextest run reference"
    );
}

#[test]
fn the_command_line_definition_is_valid() {
    lastlight_cli::command_line::<lastlight_lab::Commands>().debug_assert();
}
