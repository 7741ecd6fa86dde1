//! What a setting is declared as: its name, default and bounds stand once, for the reader in
//! [`super::Env`] and for the page that a person reads. Knows no setting; those are in
//! [`mod@super::reference`].

use std::{fmt::Display, str::FromStr};

/// What a person is told of a setting, whatever its kind.
pub trait Declared: Sync {
    /// The environment variable.
    fn name(&self) -> &'static str;
    /// What it decides.
    fn meaning(&self) -> &'static str;
    /// What may stand in it.
    fn form(&self) -> Form;
    /// What counts where it is not set; nothing where nothing does, or where other settings decide.
    fn default(&self) -> Option<String>;
    /// Its value is shown nowhere.
    fn is_secret(&self) -> bool {
        false
    }
}

/// What may stand in a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// A number within these bounds.
    Number {
        /// The smallest.
        min: String,
        /// The largest.
        max: String,
        /// No fractions.
        is_whole: bool,
        /// Of what.
        unit: &'static str,
    },
    /// `true` or `false`.
    Flag,
    /// One of these, in any case.
    OneOf(Vec<&'static str>),
    /// In words.
    Words(&'static str),
}

/// The types of numbers that settings have.
pub(super) trait Figure: FromStr + PartialOrd + Display + Copy + Sync {
    /// It has no fractions.
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
    /// Counts where it is not set. One that lies outside the bounds is a stand-in: there is no
    /// default.
    pub default: T,
    /// The smallest.
    pub min: T,
    /// The largest.
    pub max: T,
    /// Of what.
    pub unit: &'static str,
    /// What it decides.
    pub meaning: &'static str,
}

impl<T: Figure> Number<T> {
    /// Within the bounds.
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

/// Yes or no.
#[derive(Debug)]
pub(super) struct Flag {
    /// The environment variable.
    pub name: &'static str,
    /// Counts where it is not set; `None` where other settings decide then.
    pub default: Option<bool>,
    /// What it decides.
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

/// One of some values, by its name in any case.
#[derive(Debug)]
pub(super) struct Choice<T: 'static> {
    /// The environment variable.
    pub name: &'static str,
    /// Counts where it is not set.
    pub default: (&'static str, T),
    /// The others.
    pub others: &'static [(&'static str, T)],
    /// What a value that is none of these is not: `a form of the log`.
    pub what: &'static str,
    /// What it decides.
    pub meaning: &'static str,
}

impl<T: Copy> Choice<T> {
    /// The value of this name.
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
    /// Counts where it is not set.
    pub default: &'static str,
    /// What a value that is not allowed is not: `a schema name`.
    pub what: &'static str,
    /// What may stand in it, in words.
    pub allowed: &'static str,
    /// Whether a value may stand in it.
    pub is_allowed: fn(&str) -> bool,
    /// What it decides.
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

/// A text without a default, which its reader takes apart: an address, a connection string, a
/// password.
#[derive(Debug)]
pub(super) struct Given {
    /// The environment variable.
    pub name: &'static str,
    /// What may stand in it, in words.
    pub allowed: &'static str,
    /// Its value is shown nowhere.
    pub is_secret: bool,
    /// What it decides.
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
