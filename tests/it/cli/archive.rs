//! `lastlight archive` and what the doctor says of the archive, with the real binary against Azurite.

use std::{fs, io::Read, path::Path};

use flate2::read::MultiGzDecoder;
use lastlight_engine::{archive::RunFacts, model::JobStatus};
use lastlight_testing::{
    archive::{BlobProxy, BlobRequest, Fate, archive_in, connection},
    blobs::{NewContainer, account_signature},
    database::service,
};
use serde_json::{Value, json};
use time::{OffsetDateTime, macros::datetime};

use crate::{
    cli::harness::{Said, command, run},
    harness::{Probe, TestApp, catalog, new_database_url, quick},
};

/// A container, and the settings that name it.
struct Archive {
    container: NewContainer,
    storage: String,
}

impl Archive {
    async fn new() -> Self {
        let storage = connection(&service("AZURITE_BLOB_ENDPOINT"));
        Self { container: NewContainer::create().await, storage }
    }

    async fn run(&self, arguments: &[&str]) -> Said {
        let settings =
            [("AzureWebJobsStorage", &*self.storage), ("ARCHIVE_CONTAINER", &*self.container.name)];
        run(command(&[&["archive"], arguments].concat(), &settings)).await
    }

    /// Archives a run as an app would, with these facts.
    async fn add(
        &self,
        job_id: &str,
        run: i32,
        job_type: &str,
        status: JobStatus,
        ended: OffsetDateTime,
    ) {
        let archive = archive_in(&self.container);
        let key = lastlight_engine::archive::RunKey {
            job_id: job_id.parse().unwrap(),
            run,
            created_at: ended - time::Duration::hours(1),
        };
        let mut writer = archive.write(key);
        writer.line(&json!({ "kind": "job" })).unwrap();
        let end = json!({
            "kind": "end", "stages": 0, "tasks": 0, "tasks_by_status": {}, "tasks_planned": 0, "events": 0,
        });
        writer.line(&end).unwrap();
        let facts = RunFacts { job_type: job_type.to_owned(), status, finished_at: ended };
        writer.finish(&archive, &facts, 0).await.unwrap().commit(&archive).await.unwrap();
    }
}

/// An app that ran a job twice, the second time with a failure that it tolerates, and deleted it.
async fn app_with_two_runs(archive: &Archive) -> (TestApp, String) {
    let catalog = Probe::default().add_to(catalog());
    let url = new_database_url().await;
    let app = TestApp::archiving(&url, catalog, quick(), archive_in(&archive.container)).await;
    let labels = json!({ "team": "maps" });
    let parameters = json!({ "stages": [7, 5], "fails": [3], "tolerates": 1, "labels": labels });
    let answer = app.submit("probe", parameters).await;
    let job_id = answer.body["job_id"].as_str().unwrap().to_owned();
    app.run_until_finished(&job_id).await;
    let again = format!("/api/jobs/resubmit/{job_id}?by=ada&reason=new%20input");
    assert_eq!(app.request("POST", &again, "").await.body["is_begun"], true);
    app.run_until_finished(&job_id).await;
    let deleted = app.request("DELETE", &format!("/api/jobs/{job_id}"), "").await;
    assert_eq!(deleted.body["is_deleted"], true, "{}", deleted.body);
    (app, job_id)
}

