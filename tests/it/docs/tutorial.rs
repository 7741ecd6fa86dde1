//! The tutorial's job type is the file that its text shows, and works as its text describes.

use serde_json::{Value, json};

use crate::harness::{OfThisApp, TestApp, quick};

// The file is written for `src/jobs`, from where its type is exported.
#[allow(unreachable_pub)]
#[path = "../../../docs/tutorial/tile_areas.rs"]
mod tile_areas;

const TEXT: &str = include_str!("../../../docs/TUTORIAL.md");
const CODE: &str = include_str!("../../../docs/tutorial/tile_areas.rs");

#[tokio::test]
async fn the_job_of_the_tutorial_measures_the_earth() {
    let app = TestApp::with_job::<tile_areas::TileAreas>(quick()).await;
    let job_id = app.submitted("tile_areas", json!({ "zoom": 4 })).await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(status["stageResults"]["1"]["summary"]["tiles"], 256);
    let report = &status["stageResults"]["2"]["summary"];
    assert_eq!(report["tiles"], 256);
    // The area between the parallels of 85.05 degrees: sin(85.05°) of a sphere.
    let share = report["share_of_the_earth"].as_f64().unwrap();
    assert!((share - 0.996_272).abs() < 1e-6, "{share}");
    app.assert_consistent(&job_id).await;
    let refused = app.submit("tile_areas", json!({ "zoom": 10 })).await;
    assert_eq!(refused.body["problems"][0]["allowed"], Value::from("a whole number from 0 to 9"));
}

#[test]
fn the_tutorial_shows_the_code_of_its_file() {
    let shown: Vec<&str> =
        TEXT.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(shown.len() >= 5, "{} pieces of code", shown.len());
    for piece in shown {
        assert!(CODE.contains(piece.trim_end()), "the file has no such lines:\n{piece}");
    }
}
