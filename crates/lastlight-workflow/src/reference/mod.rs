//! The format as data: the fields of each mapping of a file, what they may be and what they mean.
//! The reader checks files against these tables, and the reference for users is made from them, so
//! that a field is stated once. Knows neither YAML nor how a file is read.

mod expressions;
mod fields;
mod limits;
mod nodes;
mod words;

use std::ops::RangeInclusive;

pub use expressions::{Expressions, expressions};
pub use limits::{Limit, limits};
pub(crate) use {fields::*, nodes::*, words::*};

/// What a mapping of a file may have.
#[derive(Debug)]
pub struct Mapping {
    /// What has these fields, with its article: `a task`.
    pub noun: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

/// A field of a mapping.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be there.
    pub is_required: bool,
    /// What it may be.
    pub allowed: Allowed,
    /// What counts without it, as YAML; empty if nothing does.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// What a field may be.
#[derive(Debug)]
pub enum Allowed {
    /// As this text says.
    Text(&'static str),
    /// A whole number in this range.
    Whole(RangeInclusive<u64>),
    /// One of these words.
    OneOf(fn() -> Vec<&'static str>),
    /// True or false.
    Flag,
}

impl Mapping {
    /// The names of its fields.
    pub fn names(&self) -> Vec<&'static str> {
        self.fields.iter().map(|field| field.name).collect()
    }
}

impl Allowed {
    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::Text(text) => (*text).to_owned(),
            Self::Whole(range) => {
                format!(
                    "a whole number from {} to {}",
                    grouped(*range.start()),
                    grouped(*range.end())
                )
            }
            Self::OneOf(words) => {
                words().iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
            }
            Self::Flag => "`true`, `false`".to_owned(),
        }
    }
}

/// All mappings of a file, from the file itself to the policies of a task. The further fields of
/// validators are those of [`Known`](crate::Known).
pub fn mappings() -> [&'static Mapping; 15] {
    [
        &FILE,
        &PARAMETER,
        &TASK,
        &CONDITIONAL,
        &BRANCH,
        &FAN_OUT,
        &ITEM_TASK,
        &TOLERATE,
        &FAN_IN,
        &GATE,
        &JOB,
        &FINALIZE,
        &RETRY,
        &VALIDATOR,
        &SCHEDULE,
    ]
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_stated_once_and_has_a_meaning() {
        for mapping in mappings() {
            let mut names = mapping.names();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), mapping.fields.len(), "{}", mapping.noun);
            for field in mapping.fields {
                let whose = format!("{} of {}", field.name, mapping.noun);
                assert!(!field.meaning.is_empty() && !field.allowed.words().is_empty(), "{whose}");
                assert!(!field.is_required || field.default.is_empty(), "{whose}");
            }
        }
    }

    #[test]
    fn numbers_have_commas() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (31_536_000, "31,536,000")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