#[tokio::test]
async fn an_archived_job_is_listed_shown_and_got_back() {
    let archive = Archive::new().await;
    let (app, job_id) = app_with_two_runs(&archive).await;
    let listed = archive.run(&["list", "--json"]).await;
    assert_eq!(listed.code, 0, "{}", listed.err);
    let runs = listed.json()["runs"].as_array().unwrap().clone();
    assert_eq!(
        runs.iter().map(|run| run["run"].clone()).collect::<Vec<_>>(),
        [2, 1],
        "the newest first"
    );
    assert!(
        runs.iter().all(|run| run["job_id"] == json!(job_id) && run["tasks"] == 12),
        "{runs:?}"
    );
    let table = archive.run(&["list"]).await;
    assert!(table.out.contains(&job_id[..12]) && table.out.contains("completed"), "{}", table.out);

    // The newest run, and that there are others.
    let shown = archive.run(&["show", &job_id[..8]]).await;
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(
        shown.err.contains("run 2 of") && shown.err.contains("the archived runs 1, 2"),
        "{}",
        shown.err
    );
    for words in [
        "run 2: completed",
        "type       probe",
        "labels     team=maps",
        "12 (10 completed, 2 failed)",
        "\"stages\": [7, 5]",
        "Run 1 was archived as",
        "Run 2 began; run 1 was completed.",
        "ada",
        "new input",
        "The job was marked for deletion.",
    ] {
        assert!(shown.out.contains(words), "{words}: {}", shown.out);
    }
    let first = archive.run(&["show", &job_id, "--run", "1", "--json"]).await;
    assert_eq!((first.code, &*first.err), (0, ""));
    let first = first.json();
    assert_eq!((&first["job"]["run"], &first["end"]["tasks"]), (&json!(1), &json!(12)));
    assert_eq!(first["stages"][0]["failed"], 1);
    assert_eq!(first["archive"]["sha256"], runs[1]["sha256"]);

    // The lines, to standard output and to a file.
    let got = archive.run(&["get", &job_id]).await;
    assert_eq!(got.code, 0, "{}", got.err);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.jsonl");
    fs::write(&file, "older").unwrap();
    let said =
        archive.run(&["get", &job_id, "--run", "2", "--output", file.to_str().unwrap()]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("the checksum is right"), "{}", said.out);
    assert_eq!(fs::read_to_string(&file).unwrap(), got.out);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let blobs = archive.container.blobs(&job_id).await;
    let mut text = String::new();
    MultiGzDecoder::new(&*blobs[1].bytes).read_to_string(&mut text).unwrap();
    assert_eq!(got.out, text);
    // With the parameters that are in it, the same job is submitted again.
    let job: Value = serde_json::from_str(got.out.lines().next().unwrap()).unwrap();
    assert_eq!(app.submitted("probe", job["parameters"].clone()).await, job_id);
}

