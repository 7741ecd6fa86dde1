//! What is wrong with a file is told all at once, each with line, column, what is allowed, and the
//! nearest name.

use lastlight_workflow::{Known, Workflow};

use crate::{
    fragments::{file, next, nodes},
    problem, problems,
};

#[test]
fn all_problems_of_a_file_are_told_at_once_in_its_order() {
    let text = "workflow: w
descripton: none
version: one
parameters:
  count: {type: int, default: many}
nodes:
  a: {type: task, handlr: h}
  b: {type: task, handler: h, depends_on: [aa]}
";
    let problems = Workflow::read("workflows/w.yaml", text, &Known::default()).unwrap_err();
    assert_eq!(problems.workflow.as_deref(), Some("w"));
    assert_eq!(
        problems.to_string(),
        "workflows/w.yaml:2:1: unknown field \"descripton\" of the file: a workflow file may have \
         workflow, description, version, retention_completed_days, retention_failed_days, parameters, validators, nodes, finalize, schedules, reversed_by, \
         reverses; did you mean description?\n\
         workflows/w.yaml:3:10: version of the file must be a whole number from 0 to 4294967295, \
         not \"one\"\n\
         workflows/w.yaml:5:31: default of parameter \"count\" must be a whole number (its type is \
         int), not \"many\"\n\
         workflows/w.yaml:7:3: node \"a\" must have the field handler: the name of a handler, 1 to \
         100 characters without blanks\n\
         workflows/w.yaml:7:19: unknown field \"handlr\" of node \"a\": a task may have type, \
         handler, params, constants, receives, when, depends_on, best_effort, queue, retry, \
         timeout_seconds; did you mean handler?\n\
         workflows/w.yaml:8:44: unknown node \"aa\" in depends_on of node \"b\": known are a, b; \
         did you mean a?"
    );
}

#[test]
fn a_file_must_have_a_name_and_nodes() {
    assert_eq!(
        problems("version: 1\n"),
        [
            "1:1: the file must have the field nodes: a mapping of names to nodes, at least one",
            "1:1: the file must have the field workflow: a name of 1 to 50 letters, digits, _ and \
             -, which begins with a letter or _"
        ]
    );
    assert_eq!(problem(""), "1:1: the file is empty: it must have a workflow");
    assert_eq!(problem("- a\n"), "1:1: the file must be a mapping with fields, not [\"a\"]");
    assert_eq!(
        problem("workflow: w\nnodes: {}\n"),
        "2:8: nodes of the file must be a mapping of names to nodes, at least one, not {}"
    );
    assert_eq!(
        problem("workflow: a b\nnodes: {a: {type: gate}}\n"),
        "1:11: workflow of the file must be a name of 1 to 50 letters, digits, _ and -, which \
         begins with a letter or _, not \"a b\""
    );
}

#[test]
fn text_that_is_no_yaml_is_told_with_its_place() {
    let problems = |text| Workflow::read("f.yaml", text, &Known::default()).unwrap_err();
    let broken = problems("workflow: broken # really\nnodes:\n  a: [1\n  b: 2\n");
    assert_eq!(
        broken.to_string(),
        "f.yaml:4:4: the file is no valid YAML: illegal placement of ':' indicator"
    );
    assert_eq!(broken.workflow.as_deref(), Some("broken"), "its submissions can be told");
    assert_eq!(
        problem("workflow: w\nnodes: *nope\n"),
        "2:8: no anchor with this name stands above"
    );
    assert_eq!(
        problem("workflow: w\n---\nworkflow: v\n"),
        "3:1: a file has one workflow: a second document begins here"
    );
    assert_eq!(
        problem("workflow: w\nversion: .inf\nnodes: {a: {type: gate}}\n"),
        "2:10: .inf cannot be stored: JSON has no NaN and no infinity"
    );
}

#[test]
fn a_time_for_which_jobs_are_kept_is_a_number_of_days_or_never() {
    let with = |value: &str| {
        format!("workflow: w\nretention_failed_days: {value}\nnodes: {{a: {{type: gate}}}}\n")
    };
    for wrong in ["0", "-1", "1.5", "soon", "36501", "[7]"] {
        let said = problem(&with(wrong));
        assert!(
            said.starts_with("2:24: retention_failed_days of the file must be a whole number from 1 to 36500, or never"),
            "{said}"
        );
    }
}

