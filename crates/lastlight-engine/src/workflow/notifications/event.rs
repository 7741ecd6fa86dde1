//! What is sent: an event as CloudEvents 1.0 in JSON, with its envelope. No parameters and no results of the job: they may be large,
//! and secret.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    config::NotificationSettings,
    config::endpoint::is_this_machine,
    model::timestamp,
    store::{EventToTell, NewNotification},
};

/// Longest error of a job that is sent, in characters.
const ERROR_SENT: usize = 2000;

/// The notifications of an event: one for each address of the settings that is told of this job, and for each that the job names.
pub(super) fn notifications_of(
    settings: &NotificationSettings,
    event: &EventToTell,
) -> Vec<NewNotification> {
    let of_settings = settings
        .addresses
        .iter()
        .filter(|one| one.is_told_of(&event.labels))
        .map(|one| one.address.url().as_str());
    let of_job = event.addresses.iter().map(String::as_str);
    let mut addresses: Vec<&str> = of_settings.chain(of_job).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
        .into_iter()
        .map(|address| {
            let id = id_of(event, address);
            NewNotification {
                id,
                job_id: event.job_id,
                kind: event.kind.clone(),
                address: address.to_owned(),
                body: body(settings, event, id).to_string(),
            }
        })
        .collect()
}

/// The same for the same event and address, whoever makes it and however often. The time is a part of it: in a database that was
/// made again, numbers of events begin again.
fn id_of(event: &EventToTell, address: &str) -> Uuid {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(event.job_id.as_str())
        .chain_update(event.event_id.to_be_bytes())
        .chain_update(event.happened_at.unix_timestamp_nanos().to_be_bytes())
        .chain_update(address)
        .finalize()
        .into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn body(settings: &NotificationSettings, event: &EventToTell, id: Uuid) -> Value {
    let happened_at = timestamp::write(event.happened_at);
    let ended_as = event.kind.strip_prefix("job_");
    let kind = match ended_as {
        Some(status) => format!("job.{status}"),
        None => event.kind.replacen('_', ".", 1),
    };
    let detail: Value = event
        .detail
        .as_ref()
        .and_then(|detail| serde_json::from_str(detail.0.get()).ok())
        .unwrap_or_default();
    let error = detail["error"].as_str();
    json!({
        "specversion": "1.0",
        "id": id.to_string(),
        "source": settings.source,
        "type": format!("org.lastlight.{kind}"),
        "subject": event.job_id,
        "time": happened_at,
        "datacontenttype": "application/json",
        "data": {
            "job_id": event.job_id,
            "job_type": event.job_type,
            // A job that waits at a gate runs.
            "status": ended_as.unwrap_or("processing"),
            "error": error.map(|error| error.chars().take(ERROR_SENT).collect::<String>()),
            "run": event.run,
            "finished_at": ended_as.map(|_| &happened_at),
            "stage": event.stage,
            "node": event.node,
            "labels": event.labels,
            "status_url": settings.host.as_deref().map(|host| status_url(host, event)),
        },
    })
}

fn status_url(host: &str, event: &EventToTell) -> String {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let scheme = if is_this_machine(name) { "http" } else { "https" };
    format!("{scheme}://{host}/api/jobs/status/{}", event.job_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Env,
        model::{JobId, Labels},
        store::JsonText,
    };

    fn settings(pairs: &[(&str, &str)]) -> NotificationSettings {
        let mut env = Env::from_pairs(pairs.iter().copied());
        let settings = NotificationSettings::from_env(&mut env);
        env.finish().unwrap();
        settings
    }

    fn event(kind: &str) -> EventToTell {
        let detail = json!({ "error": "x".repeat(3000) }).to_string();
        EventToTell {
            job_id: "a".repeat(64).parse::<JobId>().unwrap(),
            event_id: 7,
            kind: kind.to_owned(),
            run: 2,
            stage: None,
            node: None,
            happened_at: timestamp::read("2026-12-01T10:00:00+00:00").unwrap(),
            detail: Some(JsonText(serde_json::from_str(&detail).unwrap())),
            job_type: "tiles".to_owned(),
            addresses: Vec::new(),
            labels: Labels::default(),
        }
    }

    #[test]
    fn an_end_is_a_cloud_event_with_its_job() {
        let settings = settings(&[
            ("NOTIFY_URLS", "https://a.example/"),
            ("WEBSITE_SITE_NAME", "geo tiles"),
            ("WEBSITE_HOSTNAME", "geo.azurewebsites.net"),
        ]);
        let event = event("job_failed");
        let [one] = <[_; 1]>::try_from(notifications_of(&settings, &event)).unwrap();
        let body: Value = serde_json::from_str(&one.body).unwrap();
        let job_id = "a".repeat(64);
        assert_eq!(
            body,
            json!({
                "specversion": "1.0",
                "id": one.id.to_string(),
                "source": "/lastlight/geo%20tiles",
                "type": "org.lastlight.job.failed",
                "subject": job_id,
                "time": "2026-12-01T10:00:00.000000+00:00",
                "datacontenttype": "application/json",
                "data": {
                    "job_id": job_id,
                    "job_type": "tiles",
                    "status": "failed",
                    "error": "x".repeat(2000),
                    "run": 2,
                    "finished_at": "2026-12-01T10:00:00.000000+00:00",
                    "stage": null,
                    "node": null,
                    "labels": {},
                    "status_url": format!("https://geo.azurewebsites.net/api/jobs/status/{job_id}"),
                },
            })
        );
    }

    #[test]
    fn each_event_and_address_has_an_id_of_its_own() {
        let settings = settings(&[
            ("NOTIFY_URLS", "https://a.example/, https://b.example/"),
            ("NOTIFY_ALLOWED_HOSTS", "*.example.org"),
        ]);
        let mut event = event("gate_waiting");
        event.addresses =
            vec!["https://b.example/".to_owned(), "https://c.example.org/".to_owned()];
        let first = notifications_of(&settings, &event);
        let addresses: Vec<&str> = first.iter().map(|one| one.address.as_str()).collect();
        // Named by a setting and by the job: told once.
        assert_eq!(
            addresses,
            ["https://a.example/", "https://b.example/", "https://c.example.org/"]
        );
        assert_eq!(notifications_of(&settings, &event), first, "a repeat is the same");
        let body: Value = serde_json::from_str(&first[0].body).unwrap();
        assert_eq!(body["type"], "org.lastlight.gate.waiting");
        assert_eq!(
            (&body["data"]["status"], &body["data"]["finished_at"]),
            (&json!("processing"), &Value::Null)
        );
        event.event_id += 1;
        let second = notifications_of(&settings, &event);
        let mut ids: Vec<Uuid> = first.iter().chain(&second).map(|one| one.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 6);
    }

    #[test]
    fn labels_choose_the_addresses_of_a_setting() {
        let settings = settings(&[(
            "NOTIFY_URLS",
            "label.team=roads https://roads.example/, label.team=rivers https://rivers.example/",
        )]);
        let mut event = event("job_completed");
        assert_eq!(notifications_of(&settings, &event), []);
        event.labels = Labels::of([("team".to_owned(), "roads".to_owned())]).unwrap();
        let told = notifications_of(&settings, &event);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].address, "https://roads.example/");
    }
}
