//! The kinds of setting declarations. A declaration holds name, default and bounds once, for the
//! reader in [`super::Env`] and for docs/SETTINGS.md. The settings themselves are declared in
//! [`mod@super::reference`].

use std::{fmt::Display, str::FromStr};

/// The documentation of a setting of any kind.
pub trait Declared: Sync {
    /// The environment variable.
    fn name(&self) -> &'static str;
    /// The effect of the setting.
    fn meaning(&self) -> &'static str;
    /// The allowed values.
    fn form(&self) -> Form;
    /// The value used if the setting is not set; `None` if there is none, or if other settings
    /// decide.
    fn default(&self) -> Option<String>;
    /// Whether the value is secret and must not be shown.
    fn is_secret(&self) -> bool {
        false
    }
}

/// The allowed values of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// A number within these bounds.
    Number {
        /// The smallest.
        min: String,
        /// The largest.
        max: String,
        /// Fractions are not allowed.
        is_whole: bool,
        /// The unit, or an empty text.
        unit: &'static str,
    },
    /// `true` or `false`.
    Flag,
    /// One of these names, ignoring case.
    OneOf(Vec<&'static str>),
    /// Described in words.
    Words(&'static str),
}

/// The number types of settings.
pub(super) trait Figure: FromStr + PartialOrd + Display + Copy + Sync {
    /// The type has no fractions.
    const IS_WHOLE: bool;
}

macro_rules! metrics {
    ($($type:ty: $is_whole:literal),*) => {
        $(impl Figure for $type { const IS_WHOLE: bool = $is_whole; })*
    };
}
metrics!(u16: true, u32: true, u64: true, usize: true, f64: false);

/// A number.
#[derive(Debug)]
pub(super) struct Number<T> {
    /// The environment variable.
    pub name: &'static str,
    /// The value used if the setting is not set. A value outside the bounds means that there is no
    /// default.
    pub default: T,
    /// The smallest.
    pub min: T,
    /// The largest.
    pub max: T,
    /// The unit, or an empty text.
    pub unit: &'static str,
    /// The effect of the setting.
    pub meaning: &'static str,
}

impl<T: Figure> Number<T> {
    /// Whether the value is within the bounds.
    pub(super) fn allows(&self, value: T) -> bool {
        value >= self.min && value <= self.max
    }
}

impl<T: Figure> Declared for Number<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn meaning(&self) -> &'static str {
        self.meaning
    }

    fn form(&self) -> Form {
        Form::Number {
            min: self.min.to_string(),
            max: self.max.to_string(),
            is_whole: T::IS_WHOLE,
            unit: self.unit,
        }
    }

    fn default(&self) -> Option<String> {
        self.allows(self.default).then(|| self.default.to_string())
    }
}

/// A setting that is true or false.
#[derive(Debug)]
pub(super) struct Flag {
    /// The environment variable.
    pub name: &'static str,
    /// The value used if the setting is not set; `None` if other settings decide.
    pub default: Option<bool>,
    /// The effect of the setting.
    pub meaning: &'static str,
}

impl Declared for Flag {
    fn name(&self) -> &'static str {
        self.name
    }

    fn meaning(&self) -> &'static str {
        self.meaning
    }

    fn form(&self) -> Form {
        Form::Flag
    }

    fn default(&self) -> Option<String> {
        self.default.map(|default| default.to_string())
    }
}

/// One of several named values; names ignore case.
#[derive(Debug)]
pub(super) struct Choice<T: 'static> {
    /// The environment variable.
    pub name: &'static str,
    /// The value used if the setting is not set.
    pub default: (&'static str, T),
    /// The other values.
    pub others: &'static [(&'static str, T)],
    /// What the values are, with an article, for messages: `a log format`.
    pub what: &'static str,
    /// The effect of the setting.
    pub meaning: &'static str,
}

impl<T: Copy> Choice<T> {
    /// The value with this name.
    pub(super) fn find(&self, name: &str) -> Option<T> {
        [&self.default]
            .into_iter()
            .chain(self.others)
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    /// The names of all values, the default first.
    pub(super) fn names(&self) -> Vec<&'static str> {
        [&self.default].into_iter().chain(self.others).map(|(name, _)| *name).collect()
    }
}

impl<T: Copy + Sync> Declared for Choice<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn meaning(&self) -> &'static str {
        self.meaning
    }

    fn form(&self) -> Form {
        Form::OneOf(self.names())
    }

    fn default(&self) -> Option<String> {
        Some(self.default.0.to_owned())
    }
}

/// A text with a default.
#[derive(Debug)]
pub(super) struct Text {
    /// The environment variable.
    pub name: &'static str,
    /// The value used if the setting is not set.
    pub default: &'static str,
    /// What the values are, with an article, for messages: `a schema name`.
    pub what: &'static str,
    /// The allowed values, in words.
    pub allowed: &'static str,
    /// Whether a value is allowed.
    pub is_allowed: fn(&str) -> bool,
    /// The effect of the setting.
    pub meaning: &'static str,
}

impl Declared for Text {
    fn name(&self) -> &'static str {
        self.name
    }

    fn meaning(&self) -> &'static str {
        self.meaning
    }

    fn form(&self) -> Form {
        Form::Words(self.allowed)
    }

    fn default(&self) -> Option<String> {
        Some(self.default.to_owned())
    }
}

/// A text without a default that its reader parses: an address, a connection string, a password.
#[derive(Debug)]
pub(super) struct Given {
    /// The environment variable.
    pub name: &'static str,
    /// The allowed values, in words.
    pub allowed: &'static str,
    /// Whether the value is secret and must not be shown.
    pub is_secret: bool,
    /// The effect of the setting.
    pub meaning: &'static str,
}

impl Declared for Given {
    fn name(&self) -> &'static str {
        self.name
    }

    fn meaning(&self) -> &'static str {
        self.meaning
    }

    fn form(&self) -> Form {
        Form::Words(self.allowed)
    }

    fn default(&self) -> Option<String> {
        None
    }

    fn is_secret(&self) -> bool {
        self.is_secret
    }
}
