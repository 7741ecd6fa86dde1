//! Resolves the templates in mappings of parameters.

use std::sync::Arc;

use serde_json::Value;

use super::{graph::find, paths::Paths, reader::Reader};
use crate::{
    Template,
    names::{did_you_mean, truncated},
    template::{self, Expression, From, Lookup, Parsed, Part, Reference, Step, Text, kind_of},
    yaml::{Content, Located},
};

impl Paths<'_> {
    /// The value of a parameter: a literal, a template, or a list or mapping of these. One with a
    /// problem is a literal. `has_items` says whether there are `item` and `index`.
    pub(super) fn template(
        &self,
        reader: &mut Reader,
        value: &Located,
        field: &str,
        has_items: bool,
    ) -> Template {
        let part = match &value.content {
            Content::Text(text) => self.text(reader, value, text, field, has_items),
            Content::List(items) => {
                let item = |(place, item): (usize, &Located)| {
                    self.template(reader, item, &format!("{field}.{place}"), has_items)
                };
                let items: Vec<Template> = items.iter().enumerate().map(item).collect();
                match items.iter().all(Template::is_literal) {
                    true => Part::Literal(value.to_json()),
                    false => Part::List(items),
                }
            }
            Content::Mapping(entries) => {
                let mut fields = std::collections::BTreeMap::new();
                for (key, value) in entries {
                    let field = format!("{field}.{}", key.text);
                    let template = self.template(reader, value, &field, has_items);
                    fields.insert(key.text.clone(), template);
                }
                match fields.values().all(Template::is_literal) {
                    true => Part::Literal(value.to_json()),
                    false => Part::Mapping(fields),
                }
            }
            Content::Null | Content::Bool(_) | Content::Number(_) => Part::Literal(value.to_json()),
        };
        Template(part)
    }

    fn text(
        &self,
        reader: &mut Reader,
        value: &Located,
        text: &str,
        field: &str,
        has_items: bool,
    ) -> Part {
        if reader.is_full() {
            return Part::Literal(Value::from(text));
        }
        let what = format!("{field} of {}: {:?}", self.what, truncated(text));
        match kind_of(text) {
            Text::Plain => {}
            Text::Template(expression) => match self.expression(expression, has_items) {
                Ok(part) => return part,
                Err(reasons) => {
                    for reason in reasons {
                        reader.problem(value.place, format!("{what} {reason}"));
                    }
                }
            },
            Text::Mixed => {
                let message = format!(
                    "{what} is passed as it is written: a template must be all of the text, such as \
                     \"{{{{ 'a-' ~ inputs.b }}}}\""
                );
                reader.warning(value.place, message);
            }
            Text::Statement => {
                let message = format!(
                    "{what} has a statement ({{% … %}}): templates have only expressions, such as \
                     \"{{{{ a if b else c }}}}\""
                );
                reader.problem(value.place, message);
            }
        }
        Part::Literal(Value::from(text))
    }

    fn expression(&self, text: &str, has_items: bool) -> Result<Part, Vec<String>> {
        let Parsed { references, mut problems, compiled } =
            template::parse(text).map_err(|problem| vec![problem])?;
        let mut lookups = Vec::with_capacity(references.len());
        for reference in references {
            match self.lookup(reference, has_items) {
                Ok(lookup) => lookups.push(lookup),
                Err(reason) => problems.push(reason),
            }
        }
        problems.dedup();
        match (problems.is_empty(), compiled) {
            (false, _) => Err(problems),
            (true, Some(compiled)) => Ok(Part::Expression(Arc::new(Expression {
                text: text.to_owned(),
                compiled,
                lookups,
            }))),
            (true, None) => match lookups.into_iter().next() {
                Some(lookup) => Ok(Part::Path(lookup)),
                None => Err(vec!["looks nothing up".to_owned()]),
            },
        }
    }

    fn lookup(&self, reference: Reference, has_items: bool) -> Result<Lookup, String> {
        let Reference { variable, mut steps, may_miss } = reference;
        let from = match variable.as_str() {
            "inputs" => {
                self.check_parameter("inputs", &steps)?;
                From::Inputs
            }
            "nodes" => {
                let name = match steps.first() {
                    Some(Step::Key(name)) => name.clone(),
                    Some(Step::Index) | None => {
                        return Err("must name a node after nodes, as in nodes.a.result".to_owned());
                    }
                };
                steps.remove(0);
                From::Node(self.node(&name, &steps)?)
            }
            "item" if has_items => From::Item,
            "index" if has_items => match steps.as_slice() {
                [] => From::Index,
                _ => return Err("looks for a key in index, which is a number".to_owned()),
            },
            other => return Err(self.unknown_variable(other, has_items)),
        };
        // What `.get` looks for need not be there.
        if may_miss {
            steps.pop();
        }
        Ok(Lookup { from, steps })
    }

    fn unknown_variable(&self, name: &str, has_items: bool) -> String {
        let known: &[&str] =
            if has_items { &["item", "index", "inputs", "nodes"] } else { &["inputs", "nodes"] };
        let meant = if name == "params" {
            "; did you mean inputs?".to_owned()
        } else if find(&self.draft.nodes, name).is_some() {
            format!("; did you mean nodes.{name}?")
        } else if self.draft.parameters.get(name).is_some() {
            format!("; did you mean inputs.{name}?")
        } else {
            did_you_mean(name, known.iter().copied())
        };
        let why = match name {
            "item" | "index" => " (item and index are those of the items of a fan_out)",
            _ => "",
        };
        let known = known.join(", ");
        format!("uses the unknown variable {name}: known are {known}{why}{meant}")
    }
}
