//! The job of the README. Its types are private, so that the example is short: its tests are in the
//! same module.
#![allow(dead_code)]

use lastlight::testing;

include!("../../examples/squares.rs");

#[tokio::test]
async fn squares_are_added_up() {
    let job = testing::run(Squares { n: 100 }).duplicates().await.unwrap();
    assert_eq!(job.summary(), &328_350);
    assert_eq!(job.stage::<Squares>().output("square-99"), Some(&9801));
    let rejected = testing::run(Squares { n: 0 }).await.unwrap_err().to_string();
    assert_eq!(
        rejected,
        "the submission is rejected: n must be a whole number from 1 to 1000000, not 0"
    );
}

#[tokio::test]
async fn squares_are_added_up_on_a_cluster() {
    let cluster = testing::cluster(App::new().job::<Squares>()).await.unwrap();
    let job = cluster.run(&Squares { n: 100 }).await.unwrap();
    assert_eq!(job.summary, 328_350, "{}", job.status);
    cluster.stop().await.unwrap();
}
