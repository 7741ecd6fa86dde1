//! Fail points: named places where a `lastlight chaos` run makes this process die, fail or wait.
//! They are placed before and after each commit and each send, and between two steps that belong
//! together.
//!
//! They exist only with the cargo feature `fault-injection`; in the deployed binary a fail point
//! compiles to nothing, not even its name. With the feature, an unarmed one costs one read of a
//! static.
//!
//! One fail point per process is armed, by `LASTLIGHT_CHAOS_FAILPOINT=name:k:action`: it triggers
//! the `k`-th time (from 1) that the process reaches it. `action` is `kill`, `error`, or
//! `delay=<milliseconds>`. `LASTLIGHT_CHAOS_HITS` names a file to which the fail point is written
//! before it triggers; a process that finds this file is not armed, so that the replacement of a
//! killed process survives.

/// A fail point. `failpoint!("name")` can kill or delay; the action `error` has no effect.
/// `failpoint!("name", error)`: with the action `error`, the function also returns `error`.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "fault-injection")]
        let _ = $crate::failpoint::pass($name).await;
    };
    ($name:literal, $error:expr) => {
        #[cfg(feature = "fault-injection")]
        if $crate::failpoint::pass($name).await == $crate::failpoint::Passage::Fail {
            return $error;
        }
    };
}

pub(crate) use failpoint;

#[cfg(feature = "fault-injection")]
pub use armed::{
    ARCHIVE_PLACES, BULK_PLACES, FAILPOINT_SETTING, GRAPH_PLACES, HITS_SETTING, NEXT_RUN_PLACES,
    NOTIFY_PLACES, PLACES, PURGE_PLACES, Passage, SCHEDULE_PLACES, SINGLE_TASK_PLACES,
    WORKER_PLACES, pass,
};

#[cfg(feature = "fault-injection")]
mod armed {
    use std::{
        fs,
        io::Write,
        path::PathBuf,
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    /// The setting that arms a fail point.
    pub const FAILPOINT_SETTING: &str = "LASTLIGHT_CHAOS_FAILPOINT";
    /// The setting that names the file of triggered fail points.
    pub const HITS_SETTING: &str = "LASTLIGHT_CHAOS_HITS";

    /// The fail points that every job may pass, in the order of its life cycle, and whether each
    /// supports the action `error`.
    pub const PLACES: &[(&str, bool)] = &[
        ("submit.before_commit", true),
        ("submit.after_commit", true),
        ("job_sent.before_commit", true),
        ("job_sent.after_commit", true),
        ("lease.before_commit", true),
        ("lease.after_commit", true),
        ("chunk.before_commit", true),
        ("chunk.after_commit", true),
        ("plan.between_chunks", false),
        ("batch_sent.before_commit", true),
        ("batch_sent.after_commit", true),
        ("stop_plan.before_commit", true),
        ("stop_plan.after_commit", true),
        ("finish_plan.before_commit", true),
        ("finish_plan.after_commit", true),
        ("claim.before_commit", true),
        ("claim.after_commit", true),
        ("defer.before_commit", true),
        ("defer.after_commit", true),
        ("defer.taken", true),
        ("execute.ran", false),
        ("execute.recorded", false),
        ("complete.before_commit", true),
        ("complete.after_commit", true),
        ("retry.before_send", false),
        ("advance.folded", false),
        ("advance.before_send", false),
        ("next_stage.before_commit", true),
        ("next_stage.after_commit", true),
        ("end_job.before_commit", true),
        ("end_job.after_commit", true),
        ("send.before", true),
        ("send.after", true),
        ("reconcile.closed", false),
        ("reconcile.advanced", false),
        ("reconcile.planned", false),
        ("reconcile.owed", false),
        ("reconcile.resent", false),
        ("reconcile.took", false),
        ("fail_plan.before_commit", true),
        ("fail_plan.after_commit", true),
        ("end_early.before_commit", true),
        ("end_early.after_commit", true),
        ("skip.before_commit", true),
        ("skip.after_commit", true),
        ("reopen_tasks.before_commit", true),
        ("reopen_tasks.after_commit", true),
        ("reopen_job.before_commit", true),
        ("reopen_job.after_commit", true),
    ];

    /// The places that only the deletion of jobs passes.
    pub const PURGE_PLACES: &[(&str, bool)] = &[
        ("purge.marked", true),
        ("purge.tasks", true),
        ("purge.batches", true),
        ("purge.job", true),
    ];

    /// The places that only jobs pass that are archived.
    pub const ARCHIVE_PLACES: &[(&str, bool)] = &[
        ("archive.claimed", true),
        ("archive.before_commit", true),
        ("archive.after_commit", true),
        ("archive.before_record", true),
        ("archive.after_record", true),
    ];

    /// The places that only a job passes that runs again, besides those of its deletion.
    pub const NEXT_RUN_PLACES: &[(&str, bool)] =
        &[("next_run.before_commit", true), ("next_run.after_commit", true)];

    /// The places that only single tasks pass that users retry or skip.
    pub const SINGLE_TASK_PLACES: &[(&str, bool)] = &[
        ("retry_tasks.before_commit", true),
        ("retry_tasks.after_commit", true),
        ("skip_tasks.before_commit", true),
        ("skip_tasks.after_commit", true),
    ];

    /// The places that only bulk operations pass.
    pub const BULK_PLACES: &[(&str, bool)] = &[
        ("bulk.taken", true),
        ("bulk.changed", false),
        ("bulk.before_note", true),
        ("bulk.noted", true),
    ];

    /// The places that only schedules pass.
    pub const SCHEDULE_PLACES: &[(&str, bool)] = &[
        ("schedule.before_commit", true),
        ("schedule.within", true),
        ("schedule.after_commit", true),
        ("schedule.before_send", false),
    ];

    /// The places that only notifications pass.
    pub const NOTIFY_PLACES: &[(&str, bool)] = &[
        ("notify.before_commit", true),
        ("notify.after_commit", true),
        ("notify.before_send", false),
        ("notify.after_send", false),
    ];

    /// The places that only tasks of workers pass.
    pub const WORKER_PLACES: &[(&str, bool)] = &[
        ("claim_ready.before_commit", true),
        ("claim_ready.after_commit", true),
        ("claim_batches.before_commit", true),
        ("claim_batches.after_commit", true),
        ("dead_claims.before_commit", true),
        ("dead_claims.after_commit", true),
        ("release_worker.owned", false),
        ("heartbeat_worker.owned", false),
        ("finish_worker.standing", false),
        ("finish_worker.recorded", false),
    ];

    /// Those that only jobs pass whose stages form a graph.
    pub const GRAPH_PLACES: &[(&str, bool)] = &[
        ("end_stage.before_commit", true),
        ("end_stage.after_commit", true),
        ("child.submitted", false),
        ("child.noted", false),
        ("child.ended", false),
        ("decide_gate.before_commit", true),
        ("decide_gate.after_commit", true),
        ("fail_stage_plan.before_commit", true),
        ("fail_stage_plan.after_commit", true),
        ("reopen_graph.before_commit", true),
        ("reopen_graph.after_commit", true),
    ];

    /// What the code at the fail point does next.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Passage {
        Free,
        Fail,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Action {
        Kill,
        Error,
        Delay(Duration),
    }

    struct Armed {
        name: String,
        at: u64,
        action: Action,
        passed: AtomicU64,
        hits: Option<PathBuf>,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let armed = read(&std::env::var(FAILPOINT_SETTING).ok()?)?;
        let hits = std::env::var_os(HITS_SETTING).map(PathBuf::from);
        let struck = hits.as_ref().is_some_and(|path| path.exists());
        (!struck).then_some(Armed { hits, ..armed })
    });

