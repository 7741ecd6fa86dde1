//! Checks that the container of the archive exists, and can be listed and written.

use std::time::Duration;

use super::Notes;
use lastlight_engine::{archive::ArchiveStorage, config::ArchiveSettings};

/// Timeout of all requests.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn examine(settings: &ArchiveSettings) -> Notes {
    let mut notes = Notes::on("archive");
    let place = format!("{}, container {}", settings.account.endpoint, settings.container);
    let archive = match ArchiveStorage::new(settings) {
        Ok(archive) => archive,
        Err(error) => {
            notes.fault(error.to_string(), sentence(error.remedy()));
            return notes;
        }
    };
    match tokio::time::timeout(TIMEOUT, archive.probe_all()).await {
        Ok(Ok(())) => notes.ok(format!("{place}: can be read, listed and written")),
        Ok(Err(error)) => notes.fault(
            format!("{place}: {error}; jobs are kept until they can be archived"),
            sentence(error.remedy()),
        ),
        Err(_) => notes.fault(
            format!(
                "{place}: no answer within {} s; jobs are kept until they can be archived",
                TIMEOUT.as_secs()
            ),
            "Check the storage account and the network to it.",
        ),
    }
    notes
}

/// A remedy as a sentence of its own.
fn sentence(remedy: &str) -> String {
    let mut letters = remedy.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}
