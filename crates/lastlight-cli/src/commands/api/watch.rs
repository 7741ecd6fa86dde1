//! `lastlight watch`: follows a job until it finishes. Shows one bar per stage on a terminal, plain
//! lines elsewhere, and with `--json` one line per change.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use crate::client::Answer;
use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lastlight_api::{
    JobStatus, JobVersion,
    jobs::{JobStatusAnswer, StageProgress},
};

use super::{AppArguments, CommandError, Session, Verdict, look_of, nodes, planning, short};
use crate::{
    format::{between, lasting, one_line},
    output, say,
    style::Look,
    tell,
};

/// `lastlight watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// Job id, or its first 4 or more characters.
    job_id: String,
    #[command(flatten)]
    pub(super) app: AppArguments,
}

/// Seconds after which the app answers without a change; it answers earlier if anything changes.
const WAIT: u8 = 5;

/// Minimum time between two requests.
const PAUSE: Duration = Duration::from_millis(200);

/// Minimum time between two lines of progress.
const LINE_PAUSE: Duration = Duration::from_secs(2);

/// How long to wait for an app that does not answer: it may be restarting.
const MOST_AWAY: Duration = Duration::from_secs(60);

pub(super) async fn watch(arguments: &WatchArguments) -> Result<Verdict, CommandError> {
    let session = arguments.app.session()?;
    let job_id = session.job_id(&arguments.job_id).await?;
    follow(&session, &job_id).await
}

/// Follows a job until it finishes. Ctrl-C, or a reader that closes the pipe, stops only the
/// command and not the job.
pub(super) async fn follow(session: &Session, job_id: &str) -> Result<Verdict, CommandError> {
    let mut shown = Shown::new(session);
    let followed = tokio::select! {
        followed = to_its_end(session, job_id, |answer| shown.show(answer)) => Some(followed?),
        _ = tokio::signal::ctrl_c() => None,
        () = output::lost() => return Ok(Verdict::Good),
    };
    shown.finish();
    let Some(answer) = followed else {
        tell!(
            "\nThe job keeps running. lastlight watch {} follows it again; lastlight cancel {0} cancels it.",
            short(job_id)
        );
        return Ok(Verdict::Stopped);
    };
    if !session.is_json {
        say!("{}", ending(session, &answer.body));
    }
    Ok(match answer.body.status {
        JobStatus::Completed => Verdict::Good,
        _ => Verdict::Bad,
    })
}

