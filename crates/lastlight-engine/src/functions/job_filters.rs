//! The filters of the list of jobs: what a request asks for, from its query parameters.

use lastlight_api::{
    jobs::ListedAs,
    labels::{LONGEST_LABEL_VALUE, check_label_key, is_label_value},
    timestamp,
};
use serde_json::{Value, json};
use time::{Date, OffsetDateTime, macros::format_description};

use super::{
    ApiError,
    json_fields::NAME,
    query::{QueryParameters, bad, shortened},
};
use crate::{
    model::{LABEL, PARAMETER, Prefix, ProcessingPath, Term, is_parameter_name},
    queries::{JobFilter, JobSearch, Since},
};

/// The default of `hours`, of a list that is no search.
pub(super) const USUAL_HOURS: u16 = 168;

/// Maximum number of labels and parameters in one search.
pub(super) const MOST_TERMS: usize = 8;

/// The parameters of the list, except those that begin with a prefix.
const NAMES: [&str; 9] =
    ["limit", "hours", "from", "to", "status", "job_type", "processing_path", "q", "cursor"];

/// Parameters of the Functions host: the key, and the name of the key.
const OF_THE_HOST: [&str; 2] = ["code", "clientId"];

/// What a request asks for.
#[derive(Debug)]
pub(super) struct JobFilters<'q> {
    pub(super) status: Option<ListedAs>,
    pub(super) job_type: Option<&'q str>,
    pub(super) path: Option<ProcessingPath>,
    /// `None` if older jobs are wanted too.
    pub(super) hours: Option<u16>,
    pub(super) from: Option<OffsetDateTime>,
    pub(super) to: Option<OffsetDateTime>,
    /// What `q` said.
    pub(super) prefix: Option<Prefix>,
    /// The labels and parameters.
    pub(super) asked: Vec<Term>,
    /// What the jobs must have: these, and in a search the job type.
    terms: Vec<Term>,
}

impl<'q> JobFilters<'q> {
    /// Reads all parameters but `limit` and `cursor`.
    pub(super) fn of(query: &QueryParameters, job_types: &[&'q str]) -> Result<Self, ApiError> {
        let asked = terms(query)?;
        let prefix = match query.text("q")?.filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(Prefix::new(text).ok_or_else(|| bad_value("q", text))?),
        };
        let job_type = query.one_of("job_type", job_types, |name| name)?;
        let from = time(query, "from", false)?;
        let to = time(query, "to", true)?;
        if let (Some(begin), Some(end)) = (from, to)
            && begin >= end
        {
            let given = |name| query.text(name).ok().flatten().map(shortened).unwrap_or_default();
            return Err(bad(format!(
                "from must be a time before to, not {:?} with to {:?}",
                given("from"),
                given("to")
            )));
        }
        let is_search = !asked.is_empty() || prefix.is_some();
        let hours = query.number("hours", 1..=168)?;
        if hours.is_some() && (from.is_some() || to.is_some()) {
            return Err(bad(
                "hours cannot be combined with from and to: it counts from now".to_owned()
            ));
        }
        let is_limited = !is_search && from.is_none() && to.is_none();
        let mut terms = asked.clone();
        terms.extend(job_type.filter(|_| is_search).map(Term::job_type));
        Ok(Self {
            status: query.one_of("status", &ListedAs::ALL, ListedAs::as_str)?,
            job_type,
            path: query.one_of("processing_path", &ProcessingPath::ALL, ProcessingPath::as_str)?,
            hours: hours.or(is_limited.then_some(USUAL_HOURS)),
            from,
            to,
            prefix,
            asked,
            terms,
        })
    }

