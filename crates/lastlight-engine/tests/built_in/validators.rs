//! The validators, against a blob service on this machine that counts its requests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use lastlight_engine::{
    builtin::{Refusal, Validator},
    config::{BlobSettings, DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY, Env},
    transport::blob_storage::BlobStorage,
};
use serde_json::{Value, json};

const MB: u64 = 1024 * 1024;

/// A blob service with one container, `rasters`.
#[derive(Clone, Default)]
struct Blobs(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    sizes: BTreeMap<String, u64>,
    /// The statuses of the next answers.
    faults: Vec<StatusCode>,
    requests: Vec<(Method, BTreeMap<String, String>)>,
    now: usize,
    most: usize,
}

impl Blobs {
    fn with(sizes: impl IntoIterator<Item = (String, u64)>) -> Self {
        let blobs = Self::default();
        blobs.0.lock().unwrap().sizes = sizes.into_iter().collect();
        blobs
    }

    /// Serves the blobs; the connection string.
    async fn serve(&self) -> String {
        let router = Router::new()
            .route("/{account}/{container}/{*blob}", any(properties))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        connection(&format!("http://{address}/{DEVELOPMENT_ACCOUNT}"))
    }

    fn requests(&self) -> usize {
        self.0.lock().unwrap().requests.len()
    }
}

async fn properties(
    State(blobs): State<Blobs>,
    Path((_, container, blob)): Path<(String, String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
    method: Method,
) -> Response {
    let answer = {
        let mut state = blobs.0.lock().unwrap();
        state.requests.push((method, query));
        state.now += 1;
        state.most = state.most.max(state.now);
        match (state.faults.pop(), container.as_str(), state.sizes.get(&blob)) {
            (Some(status), _, _) => Err((status, "ServerBusy")),
            (None, "rasters", Some(bytes)) => Ok(*bytes),
            (None, "rasters", None) => Err((StatusCode::NOT_FOUND, "BlobNotFound")),
            _ => Err((StatusCode::NOT_FOUND, "ContainerNotFound")),
        }
    };
    // Others arrive meanwhile.
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    blobs.0.lock().unwrap().now -= 1;
    let mut headers = HeaderMap::new();
    match answer {
        Ok(bytes) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
            (StatusCode::OK, headers).into_response()
        }
        Err((status, code)) => {
            headers.insert("x-ms-error-code", HeaderValue::from_static(code));
            (status, headers).into_response()
        }
    }
}

fn connection(endpoint: &str) -> String {
    format!(
        "AccountName={DEVELOPMENT_ACCOUNT};AccountKey={DEVELOPMENT_KEY};BlobEndpoint={endpoint}"
    )
}

fn storage(settings: &[(&str, &str)]) -> BlobStorage {
    let mut env = Env::from_pairs(settings.iter().copied());
    let settings = BlobSettings::from_env(&mut env);
    env.finish().unwrap();
    BlobStorage::new(settings)
}

async fn check(storage: &BlobStorage, validator: Value, parameters: Value) -> Result<(), Refusal> {
    let validator: Validator = serde_json::from_value(validator).unwrap();
    validator.check(parameters.as_object().unwrap(), storage).await
}

#[track_caller]
fn assert_invalid(checked: Result<(), Refusal>, expected: &str) {
    assert_eq!(checked, Err(Refusal::Invalid { message: expected.to_owned() }));
}

#[track_caller]
fn assert_unavailable(checked: Result<(), Refusal>, expected: &str) {
    let Err(Refusal::Unavailable { reason }) = checked else { panic!("{checked:?}") };
    assert!(reason.contains(expected), "{reason}");
    assert!(!reason.contains("sig="), "{reason}");
}

fn raster(blob: &str) -> Value {
    json!({ "container_name": "rasters", "blob_name": blob })
}

fn rasters(blobs: impl IntoIterator<Item = String>) -> Value {
    json!({ "container_name": "rasters", "blob_list": blobs.into_iter().collect::<Vec<_>>() })
}

#[tokio::test]
async fn a_blob_that_exists_passes_with_a_signature_that_can_only_read() {
    let blobs = Blobs::with([("2024/ä b.tif".to_owned(), 3 * MB)]);
    let storage = storage(&[("AzureWebJobsStorage", &blobs.serve().await)]);
    let parameters = raster("2024/ä b.tif");
    check(&storage, json!({ "type": "blob_exists" }), parameters.clone()).await.unwrap();
    let validator = json!({
        "type": "blob_exists_with_size", "container_param": "container_name", "blob_param": "blob_name",
        "zone": "bronze", "max_size_mb": 3,
    });
    check(&storage, validator, parameters).await.unwrap();
    let state = blobs.0.lock().unwrap();
    for (method, query) in &state.requests {
        assert_eq!(method, Method::HEAD);
        let right = |name: &str| query[name].as_str();
        assert_eq!((right("sp"), right("ss"), right("srt")), ("r", "b", "o"));
    }
}

