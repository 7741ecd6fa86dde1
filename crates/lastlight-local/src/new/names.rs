//! The names of apps and jobs: each becomes a crate or a module, a type and the name of a job type.

/// Maximum length of a job type's name, in characters.
const LONGEST: usize = 50;

/// Rust's keywords, and the words that are reserved as such.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Crates that every app can name, and folders into which Cargo builds.
const TAKEN: &[&str] = &[
    "alloc",
    "build",
    "core",
    "deps",
    "examples",
    "incremental",
    "lastlight",
    "proc_macro",
    "schemars",
    "serde",
    "std",
    "test",
    "tokio",
];

/// The workflow that is written with every app.
const WORKFLOW: &str = "sum_of_squares";

/// The names of a job in code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobName {
    /// The module, and the name of the job type: `tile_areas`.
    pub(super) module: String,
    /// The type: `TileAreas`.
    pub(super) job: String,
}

impl JobName {
    /// The names of a job whose file is `template`: its type must not have the name of another type
    /// there.
    ///
    /// # Errors
    /// The reason why it cannot have this name.
    pub(super) fn new(name: &str, template: &str) -> Result<Self, String> {
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(is_allowed) {
            return Err("it must be lower-case letters, digits and _, with a letter first".into());
        }
        if name.contains("__") || name.ends_with('_') {
            return Err("a separator must be between two words".into());
        }
        if name.len() > LONGEST {
            return Err(format!("it has {} characters; {LONGEST} are allowed", name.len()));
        }
        if KEYWORDS.contains(&name) {
            return Err("it is a keyword of Rust".into());
        }
        if TAKEN.contains(&name) {
            return Err("a crate or a folder of every app has this name".into());
        }
        if name == WORKFLOW {
            return Err("a workflow of every app has this name".into());
        }
        let job: String = name.split('_').map(capitalized).collect();
        if names_in(template).any(|other| other == job) {
            return Err(format!("its type would be {job}, and its file uses another {job}"));
        }
        Ok(Self { module: name.to_owned(), job })
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// The words in the code of a file, without its comments.
fn names_in(code: &str) -> impl Iterator<Item = &str> {
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "// A Report.\nuse std::Result;\nimpl Stage for {{Job}} {}\n";

    #[test]
    fn a_name_becomes_a_module_and_a_type() {
        for (name, job) in [
            ("tiles", "Tiles"),
            ("tile_areas", "TileAreas"),
            ("t2_b", "T2B"),
            ("report", "Report"),
            (&*"x".repeat(50), &*format!("X{}", "x".repeat(49))),
        ] {
            let expected = JobName { module: name.to_owned(), job: job.to_owned() };
            assert_eq!(JobName::new(name, TEMPLATE), Ok(expected));
        }
    }

    #[test]
    fn other_names_are_refused_with_the_reason() {
        for (name, reason) in [
            ("", "with a letter first"),
            ("2d", "with a letter first"),
            ("_tiles", "with a letter first"),
            ("Tiles", "lower-case letters"),
            ("tile areas", "lower-case letters"),
            ("../tiles", "lower-case letters"),
            ("größe", "lower-case letters"),
            ("tile__areas", "between two words"),
            ("tiles_", "between two words"),
            (&*"x".repeat(51), "it has 51 characters; 50 are allowed"),
            ("type", "keyword"),
            ("gen", "keyword"),
            ("serde", "has this name"),
            ("sum_of_squares", "a workflow of every app has this name"),
            ("stage", "its type would be Stage"),
            ("result", "its type would be Result"),
        ] {
            let refused = JobName::new(name, TEMPLATE).unwrap_err();
            assert!(refused.contains(reason), "{name:?}: {refused}");
        }
    }
}
