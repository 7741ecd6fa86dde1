//! Cursors: opaque positions at which a list continues. A cursor is valid only for the list that
//! returned it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use time::OffsetDateTime;

use super::{
    ApiError,
    query::{QueryParameters, bad, shortened},
};
use crate::queries::{JobPosition, JobTaskPosition, TaskPosition};

/// A position in a list.
pub(super) trait Cursor: Sized {
    /// The list, and the version of its cursor format.
    const KIND: &'static str;

    /// The parts of the position; only the last may contain spaces.
    fn parts(&self) -> Vec<String>;

    /// The position with these parts.
    fn from_parts(parts: &[&str]) -> Option<Self>;

    /// Encodes the position for a response.
    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{} {}", Self::KIND, self.parts().join(" ")))
    }

    fn read(text: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let rest = text.strip_prefix(Self::KIND)?.strip_prefix(' ')?;
        Self::from_parts(&rest.splitn(4, ' ').collect::<Vec<_>>())
    }

    /// Reads the position after which the list is to continue.
    fn of(query: &QueryParameters) -> Result<Option<Self>, ApiError> {
        // An empty value counts as none, since forms send it.
        let Some(text) = query.text("cursor")?.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        match Self::read(text) {
            Some(position) => Ok(Some(position)),
            None => Err(bad(format!(
                "cursor must be a next_cursor returned by this list, not {:?}; omit it to start from the beginning",
                shortened(text)
            ))),
        }
    }
}

impl Cursor for JobPosition {
    const KIND: &'static str = "jobs1";

    fn parts(&self) -> Vec<String> {
        vec![microseconds(self.created_at).to_string(), self.job_id.to_string()]
    }

    fn from_parts(parts: &[&str]) -> Option<Self> {
        let [created_at, job_id] = parts else {
            return None;
        };
        Some(Self { created_at: time(created_at)?, job_id: job_id.parse().ok()? })
    }
}

impl Cursor for TaskPosition {
    const KIND: &'static str = "tasks1";

    fn parts(&self) -> Vec<String> {
        let mut parts = self.job.parts();
        parts.extend([self.stage.to_string(), self.task_id.clone()]);
        parts
    }

    fn from_parts(parts: &[&str]) -> Option<Self> {
        let [job @ .., stage, task_id] = parts else {
            return None;
        };
        Some(Self {
            job: JobPosition::from_parts(job)?,
            stage: stage.parse().ok()?,
            task_id: id(task_id)?,
        })
    }
}

impl Cursor for JobTaskPosition {
    const KIND: &'static str = "job-tasks1";

    fn parts(&self) -> Vec<String> {
        vec![self.stage.to_string(), self.task_id.clone()]
    }

    fn from_parts(parts: &[&str]) -> Option<Self> {
        let (stage, task_id) = parts.split_first()?;
        Some(Self { stage: stage.parse().ok()?, task_id: id(&task_id.join(" "))? })
    }
}

/// PostgreSQL's text type accepts every character except NUL.
fn id(text: &str) -> Option<String> {
    (!text.contains('\0') && text.len() <= 400).then(|| text.to_owned())
}

fn microseconds(time: OffsetDateTime) -> i128 {
    time.unix_timestamp_nanos() / 1000
}

fn time(text: &str) -> Option<OffsetDateTime> {
    let microseconds: i64 = text.parse().ok()?;
    // From 1970 to 9999: well within the range of the database.
    (0..=253_402_300_799_000_000)
        .contains(&microseconds)
        .then(|| OffsetDateTime::from_unix_timestamp_nanos(i128::from(microseconds) * 1000).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip_for_their_own_list_only() {
        let job = JobPosition {
            created_at: time("1764085106123456").unwrap(),
            job_id: "ab".repeat(32).parse().unwrap(),
        };
        assert_eq!(JobPosition::read(&job.write()), Some(job));
        let tasks = TaskPosition { job, stage: i16::MAX, task_id: "with  two spaces ".to_owned() };
        assert_eq!(TaskPosition::read(&tasks.write()), Some(tasks.clone()));
        for task_id in ["", "abababab-s1-greet-7", "a b  c d e"] {
            let of_job = JobTaskPosition { stage: 2, task_id: task_id.to_owned() };
            assert_eq!(JobTaskPosition::read(&of_job.write()), Some(of_job.clone()));
            assert_eq!(TaskPosition::read(&of_job.write()), None);
        }
        assert_eq!(JobPosition::read(&tasks.write()), None);
        for text in [
            "",
            "x",
            "====",
            "jobs1",
            &URL_SAFE_NO_PAD.encode("jobs1 1"),
            &URL_SAFE_NO_PAD.encode(b"\xff"),
        ] {
            assert_eq!(JobPosition::read(text), None, "{text}");
        }
    }
}