#[tokio::test]
async fn a_blob_that_is_missing_or_too_large_is_refused_in_the_words_of_the_validator() {
    let blobs = Blobs::with([("large.tif".to_owned(), 3 * MB + MB / 2)]);
    let storage = storage(&[("AzureWebJobsStorage", &blobs.serve().await)]);
    let plain = json!({ "type": "blob_exists_with_size", "max_size_mb": 3 });
    let worded = json!({
        "type": "blob_exists_with_size", "max_size_mb": 3.25, "zone": "bronze",
        "error_not_found": "Source file not found in Bronze storage",
        "error_too_large": "File exceeds the limit for this job type",
    });
    assert_invalid(
        check(&storage, plain.clone(), raster("none.tif")).await,
        "there is no blob rasters/none.tif",
    );
    assert_invalid(
        check(&storage, worded.clone(), raster("none.tif")).await,
        "Source file not found in Bronze storage (there is no blob rasters/none.tif of the zone bronze)",
    );
    assert_invalid(
        check(&storage, plain.clone(), raster("large.tif")).await,
        "rasters/large.tif has 3670016 bytes, 3.50 MB; at most 3 MB are allowed",
    );
    assert_invalid(
        check(&storage, worded, raster("large.tif")).await,
        "File exceeds the limit for this job type (rasters/large.tif has 3670016 bytes, 3.50 MB; at most 3.25 MB are allowed)",
    );
    let elsewhere = json!({ "container_name": "nowhere", "blob_name": "large.tif" });
    assert_invalid(check(&storage, plain, elsewhere).await, "there is no container nowhere");
}

#[tokio::test]
async fn parameters_that_name_no_blob_are_refused_without_a_request() {
    let blobs = Blobs::default();
    let storage = storage(&[("AzureWebJobsStorage", &blobs.serve().await)]);
    let one = json!({ "type": "blob_exists", "blob_param": "raster" });
    for (parameters, message) in [
        (
            json!({ "raster": "a" }),
            "container_name must be a text that is not empty, which the validator blob_exists checks",
        ),
        (
            json!({ "container_name": "rasters", "raster": null }),
            "raster must be a text that is not empty, which the validator blob_exists checks",
        ),
        (
            json!({ "container_name": "rasters", "raster": "" }),
            "raster must be a text that is not empty, which the validator blob_exists checks",
        ),
        (
            json!({ "container_name": "../other", "raster": "a" }),
            "\"../other\" is not the name of a container: 3 to 63 characters of a-z, 0-9 and single '-' between them",
        ),
        (
            json!({ "container_name": "rasters", "raster": ".." }),
            "\"..\" is not the name of a blob: 1 to 1024 characters, none of them a control character, and not \".\" or \"..\"",
        ),
    ] {
        assert_invalid(check(&storage, one.clone(), parameters).await, message);
    }
    let list = json!({ "type": "blob_list_exists_with_max_size" });
    for blob_list in [json!([]), json!("a.tif"), json!(null)] {
        let parameters = json!({ "container_name": "rasters", "blob_list": blob_list });
        assert_invalid(
            check(&storage, list.clone(), parameters).await,
            "blob_list must be a list with at least one name of a blob, which the validator \
             blob_list_exists_with_max_size checks",
        );
    }
    let parameters = json!({ "container_name": "rasters", "blob_list": ["a", 2] });
    assert_invalid(
        check(&storage, list, parameters).await,
        "blob_list[1] must be the name of a blob",
    );
    assert_eq!(blobs.requests(), 0);
}

const LIST: &str = r#"{
    "type": "blob_list_exists_with_max_size", "container_param": "container_name", "blob_list_param": "blob_list",
    "zone": "bronze", "max_individual_size_mb_env": "RASTER_MAX_MB", "max_collection_count_env": "RASTER_MAX_FILES",
    "error_raster_too_large": "A file exceeds {threshold} MB.",
    "error_collection_too_large": "The collection exceeds {limit} files."
}"#;

fn list() -> Value {
    serde_json::from_str(LIST).unwrap()
}

#[tokio::test]
async fn a_list_that_is_too_long_is_refused_without_a_request() {
    let blobs = Blobs::default();
    let connection = blobs.serve().await;
    let limited = storage(&[("AzureWebJobsStorage", &connection), ("RASTER_MAX_FILES", "2")]);
    assert_invalid(
        check(&limited, list(), rasters(["a", "b", "c"].map(str::to_owned))).await,
        "The collection exceeds 2 files. (blob_list has 3 blobs; at most 2 are allowed)",
    );
    // Without the setting, and with 0, there is no limit but our own.
    for setting in ["", "0"] {
        let free = storage(&[("AzureWebJobsStorage", &connection), ("RASTER_MAX_FILES", setting)]);
        assert_invalid(
            check(&free, list(), rasters((0..10_001).map(|n| n.to_string()))).await,
            "blob_list has 10001 blobs; at most 10000 can be checked",
        );
    }
    assert_eq!(blobs.requests(), 0);
}

