//! Runs the real binary against an app of its own, and removes from its output what differs between
//! runs.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio};

use lastlight_local::{
    CloudOptions, LocalCloud,
    host::{HandlerCommand, LogSink},
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::harness::{new_database_url, until};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_lastlight");

/// The output of a command.
pub(crate) struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Standard output as one JSON document.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }

    /// Exit code and both outputs, for a snapshot.
    pub(crate) fn whole(&self) -> String {
        redacted(&format!("exit {}\n--- out\n{}--- err\n{}", self.code, self.out, self.err))
    }
}

/// A command with exactly these settings.
pub(crate) fn command(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(arguments)
        .env_clear()
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

pub(crate) async fn run(mut command: Command) -> Said {
    let output = command.output().await.expect("the binary starts");
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// An app on a local cloud, with its database on a real PostgreSQL.
pub(crate) struct App {
    pub cloud: LocalCloud,
    folder: tempfile::TempDir,
}

impl App {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The job type `chaos`, whose tasks fail on request.
        let ledger = folder.path().join("ledger");
        let settings: BTreeMap<String, String> = [
            ("LASTLIGHT_CHAOS_LEDGER", ledger.to_str().unwrap()),
            ("LASTLIGHT_RETRY_FIRST_SECONDS", "0.1"),
            ("MAX_RETRY_ATTEMPTS", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let cloud = LocalCloud::start(CloudOptions {
            app_root: PathBuf::from(env!("CARGO_MANIFEST_DIR")),
            data: folder.path().join("data"),
            port: 0,
            storage_port: 0,
            service_bus_port: 0,
            database_url: Some(new_database_url().await),
            handler: HandlerCommand::Program {
                program: BINARY.into(),
                arguments: vec!["serve".into()],
            },
            settings,
            log: LogSink::new(|line| eprintln!("{line}")),
        })
        .await
        .unwrap();
        let app = Self { cloud, folder };
        app.ready().await;
        app
    }

    /// Waits until the app has its database.
    async fn ready(&self) {
        let url = format!("{}/api/health", self.cloud.base_url());
        until("the app is ready", async || {
            let answer = reqwest::get(&url).await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        command(arguments, &[("LASTLIGHT_URL", &self.cloud.base_url())])
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Said {
        run(self.command(arguments)).await
    }

    /// The same with text on standard input.
    pub(crate) async fn run_with_input(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Submits a job and returns its id.
    pub(crate) async fn submitted(&self, job_type: &str, parameters: &Value) -> String {
        let said =
            self.run(&["submit", job_type, "--params", &parameters.to_string(), "--json"]).await;
        assert_eq!(said.code, 0, "{}", said.err);
        said.json()["job_id"].as_str().unwrap().to_owned()
    }

    /// Waits until a job has this status.
    pub(crate) async fn until(&self, job_id: &str, wanted: &str) {
        until(&format!("job {job_id} is {wanted}"), async || {
            let status = &self.run(&["status", job_id, "--json"]).await.json()["status"];
            (status == wanted).then_some(())
        })
        .await;
    }

    pub(crate) async fn stop(self) {
        self.cloud.stop().await.unwrap();
        drop(self.folder);
    }
}

/// Replaces what differs between runs: ids, times, durations, rates and ports. Columns are
/// separated by two blanks.
pub(crate) fn redacted(text: &str) -> String {
    text.lines().map(redacted_line).collect::<Vec<_>>().join("\n")
}

fn redacted_line(line: &str) -> String {
    let indent: String = line.chars().take_while(|c| *c == ' ').take(2).collect();
    let mut parts: Vec<String> = Vec::new();
    // Columns are separated by two blanks or more, words by one.
    for column in line.split("  ").map(str::trim).filter(|column| !column.is_empty()) {
        let words: Vec<&str> = column.split(' ').collect();
        let unit = |place: usize| words.get(place).is_some_and(|word| is_unit(word));
        let mut said: Vec<String> = Vec::new();
        let mut place = 0;
        while place < words.len() {
            if is_number(words[place]) && unit(place + 1) {
                // "1 min 20 s" is one duration.
                while is_number(words.get(place).copied().unwrap_or_default()) && unit(place + 1) {
                    place += 2;
                }
                let after = words[place - 1].trim_start_matches(|c: char| c.is_ascii_alphabetic());
                said.push(format!("<time>{after}"));
            } else {
                said.push(redacted_word(words[place]));
                place += 1;
            }
        }
        let column = said.join(" ").replace("just now", "<time> ago");
        parts.push(column);
    }
    format!("{indent}{}", parts.join("  "))
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.parse::<f64>().is_ok()
}

fn is_unit(word: &str) -> bool {
    matches!(word.trim_end_matches([',', '.', ')', ':', ';']), "ms" | "s" | "min" | "h" | "d")
}

/// Replaces ids, ports and rates within a word.
fn redacted_word(word: &str) -> String {
    if word.strip_suffix("/s").is_some_and(is_number) {
        return "<rate>".to_owned();
    }
    let mut whole = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        let is_hex = piece.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        let is_port = whole.ends_with("127.0.0.1:");
        whole.push_str(match piece.len() {
            64 | 32 if is_hex => "<id>",
            12 if is_hex => "<job>",
            8 if is_hex
                && (piece.contains(|c: char| c.is_ascii_digit()) || after.starts_with("-s")) =>
            {
                "<start>"
            }
            _ if is_port => "<port>",
            _ => piece,
        });
        let mut others = after.char_indices();
        let next =
            others.find(|(_, c)| c.is_ascii_alphanumeric()).map_or(after.len(), |(at, _)| at);
        whole.push_str(&after[..next]);
        rest = &after[next..];
    }
    whole
}
