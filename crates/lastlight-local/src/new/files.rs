//! The files of a new app and of a new job: templates, in which `{{app}}` and the like are replaced,
//! and the lines that a job adds to an app. Writes a file only where there is none.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::names::JobName;

/// The files of an app, by their paths in its folder.
const APP: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("templates/manifest.toml")),
    ("README.md", include_str!("templates/README.md")),
    ("src/main.rs", include_str!("templates/main.rs")),
    ("src/jobs/mod.rs", include_str!("templates/jobs.rs")),
    ("src/jobs/{{job}}.rs", JOB),
    ("src/handlers.rs", include_str!("templates/handlers.rs")),
    ("workflows/sum_of_squares.yaml", include_str!("templates/workflow.yaml")),
    // The same as those of the app in this repository.
    ("host.json", include_str!("../../../../host.json")),
    ("local.settings.example.json", include_str!("../../../../local.settings.example.json")),
    (".funcignore", include_str!("templates/funcignore")),
    (".gitignore", include_str!("templates/gitignore")),
    (".github/workflows/ci.yml", include_str!("templates/ci.yml")),
];

/// The file of a job.
pub(super) const JOB: &str = include_str!("templates/job.rs");

/// The comment above which a job is added.
const MARKER: &str = "// `new-job` adds jobs above this line.";

/// What replaces the placeholders of a template.
#[derive(Debug)]
pub(super) struct Values<'a> {
    /// The package.
    pub(super) app: &'a str,
    pub(super) job: &'a JobName,
    /// The path of the crate `lastlight`.
    pub(super) lastlight: &'a str,
}

impl Values<'_> {
    fn fill(&self, template: &str) -> String {
        template
            .replace("{{app}}", self.app)
            .replace("{{job}}", &self.job.module)
            .replace("{{Job}}", &self.job.job)
            .replace("{{rust}}", env!("CARGO_PKG_RUST_VERSION"))
            // A JSON string is also a TOML string.
            .replace("{{lastlight}}", &serde_json::Value::from(self.lastlight).to_string())
    }

    /// The files of an app: paths in its folder, and their texts.
    pub(super) fn app(&self) -> impl Iterator<Item = (PathBuf, String)> {
        APP.iter().map(|(path, template)| (self.fill(path).into(), self.fill(template)))
    }
}

/// The file of a job.
pub(super) fn job_file(job: &JobName) -> String {
    Values { app: "", job, lastlight: "" }.fill(JOB)
}

/// Files that are being written.
#[derive(Debug, Default)]
pub(super) struct Written(pub(super) Vec<PathBuf>);

impl Written {
    /// Writes a new file, and the folders above it.
    ///
    /// # Errors
    /// It exists, or cannot be written. What was written before stays.
    pub(super) fn create(&mut self, path: PathBuf, text: &str) -> Result<(), String> {
        let mut written = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file = fs::File::create_new(&path)?;
            // Also a file that is only partly written is named.
            self.0.push(path.clone());
            file.write_all(text.as_bytes())
        };
        let written: io::Result<()> = written();
        written.map_err(|error| self.failed(&path, &error))
    }

    /// Writes the new text of a file that exists. The old text stays if it cannot be written.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn replace(&mut self, path: PathBuf, text: &str) -> Result<(), String> {
        let beside = path.with_extension("new");
        let mut file =
            fs::File::create_new(&beside).map_err(|error| self.failed(&beside, &error))?;
        let written = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&beside, &path));
        if let Err(error) = written {
            let _ = fs::remove_file(&beside);
            return Err(self.failed(&path, &error));
        }
        self.0.push(path);
        Ok(())
    }

    fn failed(&self, path: &Path, error: &io::Error) -> String {
        let names: Vec<String> = self.0.iter().map(|path| path.display().to_string()).collect();
        let before = match names.as_slice() {
            [] => "nothing was written".to_owned(),
            names => format!("written: {}", names.join(", ")),
        };
        format!("{} cannot be written: {error}; {before}", path.display())
    }
}

/// The text with `line` above the marker, in the indentation of the marker; `None` without exactly
/// one marker.
pub(super) fn above_the_marker(text: &str, line: &str) -> Option<String> {
    let mut lines: Vec<&str> = text.lines().collect();
    let places: Vec<usize> = (0..lines.len()).filter(|n| lines[*n].trim() == MARKER).collect();
    let [place] = *places.as_slice() else { return None };
    let indentation = lines[place].len() - lines[place].trim_start().len();
    let line = format!("{}{line}", &lines[place][..indentation]);
    // `rustfmt` sorts modules that follow each other.
    let is_module = |other: &&&str| other.starts_with("pub mod ") && line.starts_with("pub mod ");
    let greater =
        lines[..place].iter().rev().take_while(is_module).filter(|other| ***other > *line);
    lines.insert(place - greater.count(), &line);
    Some(lines.join("\n") + "\n")
}
