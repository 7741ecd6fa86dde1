//! The commands that use the app's own settings: `serve`, `migrate` and `reconcile`.

use std::process::ExitCode;

use lastlight_engine::{
    App,
    config::{Env, SettingProblem, Settings},
    server::{ReconcileError, ServeError, reconcile_once},
    store::{Database, reach},
    telemetry::{self, Exporter},
    workflow::ReconcileReport,
};
use serde_json::Value;

use crate::{
    exit::{failed, unreachable},
    say, tell,
};

/// Runs the custom handler until it is asked to stop.
pub(crate) async fn serve(app: &App) -> ExitCode {
    let settings = match Settings::load(Env::from_process()) {
        Ok(settings) => settings,
        Err(error) => return failed(&error, 2),
    };
    let exporter = match settings.otlp.as_ref().map(Exporter::start).transpose() {
        Ok(exporter) => exporter,
        Err(error) => return failed(&error, 1),
    };
    telemetry::start(&settings.log, exporter.as_ref());
    for warning in &settings.warnings {
        let SettingProblem { setting, problem, remedy } = warning;
        tracing::warn!(setting, problem, remedy, "a setting should be changed");
    }
    let served = lastlight_engine::server::serve(settings, app.catalog()).await;
    if let Some(exporter) = exporter {
        exporter.stop().await;
    }
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ ServeError::Config(_)) => failed(&error, 2),
        Err(error) => failed(&error, 1),
    }
}

/// Creates or updates the database schema.
pub(crate) async fn migrate() -> ExitCode {
    let (settings, warnings) = match Settings::load_database(Env::from_process()) {
        Ok(loaded) => loaded,
        Err(error) => return failed(&error, 2),
    };
    warn(&warnings);
    if let Err(error) = reach(&settings).await {
        return unreachable(&error);
    }
    let database = Database::new(&settings);
    match database.migrate().await {
        Ok(()) => {
            say!("schema {:?} is up to date", database.schema());
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error, 1),
    }
}

pub(crate) async fn reconcile(app: &App, as_json: bool) -> ExitCode {
    let settings = match Settings::load_without_host(Env::from_process()) {
        Ok(settings) => settings,
        Err(error) => return failed(&error, 2),
    };
    warn(&settings.warnings);
    let report = match reconcile_once(settings, app.catalog()).await {
        Ok(report) => report,
        Err(ReconcileError::Unreachable(error)) => return unreachable(&error),
        Err(error) => return failed(&error, 1),
    };
    let Ok(Value::Object(counts)) = serde_json::to_value(report) else {
        return failed(&"the report cannot be serialized", 1);
    };
    if as_json {
        say!("{}", Value::Object(counts));
    } else if report == ReconcileReport::default() {
        say!("nothing was unsent, lost or stuck");
    } else {
        for (what, count) in counts.iter().filter(|(_, count)| count.as_u64() != Some(0)) {
            say!("{:<22}{count}", what.replace('_', " "));
        }
    }
    if report.sends_failed > 0 {
        return failed(
            &"some messages could not be sent and remain unsent: check GET /api/health, then run this again",
            1,
        );
    }
    ExitCode::SUCCESS
}

fn warn(warnings: &[SettingProblem]) {
    for warning in warnings {
        tell!("lastlight: warning: {warning}");
    }
}