#[test]
fn a_template_without_quotes_is_told_as_such() {
    let text =
        nodes("  a:\n    type: task\n    handler: h\n    params:\n      p: {{ inputs.name }}");
    assert_eq!(problem(&text), "12:11: a template must stand in quotes: \"{{ … }}\"");
    assert_eq!(
        problem("workflow: w\n? [a, b]\n: c\n"),
        "2:3: a key must be text, not a list or mapping"
    );
}

#[test]
fn a_key_that_is_there_twice_is_told_with_both_places() {
    let text = "workflow: w\nnodes:\n  a: {type: gate}\n  b: {type: gate}\n  a: {type: gate}\n";
    assert_eq!(problem(text), "5:3: \"a\" is here twice: first in line 3");
    let text = next("    constants:\n      mode: a\n      mode: b");
    assert_eq!(problem(&text), "15:7: \"mode\" is here twice: first in line 14");
}

#[test]
fn a_node_must_be_of_a_known_type_with_its_fields() {
    assert_eq!(
        problem(&nodes("  a: {handler: h}")),
        "8:3: node \"a\" must have the field type: task or conditional or fan_out or fan_in or gate \
         or job"
    );
    assert_eq!(
        problem(&nodes("  a: {type: fanout}")),
        "8:13: type of node \"a\" must be task or conditional or fan_out or fan_in or gate or job, \
         not \"fanout\"; did you mean fan_out?"
    );
    assert_eq!(
        problem(&nodes("  a: task")),
        "8:6: node \"a\" must be a mapping with fields, not \"task\""
    );
    assert_eq!(
        problem(&nodes("  a: {type: gate, queue: raster}")),
        "8:19: unknown field \"queue\" of node \"a\": a gate may have type, gate_type, \
         timeout_seconds, on_timeout, depends_on, best_effort"
    );
}

#[test]
fn the_name_of_a_node_has_letters_digits_and_few_signs() {
    for name in ["9a", "a.b", "a b", "ä", &"a".repeat(51)] {
        assert_eq!(
            problem(&nodes(&format!("  {name}: {{type: gate}}"))),
            format!(
                "8:3: the name of a node must be a name of 1 to 50 letters, digits, _ and -, which \
                 begins with a letter or _, not \"{name}\""
            )
        );
    }
    assert_eq!(
        problem(&nodes("  params: {type: gate}")),
        "8:3: no node may be named params: in paths and templates, params and inputs are the \
         parameters of the job"
    );
    assert_eq!(
        problem("workflow: w\nnodes:\n  finalize: {type: gate}\nfinalize: {handler: h}\n"),
        "3:3: no node may be named finalize: the workflow has the field finalize in line 4, which \
         becomes a node of this name"
    );
}

#[test]
fn a_field_of_the_wrong_type_is_told_with_its_value() {
    let problem_of = |field: &str| problem(&next(&format!("    {field}")));
    assert_eq!(
        problem_of("params: name"),
        "13:13: params of node \"next\" must be a list of names of parameters, or a mapping of \
         names to templates or literals, not \"name\""
    );
    assert_eq!(
        problem_of("best_effort: maybe"),
        "13:18: best_effort of node \"next\" must be true or false, not \"maybe\""
    );
    assert_eq!(
        problem_of("timeout_seconds: 0"),
        "13:22: timeout_seconds of node \"next\" must be a whole number from 1 to 31536000, not 0"
    );
    assert_eq!(
        problem_of("receives: {a: 5}"),
        "13:19: receives.a of node \"next\" must be a path, such as params.a.b or the name of a \
         node and keys of its output, not 5"
    );
    assert_eq!(
        problem_of("queue: my queue"),
        "13:12: queue of node \"next\" must be a name of 1 to 50 letters, digits, _ and -, which \
         begins with a letter or _, not \"my queue\""
    );
    assert_eq!(
        problem_of("constants: [1]"),
        "13:16: constants of node \"next\" must be a mapping of names to values, not [1]"
    );
    assert_eq!(
        problem(&nodes("  a: {type: task, handler: h, depends_on: b}\n  b: {type: gate}")),
        "8:43: depends_on of node \"a\" must be a list, each the name of a node, with ? after it if \
         the node may fail or be skipped, not \"b\""
    );
    assert_eq!(
        problem(&nodes("  a: {type: task, handler: two words}")),
        "8:28: handler of node \"a\" must be the name of a handler, 1 to 100 characters without \
         blanks, not \"two words\""
    );
}

