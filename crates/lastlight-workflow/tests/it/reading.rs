//! A whole file becomes a workflow with resolved names.

use std::time::Duration;

use lastlight_workflow::{
    Aggregation, Backoff, CatchUp, Dependency, FanIn, Gate, GateType, Kind, Known, Node,
    NodeNumber, OnTimeout, Overlap, Params, Source, Tolerate, Workflow,
};
use serde_json::json;

use crate::{fragments::nodes, problem, read, scene};

fn node<'a>(workflow: &'a Workflow, name: &str) -> &'a Node {
    workflow.node_named(name).unwrap()
}

fn number(workflow: &Workflow, name: &str) -> NodeNumber {
    node(workflow, name).number
}

#[test]
fn a_whole_workflow_loads_with_all_its_fields() {
    let workflow = scene();
    assert_eq!(workflow.name(), "process_scene");
    assert_eq!(workflow.description(), "Scene to COGs: one, or tiles if it is large");
    assert_eq!(workflow.version(), 3);
    assert_eq!(workflow.reversed_by(), Some("unpublish_scene"));
    assert_eq!(workflow.file(), "workflow.yaml");
    assert!(workflow.reverses().is_empty() && workflow.warnings().is_empty());
    let [validator] = workflow.validators() else { panic!() };
    assert_eq!(validator.kind, "blob_exists_with_size");
    assert_eq!(validator.fields["max_size_mb"], json!(20480));
    assert_eq!(
        Vec::from_iter(workflow.handlers()),
        [
            "preview_refresh",
            "raster_clean_up",
            "raster_download",
            "raster_make_cog",
            "raster_make_scheme",
            "raster_make_tile",
            "raster_persist",
            "raster_upload",
            "raster_validate",
            "stac_publish"
        ]
    );
}

#[test]
fn nodes_are_numbered_in_topological_order_with_ties_as_in_the_file() {
    let names: Vec<(u8, String)> =
        scene().nodes().iter().map(|node| (node.number.get(), node.name.clone())).collect();
    let expected = [
        "download",
        "validate",
        "route_by_size",
        "make_cog",
        "make_scheme",
        "make_tiles",
        "all_tiles",
        "upload_tiles",
        "uploaded",
        "refresh_preview",
        "persist",
        "approval",
        "publish_cog",
        "publish_neighbours",
        "mosaic",
        "finalize",
    ];
    let expected = expected.iter().zip(1..).map(|(name, number)| (number, (*name).to_owned()));
    assert_eq!(names, Vec::from_iter(expected));
}

#[test]
fn a_node_that_stands_before_its_dependency_in_the_file_runs_after_it() {
    let workflow = read(&nodes(
        "
  last: {type: task, handler: h, depends_on: [middle]}
  other: {type: task, handler: h}
  middle: {type: task, handler: h, depends_on: [first]}
  first: {type: task, handler: h}",
    ));
    let order: Vec<&str> = workflow.nodes().iter().map(|node| node.name.as_str()).collect();
    assert_eq!(order, ["other", "first", "middle", "last"]);
}

#[test]
fn a_dependency_is_optional_or_that_of_a_branch() {
    let workflow = scene();
    let of = |name: &str| node(&workflow, name).depends_on.clone();
    let dependency =
        |name, optional, branch| Dependency { node: number(&workflow, name), optional, branch };
    assert_eq!(of("make_cog"), [dependency("route_by_size", false, true)]);
    assert_eq!(
        of("persist"),
        [
            dependency("make_cog", true, false),
            dependency("uploaded", true, false),
            dependency("refresh_preview", false, false)
        ]
    );
}

#[test]
fn finalize_is_the_last_node_after_all_others_whatever_became_of_them() {
    let workflow = scene();
    let finalize = workflow.nodes().last().unwrap();
    assert!(matches!(&finalize.kind, Kind::Finalize(task) if task.handler == "raster_clean_up"));
    assert!(finalize.best_effort && finalize.reads().is_empty());
    assert_eq!(finalize.depends_on.len(), workflow.nodes().len() - 1);
    assert!(finalize.depends_on.iter().all(|before| before.optional && !before.branch));
}