    pub(super) fn filter(&self) -> JobFilter<'_> {
        JobFilter {
            since: match (self.from, self.hours) {
                (Some(from), _) => Since::Time(from),
                (None, Some(hours)) => Since::Hours(hours),
                (None, None) => Since::Ever,
            },
            until: self.to,
            status: self.status.map(ListedAs::stored),
            is_paused: self.status == Some(ListedAs::Paused),
            job_type: self.job_type,
            path: self.path,
        }
    }

    /// The search, if the request is one.
    pub(super) fn search(&self) -> Option<JobSearch<'_>> {
        let is_search = !self.asked.is_empty() || self.prefix.is_some();
        is_search.then(|| JobSearch {
            filter: self.filter(),
            terms: &self.terms,
            prefix: self.prefix.as_ref(),
        })
    }
}

/// The labels and parameters of a query. Refuses parameters that are not known: a filter that is
/// misspelt would find all jobs.
fn terms(query: &QueryParameters) -> Result<Vec<Term>, ApiError> {
    let mut terms: Vec<Term> = Vec::new();
    for (name, value) in query.pairs() {
        let is_term = if let Some(key) = name.strip_prefix(LABEL) {
            check_label_key(key).map_err(|problem| {
                bad(format!("{LABEL}KEY needs the key of a label: {problem}"))
            })?;
            true
        } else if let Some(parameter) = name.strip_prefix(PARAMETER) {
            if !is_parameter_name(parameter) {
                return Err(bad(format!(
                    "{PARAMETER}NAME needs the name of a parameter, 1 to 100 characters, none of them a control character, not {:?}",
                    shortened(parameter)
                )));
            }
            true
        } else {
            false
        };
        if is_term {
            // Refuses one that is repeated.
            let value = query.text(name)?.unwrap_or(value);
            if !is_label_value(value) {
                return Err(bad_value(&shortened(name), value));
            }
            terms.push(Term { name: name.to_owned(), value: value.to_owned() });
        } else if !NAMES.contains(&name) && !OF_THE_HOST.contains(&name) {
            return Err(bad(format!(
                "unknown parameter {:?} with the value {:?}; allowed are {}, {LABEL}KEY and {PARAMETER}NAME",
                shortened(name),
                shortened(value),
                NAMES.join(", ")
            )));
        }
    }
    if terms.len() > MOST_TERMS {
        return Err(bad(format!(
            "at most {MOST_TERMS} of {LABEL}KEY and {PARAMETER}NAME are allowed, not {}",
            terms.len()
        )));
    }
    Ok(terms)
}

fn bad_value(name: &str, value: &str) -> ApiError {
    bad(format!(
        "{name} must be text of 1 to {LONGEST_LABEL_VALUE} characters, none of them a control character, not {:?}",
        shortened(value)
    ))
}

/// A time: ISO 8601 or a date, both UTC without an offset. As an end, a date means the end of the
/// day.
fn time(
    query: &QueryParameters,
    name: &str,
    is_end: bool,
) -> Result<Option<OffsetDateTime>, ApiError> {
    // An empty value counts as none, since forms send it.
    let Some(text) = query.text(name)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let read = match Date::parse(text, format_description!("[year]-[month]-[day]")) {
        Ok(date) if is_end => date.next_day().map(|next| next.midnight().assume_utc()),
        Ok(date) => Some(date.midnight().assume_utc()),
        // An address in which the + of an offset is not encoded has a space in its place.
        Err(_) => timestamp::read(&text.replacen(' ', "+", 1)),
    };
    match read.filter(|time| (1970..=9999).contains(&time.year())) {
        Some(time) => Ok(Some(time)),
        None => Err(bad(format!(
            "{name} must be a date or a time of the years 1970 to 9999, such as 2026-11-25 or 2026-11-25T10:00:00Z, not {:?}",
            shortened(text)
        ))),
    }
}

