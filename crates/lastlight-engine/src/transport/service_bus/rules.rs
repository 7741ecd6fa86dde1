//! A queue's properties from the management API, for `doctor`.

use std::time::Duration;

use super::{ServiceBusRepository, description::Description};
use crate::transport::sender::{QueueRole, SendError};

/// A queue's properties; those that the service does not report are absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueRules {
    /// How long a receiver holds the lock of a message.
    pub lock_duration: Option<Duration>,
    /// Number of deliveries after which a message is dead-lettered.
    pub max_delivery_count: Option<u32>,
    /// Whether a second message with the same id is dropped.
    pub drops_duplicates: Option<bool>,
    /// Whether messages must belong to a session.
    pub requires_session: Option<bool>,
    /// `Active`, or the reason why it accepts or delivers no messages.
    pub status: Option<String>,
}

impl ServiceBusRepository {
    /// Reads the properties of a queue.
    ///
    /// # Errors
    /// The service cannot be reached, or there is no such queue.
    pub async fn rules(&self, role: QueueRole) -> Result<QueueRules, SendError> {
        self.description(role).await.map(QueueRules::from)
    }
}

impl From<Description> for QueueRules {
    fn from(description: Description) -> Self {
        Self {
            lock_duration: description.lock_duration.as_deref().and_then(iso_duration),
            max_delivery_count: description.max_delivery_count,
            drops_duplicates: description.requires_duplicate_detection,
            requires_session: description.requires_session,
            status: description.status,
        }
    }
}

/// Parses `PT1M`, `PT90S`, `P1DT2H`; fractions of a second are truncated.
fn iso_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('P')?;
    let mut seconds = 0_u64;
    let mut is_time = false;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            (is_time, rest) = (true, after);
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let number: u64 = rest[..end].split('.').next()?.parse().ok()?;
        let unit = match (&rest[end..=end], is_time) {
            ("D", false) => 86_400,
            ("H", true) => 3600,
            ("M", true) => 60,
            ("S", true) => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[end + 1..];
    }
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::{
        super::description::{Problem, read},
        *,
    };

    #[test]
    fn a_real_description_is_parsed() {
        let xml = r#"<entry xmlns="http://www.w3.org/2005/Atom"><title type="text">sb-tasks</title><content type="application/xml">
            <QueueDescription xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
              xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><LockDuration>PT1M30S</LockDuration>
            <MaxSizeInMegabytes>1024</MaxSizeInMegabytes><RequiresDuplicateDetection>false</RequiresDuplicateDetection>
            <RequiresSession>false</RequiresSession><DefaultMessageTimeToLive>P10675199DT2H48M5.4775807S</DefaultMessageTimeToLive>
            <DeadLetteringOnMessageExpiration>false</DeadLetteringOnMessageExpiration>
            <DuplicateDetectionHistoryTimeWindow>PT10M</DuplicateDetectionHistoryTimeWindow>
            <MaxDeliveryCount>10</MaxDeliveryCount><Status>SendDisabled</Status></QueueDescription></content></entry>"#;
        let rules = QueueRules::from(read(xml.as_bytes()).ok().unwrap());
        let expected = QueueRules {
            lock_duration: Some(Duration::from_secs(90)),
            max_delivery_count: Some(10),
            drops_duplicates: Some(false),
            requires_session: Some(false),
            status: Some("SendDisabled".to_owned()),
        };
        assert_eq!(rules, expected);
        let nothing = r#"<feed xmlns="http://www.w3.org/2005/Atom"><title type="text">Publicly Listed Services</title></feed>"#;
        assert!(matches!(read(nothing.as_bytes()), Err(Problem::NoQueue)));
        assert!(matches!(read(b"oops"), Err(Problem::Unreadable(_))));
    }

    #[test]
    fn iso_8601_durations_are_parsed() {
        assert_eq!(iso_duration("P1DT2H"), Some(Duration::from_secs(93_600)));
        assert_eq!(
            iso_duration("P10675199DT2H48M5.4775807S"),
            Some(Duration::from_secs(922_337_203_685))
        );
        for bad in ["", "1M", "P1M", "PTM", "PT1X"] {
            assert_eq!(iso_duration(bad), None, "{bad}");
        }
    }
}
