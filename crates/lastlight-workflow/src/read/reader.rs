//! Reads fields of mappings, and collects what is wrong with them. Knows no workflows.

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    Kept, Place, Problem,
    limits::{A_TIME_KEPT, KEPT_DAYS, LONGEST_NAME, MOST_PROBLEMS, TIMEOUT},
    names::{did_you_mean, listed, shown},
    reference::Mapping,
    yaml::{Content, Key, Located},
};

/// What a name may be, for messages.
pub(super) const NAME: &str =
    "a name of 1 to 50 letters, digits, _ and -, which begins with a letter or _";

/// Whether a text is a name of a node, workflow or queue.
pub(super) fn is_name(text: &str) -> bool {
    let mut characters = text.bytes();
    text.len() <= LONGEST_NAME
        && characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && characters.all(|other| other.is_ascii_alphanumeric() || matches!(other, b'_' | b'-'))
}

/// The problems and warnings that were found so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    there_are_more: bool,
}

/// A value with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// The fields of one mapping.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    /// Whose fields: `node "tiles"`.
    pub(super) what: String,
    /// The place that a missing field is reported at.
    pub(super) place: Place,
    entries: &'a [(Key, Located)],
}

impl<'a> Fields<'a> {
    /// The value of a field. A field without a value is a field that is not there.
    pub(super) fn get(&self, name: &str) -> Option<&'a Located> {
        self.entries
            .iter()
            .find(|(key, _)| key.text == name)
            .map(|(_, value)| value)
            .filter(|value| !value.is_null())
    }

    /// The same fields, called otherwise in messages.
    pub(super) fn called(self, what: String) -> Self {
        Self { what, ..self }
    }

    /// The place of a field's name.
    pub(super) fn place_of(&self, name: &str) -> Place {
        let key = self.entries.iter().map(|(key, _)| key).find(|key| key.text == name);
        key.map_or(self.place, |key| key.place)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'a Key> + use<'a> {
        self.entries.iter().map(|(key, _)| key)
    }
}

/// A message as a line of a terminal: names in it may have any characters.
fn in_one_line(message: String) -> String {
    match message.contains(char::is_control) {
        true => message.replace(char::is_control, " "),
        false => message,
    }
}

impl Reader {
    pub(super) fn problem(&mut self, place: Place, message: impl Into<String>) {
        if !self.is_full() {
            self.problems.push(Problem { place, message: in_one_line(message.into()) });
        }
    }

    pub(super) fn warning(&mut self, place: Place, message: impl Into<String>) {
        if self.warnings.len() < MOST_PROBLEMS {
            self.warnings.push(Problem { place, message: in_one_line(message.into()) });
        }
    }

    /// Whether no more problems are taken. Ask before one whose message takes time.
    pub(super) fn is_full(&mut self) -> bool {
        let is_full = self.problems.len() >= MOST_PROBLEMS;
        self.there_are_more |= is_full;
        is_full
    }

