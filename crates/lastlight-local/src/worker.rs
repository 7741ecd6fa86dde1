//! Workers beside the local cloud: processes that a command starts, with the address of the host, and
//! that are started again when they end. They stop before the local cloud does, and also when its
//! process is killed. What they run is not known here.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, ChildStdin, Command},
    task::JoinHandle,
};

use tokio_util::sync::CancellationToken;

use crate::host::LogSink;

/// Starts a command with a shell, which also ends it when its own input ends: when the local cloud
/// closes it, or is killed.
const SHELL: &str = r#"
exec 3<&0
sh -c "exec $0" </dev/null 3<&- &
worker=$!
(while read -r line; do :; done; kill -TERM "$worker" 2>/dev/null) <&3 &
watcher=$!
wait "$worker"
code=$?
kill "$watcher" 2>/dev/null
exit "$code"
"#;

/// The first pause before a worker that ended is started again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A worker that ran for so long is started again after the first pause.
const STEADY: Duration = Duration::from_secs(60);

/// How long a worker that is told to stop may take.
const GRACE: Duration = Duration::from_secs(40);

/// A worker that is kept running.
#[derive(Debug)]
pub struct LocalWorker {
    stop: CancellationToken,
    keeper: JoinHandle<()>,
}

impl LocalWorker {
    /// Starts `command`, a line for the shell, with the address of the host in `LASTLIGHT_URL`.
    pub fn start(command: String, base_url: &str, log: LogSink) -> Self {
        let stop = CancellationToken::new();
        let keeper = tokio::spawn(keep(command, base_url.to_owned(), log, stop.clone()));
        Self { stop, keeper }
    }

    /// Tells the worker to stop, and waits until it has: a worker gives back what it cannot finish.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.keeper.await;
    }
}

async fn keep(command: String, base_url: String, log: LogSink, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let how = match spawn(&command, &base_url, &log) {
            Err(error) => format!("cannot be started: {error}"),
            Ok((mut worker, input)) => tokio::select! {
                status = worker.wait() => match status.ok().and_then(|status| status.code()) {
                    Some(code) => format!("ended with code {code}"),
                    None => "was killed".to_owned(),
                },
                () = stop.cancelled() => return end(worker, input).await,
            },
        };
        if began.elapsed() > STEADY {
            pause = FIRST_PAUSE;
        }
        log.line(&format!("the worker {how}; it is started again in {} s", pause.as_secs()));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The worker, and its input: waiting for the worker would close it, and so end the worker.
fn spawn(
    command: &str,
    base_url: &str,
    log: &LogSink,
) -> std::io::Result<(Child, Option<ChildStdin>)> {
    let mut worker = Command::new("sh")
        .args(["-c", SHELL, command])
        .env("LASTLIGHT_URL", base_url)
        .env_remove("LASTLIGHT_KEY")
        .env("PYTHONUNBUFFERED", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C in a terminal goes to the local cloud only, which then stops the worker.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    if let Some(output) = worker.stdout.take() {
        tokio::spawn(take_lines(output, log.clone()));
    }
    if let Some(output) = worker.stderr.take() {
        tokio::spawn(take_lines(output, log.clone()));
    }
    let input = worker.stdin.take();
    Ok((worker, input))
}

async fn end(mut worker: Child, input: Option<ChildStdin>) {
    drop(input);
    if tokio::time::timeout(GRACE, worker.wait()).await.is_err() {
        let _ = worker.start_kill();
    }
}

async fn take_lines(output: impl AsyncRead + Unpin, log: LogSink) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        log.line(&format!("worker: {line}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Returns when a line has this text.
    async fn until(lines: &Mutex<Vec<String>>, text: &str) {
        let limit = Instant::now() + Duration::from_secs(120);
        while !lines.lock().unwrap().iter().any(|line| line.contains(text)) {
            assert!(Instant::now() < limit, "{text:?} never came: {:?}", lines.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn sink() -> (Arc<Mutex<Vec<String>>>, LogSink) {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&lines);
        (lines, LogSink::new(move |line| kept.lock().unwrap().push(line.to_owned())))
    }

    #[tokio::test]
    async fn a_worker_that_ends_is_started_again_with_the_address() {
        let (lines, log) = sink();
        let folder = tempfile::tempdir().unwrap();
        let marks = folder.path().join("marks");
        let command = format!(
            "sh -c 'echo at $LASTLIGHT_URL; echo x >>{0}; test $(wc -l <{0}) -lt 2 || exec sleep 600; exit 3'",
            marks.display()
        );
        let worker = LocalWorker::start(command, "http://127.0.0.1:1", log);
        until(&lines, "worker: at http://127.0.0.1:1").await;
        until(&lines, "the worker ended with code 3; it is started again in 1 s").await;
        while std::fs::read_to_string(&marks).unwrap().lines().count() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        worker.stop().await;
    }

    #[tokio::test]
    async fn a_worker_that_is_to_stop_gets_the_time_for_it() {
        let (lines, log) = sink();
        let command = "sh -c 'trap \"echo told to stop; exit 0\" TERM; echo runs; while :; do sleep 0.05; done'";
        let worker = LocalWorker::start(command.to_owned(), "http://127.0.0.1:1", log);
        until(&lines, "worker: runs").await;
        worker.stop().await;
        until(&lines, "worker: told to stop").await;
    }
}
