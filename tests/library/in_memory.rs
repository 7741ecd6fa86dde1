//! Each example runs with `testing::run`.

use std::{collections::BTreeMap, f64::consts::PI, fs};

use lastlight::testing;
use lastlight_app::jobs::HelloWorld;
use serde_json::json;

use crate::examples::{
    checkpoints::WaterLevel,
    coarse_messages::TileAreas,
    graph::{Hills, Lakes, Map, Terrain},
    progress::Hillshade,
    pyramid::{Level, Pyramid},
    retries::HighestPoint,
    tolerated_failures::{Area, River, Share},
};

#[tokio::test]
async fn hello_world_greets_and_replies() {
    let job: HelloWorld = serde_json::from_value(json!({ "n": 3 })).unwrap();
    let job = testing::run(job).duplicates().await.unwrap();
    assert_eq!(serde_json::to_value(job.summary()).unwrap(), json!({ "replies": 3 }));
}

#[tokio::test]
async fn errors_are_transient_or_permanent() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bern.txt"), "540 556\n850").unwrap();
    fs::write(folder.path().join("thun.txt"), "560 4o2").unwrap();
    let highest = |sheets: &[&str]| {
        let sheets = sheets.iter().map(ToString::to_string).collect();
        testing::run(HighestPoint { folder: folder.path().to_owned(), sheets })
    };
    let job = highest(&["bern"]).duplicates().await.unwrap();
    assert_eq!(job.summary(), &Some(850.0));
    let failed = highest(&["bern", "thun", "basel"]).await.unwrap_err();
    let reasons: Vec<_> =
        failed.tasks().iter().map(|task| (task.index.as_str(), task.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            ("basel", "No such file or directory (os error 2) (attempt 10 of 10)"),
            ("thun", "invalid float literal"),
        ]
    );
}

#[tokio::test]
async fn a_stage_sees_only_completed_tasks_of_the_one_before() {
    let river = |depths: &[(&str, &[f64])]| {
        let depths = depths.iter().map(|(name, depths)| (name.to_string(), depths.to_vec()));
        testing::run(River { depths: depths.collect::<BTreeMap<_, _>>() })
    };
    let job = river(&[("km-1", &[0.0, 2.0, 0.0]), ("km-2", &[0.0, 6.0, 0.0]), ("km-3", &[])])
        .duplicates()
        .await
        .unwrap();
    let areas = job.stage::<Area>();
    assert_eq!((areas.summary, areas.failed.len()), (8.0, 1));
    assert_eq!(areas.failed[0].reason, "a cross section has at least two depths");
    let shares = job.stage::<Share>();
    assert_eq!(shares.output("km-2"), Some(&Some(0.75)));
    assert_eq!(shares.output("km-3"), Some(&None));
    assert_eq!(job.summary(), &1);
    let failed = river(&[("km-1", &[0.0, 2.0]), ("km-2", &[]), ("km-3", &[])]).await.unwrap_err();
    assert_eq!(failed.tasks().len(), 2, "more than half");
}

#[tokio::test]
async fn the_tiles_of_a_level_cover_the_map() {
    for zoom in [0, 5] {
        let job = testing::run(TileAreas { zoom }).duplicates().await.unwrap();
        assert_eq!(job.stage::<TileAreas>().outputs().len(), 4_usize.pow(zoom));
        // A web map ends at 85 degrees: 99.63 % of the sphere.
        assert_eq!((job.summary() / 1e6).round(), 508.0, "{}", job.summary());
    }
}

#[tokio::test]
async fn an_attempt_continues_where_the_one_before_stopped() {
    let job = testing::run(WaterLevel { days: 25 }).await.unwrap();
    assert!(job.stage::<WaterLevel>().attempts > 1);
    assert!((job.summary() - 2.0).abs() < 1e-6, "{}", job.summary());
}

#[tokio::test]
async fn a_blocking_thread_has_a_result() {
    // The rows of one wave, half of which is in the dark.
    let job = testing::run(Hillshade { strips: 2, rows: 314 }).duplicates().await.unwrap();
    assert!((job.summary() * PI - 1.0).abs() < 0.01, "{}", job.summary());
}

#[tokio::test]
async fn each_level_has_a_quarter_of_the_pixels_below() {
    for (levels, side) in [(1, 128), (3, 32), (8, 1)] {
        let job = testing::run(Pyramid { strips: 3, levels }).duplicates().await.unwrap();
        assert_eq!(job.summary(), &(3 * side * side));
        assert_eq!(job.stage::<Level>().output("strip-2").unwrap()[0][0], 2.0);
    }
}

#[tokio::test]
async fn a_map_is_drawn_after_the_hills_and_the_lakes_are_found() {
    let job = testing::run(Terrain { tiles: 3 }).duplicates().await.unwrap();
    let (highest, deepest) = (job.stage::<Hills>().summary, job.stage::<Lakes>().summary);
    assert!(highest > 600.0 && deepest < -300.0, "{deepest} to {highest}");
    let map = job.stage::<Map>();
    let lake = "++....~~~#################~~~~~~~.......";
    assert_eq!(map.output("map-1").map(String::as_str), Some(lake));
    assert_eq!(job.summary(), &1, "the number of lakes");
}