#[tokio::test]
async fn the_blobs_of_a_list_are_looked_for_together_within_a_bound() {
    let names = || (0..300).map(|n| format!("{n}.tif"));
    let blobs = Blobs::with(names().map(|name| (name, MB)));
    let storage = storage(&[("AzureWebJobsStorage", &blobs.serve().await), ("RASTER_MAX_MB", "1")]);
    check(&storage, list(), rasters(names())).await.unwrap();
    assert_eq!(blobs.requests(), 300);
    let most = blobs.0.lock().unwrap().most;
    assert!((2..=16).contains(&most), "{most}");
}

#[tokio::test]
async fn missing_and_too_large_blobs_of_a_list_are_named() {
    let blobs = Blobs::with([
        ("a.tif".to_owned(), MB),
        ("b.tif".to_owned(), 5 * MB),
        ("c.tif".to_owned(), 4 * MB),
    ]);
    let storage = storage(&[("AzureWebJobsStorage", &blobs.serve().await), ("RASTER_MAX_MB", "3")]);
    let names = |names: &[&str]| rasters(names.iter().map(|name| (*name).to_owned()));
    assert_invalid(
        check(&storage, list(), names(&["a.tif", "b.tif", "c.tif"])).await,
        "A file exceeds 3 MB. (the largest is rasters/b.tif, which has 5242880 bytes, 5.00 MB; at most 3 MB are allowed)",
    );
    assert_invalid(
        check(&storage, list(), names(&["z.tif", "b.tif", "y.tif"])).await,
        "2 of 3 blobs are not in the container rasters of the zone bronze: \"z.tif\", \"y.tif\"",
    );
    let Err(Refusal::Invalid { message }) =
        check(&storage, list(), rasters((10..30).map(|n| n.to_string()))).await
    else {
        panic!("blobs were found");
    };
    assert!(message.ends_with("\"18\", \"19\" and 10 more"), "{message}");
    let elsewhere = json!({ "container_name": "nowhere", "blob_list": ["a.tif"] });
    assert_invalid(
        check(&storage, list(), elsewhere).await,
        "there is no container nowhere of the zone bronze",
    );
}

#[tokio::test]
async fn a_zone_is_looked_for_in_its_own_account() {
    let (own, bronze) = (Blobs::default(), Blobs::with([("a.tif".to_owned(), MB)]));
    let storage = storage(&[
        ("AzureWebJobsStorage", &own.serve().await),
        ("LASTLIGHT_STORAGE_BRONZE", &bronze.serve().await),
    ]);
    let of_zone = |zone: &str| json!({ "type": "blob_exists", "zone": zone });
    check(&storage, of_zone("bronze"), raster("a.tif")).await.unwrap();
    assert_invalid(
        check(&storage, of_zone("silver"), raster("a.tif")).await,
        "there is no blob rasters/a.tif of the zone silver",
    );
    assert_eq!((own.requests(), bronze.requests()), (1, 1));
}

#[tokio::test]
async fn storage_that_is_busy_for_a_moment_is_asked_again() {
    let blobs = Blobs::with([("a.tif".to_owned(), MB)]);
    blobs.0.lock().unwrap().faults = vec![StatusCode::SERVICE_UNAVAILABLE; 2];
    let storage = storage(&[("AzureWebJobsStorage", &blobs.serve().await)]);
    check(&storage, json!({ "type": "blob_exists" }), raster("a.tif")).await.unwrap();
    assert_eq!(blobs.requests(), 3);
}

#[tokio::test]
async fn storage_that_cannot_be_asked_is_no_refusal_of_the_submission() {
    let exists = || json!({ "type": "blob_exists" });
    let parameters = || raster("a.tif");
    let none = BlobStorage::new(BlobSettings::default());
    assert_unavailable(check(&none, exists(), parameters()).await, "no storage account is set");

    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gone = connection(&format!("http://{gone}/{DEVELOPMENT_ACCOUNT}"));
    let gone = storage(&[("AzureWebJobsStorage", &gone)]);
    assert_unavailable(
        check(&gone, exists(), parameters()).await,
        "blobs of 127.0.0.1 cannot be looked for now: connection failed",
    );

    let blobs = Blobs::default();
    blobs.0.lock().unwrap().faults = vec![StatusCode::FORBIDDEN; 20];
    let connection = blobs.serve().await;
    let forbidden = storage(&[("AzureWebJobsStorage", &connection)]);
    assert_unavailable(check(&forbidden, exists(), parameters()).await, "status 403 ServerBusy");
    assert_eq!(blobs.requests(), 1, "a request that is forbidden is not repeated");
    let names = rasters((0..1000).map(|n| n.to_string()));
    assert_unavailable(check(&forbidden, list(), names).await, "status 403");
    assert!(blobs.requests() < 100, "the rest of a list is not looked for");

    let wrong = storage(&[("AzureWebJobsStorage", &connection), ("RASTER_MAX_FILES", "many")]);
    assert_unavailable(
        check(&wrong, list(), rasters(["a".to_owned()])).await,
        "the value of the setting RASTER_MAX_FILES is not a number of at least 0",
    );
}
