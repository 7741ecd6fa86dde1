//! A submission is checked against the JSON Schema of its job's struct; every problem names the
//! field, its value and what is allowed.
#![allow(clippy::unwrap_used)]

use lastlight_engine::{
    App,
    job::{
        Invalid, Job, Plan, PlanContext, Stage, Start, TaskContext, TaskError,
        erased::{Fields, JobType},
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Renders the tiles of an area.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Render {
    /// The smallest zoom level.
    #[schemars(range(max = 22))]
    min_zoom: u8,
    #[schemars(range(max = 22))]
    max_zoom: u8,
    #[serde(default = "format")]
    format: Format,
    #[schemars(length(min = 1, max = 5))]
    areas: Vec<Area>,
    #[schemars(regex(pattern = "^EPSG:[0-9]+$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crs: Option<String>,
    #[serde(default)]
    overwrite: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    Png,
    Webp,
}

fn format() -> Format {
    Format::Png
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Area {
    #[schemars(range(min = -180.0, max = 180.0))]
    west: f64,
    #[schemars(length(max = 20))]
    name: String,
}

impl Job for Render {
    const NAME: &'static str = "render";
    type Last = Self;

    fn validate(&self) -> Result<(), Invalid> {
        assert_ne!(self.min_zoom, 22, "no tiles there");
        if self.max_zoom < self.min_zoom {
            return Err(Invalid::new("max_zoom", "at least min_zoom"));
        }
        Ok(())
    }
}

impl Stage for Render {
    type Job = Self;
    type Previous = Start;
    type Task = u8;
    type Output = ();
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<u8> {
        Plan::of(context.job.min_zoom..=context.job.max_zoom, |zoom| (format!("z{zoom}"), zoom))
    }

    async fn run(_: TaskContext<Self>, _: u8) -> Result<(), TaskError> {
        Ok(())
    }

    fn fold(count: &mut u64, (): ()) {
        *count += 1;
    }
}

fn render() -> std::sync::Arc<dyn JobType> {
    let app = App::new().job::<Render>();
    assert!(app.problems().is_empty(), "{:?}", app.problems());
    app.catalog().get("render").unwrap().clone()
}

fn checked(submitted: Value) -> Result<Map<String, Value>, Vec<String>> {
    let Value::Object(submitted) = submitted else { panic!("an object") };
    let mut fields = Fields::new(submitted);
    fields.flag_or("use_service_bus", false);
    render().check(&mut fields);
    fields.finish().map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn valid() -> Value {
    json!({ "min_zoom": 0, "max_zoom": 3, "areas": [{ "west": 7.5, "name": "Basel" }] })
}

fn with(field: &str, value: Value) -> Value {
    let mut submitted = valid();
    submitted[field] = value;
    submitted
}

#[test]
fn defaults_are_filled_in_and_are_part_of_the_identity() {
    let parameters = checked(valid()).unwrap();
    assert_eq!(parameters["format"], "png");
    assert_eq!(parameters["overwrite"], false);
    assert!(!parameters.contains_key("crs"), "an option that is not submitted is no part of it");
    let spelled_out = checked(with("crs", Value::Null)).unwrap();
    assert_eq!(spelled_out, parameters, "null is the same as nothing");
    let whole = checked(with("max_zoom", json!(3.0))).unwrap();
    assert_eq!(whole, parameters, "JSON has one type of numbers");
}

#[test]
fn each_problem_names_field_value_and_what_is_allowed() {
    for (field, value, sentence) in [
        ("max_zoom", json!(23), "max_zoom must be a whole number from 0 to 22, not 23"),
        ("max_zoom", json!("3"), "max_zoom must be a whole number from 0 to 22, not \"3\""),
        ("max_zoom", Value::Null, "max_zoom must be a whole number from 0 to 22, not null"),
        ("format", json!("gif"), "format must be \"png\" or \"webp\", not \"gif\""),
        ("overwrite", json!(1), "overwrite must be true or false, not 1"),
        ("crs", json!("4326"), "crs must be text that matches ^EPSG:[0-9]+$, not \"4326\""),
        (
            "areas",
            json!([]),
            "areas must be a list of 1 to 5 items, each an object with the fields name, west, not []",
        ),
        (
            "areas",
            json!([{ "west": 7.5, "name": "x" }, { "west": -181, "name": "y" }]),
            "areas[1].west must be a number from -180.0 to 180.0, not -181",
        ),
        (
            "areas",
            json!([{ "west": 7.5 }]),
            "areas[0].name is missing: text of at most 20 characters",
        ),
        ("areas", json!([7]), "areas[0] must be an object with the fields name, west, not 7"),
        ("max_zoom", json!(-1), "max_zoom must be a whole number from 0 to 22, not -1"),
        (
            "max_zom",
            json!(3),
            "max_zom must be omitted: the known fields are areas, crs, format, max_zoom, min_zoom, overwrite, not 3",
        ),
    ] {
        assert_eq!(
            checked(with(field, value.clone())),
            Err(vec![sentence.to_owned()]),
            "{field}: {value}"
        );
    }
}

#[test]
fn all_problems_are_reported_together() {
    let problems = checked(json!({ "max_zoom": 23, "format": 1 })).unwrap_err();
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(problems.iter().any(|problem| problem.starts_with("min_zoom is missing")));
}

#[test]
fn a_job_can_check_several_fields_at_once() {
    let problems = checked(json!({ "min_zoom": 5, "max_zoom": 3, "areas": valid()["areas"] }));
    assert_eq!(problems, Err(vec!["max_zoom must be at least min_zoom, not 3".to_owned()]));
}

#[test]
fn a_check_that_panics_rejects_the_submission() {
    let problems = checked(json!({ "min_zoom": 22, "max_zoom": 22, "areas": valid()["areas"] }));
    let problem = &problems.unwrap_err()[0];
    assert!(
        problem.starts_with(
            "parameters must be such that they can be checked (the job type panicked: "
        ),
        "{problem}"
    );
    assert!(problem.contains("no tiles there"), "{problem}");
}

#[test]
fn the_schema_describes_what_is_accepted() {
    let schema = Fields::schema_of(|fields| render().check(fields));
    insta::assert_json_snapshot!(schema);
    assert_eq!(render().description(), "Renders the tiles of an area.");
}

#[test]
fn fields_of_every_submission_are_no_unknown_fields() {
    let mut parameters = checked(with("use_service_bus", json!(true))).unwrap();
    assert_eq!(render().stages(&parameters).unwrap().len(), 1);
    parameters.insert("max_zom".to_owned(), json!(3));
    assert_eq!(render().stages(&parameters).unwrap().len(), 1, "stored by another version");
}
