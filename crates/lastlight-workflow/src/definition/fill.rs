//! Fills in parameters that a submission does not have.

use serde_json::{Map, Value};

use super::Parameters;

impl Parameters {
    /// Gives parameters their defaults where a submission does not have them, or has null. A dict
    /// that is there is given the defaults of its fields.
    pub fn fill_in(&self, parameters: &mut Map<String, Value>) {
        for parameter in &self.0 {
            if let Some(default) = &parameter.default
                && parameters.get(&parameter.name).is_none_or(Value::is_null)
            {
                parameters.insert(parameter.name.clone(), default.clone());
            }
            if let (Some(nested), Some(Value::Object(fields))) =
                (&parameter.nested, parameters.get_mut(&parameter.name))
            {
                nested.fill_in(fields);
            }
        }
    }

    /// Gives parameters that are declared and not there the value null, which they have for handlers
    /// and templates.
    pub(crate) fn add_nulls(&self, parameters: &mut Map<String, Value>) {
        for parameter in &self.0 {
            let value = parameters.entry(parameter.name.clone()).or_insert(Value::Null);
            if let (Some(nested), Value::Object(fields)) = (&parameter.nested, value) {
                nested.add_nulls(fields);
            }
        }
    }
}
