//! The engines of the local queue services, without HTTP, on a clock that the test moves: no
//! message is lost, none is delivered to two receivers at once, and queues survive a restart.

use std::{collections::BTreeMap, time::Duration};

use lastlight_local::broker::{
    BrokerError, Clock, ServiceBus, SnapshotError, StorageQueues,
    service_bus::{LockedMessage, NewMessage, OnExpiry, QueueOptions, ServiceBusCounts},
};
use proptest::prelude::*;
use time::{OffsetDateTime, macros::datetime};

const START: OffsetDateTime = datetime!(2026-11-23 19:00 UTC);
const DEAD: &str = "q/$DeadLetterQueue";

fn service_bus(options: QueueOptions) -> (ServiceBus, Clock) {
    let clock = Clock::manual(START);
    let bus = ServiceBus::with_clock(clock.clone());
    bus.create_queue("q", options);
    (bus, clock)
}

fn storage_queues() -> (StorageQueues, Clock) {
    let clock = Clock::manual(START);
    let queues = StorageQueues::with_clock(clock.clone());
    queues.create_queue("q");
    (queues, clock)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn bodies(messages: &[LockedMessage]) -> Vec<&str> {
    messages.iter().map(|message| message.body.as_str()).collect()
}

#[test]
fn a_scheduled_message_queues_at_its_due_time() {
    let (bus, clock) = service_bus(QueueOptions::default());
    let later = NewMessage { scheduled: Some(START + seconds(60)), ..NewMessage::new("later") };
    bus.send("q", vec![later, NewMessage::new("a")]).unwrap();
    clock.advance(seconds(30));
    bus.send("q", vec![NewMessage::new("b")]).unwrap();
    clock.advance(seconds(31));
    assert_eq!(bodies(&bus.receive("q", 10).unwrap()), ["a", "b", "later"]);
}

#[test]
fn a_message_never_expires_while_it_is_locked() {
    for (on_expiry, dead_letters) in [(OnExpiry::Discard, 0), (OnExpiry::DeadLetter, 2)] {
        let (bus, clock) = service_bus(QueueOptions { on_expiry, ..QueueOptions::default() });
        let short = |body| NewMessage { time_to_live: Some(seconds(30)), ..NewMessage::new(body) };
        bus.send("q", vec![short("locked"), short("waiting")]).unwrap();
        let locked = bus.receive("q", 1).unwrap().remove(0);
        clock.advance(seconds(31));
        assert_eq!(bus.counts("q").unwrap().active, 1, "the locked one lives");
        bus.abandon("q", &locked.lock_token).unwrap();
        assert_eq!(
            bus.counts("q").unwrap(),
            ServiceBusCounts { dead_letter: dead_letters, ..ServiceBusCounts::default() }
        );
        for letter in bus.receive(DEAD, 10).unwrap() {
            assert_eq!(letter.dead_letter_reason.as_deref(), Some("TTLExpiredException"));
        }
    }
}

#[test]
fn dead_letters_never_expire_until_completed() {
    let (bus, clock) =
        service_bus(QueueOptions { max_delivery_count: 1, ..QueueOptions::default() });
    bus.send("q", vec![NewMessage::new("bad")]).unwrap();
    bus.receive("q", 1).unwrap();
    clock.advance(seconds(61));
    for _ in 0..20 {
        let letter = bus.receive(DEAD, 1).unwrap().remove(0);
        assert_eq!(letter.dead_letter_reason.as_deref(), Some("MaxDeliveryCountExceeded"));
        clock.advance(seconds(7 * 24 * 60 * 60));
    }
    let letter = bus.receive(DEAD, 1).unwrap().remove(0);
    bus.complete(DEAD, &letter.lock_token).unwrap();
    assert_eq!(bus.counts("q").unwrap(), ServiceBusCounts::default());
}

#[test]
fn a_purge_empties_one_queue_and_voids_its_locks() {
    let (bus, _) = service_bus(QueueOptions::default());
    bus.send("q", (0..3).map(|n| NewMessage::new(n.to_string())).collect()).unwrap();
    let mut locked = bus.receive("q", 2).unwrap();
    bus.dead_letter("q", &locked.remove(0).lock_token, "r", "d").unwrap();
    bus.purge("q").unwrap();
    assert_eq!(
        bus.counts("q").unwrap(),
        ServiceBusCounts { dead_letter: 1, ..ServiceBusCounts::default() }
    );
    assert_eq!(bus.complete("q", &locked[0].lock_token), Err(BrokerError::LockLost));
    bus.purge(DEAD).unwrap();
    assert_eq!(bus.counts("q").unwrap(), ServiceBusCounts::default());
}

#[test]
fn a_service_bus_queue_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub/bus.jsonl");
    let options =
        QueueOptions { duplicate_detection: Some(seconds(600)), ..QueueOptions::default() };
    let (bus, clock) = service_bus(options);
    let scheduled = NewMessage {
        scheduled: Some(START + seconds(300)),
        ..NewMessage::new("scheduled").with_id("s")
    };
    let ready = ["bad", "locked", "ready"].map(|body| NewMessage::new(body).with_id(body));
    bus.send("q", ready.into_iter().chain([scheduled]).collect()).unwrap();
    let locked = bus.receive("q", 2).unwrap();
    bus.dead_letter("q", &locked[0].lock_token, "Unreadable", "not JSON").unwrap();
    bus.snapshot(&path).unwrap();

    let again = ServiceBus::with_clock(clock.clone());
    again.create_queue("q", options);
    again.restore(&path).unwrap();
    again
        .send("q", vec![NewMessage::new("twice").with_id("ready"), NewMessage::new("new")])
        .unwrap();
    let received = again.receive("q", 10).unwrap();
    assert_eq!(bodies(&received), ["locked", "ready", "new"]);
    assert_eq!(received[0].delivery_count, 2);
    assert_eq!(received[0].sequence_number, locked[1].sequence_number);
    let letter = again.receive(DEAD, 10).unwrap().remove(0);
    assert_eq!(
        (letter.body.as_str(), letter.dead_letter_reason.as_deref()),
        ("bad", Some("Unreadable"))
    );
    clock.advance(seconds(301));
    assert!(bodies(&again.receive("q", 10).unwrap()).contains(&"scheduled"));
}

