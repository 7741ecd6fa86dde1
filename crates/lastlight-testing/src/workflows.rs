//! Workflow files of a test, in a folder of their own, and handlers for them.

use std::{fs, path::Path, sync::Arc};

use lastlight_engine::{
    builtin::{self, HttpCalls},
    config::{BlobSettings, Env, HttpCallAllow, Timing},
    job::{TaskContext, TaskError, erased::Catalog},
    transport::blob_storage::BlobStorage,
    workflow_files,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::app::TestApp;

/// A folder of workflow files.
pub struct Workflows {
    folder: TempDir,
    /// Settings of the app: of its storage accounts, for example.
    settings: Vec<(String, String)>,
}

impl Workflows {
    /// A folder with these files: names and texts.
    pub fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let workflows = Self { folder: TempDir::new().unwrap(), settings: Vec::new() };
        for (name, text) in files {
            workflows.write(name, text);
        }
        workflows
    }

    /// With settings of the app.
    #[must_use]
    pub fn with_settings<'a>(
        mut self,
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        self.settings.extend(settings.into_iter().map(owned));
        self
    }

    /// Writes a file, as a new deployment does: processes that run do not notice.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A text that names files, without their folder.
    pub fn without_folder(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.folder.path().display()), "")
    }

    /// Adds the workflows to a catalog, the handlers that every app has, and those of this module.
    pub fn add_to(&self, catalog: Catalog) -> Catalog {
        let catalog = handlers(catalog);
        let mut env = Env::from_pairs(
            self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let blobs = Arc::new(BlobStorage::new(BlobSettings::from_env(&mut env)));
        workflow_files::load(self.folder.path(), catalog, blobs)
    }

    /// A handler in this process on an existing database, with these workflows as they are now.
    pub async fn on(&self, url: &str, catalog: Catalog, timing: Timing) -> TestApp {
        TestApp::on(url, self.add_to(catalog), timing).await
    }
}

/// Adds the handlers that every app has, and these:
///
/// - `show` returns its parameters, also those that the task itself adds.
/// - `numbers` returns `{"items": [0, 1, …]}`, `count` of them.
/// - `answer` answers the JSON text `text`.
/// - `stumble` fails its first `times` attempts for a moment, and returns the number of the one that
///   did not.
fn handlers(catalog: Catalog) -> Catalog {
    let http_calls = HttpCalls::new(HttpCallAllow::from_env(&mut Env::default()));
    builtin::add_to(catalog, http_calls)
        .handler("show", show)
        .handler("numbers", numbers)
        .handler("answer", answer)
        .handler("stumble", stumble)
}

async fn show(_: TaskContext, given: Map<String, Value>) -> Result<Value, TaskError> {
    Ok(Value::Object(given))
}

#[derive(Debug, Deserialize)]
struct Count {
    count: u64,
}

async fn numbers(_: TaskContext, Count { count }: Count) -> Result<Value, TaskError> {
    Ok(json!({ "items": (0..count).collect::<Vec<_>>() }))
}

#[derive(Debug, Deserialize)]
struct Text {
    text: String,
}

async fn answer(_: TaskContext, Text { text }: Text) -> Result<Value, TaskError> {
    serde_json::from_str(&text).map_err(|error| TaskError::permanent(error.to_string()))
}

#[derive(Debug, Deserialize)]
struct Stumbles {
    times: u32,
}

async fn stumble(context: TaskContext, Stumbles { times }: Stumbles) -> Result<Value, TaskError> {
    let attempt = context.attempt();
    if attempt <= times {
        return Err(TaskError::transient(format!("attempt {attempt} stumbled")));
    }
    Ok(json!({ "attempt": attempt }))
}