/// Requests the status until the job is finished. `show` gets each answer with a change, and the
/// last one.
pub(super) async fn to_its_end(
    session: &Session,
    job_id: &str,
    mut show: impl FnMut(&Answer<JobStatusAnswer>),
) -> Result<Answer<JobStatusAnswer>, CommandError> {
    let mut away_since: Option<Instant> = None;
    let mut seen: Option<Option<JobVersion>> = None;
    let mut before: Option<(JobStatus, bool, Vec<StageProgress>)> = None;
    loop {
        let began = Instant::now();
        // The first request returns at once; later ones wait for a change.
        let asked = match seen {
            None => session.client.status(job_id).await,
            Some(seen) => session.client.status_after(job_id, seen, WAIT).await,
        };
        match asked {
            Ok(answer) => {
                away_since = None;
                seen = Some(answer.body.version);
                let is_finished = answer.body.status.is_terminal();
                let body = &answer.body;
                let is_paused = body.paused_since().is_some();
                let now = (body.status, is_paused, body.progress.clone());
                if before.as_ref() != Some(&now) {
                    show(&answer);
                    before = Some(now);
                }
                if is_finished {
                    return Ok(answer);
                }
            }
            // After the first answer, wait for an app that is restarting.
            Err(error) if error.is_passing() && seen.is_some() => {
                let since = *away_since.get_or_insert_with(|| {
                    tell!("lastlight: {error}; waiting for the app to answer again");
                    began
                });
                if since.elapsed() > MOST_AWAY {
                    return Err(error.into());
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE.saturating_sub(began.elapsed())).await;
    }
}

/// The progress output.
enum Shown {
    Json,
    Bars { all: MultiProgress, bars: Vec<ProgressBar>, said: Vec<String>, is_paused: bool },
    Lines { said_at: Option<Instant>, said: Vec<String>, is_paused: bool },
}

impl Shown {
    fn new(session: &Session) -> Self {
        if session.is_json {
            Self::Json
        } else if std::io::stderr().is_terminal() {
            Self::Bars {
                all: MultiProgress::new(),
                bars: Vec::new(),
                said: Vec::new(),
                is_paused: false,
            }
        } else {
            Self::Lines { said_at: None, said: Vec::new(), is_paused: false }
        }
    }

    fn show(&mut self, answer: &Answer<JobStatusAnswer>) {
        let status = &answer.body;
        match self {
            Self::Json => say!("{}", answer.document),
            Self::Bars { all, bars, said, is_paused } => {
                if let Some(words) = pause_begins(status, is_paused) {
                    let _ = all.println(words);
                }
                for stage in &status.progress {
                    let place = usize::from(stage.stage.get()).saturating_sub(1);
                    while bars.len() <= place {
                        bars.push(all.add(bar()));
                    }
                    draw(&bars[place], stage, status);
                }
                for command in nodes::decisions(status) {
                    if !said.contains(&command) {
                        let _ = all.println(&command);
                        said.push(command);
                    }
                }
            }
            Self::Lines { said_at, said, is_paused } => {
                let is_due = said_at.is_none_or(|at| at.elapsed() > LINE_PAUSE);
                for stage in &status.progress {
                    let Some(line) = line(stage, status) else { continue };
                    // A finished stage is always printed, once.
                    let is_said = said.contains(&line);
                    let is_news =
                        stage.is_finished() || status.status.is_terminal() || nodes::is_due(stage);
                    if !is_said && (is_due || is_news) {
                        say!("{line}");
                        *said_at = Some(Instant::now());
                        said.push(line);
                    }
                }
                for command in nodes::decisions(status) {
                    if !said.contains(&command) {
                        say!("{command}");
                        said.push(command);
                    }
                }
                if let Some(words) = pause_begins(status, is_paused) {
                    say!("{words}");
                }
            }
        }
    }

    fn finish(&self) {
        if let Self::Bars { bars, .. } = self {
            for bar in bars {
                bar.abandon();
            }
        }
    }
}

/// The message to print when a job becomes paused; otherwise the user would wait without a reason.
fn pause_begins(status: &JobStatusAnswer, is_paused: &mut bool) -> Option<String> {
    let was_paused = std::mem::replace(is_paused, status.paused_since().is_some());
    (*is_paused && !was_paused).then(|| {
        format!("The job is paused; lastlight resume {} resumes it.", short(status.job_id.as_str()))
    })
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:34} {bar:32} {pos:>9}/{len:<9} {msg}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn draw(bar: &ProgressBar, stage: &StageProgress, status: &JobStatusAnswer) {
    bar.set_prefix(name(stage, status));
    bar.set_length(stage.total.cast_unsigned());
    bar.set_position(stage.done().cast_unsigned());
    bar.set_message(match &stage.node {
        Some(node) => nodes::message(stage, node, status),
        None => remarks(stage, status).join(", "),
    });
}

fn name(stage: &StageProgress, status: &JobStatusAnswer) -> String {
    if let Some(node) = &stage.node {
        return one_line(&node.name, 33);
    }
    let task_type = stage.task_type.as_deref().unwrap_or(&status.job_type);
    format!("stage {} of {} {}", stage.stage, status.total_stages, one_line(task_type, 20))
}

/// The line of a stage; `None` while there is nothing to say of it.
fn line(stage: &StageProgress, status: &JobStatusAnswer) -> Option<String> {
    if stage.node.is_some() {
        return nodes::line(stage, status);
    }
    let mut parts = Vec::new();
    if stage.total > 0 || stage.planned {
        parts.push(format!("{} of {} tasks done", stage.done(), stage.total));
    }
    parts.extend(remarks(stage, status));
    let task_type = stage.task_type.as_deref().unwrap_or(&status.job_type);
    Some(format!(
        "stage {} of {}, {task_type}: {}",
        stage.stage,
        status.total_stages,
        parts.join(", ")
    ))
}

/// Remarks on a stage besides its progress.
fn remarks(stage: &StageProgress, status: &JobStatusAnswer) -> Vec<String> {
    let mut remarks = Vec::new();
    for (count, what) in [(stage.failed, "failed"), (stage.skipped, "skipped")] {
        if count > 0 {
            remarks.push(format!("{count} {what}"));
        }
    }
    if stage.is_finished() {
        if let (Some(from), Some(to)) = (stage.started_at, stage.finished_at)
            && let Some(took) = between(from.0, to.0)
        {
            remarks.push(format!("took {}", lasting(took)));
        }
        return remarks;
    }
    if let Some(words) = planning(stage, status) {
        remarks.push(words.to_owned());
    }
    if stage.pending_queue > 0 {
        remarks.push(format!("{} messages unsent", stage.pending_queue));
    }
    if let Some(rate) = stage.rate_per_second.filter(|rate| *rate > 0.0) {
        remarks.push(format!("{rate:.0}/s"));
    }
    if let Some(seconds) =
        stage.eta_seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
    {
        remarks.push(format!("{} left", lasting(Duration::from_secs_f64(seconds))));
    }
    remarks
}

fn ending(session: &Session, status: &JobStatusAnswer) -> String {
    let word = session.paint.text(look_of(status.status), status.status.as_str());
    let took = between(status.created_at.0, status.updated_at.0)
        .map(|took| format!(" after {}", lasting(took)))
        .unwrap_or_default();
    let mut text = format!("{} {word}{took}", short(status.job_id.as_str()));
    if let Some(reason) = &status.error_details {
        text.push_str(&format!(": {reason}"));
    }
    if status.status != JobStatus::Completed {
        let next = format!(
            "\nlastlight tasks {} lists the failed tasks; lastlight retry {0} runs them again.",
            short(status.job_id.as_str())
        );
        text.push_str(&session.paint.text(Look::Faint, &next));
    }
    text
}