#[test]
fn a_node_names_the_outputs_that_it_reads() {
    let workflow = scene();
    let reads = |name: &str| -> Vec<&str> {
        let reads = node(&workflow, name).reads().iter();
        reads.map(|number| workflow.node(*number).unwrap().name.as_str()).collect()
    };
    assert_eq!(reads("validate"), ["download"]);
    assert_eq!(reads("make_cog"), ["download", "validate"]);
    assert_eq!(reads("make_tiles"), ["download", "validate", "make_scheme"]);
    assert_eq!(reads("route_by_size"), ["download"]);
    assert_eq!(reads("publish_neighbours"), ["persist"]);
    assert_eq!(reads("mosaic"), ["make_cog", "approval"]);
    // Results are streamed, so the fan-in's output is not among them.
    assert_eq!(reads("upload_tiles"), ["make_scheme"]);
    assert!(reads("uploaded").is_empty() && reads("approval").is_empty());
}

#[test]
fn retry_timeout_and_queue_are_those_of_the_file() {
    let workflow = scene();
    let download = node(&workflow, "download");
    let retry = download.policy().retry.unwrap();
    assert_eq!((retry.max_attempts, retry.backoff), (5, Backoff::Linear));
    assert_eq!(retry.initial_delay, Duration::from_secs(10));
    assert_eq!(retry.max_delay, Duration::from_secs(300));
    assert_eq!(download.policy().timeout, Some(Duration::from_secs(3600)));
    assert_eq!(download.queue.as_deref(), Some("raster"));
    assert_eq!(node(&workflow, "validate").policy().retry, None);
    let of_items = node(&workflow, "make_tiles").policy().retry.unwrap();
    assert_eq!((of_items.max_attempts, of_items.backoff), (2, Backoff::Exponential));
}

#[test]
fn a_fan_out_has_its_bounds_and_its_source() {
    let workflow = scene();
    let fan_out = |name: &str| match &node(&workflow, name).kind {
        Kind::FanOut(fan_out) => fan_out.clone(),
        other => panic!("{other:?}"),
    };
    let tiles = fan_out("make_tiles");
    assert_eq!((tiles.max_fan_out, tiles.tasks_per_message), (100_000, 100));
    assert_eq!(tiles.tolerate, Tolerate::Share(0.01));
    assert!(
        matches!(&tiles.source, Source::Array(path) if path.to_string() == "make_scheme.tiles")
    );
    let neighbours = fan_out("publish_neighbours");
    assert_eq!((neighbours.max_fan_out, neighbours.tasks_per_message), (500, 1));
    assert!(matches!(neighbours.source, Source::File(_)));
    let Source::Results { fan_out, fan_in } = fan_out("upload_tiles").source else { panic!() };
    assert_eq!(fan_out, number(&workflow, "make_tiles"));
    assert_eq!(fan_in, Some(number(&workflow, "all_tiles")));
}

#[test]
fn all_results_of_a_fan_out_are_a_source_without_a_fan_in() {
    for source in ["tiles", "tiles.items"] {
        let workflow = read(&nodes(&format!(
            "
  tiles: {{type: fan_out, source: params.files, task: {{handler: h}}}}
  again: {{type: fan_out, depends_on: [tiles], source: {source}, task: {{handler: h}}}}"
        )));
        let Kind::FanOut(again) = &workflow.nodes()[1].kind else { panic!() };
        let Source::Results { fan_out, fan_in: None } = again.source else { panic!() };
        assert_eq!(fan_out.get(), 1);
    }
}

#[test]
fn fan_ins_gates_and_jobs_have_their_fields() {
    let workflow = scene();
    let fan_in =
        FanIn { fan_out: number(&workflow, "upload_tiles"), aggregation: Aggregation::Count };
    assert!(matches!(&node(&workflow, "uploaded").kind, Kind::FanIn(it) if *it == fan_in));
    let gate = Gate {
        gate_type: GateType::Approval,
        timeout: Some(Duration::from_secs(604_800)),
        on_timeout: OnTimeout::Reject,
    };
    assert!(matches!(&node(&workflow, "approval").kind, Kind::Gate(it) if *it == gate));
    let Kind::Job(job) = &node(&workflow, "mosaic").kind else { panic!() };
    assert_eq!(job.job_type, "make_mosaic");
    assert!(matches!(&job.parameters, Params::Templates(templates) if templates.len() == 3));
}

#[test]
fn what_a_file_does_not_say_has_the_usual_value() {
    let workflow = read("workflow: w\nnodes:\n  a: {type: gate}\n");
    assert_eq!((workflow.version(), workflow.description()), (1, ""));
    let Kind::Gate(gate) = &workflow.nodes()[0].kind else { panic!() };
    assert_eq!((gate.timeout, gate.on_timeout), (None, OnTimeout::Fail));
    // A field without a value is a field that is not there.
    let workflow = read(
        "workflow: w\nparameters:\nnodes:\n  a:\n    type: task\n    handler: h\n    \
                         depends_on:\n    params:\n    retry:\n    when: ~\n",
    );
    assert!(workflow.nodes()[0].when.is_none());
}

