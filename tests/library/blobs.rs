//! The example with Azure Blob Storage, against the blob service of Azurite.

use azure_storage_blob::BlobContainerClient;
use lastlight::{App, testing};
use lastlight_engine::config::DEVELOPMENT_ACCOUNT;
use lastlight_testing::blobs::{EXPIRY, NewContainer, VERSION, signature};

use crate::{
    clusters::health,
    examples::contexts::{Container, Highest},
};

/// The context of the example, with a SAS with the permissions that the example names.
fn context(container: &NewContainer) -> Container {
    let resource = format!("/blob/{DEVELOPMENT_ACCOUNT}/{}", container.name);
    let text = ["rwl", "", EXPIRY, &resource, "", "", "", VERSION, "c", "", "", "", "", "", ""];
    let mut url = container.url.clone();
    url.query_pairs_mut()
        .extend_pairs([("sv", VERSION), ("se", EXPIRY), ("sp", "rwl"), ("sr", "c")])
        .append_pair("sig", &signature(&text));
    Container(BlobContainerClient::new(url, None, None).unwrap())
}

async fn bern() -> (NewContainer, Highest) {
    let container = NewContainer::create().await;
    container.write("heights/bern/1166", "540.5 850.25 556").await;
    container.write("heights/bern/1167", "503 947").await;
    container.write("heights/basel/1047", "no heights").await;
    (container, Highest { area: "bern".to_owned() })
}

#[tokio::test]
async fn blobs_are_read_and_written() {
    let (container, bern) = bern().await;
    let job = testing::run(bern).provide(context(&container)).duplicates().await.unwrap();
    assert_eq!(job.summary(), &2);
    assert_eq!(job.stage::<Highest>().output("bern/1167"), Some(&947.0));
    assert_eq!(container.read("highest/bern/1166").await, "850.25");
    let basel = Highest { area: "basel".to_owned() };
    let failed = testing::run(basel).provide(context(&container)).await.unwrap_err();
    assert_eq!(failed.tasks()[0].reason, "invalid float literal");
    let failed = testing::run(Highest { area: "bern".to_owned() }).await.unwrap_err().to_string();
    assert!(
        failed.contains("container is not available: environment variable not found"),
        "{failed}"
    );
}

#[tokio::test]
async fn blobs_are_read_and_written_on_a_cluster() {
    let (container, bern) = bern().await;
    let app = App::new().job::<Highest>().provide(context(&container));
    let cluster = testing::cluster(app).await.unwrap();
    let job = cluster.run(&bern).await.unwrap();
    assert_eq!(job.summary, 2, "{}", job.status);
    assert_eq!(container.read("highest/bern/1167").await, "947");
    let (_, health) = health(&cluster).await;
    assert_eq!(health["components"]["context:container"]["status"], "healthy", "{health}");
    cluster.stop().await.unwrap();
}
