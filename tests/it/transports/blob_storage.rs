//! Blobs and validators against the blob service of Azurite. What they say of missing, large and
//! unreachable blobs is tested in the engine's package.

use lastlight_engine::{
    builtin::{Refusal, Validator},
    config::{BlobSettings, DEVELOPMENT_KEY, Env},
    transport::blob_storage::{BlobAddress, BlobError, BlobStorage, Found},
};
use lastlight_testing::blobs::{NewContainer, connection_string};
use serde_json::json;

fn storage(settings: &[(&str, &str)]) -> BlobStorage {
    let mut env = Env::from_pairs(settings.iter().copied());
    let settings = BlobSettings::from_env(&mut env);
    env.finish().unwrap();
    BlobStorage::new(settings)
}

#[tokio::test]
async fn azurite_says_which_blobs_and_containers_there_are() {
    let container = NewContainer::create().await;
    let names = ["a.tif", "2024/ä ö?#%2F+.tif", "empty", "a/./b"];
    for (name, bytes) in names.into_iter().zip([1, 70_000, 0, 2]) {
        container.write(name, vec![b'x'; bytes]).await;
    }
    let storage = storage(&[("AzureWebJobsStorage", &connection_string(DEVELOPMENT_KEY))]);
    let find = async |container: &str, blob: &str| {
        storage.find(None, &BlobAddress::new(container, blob).unwrap()).await.unwrap()
    };
    for (name, bytes) in names.into_iter().zip([1, 70_000, 0, 2]) {
        assert_eq!(find(&container.name, name).await, Found::Blob { bytes }, "{name}");
    }
    for name in ["A.tif", "a.ti", "2024", "2024/ä ö"] {
        assert_eq!(find(&container.name, name).await, Found::NoBlob, "{name}");
    }
    assert_eq!(find("no-such-container", "a.tif").await, Found::NoContainer);
}

#[tokio::test]
async fn a_submission_is_checked_against_azurite() {
    let container = NewContainer::create().await;
    for number in 0..20 {
        container.write(&format!("{number}.tif"), vec![b'x'; 1024 * 1024 + number]).await;
    }
    let storage = storage(&[
        ("LASTLIGHT_STORAGE_BRONZE", &connection_string(DEVELOPMENT_KEY)),
        ("RASTER_COLLECTION_MAX_FILE_SIZE_MB", "1"),
        ("RASTER_COLLECTION_MAX_FILES", "20"),
    ]);
    let validator: Validator = serde_json::from_value(json!({
        "type": "blob_list_exists_with_max_size",
        "container_param": "container_name",
        "blob_list_param": "blob_list",
        "zone": "bronze",
        "max_individual_size_mb_env": "RASTER_COLLECTION_MAX_FILE_SIZE_MB",
        "max_collection_count_env": "RASTER_COLLECTION_MAX_FILES",
        "error_raster_too_large": "Individual file exceeds per-file size limit.",
        "error_collection_too_large": "Collection exceeds maximum file count.",
    }))
    .unwrap();
    let check = async |numbers: std::ops::Range<u32>| {
        let blobs: Vec<String> = numbers.map(|number| format!("{number}.tif")).collect();
        let parameters = json!({ "container_name": container.name, "blob_list": blobs });
        validator.check(parameters.as_object().unwrap(), &storage).await
    };
    assert_eq!(check(0..1).await, Ok(()));
    for (numbers, words) in [
        (0..20, "Individual file exceeds per-file size limit. (the largest is "),
        (0..21, "Collection exceeds maximum file count. (blob_list has 21 blobs;"),
        (19..22, "2 of 3 blobs are not in the container "),
    ] {
        let Err(Refusal::Invalid { message }) = check(numbers).await else { panic!("{words}") };
        assert!(message.starts_with(words), "{message}");
    }
}

#[tokio::test]
async fn an_account_with_another_key_is_unavailable() {
    let container = NewContainer::create().await;
    let storage = storage(&[("AzureWebJobsStorage", &connection_string("bm90IHRoZSBrZXk="))]);
    let address = BlobAddress::new(&container.name, "a.tif").unwrap();
    let error = storage.find(None, &address).await.unwrap_err();
    assert!(matches!(error, BlobError::Unavailable { .. }), "{error:?}");
    let words = format!("{error} {error:?} {storage:?}");
    assert!(words.contains("status 403") && !words.contains("sig="), "{words}");
}
