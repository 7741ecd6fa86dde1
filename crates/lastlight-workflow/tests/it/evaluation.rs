//! What nodes do with the parameters of a job and the outputs of other nodes.

use std::collections::BTreeMap;

use lastlight_workflow::{Evaluation, Inputs, NodeNumber, Workflow};
use serde_json::{Map, Value, json};

use crate::{fragments::nodes, read, scene};

/// A job that runs: parameters, and the outputs of nodes by name.
struct Run {
    workflow: Workflow,
    parameters: Map<String, Value>,
    outputs: BTreeMap<NodeNumber, Value>,
}

impl Run {
    fn of(workflow: Workflow, parameters: Value, outputs: Value) -> Self {
        let Value::Object(mut parameters) = parameters else { panic!() };
        workflow.parameters().fill_in(&mut parameters);
        let output = |(name, output): (&String, &Value)| {
            (workflow.node_named(name).unwrap().number, output.clone())
        };
        let outputs = outputs.as_object().unwrap().iter().map(output).collect();
        Self { workflow, parameters, outputs }
    }

    /// The evaluation of a node, with the outputs that it reads and no others.
    fn node<T>(&self, name: &str, evaluate: impl FnOnce(&Evaluation<'_>) -> T) -> T {
        let node = self.workflow.node_named(name).unwrap();
        let read = |(number, _): &(&NodeNumber, &Value)| node.reads().contains(*number);
        let outputs = self.outputs.iter().filter(read).map(|(n, o)| (*n, o.clone())).collect();
        let inputs = Inputs { parameters: &self.parameters, outputs: &outputs, run_id: "0123abcd" };
        evaluate(&self.workflow.evaluate(node, inputs))
    }

    fn params(&self, name: &str) -> Value {
        Value::Object(self.node(name, |node| node.params().unwrap()))
    }

    fn params_error(&self, name: &str) -> String {
        self.node(name, |node| node.params().unwrap_err().to_string())
    }

    fn runs(&self, name: &str) -> bool {
        self.node(name, |node| node.runs().unwrap())
    }

    fn items(&self, name: &str) -> Result<usize, String> {
        let items = |node: &Evaluation<'_>| node.items().map(<[Value]>::len);
        self.node(name, items).map_err(|error| error.to_string())
    }

    fn item_params(&self, name: &str, index: u64, item: &Value) -> Result<Value, String> {
        let params = self.node(name, |node| node.item_params(index, item));
        params.map(Value::Object).map_err(|error| error.to_string())
    }
}

/// A large scene that has been downloaded, validated and divided.
fn large_scene() -> Run {
    Run::of(
        scene(),
        json!({"blob_name": "a.tif", "container_name": "bronze", "collection_id": "c",
               "processing_options": {"strict": true}, "tile": {"overlap": 0.5}}),
        json!({
            "download": {"success": true, "result": {
                "source_path": "/mnt/a.tif", "size_bytes": 2_000_000_001_u64,
                "metadata": {"title": null}}},
            "validate": {"success": true, "result": {
                "bands": [{"name": "red"}, {"name": "nir"}], "nodata": null,
                "bounds": {"west": -1.5}}},
            "make_scheme": {"success": true, "tiles": [
                {"x": 0, "name": "t0"}, {"x": 1, "name": "t1"}]},
            "persist": {"success": true, "result": {"neighbours": "bronze/n.jsonl"}},
            "approval": {"success": true, "result": {"by": "ada"}},
        }),
    )
}

#[test]
fn a_handler_is_given_parameters_constants_received_values_and_its_run() {
    assert_eq!(
        large_scene().params("validate"),
        json!({
            "blob_name": "a.tif",
            "processing_options": {"strict": true},
            // Received, over the parameter of the same name; a null that was stored is a value.
            "title": null,
            "mode": "strict",
            "levels": [1, 2],
            "source_path": "/mnt/a.tif",
            "_run_id": "0123abcd",
            "_task_name": "validate",
            "_workflow": "process_scene",
        })
    );
}

#[test]
fn constants_go_over_params_and_received_values_over_both() {
    let workflow = read(&nodes(
        "
  a: {type: task, handler: h}
  b:
    type: task
    handler: h
    depends_on: [a]
    params: [name, count, files]
    constants: {count: 2, files: 2}
    receives: {files: a.files}",
    ));
    let run = Run::of(workflow, json!({"name": "n", "count": 1}), json!({"a": {"files": 3}}));
    let params = run.params("b");
    assert_eq!(
        (&params["name"], &params["count"], &params["files"]),
        (&json!("n"), &json!(2), &json!(3))
    );
}

#[test]
fn an_optional_parameter_that_was_not_submitted_is_null() {
    let run = Run::of(
        read(&nodes("  a: {type: task, handler: h, params: [name, area]}")),
        json!({"area": {}}),
        json!({}),
    );
    let params = run.params("a");
    assert_eq!(params["name"], Value::Null);
    assert_eq!(params["area"], json!({"west": null}), "fields that are declared, too");
}

#[test]
fn a_task_with_a_mapping_has_templates_and_literals() {
    let run = large_scene();
    let params = run.params("make_scheme");
    assert_eq!(params["tile_size"], json!(512), "the default of a field");
    assert_eq!(params["label"], json!("scheme"));
    assert_eq!(params["bounds"], json!({"west": -1.5, "crs": "EPSG:4326"}));
    let mut run = run;
    run.parameters.remove("tile");
    assert_eq!(run.params("make_scheme")["tile_size"], json!(256));
}

#[test]
fn finalize_is_given_all_parameters_of_the_job() {
    let params = large_scene().params("finalize");
    assert_eq!(params["blob_name"], json!("a.tif"));
    assert_eq!(params["title"], Value::Null);
    assert_eq!(params["_task_name"], json!("finalize"));
}

#[test]
fn a_number_in_a_path_indexes_a_list() {
    let mut run = large_scene();
    assert_eq!(run.params("make_cog")["first_band"], json!("red"));
    let validate = run.workflow.node_named("validate").unwrap().number;
    run.outputs.insert(validate, json!({"result": {"bands": [], "nodata": 0}}));
    assert_eq!(
        run.params_error("make_cog"),
        "node \"make_cog\": receives.first_band needs validate.result.bands.0.name, but \
         validate.result.bands has no item 0: it is a list of 0 items"
    );
}

#[test]
fn a_missing_key_names_the_node_the_path_and_the_keys_that_there_are() {
    let mut run = large_scene();
    let download = run.workflow.node_named("download").unwrap().number;
    run.outputs.insert(download, json!({"success": true, "result": {"sourcepath": 1, "size": 2}}));
    assert_eq!(
        run.params_error("validate"),
        "node \"validate\": receives.source_path needs download.result.source_path, but \
         download.result has no key source_path: its keys are size, sourcepath; did you mean \
         sourcepath?"
    );
    run.outputs.insert(download, json!({"success": true, "result": null}));
    assert_eq!(
        run.params_error("validate"),
        "node \"validate\": receives.source_path needs download.result.source_path, but \
         download.result has no key source_path: it is null"
    );
}

#[test]
fn a_received_value_of_a_node_that_was_skipped_is_an_error() {
    assert_eq!(
        large_scene().params_error("publish_cog"),
        "node \"publish_cog\": receives.cog_path needs make_cog.result.cog_path, but node \
         \"make_cog\" was skipped or failed, so it has no output"
    );
}

#[test]
fn when_is_no_for_a_node_that_was_skipped_and_for_values_that_count_as_no() {
    let mut run = large_scene();
    assert!(!run.runs("publish_cog"), "make_cog was skipped");
    assert!(run.runs("validate"), "without when");
    let make_cog = run.workflow.node_named("make_cog").unwrap().number;
    for (value, expected) in [
        (json!("a.tif"), true),
        (json!(1), true),
        (json!({"a": 0}), true),
        (json!(null), false),
        (json!(false), false),
        (json!(0), false),
        (json!(""), false),
        (json!([]), false),
        (json!({}), false),
    ] {
        run.outputs.insert(make_cog, json!({"result": {"cog_path": value}}));
        assert_eq!(run.runs("publish_cog"), expected, "{value}");
    }
    run.outputs.insert(make_cog, json!({"result": {"cog": 1}}));
    assert_eq!(
        run.node("publish_cog", |node| node.runs().unwrap_err().to_string()),
        "node \"publish_cog\": when needs make_cog.result.cog_path, but make_cog.result has no key \
         cog_path: its keys are cog; did you mean cog?"
    );
}

#[test]
fn when_is_no_for_a_parameter_that_is_missing() {
    let workflow = || {
        read(&nodes(
            "
  a: {type: task, handler: h, when: params.options.split.column}
  b: {type: task, handler: h, params: [options], when: options.split}
  c: {type: task, handler: h, params: {size: \"{{ inputs.count }}\"}, when: size}
  d: {type: task, handler: h, constants: {on: true}, when: \"on\"}
  e: {type: task, handler: h, depends_on: [\"a?\"], receives: {x: a.result}, when: x}",
        ))
    };
    let run = |parameters| Run::of(workflow(), parameters, json!({}));
    let said = |run: &Run| ["a", "b", "c", "d", "e"].map(|name| run.runs(name));
    assert_eq!(said(&run(json!({}))), [false, false, false, true, false]);
    assert_eq!(said(&run(json!({"options": {}, "count": 0}))), [false, false, false, true, false]);
    let full = run(json!({"options": {"split": {"column": "a"}}, "count": 5}));
    assert_eq!(said(&full), [true, true, true, true, false]);
    let full = Run::of(workflow(), json!({}), json!({"a": {"result": [1]}}));
    assert!(full.runs("e"), "what the handler receives is a parameter of its own");
}

#[test]
fn a_conditional_chooses_the_first_branch_that_holds_or_the_default() {
    let mut run = large_scene();
    let number = |run: &Run, name: &str| run.workflow.node_named(name).unwrap().number;
    let (cog, scheme) = (number(&run, "make_cog"), number(&run, "make_scheme"));
    run.node("route_by_size", |node| {
        let chosen = node.branch().unwrap();
        assert_eq!(chosen.branch.name, "large");
        assert_eq!((&chosen.branch.next, &chosen.not_chosen), (&vec![scheme], &vec![cog]));
        assert_eq!(chosen.output(), json!({"success": true, "result": {"branch": "large"}}));
    });
    let download = number(&run, "download");
    run.outputs.insert(download, json!({"result": {"size_bytes": 2_000_000_000}}));
    run.node("route_by_size", |node| {
        let chosen = node.branch().unwrap();
        assert_eq!((chosen.branch.name.as_str(), chosen.not_chosen), ("normal", vec![scheme]));
    });
    run.outputs.insert(download, json!({"result": {"bytes": 5}}));
    assert_eq!(
        run.node("route_by_size", |node| node.branch().unwrap_err().to_string()),
        "node \"route_by_size\": condition needs download.result.size_bytes, but download.result \
         has no key size_bytes: its keys are bytes"
    );
    run.outputs.remove(&download);
    let chosen = run.node("route_by_size", |node| node.branch().unwrap().branch.name.clone());
    assert_eq!(chosen, "normal", "a node without an output is null");
}

#[test]
fn a_node_that_several_branches_name_is_chosen_with_each() {
    let workflow = read(&nodes(
        "
  c:
    type: conditional
    condition: params.name
    branches:
      - {name: x, condition: eq x, next: [a, both]}
      - {name: y, default: true, next: [b, both]}
  a: {type: gate}
  b: {type: gate}
  both: {type: gate}",
    ));
    let run = Run::of(workflow, json!({"name": "x"}), json!({}));
    let b = run.workflow.node_named("b").unwrap().number;
    run.node("c", |node| assert_eq!(node.branch().unwrap().not_chosen, [b]));
}

#[test]
fn a_fan_out_has_a_task_per_item_of_its_array() {
    let run = large_scene();
    assert_eq!(run.items("make_tiles"), Ok(2));
    assert_eq!(
        run.item_params("make_tiles", 1, &json!({"x": 7})).unwrap(),
        json!({
            "tile": {"x": 7},
            "x": 7,
            "number": 1,
            "source_path": "/mnt/a.tif",
            "collection_id": "c",
            "band": "nir",
            "strict": true,
            "mode": "tiled",
            "_run_id": "0123abcd",
            "_task_name": "make_tiles",
            "_workflow": "process_scene",
        })
    );
}

#[test]
fn items_of_a_fan_in_are_outputs_whole() {
    let run = large_scene();
    let item = json!({"success": true, "result": {"path": "t0.tif"}});
    let params = run.item_params("upload_tiles", 0, &item).unwrap();
    assert_eq!((&params["path"], &params["tile"]), (&json!("t0.tif"), &json!("t0")));
    assert_eq!(
        run.item_params("upload_tiles", 0, &json!({"success": false, "error": "no data"})),
        Err("node \"upload_tiles\": task.params.path of item 0: item.result.path is not there: item \
             has no key result: its keys are error, success"
            .to_owned())
    );
    assert_eq!(
        run.item_params("upload_tiles", 2, &item),
        Err(
            "node \"upload_tiles\": task.params.tile of item 2: nodes.make_scheme.tiles.2.name is \
             not there: nodes.make_scheme.tiles has no item 2: it is a list of 2 items"
                .to_owned()
        )
    );
}

/// A fan-out over `params.files` with at most three items and this parameter `p`.
fn over_files(template: &str) -> Workflow {
    read(&nodes(&format!(
        "
  f:
    type: fan_out
    source: params.files
    max_fan_out: 3
    task: {{handler: h, params: {{p: {template}}}}}"
    )))
}

#[test]
fn the_source_of_a_fan_out_is_a_list_of_at_most_max_fan_out_items() {
    let of = |files: Value| Run::of(over_files("1"), json!({"files": files}), json!({})).items("f");
    assert_eq!(of(json!([])), Ok(0));
    assert_eq!(of(json!([1, 2, 3])), Ok(3));
    assert_eq!(
        of(json!([1, 2, 3, 4])),
        Err("node \"f\": its source has 4 items, more than max_fan_out (3)".to_owned())
    );
    assert_eq!(
        of(json!({"a": 1})),
        Err("node \"f\": source params.files must be a list, but it is an object".to_owned())
    );
    assert_eq!(
        of(json!(null)),
        Err("node \"f\": source params.files must be a list, but it is null".to_owned())
    );
    let run = Run::of(over_files("1"), json!({}), json!({}));
    run.node("f", |node| {
        assert!(node.check_items(3).is_ok() && node.check_items(4).is_err());
    });
}

#[test]
fn a_source_file_is_the_address_of_a_blob() {
    let mut run = large_scene();
    run.node("publish_neighbours", |node| {
        assert_eq!(node.source_file(), Ok("bronze/n.jsonl"));
        assert_eq!(node.item_params(0, &json!([1])).unwrap()["item"], json!([1]));
    });
    let persist = run.workflow.node_named("persist").unwrap().number;
    run.outputs.insert(persist, json!({"result": {"neighbours": 5}}));
    assert_eq!(
        run.node("publish_neighbours", |node| node.source_file().unwrap_err().to_string()),
        "node \"publish_neighbours\": source_file persist.result.neighbours must be the address of \
         a blob, but it is 5"
    );
}

#[test]
fn a_job_is_given_parameters_from_templates() {
    let run = large_scene();
    let parameters = || run.node("mosaic", |node| node.job_parameters().unwrap());
    assert_eq!(
        Value::Object(parameters()),
        // make_cog was skipped, and a template can ask for that.
        json!({"collection_id": "c", "approved_by": "ada", "cog": null})
    );
    let mut run = run;
    let make_cog = run.workflow.node_named("make_cog").unwrap().number;
    run.outputs.insert(make_cog, json!({"result": {"cog_path": "c.tif"}}));
    let parameters = run.node("mosaic", |node| node.job_parameters().unwrap());
    assert_eq!(parameters["cog"], json!("c.tif"));
}

#[test]
fn a_template_that_looks_into_a_node_that_was_skipped_is_an_error() {
    let run = |template: &str| {
        let workflow = read(&nodes(&format!(
            "  a: {{type: task, handler: h}}\n  b: {{type: task, handler: h, depends_on: [\"a?\"], \
             params: {{p: \"{{{{ {template} }}}}\"}}}}"
        )));
        Run::of(workflow, json!({}), json!({}))
    };
    let reason =
        "nodes.a.result.x is not there: node \"a\" was skipped or failed, so it has no output";
    assert_eq!(
        run("nodes.a.result.x").params_error("b"),
        format!("node \"b\": params.p: {reason}")
    );
    assert_eq!(
        run("nodes.a.result.x ~ 'y'").params_error("b"),
        format!("node \"b\": params.p: {{{{ nodes.a.result.x ~ 'y' }}}} {reason}")
    );
    assert_eq!(run("nodes.a.result.x if nodes.a else 5").params("b")["p"], json!(5));
}

#[test]
fn a_node_of_another_type_has_no_such_value() {
    let run = large_scene();
    assert_eq!(
        run.params_error("route_by_size"),
        "node \"route_by_size\" is a conditional: it has no parameters of a task"
    );
    assert!(run.node("approval", |node| node.branch().is_err() && node.items().is_err()));
    assert!(run.node("upload_tiles", |node| node.items().is_err()), "its items are streamed");
    assert!(run.node("validate", |node| node.job_parameters().is_err()));
}

/// The value of an expression for the item `{"a": {"b": [1, 2]}, "s": "x", "n": null}` at index 1.
fn value_of(expression: &str) -> Result<Value, String> {
    let workflow = over_files(&format!("\"{{{{ {expression} }}}}\""));
    let run = Run::of(workflow, json!({"options": {"k": 5}, "files": ["p", "q"]}), json!({}));
    let item = json!({"a": {"b": [1, 2]}, "s": "x", "n": null, "f": 1.0, "big": u64::MAX});
    let params = run.item_params("f", 1, &item)?;
    Ok(params["p"].clone())
}

#[test]
fn a_template_keeps_the_type_of_its_value() {
    for (expression, expected) in [
        ("item.a", json!({"b": [1, 2]})),
        ("item['a'].b[0]", json!(1)),
        ("item.a.b.1", json!(2)),
        ("item.f", json!(1.0)),
        ("item.big", json!(u64::MAX)),
        ("item.n", json!(null)),
        ("index", json!(1)),
        ("inputs.files[index]", json!("q")),
        ("inputs.files", json!(["p", "q"])),
        ("item.a.b[-1]", json!(2)),
        ("item.a.b[index - 1]", json!(1)),
        ("item.f if item.f else 0", json!(1.0)),
        ("[item.big, True, None, 'a']", json!([u64::MAX, true, null, "a"])),
        ("{'a': {'b': index}}", json!({"a": {"b": 1}})),
    ] {
        assert_eq!(value_of(expression), Ok(expected), "{expression}");
    }
}

#[test]
fn expressions_have_pythons_spelling() {
    for (expression, expected) in [
        ("inputs.options.get('k', False) if inputs.options else None", json!(5)),
        ("inputs.options.get('z', False) if inputs.options else None", json!(false)),
        ("inputs.options.get('z')", json!(null)),
        ("inputs.area.get('west') if inputs.area else 'auto'", json!("auto")),
        ("item.get('zz', {}).get('y', 3)", json!(3)),
        ("not item.n and index == 1", json!(true)),
        ("item.n is none or item.zz is defined", json!(true)),
        ("item.zz | default('d')", json!("d")),
        ("'tile-' ~ index ~ '.tif'", json!("tile-1.tif")),
        ("item.s.upper() + 'y'", json!("Xy")),
        ("item.a.b | length", json!(2)),
        ("index + 1", json!(2)),
        ("index * 0.5", json!(0.5)),
        ("'x' in item.s", json!(true)),
        ("item.a.keys() | list", json!(["b"])),
    ] {
        assert_eq!(value_of(expression), Ok(expected), "{expression}");
    }
}

#[test]
fn a_template_without_a_value_says_what_is_missing() {
    let reason = |expression: &str| {
        let said = value_of(expression).unwrap_err();
        said.strip_prefix("node \"f\": task.params.p of item 1: ").unwrap().to_owned()
    };
    assert_eq!(
        reason("item.c.d"),
        "item.c.d is not there: item has no key c: its keys are a, big, f, n, s"
    );
    assert_eq!(reason("item.n.x"), "item.n.x is not there: item.n has no key x: it is null");
    assert_eq!(
        reason("item.c.d ~ 'x'"),
        "{{ item.c.d ~ 'x' }} item.c.d is not there: item has no key c: its keys are a, big, f, n, s"
    );
    assert_eq!(
        reason("item.a.b[5 + index]"),
        "{{ item.a.b[5 + index] }} has no value: something that it looks up is not there"
    );
    assert_eq!(reason("1 / 0"), "{{ 1 / 0 }} fails: unable to calculate 1 / 0");
    assert_eq!(
        reason("item.s.get('x')"),
        "{{ item.s.get('x') }} fails: string has no method named get"
    );
}

#[test]
fn other_texts_are_literals() {
    let literal = |text: &str| {
        let run = Run::of(over_files(&format!("{text:?}")), json!({}), json!({}));
        run.item_params("f", 0, &json!(1)).unwrap()["p"].clone()
    };
    for text in ["approved", "a {{ item }}", "{ item }", ""] {
        assert_eq!(literal(text), json!(text));
    }
}

#[test]
fn a_node_can_be_evaluated_from_several_threads() {
    fn assert_shared<T: Send + Sync>(_: &T) {}
    large_scene().node("make_tiles", |node| {
        assert_shared(node);
        let params = || node.item_params(0, &json!({"x": 1})).unwrap();
        let same = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(params)).collect();
            threads.into_iter().all(|thread| thread.join().unwrap() == params())
        });
        assert!(same);
    });
}
