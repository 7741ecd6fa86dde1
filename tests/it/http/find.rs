//! Searches for jobs: by labels, parameters, the beginning of a word and times, page by page, and errors
//! that say what is allowed.

use std::collections::BTreeSet;

use axum::{body::Body, http::StatusCode};
use serde_json::{Value, json};

use crate::harness::{OfThisApp, Probe, TestApp, quick};

async fn get(app: &TestApp, query: &str) -> Value {
    let answer = app.request("GET", &format!("/api/db/jobs?{query}"), Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.body);
    answer.body
}

fn ids(page: &Value) -> Vec<String> {
    let jobs = page["jobs"].as_array().unwrap();
    jobs.iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect()
}

/// The ids of all pages.
async fn all(app: &TestApp, query: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    for _ in 0..200 {
        let page = get(app, &format!("{query}{cursor}")).await;
        found.extend(ids(&page));
        match page["query_info"]["next_cursor"].as_str() {
            Some(next) => {
                assert!(page["query_info"]["searched_until"].is_string(), "{page}");
                cursor = format!("&cursor={next}");
            }
            None => {
                assert!(page["query_info"].get("searched_until").is_none(), "{page}");
                return found;
            }
        }
    }
    panic!("the search never ends");
}

/// Jobs as rows, without tasks: `each` is what the statement says of number i, from 0 on, newest last.
async fn store(app: &TestApp, count: i32, each: &str) {
    let statement = format!(
        "WITH made AS (
             SELECT encode(sha256(('job ' || i)::bytea), 'hex') AS job_id, i,
                    '2026-01-01T00:00:00Z'::timestamptz + i * interval '1 second' AS created_at
             FROM generate_series(0, {count} - 1) AS i
         ), jobs AS (
             INSERT INTO jobs (job_id, job_type, status, total_stages, parameters, labels, created_at, finished_at)
             SELECT job_id, 'hello_world', (CASE WHEN i % 1000 = 7 THEN 'failed' ELSE 'completed' END)::job_status, 2, '{{}}',
                    '{{}}', created_at, created_at
             FROM made
             RETURNING job_id
         )
         INSERT INTO job_terms (job_id, name, value, created_at)
         SELECT made.job_id, term.name, term.value, made.created_at
         FROM made
         JOIN jobs ON jobs.job_id = made.job_id
         CROSS JOIN LATERAL (VALUES ('job_type', 'hello_world'), {each}) AS term (name, value)
         WHERE term.value IS NOT NULL"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut app.connection().await).await.unwrap();
}

#[tokio::test]
async fn jobs_are_found_by_labels_and_parameters() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let mut made = Vec::new();
    for (number, team, dataset) in
        [(1, "roads", "d1"), (2, "roads", "d2"), (3, "rivers", "d1"), (4, "roads", "d1")]
    {
        let labels = json!({ "team": team, "run": format!("run-{number}") });
        let body =
            json!({ "n": number, "name": "Ada, all", "dataset_id": dataset, "labels": labels });
        made.push(app.submitted("hello_world", body).await);
    }
    let failing =
        json!({ "stages": [2], "fails": [1], "dataset_id": "d1", "labels": { "team": "roads" } });
    made.push(app.submitted("probe", failing).await);
    app.run_dry().await;
    let paused = app.submitted("hello_world", json!({ "n": 9, "labels": { "team": "r" } })).await;
    assert_eq!(app.control("pause", &paused).await.status, StatusCode::OK);
    let prefix = &made[0][..9];
    for (query, wanted) in [
        ("label.team=roads", vec![4, 3, 1, 0]),
        ("label.team=road", vec![]),
        ("label.team=roads&label.run=run-2", vec![1]),
        ("param.dataset_id=d1", vec![4, 3, 2, 0]),
        ("label.team=roads&param.dataset_id=d1", vec![4, 3, 0]),
        ("label.team=roads&param.dataset_id=d1&job_type=hello_world", vec![3, 0]),
        ("label.team=roads&status=failed", vec![4]),
        ("label.team=roads&status=completed&processing_path=queue_storage", vec![3, 1, 0]),
        ("label.team=roads&processing_path=service_bus", vec![]),
        ("label.team=roads&status=queued", vec![]),
        ("param.n=2", vec![1]),
        ("param.use_service_bus=false&label.team=rivers", vec![2]),
        ("param.name=Ada,+all&param.n=3", vec![2]),
        ("q=roa", vec![4, 3, 1, 0]),
        ("q=run-", vec![3, 2, 1, 0]),
        ("q=prob", vec![4]),
        ("q=ri&status=completed", vec![2]),
        ("q=d1", vec![]),
        ("q=hello&label.team=rivers", vec![2]),
        (&*format!("q={prefix}"), vec![0]),
        (&*format!("q={prefix}&label.team=rivers"), vec![]),
        ("q=zzz", vec![]),
    ] {
        let wanted: Vec<&String> = wanted.into_iter().map(|place: usize| &made[place]).collect();
        for limit in ["", "&limit=1"] {
            let found = all(&app, &format!("{query}{limit}")).await;
            assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{query}{limit}");
        }
    }
    assert_eq!(all(&app, "label.team=r&status=paused").await, [paused.as_str()]);
    let info = &get(&app, "label.team=roads&param.n=2&q=ro").await["query_info"];
    assert_eq!(info["terms"], json!({ "label.team": "roads", "param.n": "2" }));
    assert_eq!((&info["q"], &info["hours_back"]), (&json!("ro"), &Value::Null));
}