#[test]
fn an_invalid_snapshot_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("snapshot");
    let (queues, _) = storage_queues();
    queues.put("q", "kept".to_owned(), Duration::ZERO, None).unwrap();
    queues.snapshot(&path).unwrap();
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("{\"half\": \n");
    std::fs::write(&path, text).unwrap();
    let (other, _) = storage_queues();
    let error = other.restore(&path).unwrap_err();
    assert!(matches!(error, SnapshotError::Malformed { line: 3, .. }), "{error}");
    assert_eq!(other.counts("q"), Ok(0));
    let (bus, _) = service_bus(QueueOptions::default());
    assert!(bus.restore(&path).is_err());
    bus.restore(&folder.path().join("none")).unwrap();
}

#[tokio::test]
async fn new_due_and_unlocked_messages_wake_receivers() {
    let (bus, clock) = service_bus(QueueOptions::default());
    let (queues, other_clock) = storage_queues();
    let waits = async |bus: &ServiceBus| bus.wait_for_message("q", seconds(3600)).await;

    tokio::join!(waits(&bus), async { bus.send("q", vec![NewMessage::new("a")]).unwrap() });
    bus.receive("q", 1).unwrap();
    tokio::join!(waits(&bus), async { clock.advance(seconds(60)) });
    assert_eq!(bus.receive("q", 1).unwrap()[0].delivery_count, 2);

    queues.put("q", "x".to_owned(), seconds(30), None).unwrap();
    tokio::join!(queues.wait_for_message("q", seconds(3600)), async {
        other_clock.advance(seconds(30));
    });
    assert_eq!(queues.receive("q", 1, seconds(1)).unwrap().len(), 1);
    tokio::join!(queues.wait_for_message("missing", seconds(5)), async {
        other_clock.advance(seconds(5));
    });
}

#[test]
fn a_storage_message_expires_after_its_ttl() {
    let (queues, clock) = storage_queues();
    queues.put("q", "short".to_owned(), Duration::ZERO, Some(seconds(10))).unwrap();
    let kept = queues.put("q", "long".to_owned(), Duration::ZERO, None).unwrap();
    assert_eq!(kept.expiration_time.year(), 9999);
    clock.advance(seconds(10));
    assert_eq!(queues.counts("q"), Ok(1));
    assert_eq!(queues.receive("q", 10, seconds(1)).unwrap()[0].body, "long");
}

/// A million messages: seconds if nothing scans them. A scan would take hours, until the test
/// runner's timeout.
#[test]
fn a_million_messages_are_handled_in_seconds() {
    let (bus, clock) = service_bus(QueueOptions::default());
    for batch in 0..10_000 {
        let messages = (0..100).map(|n| NewMessage::new(format!("{batch}/{n}")));
        bus.send("q", messages.collect()).unwrap();
    }
    for _ in 0..1_000 {
        bus.receive("q", 100).unwrap();
    }
    clock.advance(seconds(61));
    let first = bus.receive("q", 100).unwrap();
    assert_eq!((first[0].body.as_str(), first[0].delivery_count), ("0/0", 2));
    for message in first {
        bus.complete("q", &message.lock_token).unwrap();
    }
    assert_eq!(bus.counts("q").unwrap().active, 999_900);
}

