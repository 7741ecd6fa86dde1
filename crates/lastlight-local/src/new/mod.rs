//! The commands `lastlight new` and `lastlight new-job`: they write a new app, or a new job of an
//! app. Knows the library only by what the templates use of it.

mod files;
mod names;

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use lastlight_cli::{exit::failed, say};
use serde_json::json;

use files::{JOB, Values, Written, above_the_marker, job_file};
use names::JobName;

/// `lastlight new`.
#[derive(Debug, Args)]
pub struct NewArguments {
    /// Name of the app: of its package, and with _ for - of its first job.
    name: String,
    /// The folder to write it to, which must be empty or missing; ./NAME if omitted.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// A checkout of lastlight, for the dependency in Cargo.toml; the one that this program was
    /// built from if omitted.
    #[arg(long, value_name = "PATH")]
    lastlight: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// `lastlight new-job`.
#[derive(Debug, Args)]
pub struct NewJobArguments {
    /// Name of the job type, of its module and, in CamelCase, of its type.
    name: String,
    /// The app's folder, or one in it.
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Why nothing, or not everything, was written.
#[derive(Debug, PartialEq)]
enum Refused {
    /// An argument is not valid.
    Argument(String),
    /// A file cannot be written, or would be overwritten.
    File(String),
}

impl Refused {
    fn exit(&self) -> ExitCode {
        match self {
            Self::Argument(problem) => failed(problem, 2),
            Self::File(problem) => failed(problem, 1),
        }
    }
}

/// Writes an app to a new folder.
pub(crate) fn new_app(arguments: &NewArguments) -> ExitCode {
    let NewArguments { name, path, lastlight, json } = arguments;
    let folder = path.clone().unwrap_or_else(|| PathBuf::from(name));
    let Written(written) = match write_app(name, &folder, lastlight.as_deref()) {
        Ok(written) => written,
        Err(refused) => return refused.exit(),
    };
    let written: Vec<&Path> =
        written.iter().map(|path| path.strip_prefix(&folder).unwrap_or(path)).collect();
    if *json {
        say!("{}", json!({ "app": name, "folder": folder, "written": written }));
        return ExitCode::SUCCESS;
    }
    for path in written {
        say!("{}", folder.join(path).display());
    }
    say!("\nNext:\n\n  cd {}\n  cargo test\n  cargo run -- demo", folder.display());
    ExitCode::SUCCESS
}

fn write_app(name: &str, folder: &Path, lastlight: Option<&Path>) -> Result<Written, Refused> {
    let job = JobName::new(&name.replace('-', "_"), JOB).map_err(|reason| {
        Refused::Argument(format!("{name:?} cannot be the name of an app: {reason}"))
    })?;
    let lastlight = library(lastlight)?;
    match fs::read_dir(folder).map(|mut files| files.next().is_none()) {
        Ok(true) => {}
        Ok(false) => return Err(Refused::File(format!("{} is not empty", folder.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            let problem = format!("{} cannot be used: {error}", folder.display());
            return Err(Refused::File(problem));
        }
    }
    let mut written = Written::default();
    for (path, text) in (Values { app: name, job: &job, lastlight: &lastlight }).app() {
        written.create(folder.join(path), &text).map_err(Refused::File)?;
    }
    Ok(written)
}

/// The folder of the crate `lastlight` in a checkout, or of this program's checkout.
fn library(given: Option<&Path>) -> Result<String, Refused> {
    let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../lastlight");
    let folders = given.map_or_else(
        || vec![here()],
        |given| vec![given.join("crates/lastlight"), given.to_owned()],
    );
    let is_library = |folder: &&PathBuf| {
        fs::read_to_string(folder.join("Cargo.toml"))
            .is_ok_and(|manifest| manifest.lines().any(|line| line == "name = \"lastlight\""))
    };
    let folder = folders.iter().find(is_library).ok_or_else(|| {
        Refused::Argument(match given {
            Some(given) => format!("{} is no checkout of lastlight", given.display()),
            None => format!(
                "lastlight is no longer in {}, where this program was built; name its checkout with --lastlight",
                here().display()
            ),
        })
    })?;
    let folder = folder.canonicalize().map_err(|error| Refused::Argument(error.to_string()))?;
    folder.to_str().map(str::to_owned).ok_or_else(|| {
        Refused::Argument(format!("{} is not Unicode, as Cargo.toml must be", folder.display()))
    })
}

/// A line that a new job needs in a file of its app.
struct Line {
    /// Where it may be, relative to the app's folder.
    files: &'static [&'static str],
    text: String,
}

/// What was done for a new job. Paths are relative to the app's folder.
struct JobWritten {
    written: Vec<PathBuf>,
    /// Lines that are to be added by hand.
    left: Vec<Line>,
}

/// Writes a job of the app in the folder of `arguments`.
pub(crate) fn new_job(arguments: &NewJobArguments) -> ExitCode {
    let NewJobArguments { name, path, json } = arguments;
    let JobWritten { written, left } = match write_job(name, path) {
        Ok(written) => written,
        Err(refused) => return refused.exit(),
    };
    if *json {
        let left: Vec<_> =
            left.iter().map(|line| json!({ "files": line.files, "line": line.text })).collect();
        say!("{}", json!({ "job": name, "written": written, "to_add": left }));
        return ExitCode::SUCCESS;
    }
    for path in written {
        say!("{}", path.display());
    }
    for Line { files, text } in &left {
        say!("\nAdd to {}:\n\n  {text}", files.join(" or "));
    }
    say!("\nNext:\n\n  cargo test {name}\n  cargo run -- demo {name}\n  cargo run -- local");
    ExitCode::SUCCESS
}

fn write_job(name: &str, within: &Path) -> Result<JobWritten, Refused> {
    let job = JobName::new(name, JOB).map_err(|reason| {
        Refused::Argument(format!("{name:?} cannot be the name of a job: {reason}"))
    })?;
    let within = within
        .canonicalize()
        .map_err(|error| Refused::Argument(format!("{}: {error}", within.display())))?;
    let is_app =
        |folder: &&Path| folder.join("Cargo.toml").is_file() && folder.join("src/jobs").is_dir();
    let app = within.ancestors().find(is_app).ok_or_else(|| {
        Refused::Argument(format!(
            "{} is not within an app, a folder with Cargo.toml and src/jobs; name it with --path, or make one with new",
            within.display()
        ))
    })?;
    let jobs = app.join("src/jobs");
    let file = jobs.join(format!("{name}.rs"));
    if let Some(existing) = [&file, &jobs.join(name)].into_iter().find(|path| path.exists()) {
        return Err(Refused::File(format!(
            "there is a job {name} already: {}",
            existing.display()
        )));
    }
    let mut written = Written::default();
    written.create(file, &job_file(&job)).map_err(Refused::File)?;
    let lines = [
        Line { files: &["src/jobs/mod.rs"], text: format!("pub mod {name};") },
        Line {
            files: &["src/main.rs", "src/lib.rs"],
            text: format!(".job::<jobs::{name}::{}>()", job.job),
        },
    ];
    let mut left = Vec::new();
    for line in lines {
        let mut places: Vec<(PathBuf, String)> = line
            .files
            .iter()
            .map(|file| app.join(file))
            .filter_map(|file| {
                let text = fs::read_to_string(&file).ok()?;
                Some((file, above_the_marker(&text, &line.text)?))
            })
            .collect();
        match places.pop().filter(|_| places.is_empty()) {
            Some((file, text)) => written.replace(file, &text).map_err(Refused::File)?,
            None => left.push(line),
        }
    }
    let relative = |path: PathBuf| path.strip_prefix(app).map(Path::to_owned).unwrap_or(path);
    Ok(JobWritten { written: written.0.into_iter().map(relative).collect(), left })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(folder: &Path, written: &Written) -> Vec<(String, String)> {
        let name = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
        written.0.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
    }

    #[test]
    fn no_placeholder_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let app = folder.path().join("app");
        let written = write_app("tile-areas", &app, None).unwrap();
        for (path, text) in texts(&app, &written) {
            for (place, _) in text.match_indices("{{") {
                // Those of GitHub, and templates of workflows.
                let is_expression =
                    text[..place].ends_with('$') || text[place..].starts_with("{{ ");
                assert!(is_expression, "{path}: {}", &text[place..]);
            }
            assert!(!path.contains('{'), "{path}");
        }
        let manifest = fs::read_to_string(app.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("name = \"tile-areas\""), "{manifest}");
        assert!(manifest.contains("/crates/lastlight\" }"), "{manifest}");
        let main = fs::read_to_string(app.join("src/main.rs")).unwrap();
        assert!(main.contains(".job::<jobs::tile_areas::TileAreas>()"), "{main}");
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let app = folder.path();
        let problem = |refused: Result<_, _>| match refused.map(|_: Written| ()) {
            Err(Refused::File(problem)) => problem,
            other => panic!("{other:?}"),
        };
        fs::write(app.join("notes.txt"), "mine").unwrap();
        assert!(problem(write_app("tiles", app, None)).ends_with("is not empty"));
        let at_file = problem(write_app("tiles", &app.join("notes.txt"), None));
        assert!(at_file.contains("notes.txt cannot be used: "), "{at_file}");
        assert_eq!(fs::read_dir(app).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(app.join("notes.txt")).unwrap(), "mine");

        fs::remove_file(app.join("notes.txt")).unwrap();
        write_app("tiles", app, None).unwrap();
        let job = |name| write_job(name, &app.join("src/jobs")).map(|_| ());
        fs::create_dir(app.join("src/jobs/scenes")).unwrap();
        for name in ["tiles", "scenes"] {
            let Err(Refused::File(problem)) = job(name) else { panic!("{name}") };
            assert!(problem.starts_with(&format!("there is a job {name} already: ")), "{problem}");
        }
    }

    #[test]
    fn what_was_written_is_named_when_a_file_fails() {
        let folder = tempfile::tempdir().unwrap();
        let mut written = Written::default();
        let first = folder.path().join("first");
        written.create(first.clone(), "1").unwrap();
        let refused = written.create(first.join("second"), "2").unwrap_err();
        assert!(refused.ends_with(&format!("; written: {}", first.display())), "{refused}");
        let refused = Written::default().create(first.clone(), "2").unwrap_err();
        assert!(refused.ends_with("; nothing was written"), "{refused}");
        assert_eq!(fs::read_to_string(first).unwrap(), "1");
    }

    #[test]
    fn arguments_that_are_not_valid_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let app = folder.path().join("app");
        let elsewhere = folder.path();
        for (name, lastlight, reason) in [
            ("2d", None, "\"2d\" cannot be the name of an app: it must be lower-case"),
            ("a--b", None, "between two words"),
            ("lastlight", None, "has this name"),
            ("tiles", Some(elsewhere), " is no checkout of lastlight"),
        ] {
            let refused = write_app(name, &app, lastlight).unwrap_err();
            let Refused::Argument(problem) = refused else { panic!("{refused:?}") };
            assert!(problem.contains(reason), "{problem}");
        }
        for (name, within, reason) in [
            ("tile-areas", elsewhere, "cannot be the name of a job: it must be lower-case"),
            ("tile_areas", elsewhere, " is not within an app"),
            ("tile_areas", &*app, "No such file"),
        ] {
            let Err(Refused::Argument(problem)) = write_job(name, within) else { panic!("{name}") };
            assert!(problem.contains(reason), "{problem}");
        }
        assert!(!app.exists());
    }

