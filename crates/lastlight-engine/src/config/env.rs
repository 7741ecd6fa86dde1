//! Reads single settings as declared. Problems name the setting, its value and the allowed values.
//! Only declared settings can be read. Knows no setting by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Debug, Display},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    declaration::{Choice, Declared, Figure, Flag, Given, Number, Text},
    unresolved::unresolved,
};

/// A value that must not be printed: `Debug` and `Display` show `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that must not be printed.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that signs or connects with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A setting's value for a message: shortened, and hidden if it looks like a secret in the wrong
/// setting.
pub(super) fn shown(value: &str) -> String {
    const SHOWN: usize = 80;
    if looks_secret(value) {
        return "(a value that looks like a secret)".to_owned();
    }
    match value.char_indices().nth(SHOWN) {
        None => format!("{value:?}"),
        Some((end, _)) => format!("{:?}…", &value[..end]),
    }
}

/// `a, b or c`.
fn one_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn looks_secret(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let says_so = ["sharedaccess", "accountkey", "sig=", "sig%3d", "password", "pwd="]
        .iter()
        .any(|word| lower.contains(word));
    let has_user = lower.contains('@');
    // Keys are long and mix upper case, lower case and digits; names do not.
    let is_mixed = value.len() >= 20
        && value.contains(|c: char| c.is_ascii_uppercase())
        && value.contains(|c: char| c.is_ascii_lowercase())
        && value.contains(|c: char| c.is_ascii_digit());
    says_so || has_user || is_mixed
}

/// A missing or invalid setting, with its remedy. Also used for warnings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem {
    /// The environment variable's name.
    pub setting: String,
    /// The problem, with the value (unless it is a secret) and the allowed values.
    pub problem: String,
    /// How to fix it: an example, or where to find the value.
    pub remedy: String,
}

impl Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    {}", self.setting, self.problem, self.remedy)
    }
}

/// All problems of the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The problems, at least one.
    pub problems: Vec<SettingProblem>,
}

impl Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "lastlight cannot start: {} invalid setting{}:",
            self.problems.len(),
            if self.problems.len() == 1 { "" } else { "s" }
        )?;
        for problem in &self.problems {
            writeln!(f, "  {problem}")?;
        }
        write!(
            f,
            "Settings are environment variables; with `func start` they are in local.settings.json \
             (see local.settings.example.json)."
        )
    }
}

/// The settings as given, and the problems and warnings found so far.
///
/// Readers do not stop at the first problem: they record it and continue with a placeholder value,
/// and [`Env::finish`] turns the recorded problems into one [`ConfigError`].
#[derive(Default)]
pub struct Env {
    values: BTreeMap<String, String>,
    problems: Vec<SettingProblem>,
    warnings: Vec<SettingProblem>,
    asked: Asked,
}

/// The names of the settings that were read.
pub(super) type Asked = Arc<Mutex<BTreeSet<&'static str>>>;

impl Debug for Env {
    /// Shows names only, since many of the values are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env")
            .field("settings", &self.values.keys())
            .field("problems", &self.problems)
            .field("warnings", &self.warnings)
            .finish()
    }
}

impl Env {
    /// The environment of the process.
    pub fn from_process() -> Self {
        Self::from_pairs(
            std::env::vars_os().filter_map(|(key, value)| {
                Some((key.into_string().ok()?, value.into_string().ok()?))
            }),
        )
    }

