//! What becomes of due times: while an earlier run goes on, after a time without any process, and when clocks change.

use lastlight_api::schedules::{CatchUp, Overlap};
use time::macros::datetime;

use super::{HOUR, MINUTE, NOON, app, ask, finish, fire, hourly, runs, set, submitted};

#[tokio::test]
async fn skip_leaves_out_due_times_while_a_run_goes_on() {
    let app = app().await;
    let mut request = hourly("s");
    request.overlap = Some(Overlap::Skip);
    set(&app, &request).await;
    for hour in 1..=3 {
        fire(&app, NOON + HOUR * hour).await;
    }
    finish(&app).await;
    fire(&app, NOON + HOUR * 4).await;
    assert_eq!(
        runs(&app, "s").await,
        ["submitted 13:00", "skipped 14:00", "skipped 15:00", "submitted 16:00"]
    );
    let skipped = &ask(&app, "GET", "/s").await["runs"][1];
    assert_eq!(skipped["reason"], "the job of an earlier run is not over");
}

#[tokio::test]
async fn queue_lets_due_times_wait_for_the_run_before() {
    let app = app().await;
    let mut request = hourly("s");
    request.overlap = Some(Overlap::Queue);
    request.catch_up_limit = Some(2);
    set(&app, &request).await;
    for hour in 1..=4 {
        fire(&app, NOON + HOUR * hour).await;
    }
    assert_eq!(
        runs(&app, "s").await,
        ["submitted 13:00", "waiting 14:00", "waiting 15:00", "skipped 16:00"]
    );
    // One after the other, in their order.
    let now = NOON + HOUR * 4 + MINUTE;
    finish(&app).await;
    fire(&app, now).await;
    fire(&app, now).await;
    assert_eq!(runs(&app, "s").await[1..3], ["submitted 14:00", "waiting 15:00"]);
    finish(&app).await;
    fire(&app, now).await;
    assert_eq!(runs(&app, "s").await[1..3], ["submitted 14:00", "submitted 15:00"]);
    assert_eq!(submitted(&app).await.len(), 3);
}

#[tokio::test]
async fn allow_submits_while_a_run_goes_on() {
    let app = app().await;
    set(&app, &hourly("s")).await;
    for hour in 1..=3 {
        fire(&app, NOON + HOUR * hour).await;
    }
    assert_eq!(runs(&app, "s").await, ["submitted 13:00", "submitted 14:00", "submitted 15:00"]);
}

#[tokio::test]
async fn due_times_that_passed_are_made_up_for_as_told() {
    let app = app().await;
    let late = NOON + HOUR * 6 + MINUTE * 30;
    for (name, catch_up, limit, expected) in [
        ("none", CatchUp::None, 10, &["missed 18:00 x6", "submitted 19:00"][..]),
        ("last", CatchUp::Last, 10, &["missed 17:00 x5", "submitted 18:00", "submitted 19:00"]),
        (
            "all",
            CatchUp::All,
            3,
            &[
                "missed 15:00 x3",
                "submitted 16:00",
                "submitted 17:00",
                "submitted 18:00",
                "submitted 19:00",
            ],
        ),
    ] {
        let mut request = hourly(name);
        request.catch_up = Some(catch_up);
        request.catch_up_limit = Some(limit);
        request.parameters.insert("dataset_id".to_owned(), name.into());
        set(&app, &request).await;
        fire(&app, late).await;
        fire(&app, late).await;
        fire(&app, NOON + HOUR * 7).await;
        assert_eq!(runs(&app, name).await, expected, "{name}");
    }
    let missed = &ask(&app, "GET", "/none").await["runs"][1];
    assert_eq!(
        missed["reason"],
        "no process submitted it in time: the last of them was due 30 min before (catch_up none)"
    );
}

