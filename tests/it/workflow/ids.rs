//! Ids equal those of the Python app exactly.

use lastlight_engine::model::{
    BatchId, JobId, Stage, TaskId, TaskIndex, canonical::write_canonical,
};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct JobVector {
    job_type: String,
    parameters: Map<String, Value>,
    canonical: String,
    job_id: String,
}

#[derive(Deserialize)]
struct TaskVector {
    job_id: JobId,
    stage: Stage,
    index: String,
    task_id: String,
}

#[test]
fn job_ids_match_the_test_vectors() {
    let vectors: Vec<JobVector> =
        serde_json::from_str(include_str!("../../fixtures/job_id_vectors.json")).unwrap();
    assert!(vectors.len() >= 7);
    for vector in vectors {
        let mut canonical = String::new();
        write_canonical(&Value::Object(vector.parameters.clone()), &mut canonical).unwrap();
        assert_eq!(canonical, vector.canonical);
        assert_eq!(JobId::derive(&vector.job_type, &vector.parameters).to_string(), vector.job_id);
    }
}

/// 400 cases that Python's own `json.dumps(sort_keys=True)` and `hashlib.sha256` produced from
/// random parameters.
#[test]
fn canonical_json_matches_python_output() {
    #[derive(Deserialize)]
    struct Vector {
        parameters: Map<String, Value>,
        canonical: String,
        job_id: String,
    }
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../fixtures/canonical_vectors.json")).unwrap();
    assert_eq!(vectors.len(), 400);
    for vector in vectors {
        let mut canonical = String::new();
        write_canonical(&Value::Object(vector.parameters.clone()), &mut canonical).unwrap();
        assert_eq!(canonical, vector.canonical);
        assert_eq!(JobId::derive("t", &vector.parameters).to_string(), vector.job_id);
    }
}

#[test]
fn task_ids_match_the_test_vectors() {
    let vectors: Vec<TaskVector> =
        serde_json::from_str(include_str!("../../fixtures/task_id_vectors.json")).unwrap();
    assert!(vectors.len() >= 5);
    for TaskVector { job_id, stage, index, task_id } in vectors {
        assert_eq!(TaskId::derive_from(&job_id, stage, &index).as_str(), task_id);
    }
}

#[test]
fn invalid_ids_are_refused_with_expected_form() {
    let error = "12".parse::<JobId>().unwrap_err();
    assert_eq!(error.to_string(), "job_id must be 64 hexadecimal digits, not \"12\"");
    assert!(Stage::try_from(0).is_err() && Stage::try_from(101).is_err());
    assert!(TaskId::try_from("").is_err() && TaskIndex::try_from("x".repeat(51).as_str()).is_err());
    assert!("not-a-batch".parse::<BatchId>().is_err());
}

proptest! {
    #[test]
    fn canonical_json_parses_to_the_same_value(number in any::<f64>().prop_filter("finite", |n| n.is_finite()), text in ".*") {
        let value = serde_json::json!({ "number": number, "text": text });
        let mut canonical = String::new();
        write_canonical(&value, &mut canonical).unwrap();
        prop_assert!(canonical.is_ascii());
        let back: Value = serde_json::from_str(&canonical).unwrap();
        prop_assert_eq!(back["text"].as_str(), Some(text.as_str()));
        prop_assert_eq!(back["number"].as_f64(), Some(number));
    }

    #[test]
    fn formatted_ids_parse_to_the_same_ids(digits in "[0-9a-fA-F]{64}", stage in 1..=100_u8, number in any::<u32>()) {
        let job_id: JobId = digits.parse().unwrap();
        prop_assert_eq!(job_id.to_string(), digits.to_lowercase());
        let batch = BatchId::new(&job_id, Stage::try_from(stage).unwrap(), number);
        prop_assert_eq!(batch.to_string().parse::<BatchId>().unwrap(), batch);
    }
}
