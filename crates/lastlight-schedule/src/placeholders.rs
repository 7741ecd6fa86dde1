//! Placeholders in the parameters of a schedule: `{{ due_date }}` in a text stands for the date of the due time.

use jiff::fmt::strtime;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::Timetable;

/// What a placeholder stands for, in the notation of `strftime`.
struct Placeholder {
    name: &'static str,
    format: &'static str,
    meaning: &'static str,
}

const ALL: [Placeholder; 10] = [
    Placeholder {
        name: "due_at",
        format: "%Y-%m-%dT%H:%M:%S%:z",
        meaning: "The due time with the offset of its time zone, as RFC 3339 writes it: `2026-12-01T03:00:00+01:00`.",
    },
    Placeholder {
        name: "due_at_utc",
        format: "%Y-%m-%dT%H:%M:%SZ",
        meaning: "The due time in UTC: `2026-12-01T02:00:00Z`.",
    },
    Placeholder { name: "due_date", format: "%Y-%m-%d", meaning: "Its local date: `2026-12-01`." },
    Placeholder { name: "due_time", format: "%H:%M", meaning: "Its local time: `03:00`." },
    Placeholder { name: "due_year", format: "%Y", meaning: "Its local year: `2026`." },
    Placeholder { name: "due_month", format: "%m", meaning: "Its local month: `12`." },
    Placeholder { name: "due_day", format: "%d", meaning: "Its local day of the month: `01`." },
    Placeholder { name: "due_hour", format: "%H", meaning: "Its local hour: `03`." },
    Placeholder { name: "due_minute", format: "%M", meaning: "Its local minute: `00`." },
    Placeholder {
        name: "schedule",
        format: "",
        meaning: "The name of the schedule, which is the same for all due times.",
    },
];

/// The names and meanings of all placeholders.
pub const PLACEHOLDERS: [(&str, &str); ALL.len()] = {
    let mut names = [("", ""); ALL.len()];
    let mut index = 0;
    while index < ALL.len() {
        names[index] = (ALL[index].name, ALL[index].meaning);
        index += 1;
    }
    names
};

/// A text whose placeholders cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place} has {found}, which is no placeholder: allowed are {}", allowed())]
pub struct BadPlaceholder {
    /// The parameter: `parameters.scene`.
    pub place: String,
    /// What stands there, shortened.
    pub found: String,
}

fn allowed() -> String {
    let names: Vec<String> = ALL.iter().map(|one| format!("{{{{ {} }}}}", one.name)).collect();
    names.join(", ")
}

/// Fills in the placeholders of all texts in `parameters`, also in lists and objects. Without a due time they are
/// only checked.
///
/// # Errors
/// A text has double braces with something else in them.
pub fn fill_in(
    parameters: &Map<String, Value>,
    schedule: &str,
    due: Option<(&Timetable, OffsetDateTime)>,
) -> Result<Map<String, Value>, BadPlaceholder> {
    let filler = Filler { schedule, due: due.and_then(|(timetable, at)| timetable.local(at)) };
    let filled = |(name, value): (&String, &Value)| {
        Ok((name.clone(), filler.value(value, &format!("parameters.{name}"))?))
    };
    parameters.iter().map(filled).collect()
}

/// Whether a text in `parameters` depends on the due time, so that each due time has parameters of its own.
pub fn depends_on_due_time(parameters: &Map<String, Value>) -> bool {
    fn depends(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains("{{") && text.contains("due_"),
            Value::Array(items) => items.iter().any(depends),
            Value::Object(fields) => fields.values().any(depends),
            _ => false,
        }
    }
    parameters.values().any(depends)
}

struct Filler<'a> {
    schedule: &'a str,
    due: Option<jiff::Zoned>,
}

impl Filler<'_> {
    fn value(&self, value: &Value, place: &str) -> Result<Value, BadPlaceholder> {
        Ok(match value {
            Value::String(text) => Value::String(self.text(text, place)?),
            Value::Array(items) => {
                let item = |(index, item)| self.value(item, &format!("{place}[{index}]"));
                Value::Array(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| {
                    Ok((name.clone(), self.value(value, &format!("{place}.{name}"))?))
                };
                Value::Object(fields.iter().map(field).collect::<Result<_, _>>()?)
            }
            other => other.clone(),
        })
    }

    fn text(&self, text: &str, place: &str) -> Result<String, BadPlaceholder> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(begin) = rest.find("{{") {
            let (before, inner) = (&rest[..begin], &rest[begin + 2..]);
            let found = inner.find("}}").map(|end| (inner[..end].trim(), &inner[end + 2..]));
            let known = found
                .and_then(|(name, after)| Some((ALL.iter().find(|one| one.name == name)?, after)));
            let Some((placeholder, after)) = known else {
                let shown: String = rest[begin..].chars().take(40).collect();
                return Err(BadPlaceholder {
                    place: place.to_owned(),
                    found: format!("{shown:?}"),
                });
            };
            filled.push_str(before);
            filled.push_str(&self.filling(placeholder));
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn filling(&self, placeholder: &Placeholder) -> String {
        let Some(due) = &self.due else { return String::new() };
        match placeholder.name {
            "schedule" => self.schedule.to_owned(),
            "due_at_utc" => {
                let utc = due.with_time_zone(jiff::tz::TimeZone::UTC);
                strtime::format(placeholder.format, &utc).unwrap_or_default()
            }
            _ => strtime::format(placeholder.format, due).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    fn filled(parameters: Value) -> Result<Value, BadPlaceholder> {
        let Value::Object(parameters) = parameters else { panic!("{parameters} is no object") };
        let timetable = Timetable::new("0 3 * * *", "Europe/Berlin").unwrap();
        let due = datetime!(2026-11-30 23:30 UTC);
        fill_in(&parameters, "nightly", Some((&timetable, due))).map(Value::Object)
    }

    #[test]
    fn placeholders_are_filled_in_the_time_zone() {
        let parameters = json!({
            "at": "{{ due_at }}", "utc": "{{due_at_utc}}", "path": "in/{{ due_year }}/{{ due_month }}/{{ due_day }}.tif",
            "list": [{ "date": "{{ due_date }} {{ due_time }} {{ due_hour }} {{ due_minute }}" }],
            "n": 3, "name": "{{ schedule }}", "plain": "} {x}",
        });
        let expected = json!({
            "at": "2026-12-01T00:30:00+01:00", "utc": "2026-11-30T23:30:00Z", "path": "in/2026/12/01.tif",
            "list": [{ "date": "2026-12-01 00:30 00 30" }],
            "n": 3, "name": "nightly", "plain": "} {x}",
        });
        assert_eq!(filled(parameters).unwrap(), expected);
    }

    #[test]
    fn unknown_placeholders_are_named_with_their_place() {
        let error = filled(json!({ "scenes": ["ok", { "id": "a-{{ now }}" }] })).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("parameters.scenes[1].id has \"{{ now }}\", which is no placeholder")
        );
        assert!(said.contains("{{ due_at }}, {{ due_at_utc }}, {{ due_date }}"), "{said}");
        assert!(filled(json!({ "open": "{{ due_at" })).is_err());
    }

    #[test]
    fn only_due_times_make_parameters_differ() {
        let depends = |parameters: Value| depends_on_due_time(parameters.as_object().unwrap());
        assert!(depends(json!({ "a": [{ "b": "x{{ due_hour }}" }] })));
        assert!(!depends(json!({ "a": "{{ schedule }}", "due_at": 1 })));
    }
}
