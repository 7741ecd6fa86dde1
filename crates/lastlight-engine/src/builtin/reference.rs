//! The built-in handlers as data, for their reference. Each handler states its own.

use super::{echo, fail, http_call, sleep};

/// A built-in handler.
#[derive(Debug)]
pub struct HandlerReference {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: String,
    /// What it returns.
    pub returns: &'static str,
    /// Its parameters; none if it takes any.
    pub parameters: Vec<ParameterReference>,
}

/// A parameter of a built-in handler.
#[derive(Debug)]
pub struct ParameterReference {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be there.
    pub is_required: bool,
    /// What it may be.
    pub allowed: String,
    /// What counts without it; empty if nothing does.
    pub default: String,
    /// What it means.
    pub meaning: &'static str,
}

impl ParameterReference {
    pub(super) fn required(name: &'static str, allowed: String, meaning: &'static str) -> Self {
        Self { name, is_required: true, allowed, default: String::new(), meaning }
    }

    pub(super) fn optional(
        name: &'static str,
        allowed: String,
        default: impl ToString,
        meaning: &'static str,
    ) -> Self {
        Self { name, is_required: false, allowed, default: default.to_string(), meaning }
    }
}

/// The built-in handlers, by name.
pub fn handlers() -> [HandlerReference; 4] {
    [echo::reference(), fail::reference(), http_call::reference(), sleep::reference()]
}

#[cfg(test)]
mod tests {
    use lastlight_workflow::Known;

    use crate::builtin::Validator;

    #[test]
    fn validators_of_files_are_those_of_the_engine() {
        let known = Known::blob_validators().validators.unwrap();
        for (name, fields) in Validator::names_and_fields() {
            for field in known[*name].fields.keys() {
                assert!(fields.contains(&field.as_str()), "{field} of {name}");
            }
        }
        assert_eq!(known.len(), Validator::names_and_fields().len());
    }
}
