//! `lastlight functions`: writes, checks and lists the function folders that a Functions host
//! reads, from the function table of this binary.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{ArgGroup, Args};
use lastlight_engine::functions::{
    FolderDifferences, Key, Trigger, compare_folders, functions, write_folders,
};
use serde_json::{Value, json};

use crate::{
    exit::failed,
    format::{Align, Table, counted, plain},
    output, say,
    style::Paint,
};

/// `lastlight functions`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("action").required(true).args(["write", "check", "list"])))]
pub(crate) struct FunctionsArguments {
    /// Write the missing function folders into this folder, which holds host.json.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Compare the function folders in this folder with this version's; exit 1 if they differ.
    #[arg(long, value_name = "DIR")]
    check: Option<PathBuf>,
    /// List the functions, with their triggers and the key that a caller needs.
    #[arg(long)]
    list: bool,
    /// With --write: also overwrite files that have different content.
    #[arg(long, conflicts_with_all = ["check", "list"])]
    force: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &FunctionsArguments) -> ExitCode {
    let FunctionsArguments { write, check, force, json, .. } = arguments;
    match (write, check) {
        (Some(folder), _) => write_missing(folder, *force, *json),
        (None, Some(folder)) => compare(folder, *json),
        (None, None) => {
            list(*json);
            ExitCode::SUCCESS
        }
    }
}

fn write_missing(folder: &Path, force: bool, as_json: bool) -> ExitCode {
    let found = match compare_folders(folder) {
        Ok(found) => found,
        Err(error) => return unreadable(folder, &error),
    };
    let overwritten: &[&str] = if force { &found.different } else { &[] };
    let to_write: Vec<&str> = found.missing.iter().chain(overwritten).copied().collect();
    if let Err(error) = write_folders(folder, to_write.iter().copied()) {
        return failed(
            &format!("the folders in {} cannot be written: {error}", folder.display()),
            1,
        );
    }
    let left = FolderDifferences {
        missing: Vec::new(),
        different: if force { Vec::new() } else { found.different },
        unknown: found.unknown,
    };
    if as_json {
        say!(
            "{}",
            json!({ "written": to_write, "different": left.different, "unknown": left.unknown })
        );
    } else {
        say!(
            "{} written in {}; {} in all",
            counted(to_write.len() as u64, "function folder"),
            folder.display(),
            functions().len()
        );
    }
    if left.is_empty() {
        return ExitCode::SUCCESS;
    }
    failed(
        &format!(
            "not changed: {left}. Check them; --force overwrites files that are different; folders are never removed"
        ),
        1,
    )
}

fn compare(folder: &Path, as_json: bool) -> ExitCode {
    let found = match compare_folders(folder) {
        Ok(found) => found,
        Err(error) => return unreadable(folder, &error),
    };
    if as_json {
        say!(
            "{}",
            json!({ "missing": found.missing, "different": found.different, "unknown": found.unknown })
        );
    }
    if found.is_empty() {
        if !as_json {
            say!(
                "{} in {} match this version",
                counted(functions().len() as u64, "function folder"),
                folder.display()
            );
        }
        return ExitCode::SUCCESS;
    }
    failed(
        &format!(
            "the function folders in {0} differ from those of this version: {found}. \
             lastlight functions --write {0} writes the missing ones",
            folder.display()
        ),
        1,
    )
}

fn unreadable(folder: &Path, error: &io::Error) -> ExitCode {
    failed(
        &format!(
            "{} cannot be read: {error}; give the folder that holds host.json",
            folder.display()
        ),
        2,
    )
}

fn list(as_json: bool) {
    if as_json {
        let all: Vec<Value> = functions()
            .iter()
            .map(|function| {
                let (trigger, on, key) = trigger(&function.trigger);
                json!({
                    "name": function.name, "trigger": trigger, "on": on, "key": key.map(Key::as_str),
                    "summary": function.summary,
                })
            })
            .collect();
        say!("{}", Value::from(all));
        return;
    }
    let mut table = Table::new([
        ("FUNCTION", Align::Left),
        ("TRIGGER", Align::Left),
        ("ON", Align::Left),
        ("KEY", Align::Left),
        ("WHAT IT DOES", Align::Left),
    ]);
    for function in functions() {
        let (trigger, on, key) = trigger(&function.trigger);
        table.row([
            plain(function.name),
            plain(trigger),
            plain(on),
            plain(key.map_or("", Key::as_str)),
            plain(function.summary),
        ]);
    }
    output::text(&table.text(Paint::for_stdout()));
}

/// The kind of trigger, what it listens on, and the key that a caller needs.
fn trigger(trigger: &Trigger) -> (&'static str, String, Option<Key>) {
    match *trigger {
        Trigger::Http { route, key } => ("http", format!("/api/{route}"), Some(key)),
        Trigger::Queue { queue } => ("queue", queue.to_owned(), None),
        Trigger::ServiceBus { queue, .. } => ("service bus", queue.to_owned(), None),
        Trigger::Timer { schedule } => ("timer", schedule.to_owned(), None),
    }
}