    /// Settings from elsewhere (tests, a settings file).
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self {
            values: pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            ..Self::default()
        }
    }

    /// Adds settings, which override existing ones.
    #[must_use]
    pub fn with<K: Into<String>, V: Into<String>>(
        mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.values.extend(pairs.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// Adds settings that are not set, such as those of a file.
    #[must_use]
    pub fn with_defaults<K: Into<String>, V: Into<String>>(
        mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        for (key, value) in pairs {
            self.values.entry(key.into()).or_insert_with(|| value.into());
        }
        self
    }

    /// The shared set of names that are read, now and later.
    #[cfg(test)]
    pub(super) fn asked(&self) -> Asked {
        self.asked.clone()
    }

    /// A setting's value without surrounding whitespace; an empty value counts as not set.
    fn value(&self, setting: &dyn Declared) -> Option<&str> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(setting.name());
        self.values.get(setting.name()).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Whether the setting has a value.
    pub(super) fn is_set(&self, setting: &dyn Declared) -> bool {
        self.value(setting).is_some()
    }

    /// The value of the setting, if it is set.
    pub(super) fn get(&self, setting: &Given) -> Option<&str> {
        self.value(setting)
    }

    /// The names and values of all settings whose names begin with `prefix`, for settings whose names
    /// are not known beforehand. Values are without surrounding whitespace, and not empty.
    pub(super) fn beginning_with(
        &self,
        prefix: &str,
    ) -> impl Iterator<Item = (String, String)> + use<> {
        let found: Vec<_> = self
            .values
            .iter()
            .map(|(name, value)| (name, value.trim()))
            .filter(|(name, value)| name.starts_with(prefix) && !value.is_empty())
            .map(|(name, value)| (name.clone(), value.to_owned()))
            .collect();
        found.into_iter()
    }

    /// The text, or the setting's default. A text that is not allowed is recorded as a problem and
    /// returned.
    pub(super) fn text(&mut self, setting: &Text) -> String {
        self.text_or(setting, setting.default)
    }

    /// The text, or `instead` if the setting is not set.
    pub(super) fn text_or(&mut self, setting: &Text, instead: &str) -> String {
        let text = self.value(setting).unwrap_or(instead).to_owned();
        if !(setting.is_allowed)(&text) {
            self.problem(
                setting.name,
                format!("{} is not {}", shown(&text), setting.what),
                format!("Use {}; or omit it for the default {}.", setting.allowed, setting.default),
            );
        }
        text
    }

    /// Records a problem, which [`Env::finish`] reports.
    pub fn problem(
        &mut self,
        setting: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problems.push(SettingProblem {
            setting: setting.to_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    /// The number of problems recorded so far.
    pub(super) fn problems(&self) -> usize {
        self.problems.len()
    }

    /// Records a warning: a setting that works but should be changed. [`Env::finish`] returns it.
    pub fn warning(
        &mut self,
        setting: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.warnings.push(SettingProblem {
            setting: setting.to_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    /// A number within the setting's bounds, or the default. An invalid number is recorded as a
    /// problem, and the default is returned.
    pub(super) fn number<T: Figure>(&mut self, setting: &Number<T>) -> T {
        self.number_or(setting, setting.default)
    }

    /// The number, or `instead` if the setting is not set or invalid.
    pub(super) fn number_or<T: Figure>(&mut self, setting: &Number<T>, instead: T) -> T {
        let Some(text) = self.value(setting).map(str::to_owned) else {
            return instead;
        };
        let Number { min, max, .. } = setting;
        match text.parse::<T>() {
            Ok(value) if setting.allows(value) => value,
            _ => {
                let or = match setting.default() {
                    Some(default) => format!(", or omit it for the default {default}"),
                    None => String::new(),
                };
                self.problem(
                    setting.name,
                    format!("{} is not a number from {min} to {max}", shown(&text)),
                    format!("Set it to a number from {min} to {max}{or}."),
                );
                instead
            }
        }
    }

    /// `true`/`false` (also 1/0, yes/no, in any case), or the setting's default.
    pub(super) fn flag(&mut self, setting: &Flag) -> bool {
        self.said_flag(setting).or(setting.default).unwrap_or_default()
    }

    /// The flag if it is set. An invalid value is recorded as a problem, and the default is
    /// returned.
    pub(super) fn said_flag(&mut self, setting: &Flag) -> Option<bool> {
        let text = self.value(setting)?.to_owned();
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Some(true),
            "false" | "0" | "no" => Some(false),
            _ => {
                let or = match setting.default {
                    Some(default) => format!(", or omit it for the default {default}"),
                    None => ", or omit it".to_owned(),
                };
                self.problem(
                    setting.name,
                    format!("{} is neither true nor false", shown(&text)),
                    format!("Set it to true or false{or}."),
                );
                Some(setting.default.unwrap_or_default())
            }
        }
    }

    /// One of the setting's values, or the default. An invalid value is recorded as a problem, and
    /// the default is returned.
    pub(super) fn choice<T: Copy + Sync>(&mut self, setting: &Choice<T>) -> T {
        let Some(text) = self.value(setting).map(str::to_owned) else {
            return setting.default.1;
        };
        if let Some(value) = setting.find(&text) {
            return value;
        }
        self.problem(
            setting.name,
            format!("{} is not {}", shown(&text), setting.what),
            format!(
                "Set it to {}, or omit it for the default {}.",
                one_of(&setting.names()),
                setting.default.0
            ),
        );
        setting.default.1
    }

    /// Returns the recorded warnings.
    ///
    /// # Errors
    /// All recorded problems.
    pub fn finish(mut self) -> Result<Vec<SettingProblem>, ConfigError> {
        self.name_unresolved();
        if self.problems.is_empty() {
            Ok(self.warnings)
        } else {
            Err(ConfigError { problems: self.problems })
        }
    }

    /// Replaces the problems of settings whose value is an unresolved reference by a problem that
    /// says so. If one of them was read, those not read yet are reported too, since they mostly
    /// fail together.
    fn name_unresolved(&mut self) {
        let unresolved: Vec<(String, String, &str)> = self
            .values
            .iter()
            .filter_map(|(name, value)| {
                unresolved(value.trim()).map(|(what, remedy)| (name.clone(), what, remedy))
            })
            .collect();
        let is_asked = {
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            unresolved.iter().any(|(name, ..)| asked.contains(name.as_str()))
        };
        if !is_asked {
            return;
        }
        for (name, what, remedy) in unresolved {
            self.problems.retain(|problem| problem.setting != name);
            self.problem(&name, what, remedy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_look_like_secrets_are_hidden() {
        assert_eq!(shown("sb-tasks_"), "\"sb-tasks_\"");
        assert_eq!(shown("ten"), "\"ten\"");
        assert!(shown(&"x".repeat(500)).len() < 100);
        for secret in [
            "Endpoint=sb://x/;SharedAccessKeyName=n;SharedAccessKey=k",
            "https://a.queue.core.windows.net/?sv=1&sig=k",
            "postgresql://user:k@host/db",
            DEVELOPMENT_KEY,
        ] {
            assert_eq!(shown(secret), "(a value that looks like a secret)", "{secret}");
        }
        let env = Env::from_pairs([("DATABASE_URL", "postgresql://user:hunter2@host/db")]);
        assert!(!format!("{env:?}").contains("hunter2"));
    }

    const DEVELOPMENT_KEY: &str = crate::config::DEVELOPMENT_KEY;
}
