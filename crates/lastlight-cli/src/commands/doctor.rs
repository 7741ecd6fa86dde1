//! `lastlight doctor`: prints one line per finding.

use std::{path::PathBuf, process::ExitCode};

use crate::doctor::{self, Finding, Patient, State};
use clap::Args;
use lastlight_engine::job::erased::Catalog;
use serde_json::json;

use crate::{
    output, say,
    style::{Look, Paint},
};

/// `lastlight doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// The folder with host.json and the function folders.
    #[arg(long, value_name = "DIR", default_value = ".")]
    app_root: PathBuf,
    /// Also check the settings in this file, as `func start` reads it (local.settings.json).
    /// Environment variables override it.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs all checks; exit code 0 without a fault, 1 with at least one.
pub(crate) async fn doctor(arguments: DoctorArguments, catalog: Catalog) -> ExitCode {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let patient =
        Patient { app_root: arguments.app_root, environment, settings_file: arguments.settings };
    let paint = Paint::for_stdout();
    let is_json = arguments.json;
    let findings = doctor::examine(&patient, catalog, |finding| {
        if !is_json {
            output::text(&line(finding, paint));
        }
    })
    .await;
    let counted = |state: State| findings.iter().filter(|finding| finding.state == state).count();
    let (faults, warnings) = (counted(State::Fault), counted(State::Warning));
    if is_json {
        say!("{}", json!({ "faults": faults, "warnings": warnings, "checks": findings }));
    } else {
        let verdict = match (faults, warnings) {
            (0, 0) => paint.text(Look::Good, "No problems found."),
            (0, some) => paint
                .text(Look::Warning, &format!("No faults, {}.", counted_words(some, "warning"))),
            (some, others) => {
                let words = format!(
                    "{}, {}.",
                    counted_words(some, "fault"),
                    counted_words(others, "warning")
                );
                paint.text(Look::Bad, &words)
            }
        };
        say!("\n{verdict}");
    }
    match doctor::worst(&findings) {
        State::Ok | State::Warning => ExitCode::SUCCESS,
        State::Fault => ExitCode::from(1),
    }
}

fn counted_words(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn line(finding: &Finding, paint: Paint) -> String {
    let (word, look) = match finding.state {
        State::Ok => ("ok", Look::Good),
        State::Warning => ("warning", Look::Warning),
        State::Fault => ("fault", Look::Bad),
    };
    let mut text = format!(
        "{}{}  {:<14}  {}\n",
        paint.text(look, word),
        " ".repeat(7 - word.len()),
        finding.check,
        finding.what
    );
    if let Some(remedy) = &finding.remedy {
        text.push_str(&format!("{:25}{remedy}\n", ""));
    }
    text
}