#[derive(Debug, Clone)]
enum Step {
    Send {
        delay: u64,
    },
    Receive {
        max: usize,
    },
    /// Settles one of the received messages, by its index.
    Complete(prop::sample::Index),
    Abandon(prop::sample::Index),
    Wait {
        seconds: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..90u64).prop_map(|delay| Step::Send { delay: delay.saturating_sub(45) }),
        (1..4usize).prop_map(|max| Step::Receive { max }),
        any::<prop::sample::Index>().prop_map(Step::Complete),
        any::<prop::sample::Index>().prop_map(Step::Abandon),
        (0..45u64).prop_map(|seconds| Step::Wait { seconds }),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever receivers do, a message that was sent and not completed is in the queue, and no two
    /// receivers hold the same message.
    #[test]
    fn service_bus_loses_nothing_and_locks_for_one(steps in steps()) {
        let (bus, clock) = service_bus(QueueOptions {
            lock_duration: seconds(30),
            max_delivery_count: 3,
            ..QueueOptions::default()
        });
        let (mut sent, mut completed) = (0, 0);
        let mut held: Vec<LockedMessage> = Vec::new();
        for step in steps {
            match step {
                Step::Send { delay } => {
                    let scheduled = Some(clock.now() + seconds(delay));
                    bus.send("q", vec![NewMessage { scheduled, ..NewMessage::new(sent.to_string()) }]).unwrap();
                    sent += 1;
                }
                Step::Receive { max } => {
                    for message in bus.receive("q", max).unwrap() {
                        let now = clock.now();
                        let other = held.iter().find(|other| other.body == message.body && other.locked_until > now);
                        prop_assert!(other.is_none(), "delivered twice under a lock");
                        prop_assert!(message.delivery_count <= 3);
                        held.push(message);
                    }
                }
                Step::Complete(place) if !held.is_empty() => {
                    let message = held.swap_remove(place.index(held.len()));
                    let result = bus.complete("q", &message.lock_token);
                    prop_assert_eq!(result.is_ok(), message.locked_until > clock.now());
                    completed += usize::from(result.is_ok());
                }
                Step::Abandon(place) if !held.is_empty() => {
                    let message = held.swap_remove(place.index(held.len()));
                    let result = bus.abandon("q", &message.lock_token);
                    prop_assert_eq!(result.is_ok(), message.locked_until > clock.now());
                }
                Step::Complete(_) | Step::Abandon(_) => {}
                Step::Wait { seconds: waited } => clock.advance(seconds(waited)),
            }
            let counts = bus.counts("q").unwrap();
            prop_assert_eq!(counts.active + counts.scheduled + counts.dead_letter + completed, sent);
        }
    }

    /// The same for Storage Queues, where an old pop receipt is valid until another receiver gets
    /// the message.
    #[test]
    fn storage_queues_lose_nothing_and_hide_messages(steps in steps()) {
        let (queues, clock) = storage_queues();
        let (mut put, mut deleted) = (0, 0);
        // The latest receipt of each message, and until when the message is hidden.
        let mut held = BTreeMap::new();
        let take = |held: &mut BTreeMap<String, (String, OffsetDateTime)>, place: prop::sample::Index| {
            let id = held.keys().nth(place.index(held.len()))?.clone();
            held.remove(&id).map(|(receipt, _)| (id, receipt))
        };
        for step in steps {
            match step {
                Step::Send { delay } => {
                    queues.put("q", put.to_string(), seconds(delay), None).unwrap();
                    put += 1;
                }
                Step::Receive { max } => {
                    for message in queues.receive("q", max, seconds(30)).unwrap() {
                        let now = clock.now();
                        let before = held.insert(message.id, (message.pop_receipt, message.next_visible_time));
                        prop_assert!(before.is_none_or(|(_, hidden_until)| hidden_until <= now));
                    }
                }
                Step::Complete(place) if !held.is_empty() => {
                    if let Some((id, receipt)) = take(&mut held, place) {
                        prop_assert_eq!(queues.delete("q", &id, &receipt), Ok(()));
                        let again = queues.delete("q", &id, &receipt);
                        prop_assert_eq!(again, Err(BrokerError::MessageNotFound { id }));
                        deleted += 1;
                    }
                }
                Step::Abandon(place) if !held.is_empty() => {
                    if let Some((id, receipt)) = take(&mut held, place) {
                        queues.update("q", &id, &receipt, Duration::ZERO, None).unwrap();
                        prop_assert_eq!(queues.delete("q", &id, &receipt), Err(BrokerError::PopReceiptMismatch));
                    }
                }
                Step::Complete(_) | Step::Abandon(_) => {}
                Step::Wait { seconds: waited } => clock.advance(seconds(waited)),
            }
            prop_assert_eq!(queues.counts("q").unwrap() + deleted, put);
        }
    }
}
