//! The ledger: the runs of task handlers, written by the handlers themselves to a file, so that it
//! does not depend on a database. Each run has one line for its beginning and one for its end; a
//! line is a single write, which a kill cannot tear.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// The setting that names the file. If it is set, the handler has the job type `chaos`.
pub const LEDGER_SETTING: &str = "LASTLIGHT_CHAOS_LEDGER";

/// The file, open for appending.
#[derive(Debug)]
pub struct Ledger {
    file: fs::File,
    path: PathBuf,
}

/// How a run ended, as written in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// With a result.
    Completed,
    Failed,
}

/// One run of one task, as its handler recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The attempt, from 1, as the handler was told.
    pub attempt: u32,
    /// The process that ran it.
    pub process: u32,
    /// Microseconds since 1970, by the machine's clock.
    pub began: i64,
    /// When and how the run ended; `None`: it never ended.
    pub ended: Option<(i64, RunEnd)>,
}

/// A task: its stage and its number in the stage, from 0.
pub type TaskKey = (u8, u64);

/// All runs of a job's tasks.
pub type JobRuns = BTreeMap<TaskKey, Vec<Run>>;

/// A line about one run.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The job's tag, without blanks.
    pub tag: &'a str,
    pub task: TaskKey,
    /// The attempt, from 1.
    pub attempt: u32,
}

impl Ledger {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        Ok(Self { file: file?, path: path.to_owned() })
    }

    /// The file that opens the gate of the jobs with this tag: `<ledger>.<tag>.open`.
    pub fn gate(&self, tag: &str) -> PathBuf {
        gate(&self.path, tag)
    }

    /// The file with which nothing fails any more in the jobs of the type `graph` with this tag:
    /// `<ledger>.<tag>.repaired`.
    pub fn repaired(&self, tag: &str) -> PathBuf {
        repaired(&self.path, tag)
    }

    /// Records the beginning of a run.
    pub fn begins(&self, entry: Entry<'_>) {
        self.write("begin", entry);
    }

    /// Records the end of a run.
    pub fn ends(&self, entry: Entry<'_>, end: RunEnd) {
        let what = match end {
            RunEnd::Completed => "completed",
            RunEnd::Failed => "failed",
        };
        self.write(what, entry);
    }

    fn write(&self, what: &str, entry: Entry<'_>) {
        let (stage, number) = entry.task;
        let line = format!(
            "{what} {} {stage} {number} {} {} {}\n",
            entry.tag,
            entry.attempt,
            std::process::id(),
            now(),
        );
        // The error cannot be reported here. The oracle then misses the run and reports that.
        let _ = (&self.file).write_all(line.as_bytes());
    }
}

/// The file that [`Ledger::gate`] names for the ledger at `path`.
pub fn gate(path: &Path, tag: &str) -> PathBuf {
    beside(path, tag, "open")
}

/// The file that [`Ledger::repaired`] names for the ledger at `path`.
pub fn repaired(path: &Path, tag: &str) -> PathBuf {
    beside(path, tag, "repaired")
}

fn beside(path: &Path, tag: &str, what: &str) -> PathBuf {
    let mut beside = path.to_owned().into_os_string();
    beside.push(format!(".{tag}.{what}"));
    beside.into()
}

/// Microseconds since 1970, by the machine's clock, whatever clock skew this process is set to.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Reads a ledger: the runs of each job, by its tag.
///
/// # Errors
/// The file cannot be read, or a line is malformed.
pub fn read(path: &Path) -> io::Result<HashMap<String, JobRuns>> {
    let text = match fs::read_to_string(path) {
        // No task ran.
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    let mut jobs: HashMap<String, JobRuns> = HashMap::new();
    for line in text.lines() {
        take(&mut jobs, line).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{line:?} is not a line of a ledger"),
            )
        })?;
    }
    Ok(jobs)
}

fn take(jobs: &mut HashMap<String, JobRuns>, line: &str) -> Option<()> {
    let parts: Vec<&str> = line.split(' ').collect();
    let [what, tag, stage, number, attempt, process, at] = parts[..] else {
        return None;
    };
    let (attempt, process, at) = (attempt.parse().ok()?, process.parse().ok()?, at.parse().ok()?);
    let task = (stage.parse().ok()?, number.parse().ok()?);
    let runs = jobs.entry(tag.to_owned()).or_default().entry(task).or_default();
    let end = match what {
        "begin" => {
            runs.push(Run { attempt, process, began: at, ended: None });
            return Some(());
        }
        "completed" => RunEnd::Completed,
        "failed" => RunEnd::Failed,
        _ => return None,
    };
    let run = runs
        .iter_mut()
        .rev()
        .find(|run| run.attempt == attempt && run.process == process && run.ended.is_none())?;
    run.ended = Some((at, end));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_read_back_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        fs::write(&path, "begin a 1 7 1 100 5\nbegin a 1 7 2 101 9\ncompleted a 1 7 2 101 11\n")
            .unwrap();
        let runs = &read(&path).unwrap()["a"][&(1, 7)];
        assert_eq!(runs.len(), 2);
        assert_eq!((runs[0].attempt, runs[0].ended), (1, None));
        assert_eq!(runs[1].ended, Some((11, RunEnd::Completed)));
        assert!(read(&folder.path().join("none")).unwrap().is_empty());
    }

    #[test]
    fn an_invalid_ledger_line_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        for bad in ["begin a 1 7 1 100", "nonsense a 1 7 1 100 5", "completed a 1 7 1 100 5"] {
            fs::write(&path, bad).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains("not a line"), "{bad}");
        }
    }
}
