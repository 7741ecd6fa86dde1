//! Timer triggers: six-field schedules, seconds first, in UTC.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use croner::{
    Cron,
    parser::{CronParser, Seconds},
};
use time::OffsetDateTime;

use super::{client::Handler, payload};

pub(super) fn parse(schedule: &str) -> Result<Cron, String> {
    CronParser::builder()
        .seconds(Seconds::Optional)
        .build()
        .parse(schedule)
        .map_err(|error| format!("schedule {schedule:?} is not a six-field schedule: {error}"))
}

pub(super) async fn run(function: Arc<str>, binding: String, schedule: String, handler: Handler) {
    let Ok(cron) = parse(&schedule) else { return };
    let mut last = Utc::now();
    loop {
        let Ok(next) = cron.find_next_occurrence(&last, false) else {
            return;
        };
        let wait = (next - Utc::now()).to_std().unwrap_or(Duration::ZERO);
        tokio::time::sleep(wait).await;
        let after = cron.find_next_occurrence(&next, false).unwrap_or(next);
        let payload = payload::timer(&function, &binding, moment(next), moment(after), false);
        if let Err(error) = handler.invoke(&function, payload).await {
            tracing::warn!(%function, %error, "invocation failed");
        }
        // Ticks that were missed in the meantime are made up for once, not one by one.
        last = next.max(Utc::now() - chrono::Duration::seconds(1));
    }
}

fn moment(time: DateTime<Utc>) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(time.timestamp()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn schedules_have_six_fields_with_seconds_first() {
        let cron = parse("0 */1 * * * *").unwrap();
        let at = DateTime::<Utc>::from_str("2026-11-23T19:00:30Z").unwrap();
        assert_eq!(
            cron.find_next_occurrence(&at, false).unwrap().to_rfc3339(),
            "2026-11-23T19:01:00+00:00"
        );
        assert!(parse("every minute").unwrap_err().contains("every minute"));
    }
}