#[test]
fn the_same_text_has_the_same_content_id_and_numbers() {
    let (one, two) = (scene(), scene());
    assert_eq!(one.content_id(), two.content_id());
    assert_eq!(one.content_id().len(), 64);
    assert_eq!(&**one.source(), crate::SCENE);
    let other = read(&crate::SCENE.replace("version: 3", "version: 4"));
    assert_ne!(one.content_id(), other.content_id());
    assert_eq!(
        read("workflow: w\nnodes: {a: {type: gate}}").content_id(),
        // sha256sum
        "bb58cccc7a70a0fb70a114a7823c63a478ea727c44db830b026c45dec20d3b88"
    );
}

#[test]
fn plain_values_are_those_that_pyyaml_reads() {
    let workflow = read(&nodes(
        "
  a:
    type: task
    handler: h
    constants: {axis: y, on: on, no: No, mode: 0755, code: 0089, hash: 12e4567, date: 2026-01-31,
                million: 1_000_000, hex: 0x1F, float: 1.0, text: '5', none: ~, word: null, big: -5}",
    ));
    let Kind::Task(task) = &workflow.nodes()[0].kind else { panic!() };
    assert_eq!(
        json!(task.constants),
        json!({
            "axis": "y", "on": true, "no": false, "mode": 493, "code": "0089", "hash": "12e4567",
            "date": "2026-01-31", "million": 1_000_000, "hex": 31, "float": 1.0, "text": "5",
            "none": null, "word": null, "big": -5
        })
    );
}

#[test]
fn anchors_and_merges_are_expanded() {
    let workflow = read(
        "workflow: w
nodes:
  a: &usual
    type: task
    handler: h
    retry: &retry {max_attempts: 7}
  b:
    <<: *usual
    handler: other
  c: {type: task, handler: h, retry: *retry}
",
    );
    let attempts: Vec<u8> =
        workflow.nodes().iter().map(|node| node.policy().retry.unwrap().max_attempts).collect();
    assert_eq!(attempts, [7, 7, 7]);
    assert_eq!(workflow.nodes()[1].handler(), Some("other"));
}

#[test]
fn a_problem_in_an_anchor_is_at_the_place_where_it_is_used() {
    let text = "workflow: w
nodes:
  a: {type: task, handler: h, retry: &retry {max_attempts: 5}}
  b: {type: gate, timeout_seconds: 5, on_timeout: *retry}
";
    assert_eq!(
        problem(text),
        "4:51: on_timeout of node \"b\" must be approve or reject or fail, not {\"max_attempts\":5}"
    );
}

#[test]
fn validators_are_not_checked_without_the_known_ones() {
    let text = "workflow: w\nvalidators: [{type: of_another_version, field: 5}]\n\
                nodes: {a: {type: gate}}";
    let workflow = Workflow::read("f.yaml", text, &Known::default()).unwrap();
    assert_eq!(workflow.validators()[0].kind, "of_another_version");
    assert_eq!(json!(workflow.validators()[0].fields), json!({"field": 5}));
}

#[test]
fn schedules_are_read_with_their_defaults() {
    let text = "workflow: w\nparameters: {scene: {type: str}}\nnodes: {a: {type: gate}}\nschedules:\n  \
                nightly: {cron: \"30 2 * * *\", time_zone: Europe/Berlin, parameters: {scene: \"{{ due_date }}\"}, jitter_seconds: 60,\n    \
                overlap: queue, catch_up: all, catch_up_limit: 31}\n  hourly: {cron: \"@hourly\"}\n";
    let workflow = Workflow::read("w.yaml", text, &Known::default()).unwrap();
    let [nightly, hourly] = workflow.schedules() else { panic!("{:?}", workflow.schedules()) };
    assert_eq!((nightly.name.as_str(), nightly.cron.as_str()), ("nightly", "30 2 * * *"));
    assert_eq!(nightly.parameters["scene"], "{{ due_date }}");
    assert_eq!((nightly.overlap, nightly.catch_up), (Overlap::Queue, CatchUp::All));
    assert_eq!((nightly.jitter_seconds, nightly.catch_up_limit), (60, 31));
    assert_eq!(
        (hourly.time_zone.as_str(), hourly.overlap, hourly.catch_up),
        ("UTC", Overlap::Skip, CatchUp::Last)
    );
    assert_eq!((hourly.jitter_seconds, hourly.catch_up_limit), (0, 10));
}
