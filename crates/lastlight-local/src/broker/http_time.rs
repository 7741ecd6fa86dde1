//! The time format in the headers and documents of both protocols: `Mon, 23 Nov 2026 19:00:00 GMT`.

use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem,
    macros::format_description,
};

const RFC_1123: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// Formats a time in whole seconds; fractions are truncated.
pub(super) fn http_time(moment: OffsetDateTime) -> String {
    moment.format(RFC_1123).unwrap_or_default()
}

/// Parses a time from a client; `None` if it is malformed.
pub(super) fn parse_http_time(text: &str) -> Option<OffsetDateTime> {
    let moment = PrimitiveDateTime::parse(text.trim(), RFC_1123).ok()?;
    Some(moment.assume_utc())
}
