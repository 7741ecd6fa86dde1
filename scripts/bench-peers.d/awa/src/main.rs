//! awa: its queue storage, COPY for enqueueing, one client with a large worker pool (see ../../README.md).

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use awa::{
    Client, InsertOpts, InsertParams, JobArgs, JobResult, QueueConfig, QueueStorage, QueueStorageConfig,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const QUEUE: &str = "bench";
const WORKERS: u32 = 256;
const CONNECTIONS: u32 = 50;
const ENQUEUED_AT_ONCE: usize = 1_000;

#[derive(Serialize, Deserialize, JobArgs)]
struct Bench {
    i: usize,
    text: String,
}

struct Seen {
    tasks: Vec<AtomicBool>,
    handled: AtomicUsize,
    all_handled: Notify,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let n: usize = env::var("N")?.parse()?;
    let payload_bytes: usize = env::var("PAYLOAD_BYTES")?.parse()?;
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .connect(&env::var("DATABASE_URL")?)
        .await?;

    awa::migrations::run(&pool).await?;
    let store = QueueStorage::new(QueueStorageConfig::default())?;
    store.install(&pool).await?;

    let seen = Arc::new(Seen {
        tasks: (0..n).map(|_| AtomicBool::new(false)).collect(),
        handled: AtomicUsize::new(0),
        all_handled: Notify::new(),
    });
    let handler_seen = Arc::clone(&seen);
    let client = Client::builder(pool.clone())
        .queue(
            QUEUE,
            QueueConfig {
                max_workers: WORKERS,
                ..QueueConfig::default()
            },
        )
        .register::<Bench, _, _>(move |args, _context| {
            let seen = Arc::clone(&handler_seen);
            async move {
                if !seen.tasks[args.i].swap(true, Ordering::Relaxed)
                    && seen.handled.fetch_add(1, Ordering::Relaxed) + 1 == seen.tasks.len()
                {
                    seen.all_handled.notify_one();
                }
                Ok(JobResult::Completed)
            }
        })
        .build()?;
    client.start().await?;
    tokio::time::sleep(Duration::from_millis(500)).await; // until the client listens

    let tasks: Vec<InsertParams> = (0..n)
        .map(|i| {
            let bare = format!("{{\"i\":{i},\"text\":\"\"}}").len();
            let task = Bench {
                i,
                text: "x".repeat(payload_bytes.saturating_sub(bare)),
            };
            awa::insert::params_with(
                &task,
                InsertOpts {
                    queue: QUEUE.into(),
                    ..InsertOpts::default()
                },
            )
        })
        .collect::<Result<_, _>>()?;

    let began = Instant::now();
    for some in tasks.chunks(ENQUEUED_AT_ONCE) {
        store.enqueue_params_copy(&pool, some).await?;
    }
    seen.all_handled.notified().await;
    let wanted = i64::try_from(n)?;
    while completed(&pool).await? < wanted {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seconds = began.elapsed().as_secs_f64();

    println!(
        "{}",
        serde_json::json!({
            "peer": env::var("PEER")?, "version": "0.6.9", "n": n, "seconds": seconds,
            "tasks_per_second": n as f64 / seconds, "verified": seen.handled.load(Ordering::Relaxed),
        })
    );
    client.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// The number of durably completed jobs, wherever the storage keeps them. The library's own `queue_counts` is exact as
/// well, but takes seconds on tables that were never analyzed, and its lifecycle events slow every completion: both would
/// measure this program instead of the queue.
async fn completed(pool: &sqlx::PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT (SELECT coalesce(sum(completed_count), 0) FROM awa.receipt_completion_batches WHERE queue = $1)
              + (SELECT count(*) FROM awa.done_entries WHERE queue = $1 AND state = 'completed')
              + (SELECT coalesce(sum(pruned_completed_count), 0)::bigint FROM awa.queue_terminal_rollups WHERE queue = $1)",
    )
    .bind(QUEUE)
    .fetch_one(pool)
    .await
}
