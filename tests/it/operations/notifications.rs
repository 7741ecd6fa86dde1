//! Other programs are told over HTTP that a job has ended or that a gate waits: at least once, with one id, by whichever process
//! lives; and nobody is called whom the settings do not allow.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
    response::Response,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use lastlight_engine::{
    config::{Env, NotificationSettings},
    store::examine,
    transport::{
        sender::QueueRole,
        webhooks::{Found, Lookup, Webhooks},
    },
    workflow::ReconcileReport,
};
use lastlight_testing::graph_work::{GRAPH, GraphWork, Node};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;

use crate::{
    cli::harness::{command, run},
    harness::{
        Answer, GraphJob, OfThisApp, Probe, TestApp, catalog, database_settings, new_database_url,
        quick, until,
    },
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// What a receiver answers.
#[derive(Debug, Clone)]
enum Says {
    Status(u16),
    RetryAfter(u16, &'static str),
    RedirectTo(String),
    Nothing,
}

/// A request that a receiver got.
#[derive(Debug, Clone)]
struct Received {
    path: String,
    headers: HeaderMap,
    text: String,
    event: Value,
}

impl Received {
    fn id(&self) -> &str {
        self.event["id"].as_str().unwrap()
    }
}

/// A web server that is notified.
struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    says: Arc<Mutex<Says>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let says = Arc::new(Mutex::new(Says::Status(204)));
        let (notes, answers) = (Arc::clone(&received), Arc::clone(&says));
        let answer = async move |request: Request<Body>| {
            let (head, body) = request.into_parts();
            let bytes = to_bytes(body, 100_000).await.unwrap();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let event = serde_json::from_str(&text).unwrap();
            let path = head.uri.path().to_owned();
            notes.lock().unwrap().push(Received { path, headers: head.headers, text, event });
            let says = answers.lock().unwrap().clone();
            let answer = match says {
                Says::Status(status) => Response::builder().status(status),
                Says::RetryAfter(status, after) => {
                    Response::builder().status(status).header("retry-after", after)
                }
                Says::RedirectTo(to) => Response::builder().status(307).header("location", to),
                Says::Nothing => std::future::pending().await,
            };
            answer.body(Body::empty()).unwrap()
        };
        let router = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, received, says }
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Webhooks that tell this receiver of every job, with these settings in addition.
    fn webhooks(&self, more: &[(&str, &str)]) -> Webhooks {
        let mut pairs = BTreeMap::from([
            ("NOTIFY_URLS".to_owned(), self.url()),
            ("NOTIFY_ALLOWED_HOSTS".to_owned(), self.address.to_string()),
        ]);
        pairs.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Webhooks::new(settings(pairs))
    }
}

fn settings(pairs: impl IntoIterator<Item = (String, String)>) -> NotificationSettings {
    let mut env = Env::from_pairs(pairs);
    let settings = NotificationSettings::from_env(&mut env);
    env.finish().unwrap();
    settings
}

fn jobs_may_name(hosts: &str) -> NotificationSettings {
    settings([("NOTIFY_ALLOWED_HOSTS".to_owned(), hosts.to_owned())])
}

