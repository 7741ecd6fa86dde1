//! The one form of a time that both protocols put into headers and documents: `Mon, 23 Nov 2026
//! 19:00:00 GMT`.

use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem,
    macros::format_description,
};

const RFC_1123: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// Whole seconds; fractions are cut.
pub(super) fn http_time(moment: OffsetDateTime) -> String {
    moment.format(RFC_1123).unwrap_or_default()
}

/// The moment that a client wrote, if it wrote one.
pub(super) fn parse_http_time(text: &str) -> Option<OffsetDateTime> {
    let moment = PrimitiveDateTime::parse(text.trim(), RFC_1123).ok()?;
    Some(moment.assume_utc())
}
