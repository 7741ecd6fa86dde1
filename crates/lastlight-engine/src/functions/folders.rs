//! The function folders that a Functions host reads: written from the table of functions, and
//! compared with it.

use std::{collections::BTreeSet, fmt, fs, io, path::Path};

use super::{Function, Trigger, functions};

/// The file that makes a folder a function folder.
const FILE: &str = "function.json";

impl Function {
    /// The content of its `function.json`.
    pub fn function_json(&self) -> String {
        let fields = match self.trigger {
            Trigger::Http { route, key } => {
                let methods = r#"["get", "post", "put", "patch", "delete", "head", "options"]"#;
                return format!(
                    r#"{{
  "bindings": [
    {{
      "type": "httpTrigger",
      "direction": "in",
      "name": "req",
      "authLevel": "{}",
      "methods": {methods},
      "route": "{route}"
    }},
    {{ "type": "http", "direction": "out", "name": "res" }}
  ]
}}
"#,
                    key.as_str()
                );
            }
            Trigger::Queue { queue } => vec![
                ("type", "queueTrigger"),
                ("direction", "in"),
                ("name", "msg"),
                ("queueName", queue),
                ("connection", "AzureWebJobsStorage"),
            ],
            Trigger::ServiceBus { queue, is_many } => vec![
                ("type", "serviceBusTrigger"),
                ("direction", "in"),
                ("name", "msg"),
                ("queueName", queue),
                ("connection", "ServiceBusConnection"),
                ("cardinality", if is_many { "many" } else { "one" }),
            ],
            Trigger::Timer { schedule } => vec![
                ("type", "timerTrigger"),
                ("direction", "in"),
                ("name", "timer"),
                ("schedule", schedule),
            ],
        };
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("      \"{name}\": \"{value}\"")).collect();
        format!("{{\n  \"bindings\": [\n    {{\n{}\n    }}\n  ]\n}}\n", fields.join(",\n"))
    }
}

/// The differences between an app's function folders and the table of functions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FolderDifferences {
    /// Functions without a folder.
    pub missing: Vec<&'static str>,
    /// Functions whose file differs or cannot be read.
    pub different: Vec<&'static str>,
    /// Folders of functions that are not in the table.
    pub unknown: Vec<String>,
}

impl FolderDifferences {
    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for FolderDifferences {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown: Vec<&str> = self.unknown.iter().map(String::as_str).collect();
        let kinds = [
            ("missing", &self.missing),
            ("different", &self.different),
            ("not of this version", &unknown),
        ];
        let said: Vec<String> = kinds
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(kind, names)| format!("{kind}: {}", names.join(", ")))
            .collect();
        formatter.write_str(&said.join("; "))
    }
}

/// Compares the folders below `app_root` with the table. Files are compared as JSON, regardless of
/// their formatting.
///
/// # Errors
/// `app_root` cannot be read.
pub fn compare_folders(app_root: &Path) -> io::Result<FolderDifferences> {
    let mut differences = FolderDifferences::default();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(app_root)? {
        let folder = entry?;
        if folder.path().join(FILE).is_file() {
            found.insert(folder.file_name().to_string_lossy().into_owned());
        }
    }
    for function in functions() {
        if !found.remove(function.name) {
            differences.missing.push(function.name);
        } else if !says_the_same(function, &app_root.join(function.name).join(FILE)) {
            differences.different.push(function.name);
        }
    }
    differences.unknown = found.into_iter().collect();
    Ok(differences)
}

fn says_the_same(function: &Function, path: &Path) -> bool {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    let Ok(text) = fs::read_to_string(path) else {
        return false;
    };
    read(text.trim_start_matches('\u{feff}')) == read(&function.function_json())
}

/// Writes the folders of these functions below `app_root`.
///
/// # Errors
/// A folder or a file cannot be written.
pub fn write_folders<'a>(
    app_root: &Path,
    names: impl IntoIterator<Item = &'a str>,
) -> io::Result<()> {
    let names: BTreeSet<&str> = names.into_iter().collect();
    for function in functions().iter().filter(|function| names.contains(function.name)) {
        let folder = app_root.join(function.name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(FILE), function.function_json())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_folders_have_no_differences() {
        let app_root = tempfile::tempdir().unwrap();
        let all: Vec<&str> = functions().iter().map(|function| function.name).collect();
        assert_eq!(compare_folders(app_root.path()).unwrap().missing, all);
        write_folders(app_root.path(), all).unwrap();
        assert!(compare_folders(app_root.path()).unwrap().is_empty());

        fs::remove_file(app_root.path().join("health").join(FILE)).unwrap();
        fs::write(app_root.path().join("live").join(FILE), "{").unwrap();
        fs::create_dir(app_root.path().join("another")).unwrap();
        fs::write(app_root.path().join("another").join(FILE), "{}").unwrap();
        let differences = compare_folders(app_root.path()).unwrap();
        assert_eq!(
            differences.to_string(),
            "missing: health; different: live; not of this version: another"
        );
    }

    #[test]
    fn names_are_unique_and_summaries_are_sentences() {
        let mut names = BTreeSet::new();
        for function in functions() {
            assert!(names.insert(function.name), "{} is in the table twice", function.name);
            assert!(function.summary.ends_with('.'), "{}", function.name);
        }
    }
}
