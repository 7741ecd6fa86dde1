//! `lastlight archive show`: the job, its stages, its result, the numbers of its tasks, and its events.

use clap::Args;
use lastlight_api::archive::{ArchivedEvent, ArchivedRun, ArchivedStage};
use lastlight_engine::{
    archive::ArchiveStorage,
    queries::{EventFacts, sentence},
};
use serde_json::json;

use super::{
    ArchiveError,
    find::{JobArguments, find},
    lines::{Archived, read},
    list::{look_of, second},
    size,
};
use crate::{
    format::{Align, Table, count_of_bad, counted, one_line, plain},
    output, say,
    style::Paint,
};

/// `lastlight archive show`.
#[derive(Debug, Args)]
pub(super) struct ShowArguments {
    #[command(flatten)]
    job: JobArguments,
}

pub(super) async fn show(
    archive: &ArchiveStorage,
    arguments: &ShowArguments,
    is_json: bool,
) -> Result<(), ArchiveError> {
    let run = find(archive, &arguments.job).await?;
    let archived = read(archive, &run).await?;
    if is_json {
        let Archived { job, definition, stages, events, end } = &archived;
        say!(
            "{}",
            json!({
                "archive": run, "job": job, "definition": definition, "stages": stages, "events": events, "end": end,
            })
        );
        return Ok(());
    }
    output::text(&text(&run, &archived));
    Ok(())
}

fn text(run: &ArchivedRun, archived: &Archived) -> String {
    let paint = Paint::for_stdout();
    let Archived { job, definition, stages, events, end } = archived;
    let mut whole = format!(
        "Job {}, run {}: {}\n",
        job.job_id,
        job.run,
        paint.text(look_of(job.status), &job.status.to_string())
    );
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            whole.push_str(&format!("  {name:<11}{value}\n"));
        }
    };
    line("type", &job.job_type);
    line("submitted", &second(job.created_at));
    line("ended", &job.finished_at.map(second).unwrap_or_default());
    let labels: Vec<String> =
        job.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    line("labels", &one_line(&labels.join(", "), 400));
    line("parameters", &one_line(job.parameters.get(), 400));
    line(
        "result",
        &one_line(job.result.as_ref().map(|result| result.get()).unwrap_or_default(), 400),
    );
    line("error", &one_line(job.error.as_deref().unwrap_or_default(), 400));
    if let Some(definition) = definition {
        let version = definition.version.map(|version| format!(", version {version}"));
        line("definition", &format!("{}{}", definition.name, version.unwrap_or_default()));
    }
    let by_status: Vec<String> =
        end.tasks_by_status.iter().map(|(status, count)| format!("{count} {status}")).collect();
    line("tasks", &format!("{} ({})", end.tasks, by_status.join(", ")).replace(" ()", ""));
    if end.tasks < end.tasks_planned {
        line(
            "missing",
            &format!(
                "{}: the deletion of the job had begun before the app had an archive",
                counted(end.tasks_planned - end.tasks, "task")
            ),
        );
    }
    line("blob", &run.blob);
    line("size", &format!("{}, {} of lines", size(run.bytes), size(run.uncompressed_bytes)));
    line("SHA-256", &run.sha256);
    if !stages.is_empty() {
        whole.push('\n');
        whole.push_str(&stage_table(stages, paint));
    }
    whole.push('\n');
    whole.push_str(&event_table(events, paint));
    whole
}

fn stage_table(stages: &[ArchivedStage], paint: Paint) -> String {
    let mut table = Table::new([
        ("STAGE", Align::Left),
        ("OUTCOME", Align::Left),
        ("TASKS", Align::Right),
        ("COMPLETED", Align::Right),
        ("FAILED", Align::Right),
        ("SKIPPED", Align::Right),
        ("ENDED (UTC)", Align::Left),
    ]);
    for stage in stages {
        let outcome = stage.outcome.map(|outcome| outcome.to_string()).unwrap_or_default();
        table.row([
            plain(stage.node.clone().unwrap_or_else(|| stage.stage.get().to_string())),
            plain(outcome),
            plain(stage.total.to_string()),
            plain(stage.completed.to_string()),
            count_of_bad(stage.failed),
            plain(stage.skipped.to_string()),
            plain(stage.advanced_at.map(second).unwrap_or_default()),
        ]);
    }
    table.text(paint)
}

fn event_table(events: &[ArchivedEvent], paint: Paint) -> String {
    let mut table = Table::new([
        ("TIME (UTC)", Align::Left),
        ("RUN", Align::Right),
        ("EVENT", Align::Left),
        ("BY", Align::Left),
        ("REASON", Align::Left),
    ]);
    for event in events {
        let message = sentence(EventFacts {
            kind: &event.event,
            run: event.run,
            stage: event.stage,
            node: event.node.as_deref(),
            detail: event.detail.as_deref(),
            amount: event.amount,
        });
        table.row([
            plain(second(event.happened_at)),
            plain(event.run.to_string()),
            plain(one_line(&message, 200)),
            plain(one_line(event.requested_by.as_deref().unwrap_or_default(), 40)),
            plain(one_line(event.reason.as_deref().unwrap_or_default(), 100)),
        ]);
    }
    table.text(paint)
}