#[tokio::test]
async fn a_changed_archive_is_noticed_and_leaves_no_file() {
    let archive = Archive::new().await;
    let (_app, job_id) = app_with_two_runs(&archive).await;
    let blob = archive.container.blobs(&job_id).await.remove(1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.jsonl");
    let path = file.to_str().unwrap().to_owned();
    let kept: std::collections::HashMap<String, String> =
        blob.metadata.clone().into_iter().collect();
    let overwrite = async |bytes: Vec<u8>| {
        use azure_storage_blob::models::{BlobClientSetMetadataOptions, BlobClientUploadOptions};
        let client = archive.container.client.blob_client(&blob.name);
        client
            .upload(bytes::Bytes::from(bytes).into(), Some(BlobClientUploadOptions::default()))
            .await
            .unwrap();
        client.set_metadata(&kept, Some(BlobClientSetMetadataOptions::default())).await.unwrap();
    };
    // Other content that is gzipped, bytes that are not, and a blob that is cut off.
    let (middle, whole) = (blob.bytes.len() / 2, blob.bytes.clone());
    let mut flipped = whole.clone();
    flipped[middle] ^= 1;
    let mut other = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut other, b"{}\n").unwrap();
    for bytes in [other.finish().unwrap(), flipped, whole[..middle].to_vec(), Vec::new()] {
        overwrite(bytes).await;
        let said = archive.run(&["get", &job_id, "--output", &path]).await;
        assert_eq!(said.code, 1, "{}", said.err);
        assert!(
            said.err.contains("the checksum of") && said.err.contains("is wrong"),
            "{}",
            said.err
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no file is left");
        assert_eq!(archive.run(&["get", &job_id]).await.code, 1);
        let shown = archive.run(&["show", &job_id, "--json"]).await;
        assert_eq!((shown.code, &shown.json()["error"]), (1, &json!("wrong checksum")));
    }
    overwrite(whole).await;
    assert_eq!(archive.run(&["get", &job_id, "--output", &path]).await.code, 0);
    // A file that cannot be written.
    let nowhere = Path::new(&path).join("below/a/file");
    let said = archive.run(&["get", &job_id, "--output", nowhere.to_str().unwrap()]).await;
    assert_eq!(said.code, 1);
    assert!(said.err.contains("cannot be written"), "{}", said.err);
}

#[tokio::test]
async fn lists_are_filtered_by_type_state_and_time() {
    let archive = Archive::new().await;
    let ids: Vec<String> = ["ab", "ac", "cd"].iter().map(|two| two.repeat(32)).collect();
    let runs = [
        (0, 1, "tiles", JobStatus::Completed, datetime!(2026-11-01 10:00 UTC)),
        (0, 2, "tiles", JobStatus::Failed, datetime!(2026-11-02 10:00 UTC)),
        (1, 1, "größe", JobStatus::Cancelled, datetime!(2026-11-03 10:00 UTC)),
        (2, 1, "tiles", JobStatus::Completed, datetime!(2026-11-04 10:00 UTC)),
    ];
    for (job, run, job_type, status, ended) in runs {
        archive.add(&ids[job], run, job_type, status, ended).await;
    }
    archive.container.write("something/else.txt", "not an archive").await;
    archive.container.write(&format!("{}/run-9.jsonl.gz", ids[0]), "without metadata").await;
    let listed = async |arguments: &[&str]| {
        let said = archive.run(&[&["list", "--json"], arguments].concat()).await;
        assert_eq!(said.code, 0, "{}", said.err);
        let runs = said.json()["runs"].as_array().unwrap().clone();
        runs.iter()
            .map(|run| format!("{}{}", &run["job_id"].as_str().unwrap()[..2], run["run"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&[]).await, ["cd1", "ac1", "ab2", "ab1"]);
    assert_eq!(listed(&["--limit", "2"]).await, ["cd1", "ac1"]);
    assert_eq!(listed(&["--type", "größe"]).await, ["ac1"]);
    assert_eq!(listed(&["--status", "failed", "--status", "cancelled"]).await, ["ac1", "ab2"]);
    assert_eq!(listed(&["--from", "2026-11-02", "--to", "2026-11-04"]).await, ["ac1", "ab2"]);
    assert_eq!(listed(&["--from", "2026-11-04T12:00:00+02:00"]).await, ["cd1"]);
    assert_eq!(listed(&["--type", "none"]).await, [""; 0]);
    let none = archive.run(&["list", "--type", "none"]).await;
    assert!(none.out.contains("No archived run matches"), "{}", none.out);
    let some = archive.run(&["list", "--limit", "1"]).await;
    assert!(some.out.contains("1 of 4; --limit shows more."), "{}", some.out);
    for wrong in [["--status", "queued"], ["--from", "yesterday"], ["--limit", "0"], ["--type", ""]]
    {
        assert_eq!(archive.run(&[&["list"], &wrong[..]].concat()).await.code, 2, "{wrong:?}");
    }
    // Ids.
    let refused = async |arguments: &[&str], code: i32, words: &str| {
        let said = archive.run(arguments).await;
        assert_eq!(said.code, code, "{arguments:?}: {}", said.err);
        assert!(said.err.contains(words), "{words}: {}", said.err);
    };
    refused(&["show", "abc"], 2, "first 4 or more").await;
    refused(&["show", "wxyz"], 2, "is not a job id").await;
    refused(&["show", "dddd"], 1, "no archived job id begins with dddd").await;
    refused(&["show", &ids[0], "--run", "7"], 1, "archived runs: 1, 2").await;
    archive.add(&format!("abab{}", "0".repeat(60)), 1, "tiles", JobStatus::Failed, runs[0].4).await;
    refused(&["get", "abab"], 1, "more than one archived job id begins with abab").await;
    // A run whose lines are not complete.
    refused(&["show", &ids[2]], 1, "is not a complete archive").await;
}

#[tokio::test]
async fn without_an_archive_or_a_way_to_it_the_error_says_what_to_do() {
    let archive = Archive::new().await;
    let said =
        run(command(&["archive", "list", "--json"], &[("AzureWebJobsStorage", &archive.storage)]))
            .await;
    assert_eq!((said.code, &said.json()["error"]), (2, &json!("no archive")));
    assert!(said.err.contains("ARCHIVE_CONTAINER is not set"), "{}", said.err);
    let settings =
        [("AzureWebJobsStorage", &*archive.storage), ("ARCHIVE_CONTAINER", "no-such-container")];
    let said = run(command(&["archive", "list"], &settings)).await;
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("no-such-container does not exist")
            && said.err.contains("create the container"),
        "{}",
        said.err
    );
    let settings =
        [("AzureWebJobsStorage", &*archive.storage), ("ARCHIVE_CONTAINER", "Wrong_Name")];
    let said = run(command(&["archive", "list"], &settings)).await;
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("ARCHIVE_CONTAINER: \"Wrong_Name\" is not the name of a container"),
        "{}",
        said.err
    );
    let away = connection("http://127.0.0.1:1/devstoreaccount1");
    let settings = [("AzureWebJobsStorage", &*away), ("ARCHIVE_CONTAINER", "archive")];
    let said = run(command(&["archive", "list"], &settings)).await;
    assert_eq!(said.code, 3, "{}", said.err);
    // As `func start` has them.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("local.settings.json");
    let values = json!({ "Values": {
        "AzureWebJobsStorage": archive.storage, "ARCHIVE_CONTAINER": archive.container.name,
    } });
    fs::write(&file, values.to_string()).unwrap();
    let said = run(command(&["archive", "list", "--settings", file.to_str().unwrap()], &[])).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let said = run(command(&["archive", "list", "--settings", "/nowhere.json"], &[])).await;
    assert_eq!(said.code, 2);
    assert!(said.err.contains("/nowhere.json"), "{}", said.err);
}

/// What the doctor finds about the archive.
async fn doctor(storage: &str, container: &str) -> (String, String, String) {
    let settings = [("AzureWebJobsStorage", storage), ("ARCHIVE_CONTAINER", container)];
    let said = run(command(&["doctor", "--json"], &settings)).await;
    let report = said.json();
    let checks = report["checks"].as_array().unwrap();
    let found =
        checks.iter().find(|check| check["check"] == "archive").expect("the archive is checked");
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("what"), text("remedy"))
}