#[tokio::test]
async fn lists_and_searches_are_limited_to_a_time() {
    let app = TestApp::start().await;
    store(&app, 10, "('label.team', 'roads')").await;
    let at = |second: u32| format!("2026-01-01T00:00:{second:02}Z");
    for search in [
        "",
        "label.team=roads&",
        "q=ro&",
        "status=completed&",
        "label.team=roads&status=completed&",
    ] {
        let without_7 = usize::from(search.contains("status"));
        for (from, to, wanted) in [
            (Some(at(2)), Some(at(5)), 3),
            (Some(at(5)), None, 5 - without_7),
            (None, Some(at(5)), 5),
            (Some("2026-01-01".to_owned()), Some("2026-01-01".to_owned()), 10 - without_7),
            (None, Some("2025-12-31".to_owned()), 0),
            (Some("2026-01-02".to_owned()), None, 0),
            (
                Some("2026-01-01T01:00:04%2B01:00".to_owned()),
                Some("2026-01-01T00:00:06".to_owned()),
                2,
            ),
        ] {
            let named =
                |name: &str, value: Option<String>| value.map(|value| format!("&{name}={value}"));
            let times = [named("from", from), named("to", to)].into_iter().flatten();
            let query = format!("{search}limit=2{}", times.collect::<String>());
            assert_eq!(all(&app, &query).await.len(), wanted, "{query}");
        }
    }
    assert!(all(&app, "").await.is_empty(), "a plain list is of the last week");
    assert!(all(&app, "hours=168&label.team=roads").await.is_empty());
    assert_eq!(all(&app, "label.team=roads").await.len(), 10);
}

#[tokio::test]
async fn pages_miss_and_double_nothing_while_jobs_are_added() {
    let app = TestApp::start().await;
    let submit = async |number: u32| {
        let labels = json!({ "team": "roads", "half": (number % 2).to_string() });
        let body = json!({ "n": 1, "name": format!("N{number}"), "labels": labels });
        app.submitted("hello_world", body).await
    };
    let mut before = BTreeSet::new();
    for number in 0..40 {
        before.insert(submit(number).await);
    }
    for search in
        ["label.team=roads", "label.team=roads&label.half=1", "q=roads", "q=roads&status=queued"]
    {
        let expected: BTreeSet<String> =
            all(&app, &format!("{search}&limit=100")).await.into_iter().collect();
        let pages = async {
            let mut found = Vec::new();
            let mut cursor = String::new();
            loop {
                let page = get(&app, &format!("{search}&limit=3{cursor}")).await;
                found.extend(ids(&page));
                match page["query_info"]["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => return found,
                }
            }
        };
        let adding = async {
            for number in 0..25 {
                submit(1000 * u32::try_from(search.len()).unwrap() + number).await;
            }
        };
        let (found, ()) = tokio::join!(pages, adding);
        let unique: BTreeSet<String> = found.iter().cloned().collect();
        assert_eq!(unique.len(), found.len(), "{search}: no job is on two pages");
        let missed: Vec<_> = expected.difference(&unique).collect();
        assert!(missed.is_empty(), "{search}: {missed:?}");
    }
}