#[test]
fn long_values_are_truncated() {
    let long = "x".repeat(500);
    let said = problem(&next(&format!("    timeout_seconds: {long}")));
    assert!(said.ends_with(&format!("not \"{}…", "x".repeat(79))), "{said}");
}

#[test]
fn names_with_control_characters_do_not_reach_a_terminal() {
    assert_eq!(
        problem(&next("    receives: {\"a\\u001b[31m\\nb\": \"list.\\u001b[0m\"}")),
        "13:34: receives.a [31m b of node \"next\": path \"list.\\u001b[0m\" must be names and \
         numbers with dots between, such as a.b.0"
    );
}

#[test]
fn retries_have_bounds() {
    let problem_of = |retry: &str| problem(&next(&format!("    retry: {{{retry}}}")));
    assert_eq!(
        problem_of("max_attempts: 11"),
        "13:27: max_attempts of retry of node \"next\" must be a whole number from 1 to 10, not 11"
    );
    assert_eq!(
        problem_of("max_attempts: 2.5"),
        "13:27: max_attempts of retry of node \"next\" must be a whole number from 1 to 10, not 2.5"
    );
    assert_eq!(
        problem_of("backoff: expo"),
        "13:22: backoff of retry of node \"next\" must be exponential or linear or fixed, not \
         \"expo\"; did you mean exponential?"
    );
    assert_eq!(
        problem_of("initial_delay_seconds: 400"),
        "13:13: initial_delay_seconds of retry of node \"next\" must be at most its \
         max_delay_seconds (300), not 400"
    );
    assert_eq!(
        problem_of("attempts: 5"),
        "13:13: unknown field \"attempts\" of retry of node \"next\": retry may have max_attempts, \
         backoff, initial_delay_seconds, max_delay_seconds"
    );
}

#[test]
fn parameters_are_checked() {
    let problem_of =
        |parameter: &str| problem(&file(&format!("  {parameter}"), "  a: {type: gate}"));
    assert_eq!(
        problem_of("p: {type: string}"),
        "3:13: type of parameter \"p\" must be str or int or float or bool or dict or list, not \
         \"string\"; did you mean str?"
    );
    assert_eq!(
        problem_of("p: {required: true}"),
        "3:3: parameter \"p\" must have the field type: str or int or float or bool or dict or list"
    );
    assert_eq!(
        problem_of("p: str"),
        "3:6: parameter \"p\" must be a mapping with fields, not \"str\""
    );
    assert_eq!(
        problem_of("p: {type: str, requird: true}"),
        "3:18: unknown field \"requird\" of parameter \"p\": a parameter may have type, required, \
         default, nested, description; did you mean required?"
    );
    assert_eq!(
        problem_of("p: {type: bool, default: 1}"),
        "3:28: default of parameter \"p\" must be true or false (its type is bool), not 1"
    );
    assert_eq!(
        problem_of("p: {type: str, nested: {a: {type: str}}}"),
        "3:18: parameter \"p\" must not have the field nested: only a parameter of type dict has \
         fields, and this one is of type str"
    );
    assert_eq!(
        problem_of("p: {type: dict, nested: {a: {type: nope}}}"),
        "3:38: type of parameter \"a\" must be str or int or float or bool or dict or list, not \
         \"nope\""
    );
    assert_eq!(
        problem_of("_run_id: {type: str}"),
        "3:3: a parameter must not be named _run_id, _task_name, _workflow: handlers are given these"
    );
    assert_eq!(
        problem_of("a-b: {type: str}"),
        "3:3: the name of a parameter must be a name of 1 to 100 letters, digits and _, which does \
         not begin with a digit, not \"a-b\""
    );
}

