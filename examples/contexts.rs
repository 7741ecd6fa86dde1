//! A context: a client of Azure Blob Storage, made once and shared by plans and tasks. While it cannot
//! be made, the work waits; `GET /api/health` shows whether it works. The variable `HEIGHTS_URL` has
//! the URL of a container with a SAS of the permissions `rwl`; `heights/bern/…` are heights as text.
//!
//! `curl -X POST localhost:7071/api/jobs/submit/highest -d '{"area": "bern"}'`

use azure_storage_blob::{BlobContainerClient, models::BlobContainerClientListBlobsOptions};
use bytes::Bytes;
use futures_util::TryStreamExt;
use lastlight::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub struct Container(pub BlobContainerClient);

impl Context for Container {
    const NAME: &'static str = "container";

    async fn start() -> Result<Self, ContextError> {
        let url = std::env::var("HEIGHTS_URL")?.parse()?;
        Ok(Self(BlobContainerClient::new(url, None, None)?))
    }

    async fn check(&self) -> Result<(), ContextError> {
        self.0.list_blobs(None)?.try_next().await?;
        Ok(())
    }
}

/// The highest point on each sheet of an area, written to `highest/{area}/{sheet}`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Highest {
    pub area: String,
}

impl Job for Highest {
    const NAME: &'static str = "highest";
    type Last = Self;
}

impl Stage for Highest {
    type Job = Self;
    type Previous = Start;
    type Task = String;
    type Output = f64;
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<String> {
        Plan::after(async move {
            let Container(container) = &*context.get().await?;
            let prefix = Some(format!("heights/{}/", context.job.area));
            let options = BlobContainerClientListBlobsOptions { prefix, ..Default::default() };
            let blobs: Result<Vec<_>, _> = container.list_blobs(Some(options))?.try_collect().await;
            // The job waits and is planned again; with `?` alone it would fail.
            let blobs = blobs.map_err(|error| PlanError::Unavailable(error.to_string()))?;
            let sheets = blobs
                .into_iter()
                .filter_map(|blob| blob.name?.strip_prefix("heights/").map(str::to_owned));
            Ok(Plan::of(sheets, |sheet| (sheet.clone(), sheet)))
        })
    }

    async fn run(context: TaskContext<Self>, sheet: String) -> Result<f64, TaskError> {
        let Container(container) = &*context.get().await?;
        let blob = container.blob_client(&format!("heights/{sheet}")).download(None).await?;
        let text = String::from_utf8(blob.body.collect().await?.into()).permanent()?;
        let heights: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
        let highest = heights.permanent()?.into_iter().fold(f64::MIN, f64::max);
        // A second attempt overwrites what the first one wrote.
        let result = container.blob_client(&format!("highest/{sheet}"));
        result.upload(Bytes::from(highest.to_string()).into(), None).await?;
        Ok(highest)
    }

    fn fold(sheets: &mut u64, _: f64) {
        *sheets += 1;
    }
}

fn main() -> ExitCode {
    App::new().job::<Highest>().context::<Container>().main()
}