#[tokio::test]
async fn the_doctor_tries_the_container() {
    let archive = Archive::new().await;
    let (state, what, _) = doctor(&archive.storage, &archive.container.name).await;
    assert_eq!((&*state, what.contains("can be read, listed and written")), ("ok", true), "{what}");
    assert!(archive.container.blobs("").await.is_empty(), "the doctor leaves nothing");
    let (state, what, remedy) = doctor(&archive.storage, "no-such-container").await;
    assert_eq!(state, "fault");
    assert!(
        what.contains("does not exist") && remedy.starts_with("Create the container"),
        "{what} {remedy}"
    );
    let endpoint = service("AZURITE_BLOB_ENDPOINT");
    let read_only = format!(
        "SharedAccessSignature={};BlobEndpoint={endpoint};QueueEndpoint={endpoint}",
        account_signature("rl")
    );
    let (state, what, remedy) = doctor(&read_only, &archive.container.name).await;
    assert_eq!(state, "fault");
    assert!(what.contains("may not be written: status 403"), "{what}");
    assert!(remedy.contains("Storage Blob Data Contributor") && !what.contains("sig="), "{remedy}");
    let proxy = BlobProxy::start().await;
    proxy.rule(|wanted, _| match wanted {
        BlobRequest::Stage => Fate::Answer(507, "InsufficientStorage"),
        _ => Fate::Pass,
    });
    let (state, what, _) = doctor(&connection(&proxy.endpoint()), &archive.container.name).await;
    assert_eq!((&*state, what.contains("no room")), ("fault", true), "{what}");
}