#[test]
fn validators_are_those_that_the_app_has_with_their_fields() {
    let problem_of = |validator: &str| {
        problem(&format!(
            "workflow: w\nparameters: {{blob: {{type: str}}, box: {{type: str}}}}\nvalidators:\n  \
             - {validator}\nnodes: {{a: {{type: gate}}}}\n"
        ))
    };
    assert_eq!(
        problem_of("{type: blob_exist}"),
        "4:12: unknown validator \"blob_exist\" in validators of the file: known are blob_exists, \
         blob_exists_with_size, blob_list_exists_with_max_size; did you mean blob_exists?"
    );
    assert_eq!(
        problem_of("{container_param: box}"),
        "4:5: validator 1 must have the field type: blob_exists or blob_exists_with_size or \
         blob_list_exists_with_max_size"
    );
    assert_eq!(
        problem_of("{type: blob_exists, container_param: box}"),
        "4:5: validator 1 (blob_exists) must have the field blob_param: the name of a parameter"
    );
    assert_eq!(
        problem_of("{type: blob_exists, container_param: box, blob_param: blub}"),
        "4:59: unknown parameter \"blub\" in blob_param of validator 1 (blob_exists): known are \
         blob, box; did you mean blob?"
    );
    assert_eq!(
        problem_of(
            "{type: blob_exists_with_size, container_param: box, blob_param: blob, max_size_mb: x}"
        ),
        "4:88: max_size_mb of validator 1 (blob_exists_with_size) must be a number of more than 0, \
         not \"x\""
    );
    assert_eq!(
        problem_of("{type: blob_exists, container_param: box, blob_param: blob, zon: a}"),
        "4:65: unknown field \"zon\" of validator 1 (blob_exists): a validator blob_exists may have \
         type, blob_param, container_param, error_not_found, zone; did you mean zone?"
    );
}

#[test]
fn fan_outs_are_checked() {
    let problem_of = |fields: &str| {
        problem(&nodes(&format!("  f:\n    type: fan_out\n    task: {{handler: h}}\n{fields}")))
    };
    assert_eq!(
        problem_of(""),
        "8:3: node \"f\" must have the field source: the path of an array; or the field \
         source_file: the path of the address of a blob with JSON lines"
    );
    assert_eq!(
        problem_of("    source: params.files\n    source_file: params.name"),
        "12:5: node \"f\" must have either source or source_file, not both"
    );
    assert_eq!(
        problem_of("    source: params.files\n    max_fan_out: 1000001"),
        "12:18: max_fan_out of node \"f\" must be a whole number from 1 to 1000000, not 1000001"
    );
    assert_eq!(
        problem_of("    source: params.files\n    tasks_per_message: 0"),
        "12:24: tasks_per_message of node \"f\" must be a whole number from 1 to 1000, not 0"
    );
    assert_eq!(
        problem_of("    source: params.files\n    tolerate: {share: 1.5}"),
        "12:23: share of tolerate of node \"f\" must be a number from 0 to 1, not 1.5"
    );
    assert_eq!(
        problem_of("    source: params.files\n    tolerate: {share: 0.5, count: 5}"),
        "12:15: tolerate of node \"f\" must be either share (a number from 0 to 1) or count (a \
         whole number), not {\"count\":5,\"share\":0.5}"
    );
    assert_eq!(
        problem_of("    source: params.files\n    retry: {max_attempts: 5}"),
        "12:5: unknown field \"retry\" of node \"f\": a fan_out may have type, source, source_file, \
         max_fan_out, task, tasks_per_message, tolerate, when, depends_on, best_effort, queue; it \
         belongs into the field task"
    );
    assert_eq!(
        problem(&nodes("  f: {type: fan_out, source: params.files}")),
        "8:3: node \"f\" must have the field task: a mapping with handler, params, retry, \
         timeout_seconds"
    );
}

