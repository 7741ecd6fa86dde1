//! What goes wrong, as the command line says it: what was asked, what came of it, what to do; and the exit codes that its help
//! names.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use lastlight::local::broker::Endpoint;
use serde_json::json;

use crate::cli_harness::{Said, command, run};

const JOB: &str = "5d980689e58d4ec832c1e8d6ad81aefe2a2df1cdf9cb8def939dfeb3ec38c347";

async fn cli(arguments: &[&str], settings: &[(&str, &str)]) -> Said {
    run(command(arguments, settings)).await
}

#[tokio::test]
async fn an_app_that_does_not_answer_is_exit_3_and_says_how_to_start_one() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}");
    let said = cli(&["status", JOB, "--url", &url], &[]).await;
    insta::assert_snapshot!(said.whole());
    let json = cli(&["status", JOB, "--url", &url, "--json"], &[]).await;
    assert_eq!(json.code, 3);
    assert_eq!(json.json()["error"], "unreachable");
    let elsewhere = cli(&["types"], &[("LASTLIGHT_URL", "https://nowhere.invalid")]).await;
    assert_eq!(elsewhere.code, 3);
    assert!(
        elsewhere.err.contains("Is the address right?"),
        "{}",
        elsewhere.err
    );
}

#[tokio::test]
async fn bad_arguments_are_exit_2_and_name_argument_value_and_what_is_allowed() {
    let mut all = String::new();
    for arguments in [
        &["status", "xyz"][..],
        &["status", JOB, "--url", "localhost:7071"],
        &["status", JOB, "--url", "https://app.example/?code=topsecret"],
        &["list", "--status", "ready"],
        &["list", "--hours", "1000"],
        &["tasks", JOB, "--stage", "0"],
        &["list", "--all", "--limit", "5"],
        &["completions", "csh"],
    ] {
        let said = cli(arguments, &[]).await;
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.err);
        all.push_str(&format!("{}\n\n", said.err.trim_end()));
    }
    assert!(!all.contains("topsecret"), "{all}");
    insta::assert_snapshot!(all);
}

/// A server that answers with what it is told to, and remembers the keys that it was shown.
struct Fake {
    endpoint: Endpoint,
    keys: Arc<Mutex<Vec<Option<String>>>>,
}

#[derive(Clone)]
struct Answers {
    keys: Arc<Mutex<Vec<Option<String>>>>,
    answer: fn(usize) -> Response,
}

async fn answer(State(answers): State<Answers>, request: Request) -> Response {
    let key = request.headers().get("x-functions-key");
    let key = key.map(|key| key.to_str().unwrap().to_owned());
    let mut keys = answers.keys.lock().unwrap();
    keys.push(key);
    (answers.answer)(keys.len())
}

impl Fake {
    async fn start(how: fn(usize) -> Response) -> Self {
        let keys = Arc::default();
        let answers = Answers {
            keys: Arc::clone(&keys),
            answer: how,
        };
        let router = Router::new().fallback(answer).with_state(answers);
        let endpoint = Endpoint::start("a fake app", 0, router).await.unwrap();
        Self { endpoint, keys }
    }

    fn url(&self) -> String {
        format!("http://{}", self.endpoint.address())
    }
}

#[tokio::test]
async fn a_key_is_sent_as_a_header_and_shown_nowhere() {
    let fake = Fake::start(|_| StatusCode::UNAUTHORIZED.into_response()).await;
    let url = fake.url();
    let without = cli(&["poison"], &[("LASTLIGHT_URL", &url)]).await;
    insta::assert_snapshot!(without.whole());
    let settings = [("LASTLIGHT_URL", url.as_str()), ("LASTLIGHT_KEY", "topsecret")];
    let with = cli(&["poison"], &settings).await;
    assert_eq!(with.code, 1);
    assert_eq!(*fake.keys.lock().unwrap(), [None, Some("topsecret".to_owned())]);
    let help = cli(&["poison", "--help"], &settings).await;
    let elsewhere = [
        ("LASTLIGHT_URL", "http://app.example"),
        ("LASTLIGHT_KEY", "topsecret"),
    ];
    let in_the_clear = cli(&["poison"], &elsewhere).await;
    assert_eq!(in_the_clear.code, 2);
    assert!(in_the_clear.err.contains("use https://"), "{}", in_the_clear.err);
    for said in [with, help, in_the_clear] {
        assert!(!format!("{}{}", said.out, said.err).contains("topsecret"));
    }
}

#[tokio::test]
async fn a_503_is_asked_again_where_that_is_safe() {
    fn starting(times: usize) -> Response {
        let body = json!({ "error": "database unavailable", "message": "it is starting", "request_id": "r" });
        if times == 1 {
            return (
                StatusCode::SERVICE_UNAVAILABLE,
                [("retry-after", "0")],
                body.to_string(),
            )
                .into_response();
        }
        let body =
            json!({ "job_id": JOB, "status": "created", "message": "The job was created and queued." });
        body.to_string().into_response()
    }
    let fake = Fake::start(starting).await;
    let url = fake.url();
    let said = cli(&["submit", "hello_world", "-p", "n=1", "--url", &url], &[]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("it is starting; trying again"), "{}", said.err);
    let fake = Fake::start(starting).await;
    let url = fake.url();
    let said = cli(&["cancel", JOB, "--url", &url], &[]).await;
    assert_eq!(said.code, 1);
    assert_eq!(fake.keys.lock().unwrap().len(), 1, "a change was repeated");
}

#[tokio::test]
async fn something_else_that_answers_is_not_taken_for_the_app() {
    let mut all = String::new();
    let cases: [fn(usize) -> Response; 4] = [
        |_| (StatusCode::BAD_GATEWAY, "<html>Bad\nGateway</html>").into_response(),
        |_| "<html>Hello</html>".into_response(),
        |_| "{\"hello\": 1}".into_response(),
        |_| {
            (
                StatusCode::MOVED_PERMANENTLY,
                [("location", "https://b.example/api")],
            )
                .into_response()
        },
    ];
    for how in cases {
        let fake = Fake::start(how).await;
        let said = cli(&["status", JOB, "--url", &fake.url()], &[]).await;
        all.push_str(&format!("{}\n\n", said.whole()));
    }
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn completions_are_printed_for_every_shell() {
    for (shell, words) in [
        ("bash", "complete -F _lastlight"),
        ("zsh", "#compdef lastlight"),
        ("fish", "complete -c lastlight"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let said = cli(&["completions", shell], &[]).await;
        assert_eq!(said.code, 0, "{shell}");
        assert!(
            said.out.contains(words) && said.out.contains("redrive"),
            "{shell}"
        );
    }
}