/// The schema of the parameters `label.KEY` and `param.NAME`, as one object.
pub(super) fn terms_schema() -> Value {
    let value = json!({
        "type": "string", "minLength": 1, "maxLength": LONGEST_LABEL_VALUE, "pattern": NAME,
    });
    json!({
        "type": "object",
        "maxProperties": MOST_TERMS,
        "patternProperties": {
            r"^label\.[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$": value,
            r"^param\.[^\u0000-\u001f\u007f-\u009f]{1,100}$": value,
        },
        "additionalProperties": false,
        "examples": [{ "label.team": "roads", "param.n": "10" }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<JobFilters<'static>, String> {
        JobFilters::of(&QueryParameters::read(query), &["hello_world"])
            .map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn a_plain_list_is_of_the_last_week() {
        for (query, since) in [
            ("", Since::Hours(168)),
            ("code=secret&clientId=default&limit=3", Since::Hours(168)),
            ("hours=3&label.team=roads", Since::Hours(3)),
            ("label.team=roads", Since::Ever),
            ("q=roa", Since::Ever),
            ("q=", Since::Hours(168)),
            ("to=2026-11-25", Since::Ever),
        ] {
            assert_eq!(read(query).unwrap().filter().since, since, "{query}");
        }
    }

    #[test]
    fn times_are_dates_or_moments() {
        let of = |query: &str| {
            let filters = read(query).unwrap();
            [filters.from, filters.to].map(|time| time.map(timestamp::write))
        };
        let at = |text: &str| Some(format!("2026-11-{text}+00:00"));
        for (query, from, to) in [
            ("from=2026-11-25", at("25T00:00:00.000000"), None),
            ("to=2026-11-25", None, at("26T00:00:00.000000")),
            ("from=2026-11-25&to=2026-11-25", at("25T00:00:00.000000"), at("26T00:00:00.000000")),
            ("from=2026-11-25T10:00:00Z", at("25T10:00:00.000000"), None),
            ("from=2026-11-25T10:00:00.123456", at("25T10:00:00.123456"), None),
            ("from=2026-11-25T10:00:00%2B01:00", at("25T09:00:00.000000"), None),
            ("from=2026-11-25T10:00:00+01:00", at("25T09:00:00.000000"), None),
        ] {
            assert_eq!(of(query), [from, to], "{query}");
        }
    }

    #[test]
    fn errors_name_parameter_value_and_what_is_allowed() {
        let nine: Vec<String> = (0..9).map(|n| format!("label.k{n}=v")).collect();
        for (query, said) in [
            ("label.=roads", "label.KEY needs the key of a label: a key of labels must be 1 to 63"),
            ("label.Team=roads", "not \\\"Team\\\""),
            ("label.a%00b=roads", "1 to 63 of a-z"),
            (&*format!("label.{}=v", "k".repeat(1024)), "1 to 63 of a-z"),
            ("label.team=", "label.team must be text of 1 to 256 characters"),
            ("label.team=a%00b", "label.team must be text of 1 to 256 characters"),
            (&*format!("label.team={}", "v".repeat(257)), "label.team must be text"),
            ("label.team=a&label.team=b", "label.team must be given once, not as"),
            ("param.=1", "param.NAME needs the name of a parameter"),
            ("param.n=", "param.n must be text of 1 to 256 characters"),
            (&*nine.join("&"), "at most 8 of label.KEY and param.NAME are allowed, not 9"),
            (
                "labels=a",
                "unknown parameter \\\"labels\\\" with the value \\\"a\\\"; allowed are limit",
            ),
            ("label=a", "unknown parameter"),
            ("q=a%0Ab", "q must be text of 1 to 256 characters"),
            ("from=yesterday", "from must be a date or a time of the years 1970 to 9999"),
            ("from=2026-13-01", "not \\\"2026-13-01\\\""),
            ("to=0001-01-01", "to must be a date or a time"),
            ("to=1e9", "to must be a date or a time"),
            ("from=2026-11-26&to=2026-11-25", "from must be a time before to, not"),
            ("hours=3&from=2026-11-25", "hours cannot be combined with from and to"),
            ("status=done", "status must be one of"),
            ("job_type=nope", "job_type must be one of hello_world"),
        ] {
            let error = read(query).unwrap_err();
            assert!(error.contains(said), "{query}: {error}");
            assert!(error.len() < 700, "{error}");
        }
    }
}