    /// All problems by place; the last one says so if the rest of the file was not checked.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort();
        self.problems.dedup();
        if self.there_are_more || self.problems.len() > MOST_PROBLEMS {
            self.problems.truncate(MOST_PROBLEMS);
            let place = self.problems.last().map_or(Place::START, |problem| problem.place);
            let message = format!(
                "these are the first {MOST_PROBLEMS} problems: the rest of the file is not checked"
            );
            self.problems.push(Problem { place, message });
        }
        self.problems
    }

    /// The fields of a mapping. `place` is that of its name, for fields that are missing.
    pub(super) fn fields<'a>(
        &mut self,
        value: &'a Located,
        what: impl Into<String>,
        place: Place,
    ) -> Option<Fields<'a>> {
        let what = what.into();
        match &value.content {
            Content::Mapping(entries) => Some(Fields { what, place, entries }),
            _ => {
                self.must_be(value, &what, "a mapping with fields");
                None
            }
        }
    }

    /// Reports fields that the format does not have.
    pub(super) fn deny_unknown(&mut self, fields: &Fields<'_>, mapping: &Mapping) {
        self.deny_others(fields, mapping.noun, &mapping.names());
    }

    /// Reports fields that are not allowed. `kind` says what has these fields: "a task".
    pub(super) fn deny_others(&mut self, fields: &Fields<'_>, kind: &str, allowed: &[&str]) {
        for key in fields.keys().filter(|key| !allowed.contains(&key.text.as_str())) {
            if self.is_full() {
                return;
            }
            let message = format!(
                "unknown field {:?} of {}: {kind} may have {}{}",
                key.text,
                fields.what,
                allowed.join(", "),
                did_you_mean(&key.text, allowed.iter().copied()),
            );
            self.problem(key.place, message);
        }
    }

    /// Reports a value that is not what it must be.
    pub(super) fn must_be(&mut self, value: &Located, what: &str, allowed: &str) {
        let message = format!("{what} must be {allowed}, not {}", shown(&value.to_json()));
        self.problem(value.place, message);
    }

    /// Reports a field that is missing; `allowed` says what it must be.
    pub(super) fn missing(&mut self, fields: &Fields<'_>, name: &str, allowed: &str) {
        let message = format!("{} must have the field {name}: {allowed}", fields.what);
        self.problem(fields.place, message);
    }

    /// A field with a text that `is_allowed`; `allowed` says so in words.
    pub(super) fn text<'a>(
        &mut self,
        fields: &Fields<'a>,
        name: &str,
        allowed: &str,
        is_allowed: impl Fn(&str) -> bool,
    ) -> Option<Placed<&'a str>> {
        let value = fields.get(name)?;
        self.text_of(value, &format!("{name} of {}", fields.what), allowed, is_allowed)
    }

    /// As [`Reader::text`], for a field that must be there.
    pub(super) fn required_text<'a>(
        &mut self,
        fields: &Fields<'a>,
        name: &str,
        allowed: &str,
        is_allowed: impl Fn(&str) -> bool,
    ) -> Option<Placed<&'a str>> {
        if fields.get(name).is_none() {
            self.missing(fields, name, allowed);
        }
        self.text(fields, name, allowed, is_allowed)
    }

    pub(super) fn text_of<'a>(
        &mut self,
        value: &'a Located,
        what: &str,
        allowed: &str,
        is_allowed: impl Fn(&str) -> bool,
    ) -> Option<Placed<&'a str>> {
        match &value.content {
            Content::Text(text) if is_allowed(text) => {
                Some(Placed { value: text.as_str(), place: value.place })
            }
            _ => {
                self.must_be(value, what, allowed);
                None
            }
        }
    }

    /// A field with one of several words, and what they mean.
    pub(super) fn choice<T: Copy>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let value = fields.get(name)?;
        let text = match &value.content {
            Content::Text(text) => text.as_str(),
            _ => "",
        };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let known = || words.iter().map(|(word, _)| *word);
        let message = format!(
            "{name} of {} must be {}, not {}{}",
            fields.what,
            known().collect::<Vec<_>>().join(" or "),
            shown(&value.to_json()),
            did_you_mean(text, known()),
        );
        self.problem(value.place, message);
        None
    }

    /// A field with a whole number in this range.
    pub(super) fn whole(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let value = fields.get(name)?;
        let number = match &value.content {
            Content::Number(number) => {
                let whole = || number.as_f64().filter(|number| number.fract() == 0.0);
                number.as_u64().or_else(|| {
                    whole().filter(|number| (0.0..9e15).contains(number)).map(|n| n as u64)
                })
            }
            _ => None,
        };
        if let Some(number) = number.filter(|number| range.contains(number)) {
            return Some(number);
        }
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        self.must_be(value, &format!("{name} of {}", fields.what), &allowed);
        None
    }

    /// A field with a number of days, or `never`.
    pub(super) fn kept(&mut self, fields: &Fields<'_>, name: &str) -> Option<Kept> {
        let value = fields.get(name)?;
        match &value.content {
            Content::Text(text) if text == "never" => Some(Kept::Forever),
            Content::Number(number) => {
                let days = number.as_u64().filter(|days| KEPT_DAYS.contains(days));
                match days.and_then(|days| u16::try_from(days).ok()) {
                    Some(days) => Some(Kept::Days(days)),
                    None => {
                        self.must_be(value, &format!("{name} of {}", fields.what), A_TIME_KEPT);
                        None
                    }
                }
            }
            _ => {
                self.must_be(value, &format!("{name} of {}", fields.what), A_TIME_KEPT);
                None
            }
        }
    }

    /// A field with a number of seconds, from 1 to a year.
    pub(super) fn timeout(&mut self, fields: &Fields<'_>) -> Option<Duration> {
        self.whole(fields, "timeout_seconds", TIMEOUT).map(Duration::from_secs)
    }

    /// A field that is true or false; false without it.
    pub(super) fn flag(&mut self, fields: &Fields<'_>, name: &str) -> bool {
        match fields.get(name).map(|value| (&value.content, value)) {
            None => false,
            Some((Content::Bool(flag), _)) => *flag,
            Some((_, value)) => {
                self.must_be(value, &format!("{name} of {}", fields.what), "true or false");
                false
            }
        }
    }

    /// A field with a list; empty without it.
    pub(super) fn list<'a>(
        &mut self,
        fields: &Fields<'a>,
        name: &str,
        allowed: &str,
    ) -> &'a [Located] {
        match fields.get(name).map(|value| (&value.content, value)) {
            None => &[],
            Some((Content::List(items), _)) => items,
            Some((_, value)) => {
                self.must_be(value, &format!("{name} of {}", fields.what), allowed);
                &[]
            }
        }
    }

    /// A field with a list of texts.
    pub(super) fn texts<'a>(
        &mut self,
        fields: &Fields<'a>,
        name: &str,
        allowed: &str,
    ) -> Vec<Placed<&'a str>> {
        let items = self.list(fields, name, &format!("a list, each {allowed}"));
        let what = format!("an item of {name} of {}", fields.what);
        let texts = items.iter().map(|item| self.text_of(item, &what, allowed, |t| !t.is_empty()));
        texts.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    /// A field with a mapping; empty without it.
    pub(super) fn mapping<'a>(
        &mut self,
        fields: &Fields<'a>,
        name: &str,
        allowed: &str,
    ) -> &'a [(Key, Located)] {
        match fields.get(name).map(|value| (&value.content, value)) {
            None => &[],
            Some((Content::Mapping(entries), _)) => entries,
            Some((_, value)) => {
                self.must_be(value, &format!("{name} of {}", fields.what), allowed);
                &[]
            }
        }
    }

    /// Reports a name that does not exist: `unknown node "vaildate" in depends_on of …`.
    pub(super) fn unknown<'a>(
        &mut self,
        name: Placed<&str>,
        noun: &str,
        r#where: &str,
        known: impl Iterator<Item = &'a str> + Clone,
    ) {
        if self.is_full() {
            return;
        }
        let meant = did_you_mean(name.value, known.clone());
        let known = listed(known);
        let message =
            format!("unknown {noun} {:?} in {where}: known are {known}{meant}", name.value);
        self.problem(name.place, message);
    }
}