#[tokio::test]
async fn a_search_reads_a_bounded_number_of_jobs() {
    let app = TestApp::start().await;
    // Two frequent terms that never occur together, one that is nearly unique, and many words.
    let each = "('label.half', (i % 2)::text), ('param.third', CASE WHEN i % 2 = 0 THEN (i % 3)::text END),
                ('label.rare', CASE WHEN i % 9000 = 1 THEN 'yes' END), ('label.run', 'run-' || i)";
    store(&app, 30_000, each).await;
    for (query, wanted) in [
        ("label.half=1&param.third=0", 0),
        ("label.half=1", 15_000),
        ("label.half=1&label.rare=yes", 4),
        ("q=run-&status=failed", 30),
        ("q=run-2999", 11),
        ("q=hello&label.rare=yes", 4),
        ("label.half=1&status=failed", 30),
        ("label.half=0&status=failed", 0),
        ("label.half=1&q=run-1&from=2026-01-01T08:00:00Z", 0),
    ] {
        let mut cursor = String::new();
        let mut found = BTreeSet::new();
        let mut count = 0;
        for turned in 0.. {
            assert!(turned < 200, "{query}: too many pages");
            let page = get(&app, &format!("{query}&limit=100{cursor}")).await;
            let info = &page["query_info"];
            assert!(info["scanned"].as_u64().unwrap() <= 20_000, "{query}: {info}");
            let of_page = ids(&page);
            count += of_page.len();
            found.extend(of_page);
            match info["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!((found.len(), count), (wanted, wanted), "{query}");
    }
    // Conditions that hardly ever hold together end a request before the page is full.
    let page = get(&app, "label.half=1&param.third=0").await;
    let info = &page["query_info"];
    assert_eq!((&info["returned"], info["next_cursor"].is_string()), (&json!(0), true), "{info}");
    assert!(info["searched_until"].is_string(), "{info}");
}

#[tokio::test]
async fn invalid_searches_say_what_is_allowed() {
    let app = TestApp::start().await;
    let nine: Vec<String> = (0..9).map(|number| format!("label.k{number}=v")).collect();
    for (query, said) in [
        ("label.=roads", "label.KEY needs the key of a label"),
        (&*format!("label.{}=v", "k".repeat(1024)), "1 to 63 of a-z, 0-9"),
        ("label.a%00b=v", "1 to 63 of a-z, 0-9"),
        ("label.team=a%00b", "label.team must be text of 1 to 256 characters"),
        ("label.team=a&label.team=b", "label.team must be given once, not as \"a\" and \"b\""),
        ("param.=v", "param.NAME needs the name of a parameter"),
        ("param.n=", "param.n must be text of 1 to 256 characters"),
        (&*nine.join("&"), "at most 8 of label.KEY and param.NAME are allowed, not 9"),
        (
            "labels.team=roads",
            "unknown parameter \"labels.team\" with the value \"roads\"; allowed are limit",
        ),
        ("team=roads", "label.KEY and param.NAME"),
        ("q=a%00", "q must be text of 1 to 256 characters"),
        (&*format!("q={}", "q".repeat(257)), "q must be text"),
        (
            "from=yesterday",
            "from must be a date or a time of the years 1970 to 9999, such as 2026-11-25",
        ),
        ("to=2026-02-30", "to must be a date or a time"),
        ("from=99999-01-01", "from must be a date"),
        ("from=2026-11-26&to=2026-11-25", "from must be a time before to"),
        ("hours=2&to=2026-11-25", "hours cannot be combined with from and to"),
        ("label.team=roads&cursor=zzz", "cursor must be a next_cursor"),
        ("label.team=roads&limit=0", "limit must be a whole number from 1 to 100"),
    ] {
        let answer = app.request("GET", &format!("/api/db/jobs?{query}"), Body::empty()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {}", answer.body);
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.contains(said) && message.len() < 600, "{query}: {message}");
    }
    // Those of the Functions host.
    assert!(all(&app, "code=secret&clientId=default&label.team=roads").await.is_empty());
}
