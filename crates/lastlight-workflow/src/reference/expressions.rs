//! The words of conditions and templates.

use crate::{condition, template};

/// The words of conditions and templates, each in the order of its list.
#[derive(Debug)]
pub struct Expressions {
    /// The operators of conditions that a literal follows.
    pub operators: Vec<&'static str>,
    /// The operators of conditions without a literal.
    pub truths: Vec<&'static str>,
    /// The filters of templates.
    pub filters: Vec<&'static str>,
    /// The tests of templates, after `is`.
    pub tests: Vec<&'static str>,
    /// The methods of values in templates.
    pub methods: Vec<&'static str>,
}

/// The words of conditions and templates.
pub fn expressions() -> Expressions {
    Expressions {
        operators: condition::operators(),
        truths: condition::truths(),
        filters: template::filters(),
        tests: template::tests(),
        methods: template::methods(),
    }
}
