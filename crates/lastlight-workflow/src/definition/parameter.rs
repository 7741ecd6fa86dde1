//! The parameters of a submission.

use serde_json::Value;

/// Parameters in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters(pub(crate) Vec<Parameter>);

/// One parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// The type of its values.
    pub kind: ParameterType,
    /// Whether a submission must have it.
    pub required: bool,
    /// Its value if a submission does not have it, of its type.
    pub default: Option<Value>,
    /// What it is, for users.
    pub description: Option<String>,
    /// The fields of a `dict`; `None` allows any.
    pub nested: Option<Parameters>,
}

/// The type of a parameter's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterType {
    /// `str`: text.
    Text,
    /// `int`: a whole number.
    Int,
    /// `float`: a number.
    Float,
    /// `bool`: true or false.
    Bool,
    /// `dict`: an object.
    Dict,
    /// `list`: a list of any values.
    List,
}

impl ParameterType {
    /// As it is written in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "str",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Dict => "dict",
            Self::List => "list",
        }
    }

    /// In words, for errors.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int => "a whole number",
            Self::Float => "a number",
            Self::Bool => "true or false",
            Self::Dict => "a mapping",
            Self::List => "a list",
        }
    }

    /// Whether a value is of this type.
    pub(crate) fn has(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            // 5.0 is the same number as 5.
            Self::Int => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            Self::Float => value.is_number(),
            Self::Bool => value.is_boolean(),
            Self::Dict => value.is_object(),
            Self::List => value.is_array(),
        }
    }
}

impl Parameters {
    /// The parameters in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter()
    }

    /// The parameter with this name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.0.iter().find(|parameter| parameter.name == name)
    }
}
