//! Reads the schedules of a workflow.

use std::collections::HashSet;

use lastlight_schedule::{Timetable, fill_in};
use serde_json::{Map, Value};
use time::{OffsetDateTime, macros::datetime};

use super::reader::{Fields, NAME, Placed, Reader, is_name};
use crate::{
    CatchUp, Overlap, Parameters, Schedule,
    limits::{CATCH_UP, JITTER},
    reference::{CATCH_UPS, OVERLAPS, SCHEDULE},
    yaml::{Key, Located, mapping_to_json},
};

/// Parameters that every submission may have, beside those of the workflow.
const COMMON: [&str; 6] =
    ["dataset_id", "resource_id", "version_id", "system", "use_service_bus", "use_workers"];

/// An expression must fire in the years after this time. Not the present, so that a text that was read once is read
/// always; the years have a leap day.
const REFERENCE: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

/// Reads the field `schedules`.
pub(super) fn schedules(
    reader: &mut Reader,
    file: &Fields<'_>,
    parameters: &Parameters,
) -> Vec<Schedule> {
    let entries = reader.mapping(file, "schedules", "a mapping of names to schedules");
    let mut names = HashSet::new();
    let mut schedules = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let read = schedule(reader, key, value, parameters);
        // One that is there twice is a problem already.
        if names.insert(key.text.as_str()) {
            schedules.extend(read);
        }
    }
    schedules
}

fn schedule(
    reader: &mut Reader,
    key: &Key,
    value: &Located,
    parameters: &Parameters,
) -> Option<Schedule> {
    if !is_name(&key.text) {
        reader.problem(
            key.place,
            format!("the name of a schedule must be {NAME}, not {:?}", key.text),
        );
    }
    let what = format!("schedule {:?}", key.text);
    let fields = reader.fields(value, what.clone(), key.place)?;
    reader.deny_unknown(&fields, &SCHEDULE);
    let cron = reader.required_text(&fields, "cron", "five fields, or @daily", |_| true);
    let zone = reader.text(&fields, "time_zone", "the name of a time zone", |_| true);
    let jitter = reader.whole(&fields, "jitter_seconds", JITTER);
    let overlap = reader.choice(&fields, "overlap", &OVERLAPS);
    let catch_up = reader.choice(&fields, "catch_up", &CATCH_UPS);
    let limit = reader.whole(&fields, "catch_up_limit", CATCH_UP);
    let given = given(reader, &fields, parameters);
    let cron = cron.filter(|cron| is_timetable(reader, &what, *cron, "UTC"));
    let zone = match zone {
        None => "UTC",
        Some(zone) => {
            let placed = Placed { value: "@daily", place: zone.place };
            is_timetable(reader, &what, placed, zone.value).then_some(zone.value)?
        }
    };
    Some(Schedule {
        name: key.text.clone(),
        cron: cron?.value.to_owned(),
        time_zone: zone.to_owned(),
        parameters: given,
        jitter_seconds: jitter.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(0),
        overlap: overlap.unwrap_or(Overlap::Skip),
        catch_up: catch_up.unwrap_or(CatchUp::Last),
        catch_up_limit: limit.and_then(|limit| u16::try_from(limit).ok()).unwrap_or(10),
    })
}

/// Whether an expression has due times in a time zone; a problem, at its place, if not.
fn is_timetable(reader: &mut Reader, what: &str, cron: Placed<&str>, zone: &str) -> bool {
    let made = Timetable::new(cron.value, zone)
        .and_then(|timetable| timetable.check_fires(REFERENCE).map(|_| ()));
    if let Err(error) = &made {
        reader.problem(cron.place, format!("{what}: {error}"));
    }
    made.is_ok()
}

/// The parameters of the submissions, which must be parameters of the workflow.
fn given(reader: &mut Reader, fields: &Fields<'_>, parameters: &Parameters) -> Map<String, Value> {
    let entries = reader.mapping(fields, "parameters", "a mapping of names to values");
    let what = format!("parameters of {}", fields.what);
    for (key, value) in entries {
        let Some(parameter) = parameters.get(&key.text) else {
            if !COMMON.contains(&key.text.as_str()) {
                let names = parameters.iter().map(|parameter| parameter.name.as_str());
                let names: Vec<&str> = names.collect();
                let name = Placed { value: key.text.as_str(), place: key.place };
                reader.unknown(name, "parameter", &what, names.into_iter());
            }
            continue;
        };
        let json = value.to_json();
        if !json.is_null() && !parameter.kind.has(&json) {
            let allowed =
                format!("{} (its type is {})", parameter.kind.words(), parameter.kind.name());
            reader.must_be(value, &format!("{} in {what}", key.text), &allowed);
        }
    }
    let given = mapping_to_json(entries);
    let missing = parameters.iter().filter(|parameter| {
        parameter.required && given.get(&parameter.name).is_none_or(Value::is_null)
    });
    for parameter in missing {
        let message = format!("{what} must have {}, which a submission must have", parameter.name);
        reader.problem(fields.place_of("parameters"), message);
    }
    if let Err(error) = fill_in(&given, "", None) {
        let message = format!("{}: {error}", fields.what);
        reader.problem(fields.place_of("parameters"), message);
    }
    given
}