#[test]
fn gates_jobs_and_finalize_are_checked() {
    assert_eq!(
        problem(&nodes("  g: {type: gate, gate_type: vote}")),
        "8:30: gate_type of node \"g\" must be approval, not \"vote\""
    );
    assert_eq!(
        problem(&nodes("  g: {type: gate, on_timeout: approve}")),
        "8:19: node \"g\" has on_timeout, but no timeout_seconds: it waits for ever"
    );
    assert_eq!(
        problems(&nodes("  j: {type: job, parameters: [nam]}")),
        [
            "8:3: node \"j\" must have the field job_type: a name of 1 to 50 letters, digits, _ \
             and -, which begins with a letter or _",
            "8:31: unknown parameter \"nam\" in parameters of node \"j\": known are name, count, \
             options, area, files; did you mean name?"
        ]
    );
    assert_eq!(
        problems("workflow: w\nnodes: {a: {type: gate}}\nfinalize: {when: params.x}\n"),
        [
            "3:1: finalize must have the field handler: the name of a handler, 1 to 100 characters \
             without blanks",
            "3:12: unknown field \"when\" of finalize: finalize may have handler, params, constants, \
             receives, queue, retry, timeout_seconds"
        ]
    );
}

fn scheduled(schedule: &str) -> String {
    format!(
        "workflow: w\nparameters: {{scene: {{type: str, required: true}}, count: {{type: int}}}}\nnodes: {{a: {{type: gate}}}}\n\
         schedules:\n  nightly:\n{schedule}"
    )
}

#[test]
fn a_schedule_that_cannot_fire_is_told_at_its_place() {
    let scene = "    parameters: {scene: \"{{ due_date }}\"}\n";
    let with = |fields: &str| problem(&scheduled(&format!("    {fields}\n{scene}")));
    assert_eq!(
        with("cron: \"0 0 30 2 *\""),
        "6:11: schedule \"nightly\": cron \"0 0 30 2 *\" never fires: it has no due time within five years, until 2031-01-01"
    );
    let seconds = with("cron: \"*/5 * * * * *\"");
    assert!(
        seconds.starts_with("6:11: schedule \"nightly\": cron must have five fields"),
        "{seconds}"
    );
    let zone = with("cron: \"@daily\"\n    time_zone: Europe/Berlim");
    assert!(
        zone.starts_with("7:16: schedule \"nightly\": time_zone must be a name of the IANA"),
        "{zone}"
    );
    assert!(zone.ends_with("did you mean \"Europe/Berlin\"?"), "{zone}");
}

#[test]
fn parameters_of_a_schedule_are_those_of_the_workflow() {
    let with = |parameters: &str| {
        problems(&scheduled(&format!("    cron: \"@daily\"\n    parameters: {parameters}\n")))
    };
    assert_eq!(
        with("{scene: 7, count: x, scenes: a}"),
        [
            "7:25: scene in parameters of schedule \"nightly\" must be text (its type is str), not 7",
            "7:35: count in parameters of schedule \"nightly\" must be a whole number (its type is int), not \"x\"",
            "7:38: unknown parameter \"scenes\" in parameters of schedule \"nightly\": known are scene, count; did you mean scene?"
        ]
    );
    assert_eq!(
        with("{count: 1, use_workers: true}"),
        ["7:5: parameters of schedule \"nightly\" must have scene, which a submission must have"]
    );
    let unknown = with("{scene: \"{{ now }}\"}");
    assert!(
        unknown[0].starts_with(
            "7:5: schedule \"nightly\": parameters.scene has \"{{ now }}\", which is no placeholder"
        ),
        "{unknown:?}"
    );
}

#[test]
fn other_fields_of_a_schedule_are_checked() {
    let fields = "    cron: \"@daily\"\n    overlap: wait\n    catch_up: 3\n    catch_up_limit: 1001\n    jitter_seconds: -1\n    \
                  parameters: {scene: s}\n    zone: UTC\n";
    let said = problems(&scheduled(fields)).join("\n");
    for part in [
        "overlap of schedule \"nightly\" must be skip or queue or allow, not \"wait\"",
        "catch_up of schedule \"nightly\" must be none or last or all, not 3",
        "catch_up_limit of schedule \"nightly\" must be a whole number from 1 to 1000, not 1001",
        "jitter_seconds of schedule \"nightly\" must be a whole number from 0 to 3600, not -1",
        "unknown field \"zone\" of schedule \"nightly\"",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
