//! Pages of lists. A page examines a bounded number of rows, however few of them match its filter,
//! and returns the position where it stopped.

use time::OffsetDateTime;

use crate::model::JobId;

/// Maximum size of a page's content in bytes; a page has at least one row, however large.
pub const LARGEST_PAGE: usize = 4 * 1024 * 1024;

/// A job's position in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobPosition {
    /// When it was submitted.
    pub created_at: OffsetDateTime,
    pub job_id: JobId,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page<Row, Position> {
    pub rows: Vec<Row>,
    /// Number of rows that were examined.
    pub looked_at: u64,
    /// Position after which the list continues, if there may be more.
    pub next: Option<Position>,
}

/// Reads a page from rows with their place, position and content. The statement asked for one row
/// more than `limit`; if it found fewer, the last row has no content: there the search stopped. That
/// row is missing if rows were left out because they are too large for one page.
pub(in crate::store) fn page_of<T, P>(
    rows: impl Iterator<Item = (i64, P, Option<T>)>,
    limit: u16,
    look: u32,
) -> Page<T, P> {
    let mut page = Page { rows: Vec::new(), looked_at: 0, next: None };
    for (place, position, content) in rows {
        let goes_on = match content {
            Some(_) if page.rows.len() == usize::from(limit) => break,
            Some(content) => {
                page.rows.push(content);
                true
            }
            None => place >= i64::from(look),
        };
        page.looked_at = u64::try_from(place).unwrap_or_default();
        page.next = goes_on.then_some(position);
    }
    page
}