#[tokio::test]
async fn a_jitter_delays_each_due_time_by_its_own_offset() {
    let app = app().await;
    let mut request = hourly("s");
    request.jitter_seconds = Some(1800);
    set(&app, &request).await;
    let fires: Vec<time::OffsetDateTime> = sqlx::query_scalar("SELECT next_fire_at FROM schedules")
        .fetch_all(&mut app.connection().await)
        .await
        .unwrap();
    let offset = fires[0] - (NOON + HOUR);
    assert!(!offset.is_negative() && offset <= MINUTE * 30, "{offset}");
    fire(&app, fires[0] - time::Duration::SECOND).await;
    assert_eq!(runs(&app, "s").await, Vec::<String>::new());
    fire(&app, fires[0]).await;
    assert_eq!(runs(&app, "s").await, ["submitted 13:00"]);
    assert_eq!(submitted(&app).await, ["2026-12-01T13:00:00+00:00"], "the due time is the same");
}

/// Fires every ten minutes from before a change of clocks until after it.
async fn over_the_change(cron: &str, zone: &str, from: time::OffsetDateTime) -> Vec<String> {
    let app = app().await;
    let mut request = hourly("s");
    request.cron = cron.to_owned();
    request.time_zone = Some(zone.to_owned());
    app.controller.set_schedule_at(&request, from).await.unwrap();
    for step in 0..=36 {
        fire(&app, from + MINUTE * 10 * step).await;
    }
    submitted(&app).await
}

#[tokio::test]
async fn clocks_that_go_forward_lose_no_due_time() {
    let berlin = datetime!(2026-03-28 23:05 UTC);
    assert_eq!(
        over_the_change("30 2 * * *", "Europe/Berlin", berlin).await,
        ["2026-03-29T03:00:00+02:00"]
    );
    let hours = over_the_change("0 * * * *", "Europe/Berlin", berlin).await;
    assert_eq!(hours.len(), 6, "{hours:?}");
    assert!(hours.contains(&"2026-03-29T03:00:00+02:00".to_owned()));
    assert!(!hours.iter().any(|hour| hour.contains("T02:")), "{hours:?}");
    assert_eq!(
        over_the_change("30 2 * * *", "America/New_York", datetime!(2026-03-08 05:05 UTC)).await,
        ["2026-03-08T03:00:00-04:00"]
    );
    assert_eq!(
        over_the_change("15 2 * * *", "Australia/Lord_Howe", datetime!(2026-10-03 14:05 UTC)).await,
        ["2026-10-04T02:30:00+11:00"]
    );
}

#[tokio::test]
async fn clocks_that_go_back_double_no_due_time() {
    let berlin = datetime!(2026-10-24 22:05 UTC);
    assert_eq!(
        over_the_change("30 2 * * *", "Europe/Berlin", berlin).await,
        ["2026-10-25T02:30:00+02:00"]
    );
    let hours = over_the_change("30 * * * *", "Europe/Berlin", berlin).await;
    assert_eq!(
        hours,
        [
            "2026-10-25T00:30:00+02:00",
            "2026-10-25T01:30:00+02:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T03:30:00+01:00",
            "2026-10-25T04:30:00+01:00",
        ],
        "each real hour has its own"
    );
    assert_eq!(
        over_the_change("30 1 * * *", "America/New_York", datetime!(2026-11-01 04:05 UTC)).await,
        ["2026-11-01T01:30:00-04:00"]
    );
    assert_eq!(
        over_the_change("45 1 * * *", "Australia/Lord_Howe", datetime!(2026-04-04 13:05 UTC)).await,
        ["2026-04-05T01:45:00+11:00"]
    );
}

#[tokio::test]
async fn the_history_keeps_the_newest_runs_and_open_ones() {
    let app = app().await;
    set(&app, &hourly("s")).await;
    fire(&app, NOON + HOUR).await;
    sqlx::query(
        "INSERT INTO schedule_runs (name, due_at, is_manual, decision)
         SELECT 's', timestamptz '2027-01-01' + make_interval(mins => n), false, 'skipped' FROM generate_series(1, 1200) AS n",
    )
    .execute(&mut app.connection().await)
    .await
    .unwrap();
    let report = app.controller.reconcile().await.unwrap();
    assert_eq!(report.schedule_runs_pruned, 200, "the run of the job that is not over stays");
    finish(&app).await;
    app.controller.reconcile().await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM schedule_runs")
        .fetch_one(&mut app.connection().await)
        .await
        .unwrap();
    assert_eq!(left, 1000);
}