    fn read(text: &str) -> Option<Armed> {
        let mut parts = text.split(':');
        let (name, at, action) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let action = match action {
            "kill" => Action::Kill,
            "error" => Action::Error,
            other => {
                Action::Delay(Duration::from_millis(other.strip_prefix("delay=")?.parse().ok()?))
            }
        };
        Some(Armed { name: name.to_owned(), at, action, passed: AtomicU64::new(0), hits: None })
    }

    /// Passes the fail point `name`, and triggers it if it is armed and this is its `k`-th pass.
    pub async fn pass(name: &'static str) -> Passage {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.name == name) else {
            return Passage::Free;
        };
        if armed.passed.fetch_add(1, Ordering::Relaxed) + 1 != armed.at {
            return Passage::Free;
        }
        if let Some(path) = &armed.hits {
            let file = fs::OpenOptions::new().create(true).append(true).open(path);
            let noted = file.and_then(|mut file| writeln!(file, "{name}:{}", armed.at));
            if let Err(error) = noted {
                tracing::error!(%error, path = %path.display(), "a fail point could not be recorded and is not triggered");
                return Passage::Free;
            }
        }
        match armed.action {
            // No unwinding and no destructors: the closest to SIGKILL that a process can do to
            // itself.
            Action::Kill => std::process::abort(),
            Action::Error => Passage::Fail,
            Action::Delay(delay) => {
                tokio::time::sleep(delay).await;
                Passage::Free
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// An unlisted fail point would never be tried.
        #[test]
        fn every_fail_point_in_the_source_is_listed() {
            let mut found = Vec::new();
            let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                    let path = entry.path();
                    if path.is_dir() {
                        folders.push(path);
                        continue;
                    }
                    // This file only documents them.
                    if path.ends_with("failpoint.rs") {
                        continue;
                    }
                    let source = fs::read_to_string(&path).unwrap();
                    for place in source.split("failpoint!(").skip(1) {
                        let name = place.split('"').nth(1).unwrap().to_owned();
                        let fails = place.split_once(&name).unwrap().1.starts_with("\",");
                        found.push((name, fails));
                    }
                }
            }
            let mut listed: Vec<(String, bool)> = PLACES
                .iter()
                .chain(GRAPH_PLACES)
                .chain(WORKER_PLACES)
                .chain(PURGE_PLACES)
                .chain(ARCHIVE_PLACES)
                .chain(NEXT_RUN_PLACES)
                .chain(SINGLE_TASK_PLACES)
                .chain(BULK_PLACES)
                .chain(SCHEDULE_PLACES)
                .chain(NOTIFY_PLACES)
                .map(|(name, fails)| ((*name).to_owned(), *fails))
                .collect();
            found.sort();
            listed.sort();
            assert_eq!(found, listed);
        }

        #[test]
        fn the_setting_names_point_pass_and_action() {
            let armed = read("complete.after_commit:3:delay=250").unwrap();
            assert_eq!((armed.name.as_str(), armed.at), ("complete.after_commit", 3));
            assert_eq!(armed.action, Action::Delay(Duration::from_millis(250)));
            assert_eq!(read("x:1:kill").unwrap().action, Action::Kill);
            assert_eq!(read("x:1:error").unwrap().action, Action::Error);
            for bad in ["", "x", "x:1", "x:one:kill", "x:1:explode"] {
                assert!(read(bad).is_none(), "{bad}");
            }
        }
    }
}
