//! `lastlight schedule` as a user uses it, and schedules that fire by themselves on a local cloud.

use serde_json::{Value, json};

use crate::{cli::harness::App, harness::until};

const SET: [&str; 11] = [
    "schedule",
    "set",
    "leap",
    "hello_world",
    "--cron",
    "30 2 29 2 *",
    "--time-zone",
    "Europe/Berlin",
    "-p",
    "n=3",
    "--param",
];

#[tokio::test]
async fn schedules_are_made_run_and_deleted() {
    let app = App::start().await;
    let none = app.run(&["schedule", "list"]).await;
    assert_eq!(
        (none.code, none.out.as_str()),
        (0, "There are no schedules. `lastlight schedule set` makes one.\n")
    );
    let made = app.run(&[&SET[..], &["name={{ due_at }}"]].concat()).await;
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(
        made.out.starts_with("Schedule leap was made; its next due time is 20"),
        "{}",
        made.out
    );
    assert!(made.out.ends_with("-02-29 02:30 Europe/Berlin.\n"), "{}", made.out);
    let warned = app.run(&[&SET[..], &["name=always"]].concat()).await;
    assert_eq!(warned.code, 0);
    assert!(
        warned.err.starts_with("warning: no parameter depends on the due time"),
        "{}",
        warned.err
    );

    let ran = app.run(&["schedule", "run", "leap", "--json"]).await.json();
    let job_id = ran["run"]["job_id"].as_str().unwrap();
    let watched = app.run(&["watch", job_id]).await;
    assert_eq!(watched.code, 0, "{}", watched.err);
    for (verb, said) in [
        ("pause", "Schedule leap is paused."),
        ("resume", "Schedule leap goes on; its next due time is 20"),
    ] {
        let changed = app.run(&["schedule", verb, "leap"]).await;
        assert_eq!(changed.code, 0, "{}", changed.err);
        assert!(changed.out.starts_with(said), "{}", changed.out);
    }
    let listed = app.run(&["schedule", "list"]).await.out;
    assert!(
        listed.contains("leap") && listed.contains("submitted") && listed.contains("completed"),
        "{listed}"
    );
    let shown = app.run(&["schedule", "show", "leap"]).await.out;
    assert!(shown.contains("Next due times: 20") && shown.contains("run now"), "{shown}");
    assert!(shown.contains(&job_id[..12]), "{shown}");

    assert_eq!(app.run(&["schedule", "delete", "leap"]).await.code, 0);
    let gone = app.run(&["schedule", "show", "leap"]).await;
    assert_eq!(gone.code, 1);
    assert!(gone.err.contains("there is no schedule \"leap\""), "{}", gone.err);
    app.stop().await;
}

#[tokio::test]
async fn a_wrong_schedule_exits_1_with_the_reason() {
    let app = App::start().await;
    let set = |cron: &'static str, zone: &'static str| {
        ["schedule", "set", "s", "hello_world", "--cron", cron, "--time-zone", zone]
    };
    for (arguments, said) in [
        (set("0 0 30 2 *", "UTC"), "never fires"),
        (set("* * * * * *", "UTC"), "the shortest interval is a minute"),
        (set("@daily", "Mars/Olympus"), "time_zone must be a name of the IANA time zone database"),
    ] {
        let refused = app.run(&arguments).await;
        assert_eq!(refused.code, 1, "{}", refused.out);
        assert!(refused.err.contains(said), "{}", refused.err);
    }
    let wrong = app
        .run(&["schedule", "set", "s", "hello_world", "--cron", "@daily", "--overlap", "never"])
        .await;
    assert_eq!(wrong.code, 2, "{}", wrong.err);
    app.stop().await;
}

/// Waits for a real minute: nothing but the processes of the local cloud fires the schedule.
#[tokio::test]
async fn a_schedule_of_every_minute_fires_at_its_minute() {
    let app = App::start().await;
    let set = [
        "schedule",
        "set",
        "minute",
        "hello_world",
        "--cron",
        "* * * * *",
        "-p",
        "n=1",
        "-p",
        "name={{ due_at }}",
        "--json",
    ];
    let made = app.run(&set).await;
    assert_eq!(made.code, 0, "{}", made.err);
    let made = made.json();
    let run = until("the schedule fires", async || {
        let shown = app.run(&["schedule", "show", "minute", "--json"]).await.json();
        shown["runs"].as_array().unwrap().last().cloned()
    })
    .await;
    assert_eq!(run["due_at"], made["next_due_times"][0], "{run}");
    assert_eq!((&run["decision"], &run["is_manual"]), (&json!("submitted"), &Value::Bool(false)));
    app.stop().await;
}