    #[test]
    fn a_checkout_is_found_by_either_of_its_folders() {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let found = library(None).unwrap();
        assert_eq!(library(Some(&checkout)), Ok(found.clone()));
        assert_eq!(library(Some(Path::new(&found))), Ok(found));
    }

    #[test]
    fn a_job_is_added_to_its_app() {
        let folder = tempfile::tempdir().unwrap();
        let app = folder.path();
        write_app("tiles", app, None).unwrap();
        for name in ["scenes", "zones"] {
            let JobWritten { written, left } = write_job(name, &app.join("src")).unwrap();
            assert!(left.is_empty());
            let names =
                [format!("src/jobs/{name}.rs"), "src/jobs/mod.rs".into(), "src/main.rs".into()];
            assert_eq!(written, names.map(PathBuf::from));
        }
        let lines = |file: &str, with: &str| -> Vec<String> {
            let text = fs::read_to_string(app.join(file)).unwrap();
            text.lines().filter(|line| line.contains(with)).map(str::to_owned).collect()
        };
        assert_eq!(
            lines("src/jobs/mod.rs", "mod"),
            ["pub mod scenes;", "pub mod tiles;", "pub mod zones;"]
        );
        assert_eq!(
            lines("src/main.rs", ".job"),
            [
                "        .job::<jobs::tiles::Tiles>()",
                "        .job::<jobs::scenes::Scenes>()",
                "        .job::<jobs::zones::Zones>()",
            ]
        );
        assert_eq!(lines("src/main.rs", "new-job").len(), 1);
        assert_eq!(
            fs::read_dir(app.join("src")).unwrap().count(),
            3,
            "main.rs, handlers.rs and jobs"
        );
    }

    #[test]
    fn lines_without_an_unambiguous_place_are_left_to_the_user() {
        let folder = tempfile::tempdir().unwrap();
        let app = folder.path();
        write_app("tiles", app, None).unwrap();
        let main = fs::read_to_string(app.join("src/main.rs")).unwrap();
        fs::write(app.join("src/lib.rs"), &main).unwrap();
        fs::write(app.join("src/jobs/mod.rs"), "mod tiles;\n").unwrap();
        let JobWritten { written, left } = write_job("scenes", app).unwrap();
        assert_eq!(written, [PathBuf::from("src/jobs/scenes.rs")]);
        let left: Vec<&str> = left.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(left, ["pub mod scenes;", ".job::<jobs::scenes::Scenes>()"]);
        assert_eq!(fs::read_to_string(app.join("src/main.rs")).unwrap(), main);
    }
}