/// Names that stand for what a test says.
#[derive(Debug)]
struct Names(Vec<(&'static str, Vec<IpAddr>)>);

impl Names {
    fn of(pairs: &[(&'static str, &str)]) -> Arc<Self> {
        let addresses = |text: &str| text.split(',').map(|one| one.parse().unwrap()).collect();
        Arc::new(Self(pairs.iter().map(|(name, text)| (*name, addresses(text))).collect()))
    }
}

impl Lookup for Names {
    fn lookup(&self, name: &str) -> Found {
        let found = self.0.iter().find(|(known, _)| *known == name);
        let found = found.map(|(_, addresses)| addresses.clone());
        Box::pin(async move { found.ok_or_else(|| io::Error::other("no such name")) })
    }
}

/// A process whose jobs end and that tells nobody, as one that is killed at that moment; and one that lives.
async fn dead_and_alive(webhooks: Webhooks) -> (TestApp, TestApp) {
    let dead = TestApp::with_probe(Probe::default(), quick()).await;
    let alive = TestApp::notifying(&dead.url, catalog(), quick(), webhooks).await;
    (dead, alive)
}

async fn ended(app: &TestApp, parameters: Value) -> String {
    let job_id = app.submitted("probe", parameters).await;
    app.run_until_finished(&job_id).await;
    job_id
}

async fn sweep(app: &TestApp) -> ReconcileReport {
    app.controller.reconcile().await.unwrap()
}

async fn list(app: &TestApp, query: &str) -> Value {
    let answer = app.request("GET", &format!("/api/notifications{query}"), Body::empty()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

async fn retry(app: &TestApp, body: Value) -> Answer {
    app.request("POST", "/api/notifications/retry", body.to_string()).await
}

/// The only notification, with its last error.
async fn only(app: &TestApp) -> (Value, String) {
    let list = list(app, "").await;
    let [one] = list["notifications"].as_array().unwrap().as_slice() else { panic!("{list}") };
    (one.clone(), one["last_error"].as_str().unwrap_or_default().to_owned())
}

async fn rows(app: &TestApp, table: &str) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(count).fetch_one(&mut app.connection().await).await.unwrap()
}

fn signature(received: &Received) -> String {
    let key = BASE64_STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    let header = |name: &str| received.headers[name].to_str().unwrap().to_owned();
    let signed =
        [header("webhook-id"), header("webhook-timestamp"), received.text.clone()].join(".");
    mac.update(signed.as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_end_is_told_once_although_two_sweep() {
    let receiver = Receiver::start().await;
    let webhooks = || receiver.webhooks(&[("NOTIFY_SECRET", SECRET)]);
    let (dead, one) = dead_and_alive(webhooks()).await;
    let other = TestApp::notifying(&dead.url, catalog(), quick(), webhooks()).await;
    let mut ends = BTreeMap::new();
    for number in 0..30 {
        let job_id = ended(&dead, json!({ "stages": [2], "number": number })).await;
        ends.insert(job_id, "completed");
    }
    ends.insert(ended(&dead, json!({ "stages": [2], "fails": [0] })).await, "failed");
    let cancelled = dead.submitted("probe", json!({ "stages": [1], "number": 99 })).await;
    assert_eq!(dead.control("cancel", &cancelled).await.status, 200);
    ends.insert(cancelled, "cancelled");
    for _ in 0..2 {
        let (first, second) = tokio::join!(sweep(&one), sweep(&other));
        let delivered = first.notifications_delivered + second.notifications_delivered;
        assert!(delivered == 32 || delivered == 0, "{first:?} {second:?}");
    }
    let received = receiver.received();
    let mut told = BTreeMap::new();
    for one in &received {
        let (event, data) = (&one.event, &one.event["data"]);
        let job_id = data["job_id"].as_str().unwrap();
        let status = data["status"].as_str().unwrap();
        assert_eq!(one.path, "/hook");
        assert_eq!(one.headers["content-type"], "application/cloudevents+json; charset=utf-8");
        assert_eq!(one.headers["webhook-id"], one.id());
        assert_eq!(one.headers["webhook-signature"], signature(one));
        assert_eq!((&event["specversion"], &event["subject"]), (&json!("1.0"), &json!(job_id)));
        assert_eq!(event["type"], format!("org.lastlight.job.{status}"));
        assert_eq!((&data["job_type"], &data["run"]), (&json!("probe"), &json!(1)));
        assert_eq!(data["error"].is_string(), status != "completed", "{data}");
        let before = told.insert(job_id.to_owned(), status.to_owned());
        assert_eq!(before, None, "{job_id} was told twice");
    }
    let ends: BTreeMap<String, String> =
        ends.into_iter().map(|(job_id, status)| (job_id, status.to_owned())).collect();
    assert_eq!(told, ends);
    assert_eq!(rows(&one, "notification_events").await, 0);
}

#[tokio::test]
async fn an_end_is_told_at_once_by_its_process() {
    let receiver = Receiver::start().await;
    let url = new_database_url().await;
    let app = TestApp::notifying(&url, catalog(), quick(), receiver.webhooks(&[])).await;
    let job_id = app.submitted("hello_world", json!({ "n": 2 })).await;
    app.run_until_finished(&job_id).await;
    let received = until("the receiver is told", async || receiver.received().pop()).await;
    assert_eq!(received.event["data"]["job_id"], job_id);
    assert!(!received.headers.contains_key("webhook-signature"), "there is no secret");
    let listed = until("the delivery is recorded", async || {
        let list = list(&app, &format!("?job_id={job_id}")).await;
        let is_there = list["notifications"][0]["state"] == "delivered";
        is_there.then_some(list)
    })
    .await;
    assert_eq!((&listed["pending"], &listed["given_up"]), (&json!(0), &json!(0)));
    assert_eq!(list(&app, "").await["notifications"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kill_after_sending_repeats_the_same_id() {
    let receiver = Receiver::start().await;
    let (dead, first) = dead_and_alive(receiver.webhooks(&[])).await;
    ended(&dead, json!({ "stages": [1] })).await;
    receiver.say(Says::Nothing);
    let killed = {
        let controller = first.controller.clone();
        tokio::spawn(async move { controller.reconcile().await })
    };
    until("the receiver is told", async || receiver.received().pop()).await;
    // The process ends before it hears the answer.
    killed.abort();
    assert!(killed.await.unwrap_err().is_cancelled());
    receiver.say(Says::Status(200));
    let second = TestApp::notifying(&dead.url, catalog(), quick(), receiver.webhooks(&[])).await;
    sweep(&second).await;
    assert_eq!(receiver.received().len(), 1, "the first process is not presumed dead yet");
    second.time_passes(Duration::from_secs(300)).await;
    assert_eq!(sweep(&second).await.notifications_delivered, 1);
    let [one, two] = <[Received; 2]>::try_from(receiver.received()).unwrap();
    assert_eq!((one.id(), &one.event), (two.id(), &two.event));
    second.time_passes(Duration::from_secs(300)).await;
    sweep(&second).await;
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let receiver = Receiver::start().await;
    let (dead, app) = dead_and_alive(receiver.webhooks(&[])).await;
    ended(&dead, json!({ "stages": [1] })).await;
    let elsewhere = format!("http://{}/elsewhere?sig=topsecret", receiver.address);
    receiver.say(Says::RedirectTo(elsewhere));
    sweep(&app).await;
    let paths: Vec<String> = receiver.received().into_iter().map(|one| one.path).collect();
    assert_eq!(paths, ["/hook"]);
    let (one, error) = only(&app).await;
    assert_eq!(one["state"], "pending");
    assert!(error.contains("/elsewhere, and redirects are not followed"), "{error}");
    assert!(!error.contains("topsecret"), "{error}");
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_no_other() {
    let (hangs, works) = (Receiver::start().await, Receiver::start().await);
    hangs.say(Says::Nothing);
    let mut settings = settings([
        ("NOTIFY_URLS".to_owned(), format!("{}, {}", hangs.url(), works.url())),
        ("NOTIFY_ALLOWED_HOSTS".to_owned(), format!("{}, {}", hangs.address, works.address)),
    ]);
    settings.timeout = Duration::from_secs(3);
    let (dead, app) = dead_and_alive(Webhooks::new(settings)).await;
    for number in 0..40 {
        ended(&dead, json!({ "stages": [1], "number": number })).await;
    }
    sweep(&app).await;
    assert!(hangs.received().len() < 40, "the host that did not answer is left for now");
    let list = list(&app, "?state=pending").await;
    assert_eq!(list["pending"], 40);
    let errors: Vec<&str> = list["notifications"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["last_error"].as_str().unwrap())
        .collect();
    assert!(errors.iter().any(|error| error.contains("no response in time")), "{errors:?}");
    assert!(errors.iter().any(|error| error.contains("has just not answered")), "{errors:?}");
    until("everything is delivered to the other host", async || {
        sweep(&app).await;
        let ids: BTreeSet<String> =
            works.received().iter().map(|one| one.id().to_owned()).collect();
        (ids.len() == 40).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_notification_is_given_up_after_a_day() {
    let receiver = Receiver::start().await;
    let (dead, app) = dead_and_alive(receiver.webhooks(&[])).await;
    let job_id = ended(&dead, json!({ "stages": [1] })).await;
    receiver.say(Says::Status(500));
    for hours in 0..24 {
        assert_eq!(sweep(&app).await.notifications_given_up, 0, "after {hours} hours");
        app.time_passes(DAY / 24).await;
    }
    assert_eq!(sweep(&app).await.notifications_given_up, 1);
    let tries = receiver.received().len();
    assert!(tries >= 24, "{tries}");
    let (one, error) = only(&app).await;
    assert_eq!((&one["state"], &one["job_id"]), (&json!("given_up"), &json!(job_id)));
    assert_eq!(
        (error.as_str(), &one["attempts"]),
        ("status 500 Internal Server Error", &json!(tries))
    );
    app.time_passes(DAY).await;
    sweep(&app).await;
    assert_eq!(receiver.received().len(), tries, "nobody tries again");
    let health = app.request("GET", "/api/health", Body::empty()).await;
    assert_eq!(health.status, 200, "a receiver that fails does not make the app unhealthy");
    assert_eq!(health.body["components"]["notifications"]["given_up"], 1);

    let examined = examine(&database_settings(&app.url), &[]).await.unwrap();
    assert_eq!(examined.notifications_given_up, 1);

    for (body, status) in [
        (json!({}), 400),
        (json!({ "notification_id": "7" }), 400),
        (json!({ "notification_id": uuid::Uuid::nil().to_string() }), 404),
    ] {
        let answer = retry(&app, body).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    }
    receiver.say(Says::Status(200));
    let answer = retry(&app, json!({ "notification_id": one["notification_id"] })).await;
    assert_eq!((answer.status, &answer.body["retried"]), (StatusCode::OK, &json!(1)));
    let again = until("it is delivered", async || receiver.received().get(tries).cloned()).await;
    assert_eq!(again.id(), one["notification_id"]);
    until("it is recorded", async || {
        (list(&app, "").await["notifications"] == json!([])).then_some(())
    })
    .await;
    let answer = retry(&app, json!({ "all": true })).await;
    assert_eq!((answer.status, &answer.body["retried"]), (StatusCode::OK, &json!(0)));
}

#[tokio::test]
async fn the_receiver_may_ask_for_a_pause_or_an_end() {
    let receiver = Receiver::start().await;
    let (dead, app) = dead_and_alive(receiver.webhooks(&[])).await;
    ended(&dead, json!({ "stages": [1] })).await;
    receiver.say(Says::RetryAfter(429, "1200"));
    sweep(&app).await;
    app.time_passes(Duration::from_secs(600)).await;
    sweep(&app).await;
    assert_eq!(receiver.received().len(), 1, "not before the 20 minutes have passed");
    receiver.say(Says::Status(410));
    app.time_passes(Duration::from_secs(601)).await;
    assert_eq!(sweep(&app).await.notifications_given_up, 1);
    let (one, error) = only(&app).await;
    assert_eq!((&one["state"], &one["attempts"]), (&json!("given_up"), &json!(2)));
    assert!(error.contains("410 Gone: the receiver wants no more"), "{error}");
}

#[tokio::test]
async fn names_of_private_addresses_are_refused() {
    let names = Names::of(&[
        ("metadata.example.org", "169.254.169.254"),
        ("mixed.example.org", "1.1.1.1,10.0.0.1"),
        ("this.example.org", "127.0.0.1"),
        ("mapped.example.org", "::ffff:169.254.169.254"),
    ]);
    let webhooks = Webhooks::with_lookup(jobs_may_name("*.example.org"), names);
    let app = TestApp::notifying(&new_database_url().await, catalog(), quick(), webhooks).await;
    let mut hosts = vec!["metadata", "mixed", "this", "mapped"];
    for (n, host) in hosts.iter().enumerate() {
        let notify = format!("https://{host}.example.org/latest/meta-data");
        let job_id = app.submitted("hello_world", json!({ "n": n + 1, "notify": notify })).await;
        app.run_until_finished(&job_id).await;
    }
    let given_up = until("all are given up", async || {
        sweep(&app).await;
        let list = list(&app, "?state=given_up").await;
        (list["given_up"] == 4).then(|| list["notifications"].as_array().unwrap().clone())
    })
    .await;
    for one in given_up {
        let error = one["last_error"].as_str().unwrap();
        assert!(
            error.contains("the address is refused") && error.contains("stands for"),
            "{error}"
        );
        hosts.retain(|host| !one["address"].as_str().unwrap().contains(host));
        assert_eq!(one["attempts"], 1);
    }
    assert_eq!(hosts, [""; 0]);
}

#[tokio::test]
async fn a_stored_address_is_checked_when_it_is_sent() {
    let receiver = Receiver::start().await;
    let (dead, app) = dead_and_alive(receiver.webhooks(&[])).await;
    for number in 0..2 {
        ended(&dead, json!({ "stages": [1], "number": number })).await;
    }
    receiver.say(Says::Status(500));
    sweep(&app).await;
    let metadata = "https://169.254.169.254/metadata/instance?api-version=2021-02-01";
    sqlx::query("UPDATE notifications SET address = $1, next_attempt_at = now() WHERE notification_id = (SELECT min(notification_id::text)::uuid FROM notifications)")
        .bind(metadata)
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    sweep(&app).await;
    let list = list(&app, "?state=given_up").await;
    let error = list["notifications"][0]["last_error"].as_str().unwrap();
    assert!(error.contains("not an address of the public internet"), "{error}");
    // The setting that allowed the other one is gone.
    let strict = TestApp::notifying(&app.url, catalog(), quick(), Webhooks::default()).await;
    strict.time_passes(Duration::from_secs(3600)).await;
    let calls = receiver.received().len();
    assert_eq!(sweep(&strict).await.notifications_given_up, 1);
    assert_eq!(receiver.received().len(), calls);
}

#[tokio::test]
async fn a_job_names_addresses_of_its_own() {
    let receiver = Receiver::start().await;
    let webhooks = Webhooks::new(jobs_may_name(&receiver.address.to_string()));
    let app = TestApp::notifying(&new_database_url().await, catalog(), quick(), webhooks).await;
    let plain = TestApp::start().await.submitted("hello_world", json!({ "n": 2 })).await;
    let (one, two) = (receiver.url(), format!("http://{}/second", receiver.address));
    let submitted = app.submit("hello_world", json!({ "n": 2, "notify": [one, two] })).await;
    assert_eq!(submitted.status, 200, "{}", submitted.body);
    assert_eq!(submitted.body["job_id"], plain, "it is not a part of the job's identity");
    assert!(submitted.body["parameters"].get("notify").is_none(), "{}", submitted.body);
    assert!(submitted.body.get("warnings").is_none(), "{}", submitted.body);
    let messages = app.queue.take(QueueRole::Jobs);
    assert!(!messages[0].body.contains("notify"), "{}", messages[0].body);
    app.deliver_each("process_queue_job", &messages).await;
    let again = app.submit("hello_world", json!({ "n": 2, "notify": two })).await;
    let warning = again.body["warnings"][0].as_str().unwrap();
    assert!(warning.contains("notify has no effect: the job exists"), "{warning}");
    let other = app.submitted("hello_world", json!({ "n": 3, "notify": null })).await;
    for job_id in [&plain, &other] {
        app.run_until_finished(job_id).await;
    }
    let told = until("both addresses are told", async || {
        sweep(&app).await;
        let received = receiver.received();
        (received.len() >= 2).then_some(received)
    })
    .await;
    let mut paths: Vec<&str> = told.iter().map(|one| one.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/hook", "/second"]);
    assert!(told.iter().all(|one| one.event["data"]["job_id"] == plain));
    assert_ne!(told[0].id(), told[1].id());
}

#[tokio::test]
async fn addresses_that_are_not_allowed_are_a_400() {
    let webhooks = Webhooks::new(jobs_may_name("hooks.example.org, *.example.net"));
    let app = TestApp::notifying(&new_database_url().await, catalog(), quick(), webhooks).await;
    let good = "https://hooks.example.org/a";
    for (notify, said) in [
        (json!("https://evil.example/"), "its host is not allowed"),
        (json!("https://169.254.169.254/latest"), "not an address of the public internet"),
        (json!("http://a.example.net/"), "plain HTTP"),
        (json!("https://u:p@hooks.example.org/"), "a user or a password"),
        (json!("https://hooks.example.org:8443/"), "its host is not allowed"),
        (json!("ftp://hooks.example.org/"), "does not begin with https://"),
        (json!("hooks"), "not an address"),
        (json!([good, "https://example.net/"]), "notify[1] must be"),
        (json!([]), "notify must be an address, or a list of 1 to 5 addresses, not []"),
        (json!(vec![good; 6]), "a list of 1 to 5 addresses"),
        (json!([7]), "notify must be an address, or a list of 1 to 5 addresses, not [7]"),
        (json!({ "url": good }), "notify must be an address"),
        (json!(7), "notify must be an address, or a list of 1 to 5 addresses, not 7"),
    ] {
        let refused = app.submit("hello_world", json!({ "n": 1, "notify": notify })).await;
        assert_eq!(refused.status, 400, "{notify}: {}", refused.body);
        let message = refused.body["message"].as_str().unwrap();
        assert!(message.contains(said) && message.contains("notify"), "{notify}: {message}");
        let problem = &refused.body["problems"][0];
        assert!(problem["field"].as_str().unwrap().starts_with("notify"), "{problem}");
    }
    assert_eq!(rows(&app, "jobs").await, 0);
    let off = TestApp::start().await.submit("hello_world", json!({ "n": 1, "notify": good })).await;
    assert_eq!(off.status, 400);
    assert!(off.body["message"].as_str().unwrap().contains("NOTIFY_ALLOWED_HOSTS allows no host"));
}

#[tokio::test]
async fn a_gate_that_waits_is_told() {
    let receiver = Receiver::start().await;
    let catalog = GraphJob::default().add_to(catalog());
    let url = new_database_url().await;
    let app = TestApp::notifying(&url, catalog, quick(), receiver.webhooks(&[])).await;
    let work = GraphWork::new(
        "t",
        [Node::tasks("build", 1), Node::gate("ask").needs(["build"]), Node::gate("now")],
    );
    let job_id = app.submitted(GRAPH, Value::Object(work.parameters().unwrap())).await;
    app.run_dry().await;
    let told = until("both gates are told of", async || {
        let received = receiver.received();
        (received.len() == 2).then_some(received)
    })
    .await;
    let mut nodes: Vec<&str> = Vec::new();
    for one in &told {
        let data = &one.event["data"];
        assert_eq!(one.event["type"], "org.lastlight.gate.waiting");
        assert_eq!((&data["job_id"], &data["finished_at"]), (&json!(job_id), &Value::Null));
        nodes.push(data["node"].as_str().unwrap());
    }
    nodes.sort_unstable();
    assert_eq!(nodes, ["ask", "now"]);
    for gate in ["ask", "now"] {
        assert_eq!(app.decide(&job_id, gate, json!({ "decision": "approve" })).await.status, 200);
    }
    app.run_until_finished(&job_id).await;
    let end = until("the end is told", async || receiver.received().get(2).cloned()).await;
    assert_eq!(end.event["type"], "org.lastlight.job.completed");
}

#[tokio::test]
async fn a_topic_of_event_grid_gets_its_key() {
    let receiver = Receiver::start().await;
    let topic = format!("topic.westeurope-1.eventgrid.azure.net:{}", receiver.address.port());
    let settings = settings([
        ("NOTIFY_URLS".to_owned(), format!("http://{topic}/api/events, {}", receiver.url())),
        ("NOTIFY_ALLOWED_HOSTS".to_owned(), format!("{topic}, {}", receiver.address)),
        ("NOTIFY_EVENT_GRID_KEY".to_owned(), "the-key-of-the-topic".to_owned()),
    ]);
    let names = Names::of(&[("topic.westeurope-1.eventgrid.azure.net", "127.0.0.1")]);
    let (dead, app) = dead_and_alive(Webhooks::with_lookup(settings, names)).await;
    ended(&dead, json!({ "stages": [1] })).await;
    assert_eq!(sweep(&app).await.notifications_delivered, 2);
    for one in receiver.received() {
        let key = one.headers.get("aeg-sas-key").map(|key| key.to_str().unwrap());
        assert_eq!(key, (one.path == "/api/events").then_some("the-key-of-the-topic"));
    }
}

#[tokio::test]
async fn a_job_that_is_deleted_is_told_of_all_the_same() {
    let receiver = Receiver::start().await;
    let (dead, app) = dead_and_alive(receiver.webhooks(&[])).await;
    let job_id = dead.submitted("probe", json!({ "stages": [3] })).await;
    receiver.say(Says::Status(503));
    let deleted =
        app.request("DELETE", &format!("/api/jobs/{job_id}?cancel=true"), Body::empty()).await;
    assert_eq!((deleted.status, &deleted.body["is_deleted"]), (StatusCode::OK, &json!(true)));
    receiver.say(Says::Status(200));
    app.time_passes(Duration::from_secs(3600)).await;
    let told = until("the end is told", async || {
        sweep(&app).await;
        let delivered = list(&app, &format!("?job_id={job_id}&state=delivered")).await;
        (delivered["notifications"][0]["state"] == "delivered").then(|| receiver.received())
    })
    .await;
    assert!(told.iter().all(|one| one.event["type"] == "org.lastlight.job.cancelled"), "{told:?}");
}

#[tokio::test]
async fn what_is_told_or_not_used_is_not_kept() {
    let receiver = Receiver::start().await;
    let (unused, app) = dead_and_alive(receiver.webhooks(&[])).await;
    ended(&unused, json!({ "stages": [1] })).await;
    sweep(&app).await;
    assert_eq!(rows(&app, "notifications").await, 1);
    app.time_passes(2 * DAY).await;
    sweep(&app).await;
    assert_eq!(rows(&app, "notifications").await, 1);
    app.time_passes(2 * DAY).await;
    sweep(&app).await;
    assert_eq!(rows(&app, "notifications").await, 0);
    // An app without settings for notifications keeps nothing at all.
    ended(&unused, json!({ "stages": [1], "number": 2 })).await;
    sweep(&unused).await;
    for table in ["notification_events", "notifications"] {
        assert_eq!(rows(&unused, table).await, 0, "{table}");
    }
    let bad = app.request("GET", "/api/notifications?state=delivered", Body::empty()).await;
    assert_eq!(bad.status, 400);
    assert!(bad.body["message"].as_str().unwrap().contains("needs a job_id"), "{}", bad.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_command_line_lists_and_retries() {
    let receiver = Receiver::start().await;
    let (dead, app) = dead_and_alive(receiver.webhooks(&[])).await;
    let job_id = ended(&dead, json!({ "stages": [1] })).await;
    receiver.say(Says::Status(410));
    sweep(&app).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = app.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let cli = async |arguments: &[&str]| run(command(arguments, &[("LASTLIGHT_URL", &url)])).await;

    let listed = cli(&["notifications"]).await;
    assert_eq!(listed.code, 1, "one was given up: {}", listed.err);
    for words in ["given up", "410 Gone", &job_id[..12], &receiver.url(), "retry"] {
        assert!(listed.out.contains(words), "{words}: {}", listed.out);
    }
    let listed = cli(&["notifications", "list", "--job", &job_id, "--json"]).await.json();
    let id = listed["notifications"][0]["notification_id"].as_str().unwrap();
    assert_eq!(cli(&["notifications", "retry"]).await.code, 2, "one, or all");
    let unknown = cli(&["notifications", "retry", &uuid::Uuid::nil().to_string()]).await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("there is no notification 00000000-"), "{}", unknown.err);
    receiver.say(Says::Status(200));
    let retried = cli(&["notifications", "retry", id]).await;
    assert_eq!((retried.code, &retried.out[..2]), (0, "1:"), "{}", retried.err);
    until("it is delivered", async || {
        let listed = cli(&["notifications", "list"]).await;
        (listed.code == 0 && listed.out == "No notifications to list.\n").then_some(())
    })
    .await;
    let of_job = cli(&["notifications", "--job", &job_id[..8]]).await;
    assert!(of_job.code == 0 && of_job.out.contains("delivered"), "{}", of_job.out);
}
