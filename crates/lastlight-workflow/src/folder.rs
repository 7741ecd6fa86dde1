//! Reads all workflow files of a folder. Knows nothing of what is in them.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    Known, LARGEST_FILE, Place, Problem, Problems, Workflow,
    read::{too_large, written_name},
};

/// The workflows of a folder, and the files that are wrong.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    /// The workflows, by name.
    pub workflows: Vec<Workflow>,
    /// The files with problems, by file name. Each keeps only its own workflow out.
    pub problems: Vec<Problems>,
}

/// A folder that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the folder of workflows {} cannot be read", folder.display())]
pub struct FolderError {
    /// The folder.
    pub folder: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Reads the files `*.yaml` and `*.yml` of a folder, without those of folders in it and without
/// hidden files. Files are named in problems by their path from the caller's: `workflows/a.yaml`.
///
/// # Errors
/// The folder cannot be listed, because it does not exist, for example. A file that cannot be read
/// is one of [`Folder::problems`].
pub fn read_folder(folder: &Path, known: &Known) -> Result<Folder, FolderError> {
    let error = |source| FolderError { folder: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if is_workflow(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    let mut read = Vec::with_capacity(paths.len());
    let mut problems = Vec::new();
    for path in paths {
        match read_file(&path, known) {
            Ok(workflow) => read.push(workflow),
            Err(found) => problems.push(found),
        }
    }
    let workflows = without_duplicates(read, &mut problems);
    problems.sort_by(|left, right| left.file.cmp(&right.file));
    Ok(Folder { workflows, problems })
}

/// Reads one file. It is named in problems as the path is written.
///
/// # Errors
/// All problems of the file; also that it cannot be read.
pub fn read_file(path: &Path, known: &Known) -> Result<Workflow, Problems> {
    let file = path.display().to_string();
    let (bytes, size) = match bytes_of(path) {
        Ok(read) => read,
        Err(error) => {
            let message = format!("the file cannot be read: {error}");
            let problems = vec![Problem { place: Place::START, message }];
            return Err(Problems { file, workflow: None, problems });
        }
    };
    let problem = |place, message| {
        let workflow = written_name(&String::from_utf8_lossy(&bytes));
        Problems { file: file.clone(), workflow, problems: vec![Problem { place, message }] }
    };
    if bytes.len() > LARGEST_FILE {
        return Err(problem(Place::START, too_large(size)));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Workflow::read(&file, text, known),
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            Err(problem(end_of(&before), "the file must be UTF-8; here it is not".to_owned()))
        }
    }
}

/// The content of a file and its size in bytes; of one that is too large, only the beginning.
fn bytes_of(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE as u64 + 1).read_to_end(&mut bytes)?;
    let size = size.max(bytes.len() as u64);
    Ok((bytes, size))
}

fn is_workflow(path: &Path) -> bool {
    let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    let is_yaml = extension.is_some_and(|extension| extension == "yaml" || extension == "yml");
    // A pipe would be waited for. What cannot be looked at is a problem of its own.
    let is_file = || path.metadata().map_or(true, |file| file.is_file());
    is_yaml && !is_hidden && is_file()
}

/// The place after a text.
fn end_of(text: &str) -> Place {
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: number(line), column: number(column) }
}

/// Leaves out the workflows whose names several files have: none of them is the right one.
fn without_duplicates(read: Vec<Workflow>, problems: &mut Vec<Problems>) -> Vec<Workflow> {
    let mut by_name: BTreeMap<String, Vec<Workflow>> = BTreeMap::new();
    for workflow in read {
        by_name.entry(workflow.name().to_owned()).or_default().push(workflow);
    }
    let mut workflows = Vec::with_capacity(by_name.len());
    for (name, mut same) in by_name {
        if same.len() == 1 {
            workflows.append(&mut same);
            continue;
        }
        for workflow in &same {
            let others: Vec<&str> =
                same.iter().map(Workflow::file).filter(|file| *file != workflow.file()).collect();
            let message =
                format!("another workflow is named {name:?}, too: in {}", others.join(" and in "));
            problems.push(Problems {
                file: workflow.file().to_owned(),
                workflow: Some(name.clone()),
                problems: vec![Problem { place: workflow.name_place, message }],
            });
        }
    }
    workflows
}
