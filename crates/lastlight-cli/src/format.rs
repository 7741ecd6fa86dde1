//! Human-readable output: aligned tables, counts, times and durations.

use std::time::Duration;

use time::OffsetDateTime;

use crate::style::{Look, Paint};

/// The alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A table whose columns are as wide as their widest cell.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<(String, Look)>>,
}

impl Table {
    pub fn new<const N: usize>(columns: [(&'static str, Align); N]) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    pub fn row<const N: usize>(&mut self, cells: [(String, Look); N]) {
        self.rows.push(cells.into());
    }

    /// Adds a last column with a cell of each row, in order.
    pub fn column(
        &mut self,
        name: &'static str,
        align: Align,
        cells: impl Iterator<Item = (String, Look)>,
    ) {
        self.columns.push((name, align));
        for (row, cell) in self.rows.iter_mut().zip(cells) {
            row.push(cell);
        }
    }

    /// The table's lines, the header first.
    pub fn text(&self, paint: Paint) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|(text, _)| text.chars().count()).max().unwrap_or_default();
            widest.max(self.columns[column].0.chars().count())
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let header = self.columns.iter().map(|(name, _)| (*name, Look::Faint)).collect();
        let rows = self
            .rows
            .iter()
            .map(|row| row.iter().map(|(text, look)| (text.as_str(), *look)).collect());
        let mut whole = String::new();
        for row in std::iter::once(header).chain(rows) {
            let row: Vec<(&str, Look)> = row;
            whole.push_str(&self.line(&row, &widths, paint));
            whole.push('\n');
        }
        whole
    }

    fn line(&self, row: &[(&str, Look)], widths: &[usize], paint: Paint) -> String {
        let mut line = String::new();
        let last = row.len().saturating_sub(1);
        for (place, ((text, look), (_, align))) in row.iter().zip(&self.columns).enumerate() {
            let blanks = " ".repeat(widths[place].saturating_sub(text.chars().count()));
            // Padding stays outside the colour codes, and a line has no trailing blanks.
            if *align == Align::Right {
                line.push_str(&blanks);
            }
            line.push_str(&paint.text(*look, text));
            if *align == Align::Left && place < last {
                line.push_str(&blanks);
            }
            if place < last {
                line.push_str("  ");
            }
        }
        line.trim_end().to_owned()
    }
}

/// A cell without a colour.
pub fn plain(text: impl Into<String>) -> (String, Look) {
    (text.into(), Look::Plain)
}

/// A count; red if it is above zero.
pub fn count_of_bad(count: i64) -> (String, Look) {
    (count.to_string(), if count > 0 { Look::Bad } else { Look::Plain })
}

/// A count with its noun: `1 task`, `2 tasks`.
pub fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// A time relative to now: `5 min ago`, or `in 2 h` for a future time.
pub fn ago(time: OffsetDateTime, now: OffsetDateTime) -> String {
    let seconds = (now - time).whole_seconds();
    match seconds {
        ..0 => format!("in {}", until(seconds.unsigned_abs())),
        0..5 => "just now".to_owned(),
        _ => format!("{} ago", rough(seconds.unsigned_abs())),
    }
}

fn rough(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A remaining time in two units, rounded: with one truncated unit, 167 hours would read as 6 days.
fn until(seconds: u64) -> String {
    let two = |first: u64, one: &str, second: u64, other: &str| match second {
        0 => format!("{first} {one}"),
        _ => format!("{first} {one} {second} {other}"),
    };
    let minutes = (seconds + 30) / 60;
    let hours = (seconds + 1800) / 3600;
    if seconds < 60 {
        format!("{seconds} s")
    } else if minutes < 24 * 60 {
        two(minutes / 60, "h", minutes % 60, "min").trim_start_matches("0 h ").to_owned()
    } else {
        two(hours / 24, "d", hours % 24, "h")
    }
}

/// A duration: `0.53 s`, `12.4 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub fn lasting(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let whole = time.as_secs();
    match whole {
        0..10 => format!("{seconds:.2} s"),
        10..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// The duration from one time to another; `None` if it is negative (clocks that disagree).
pub fn between(from: OffsetDateTime, to: OffsetDateTime) -> Option<Duration> {
    (to - from).try_into().ok()
}

/// A text in one line, cut to at most `most` characters.
pub fn one_line(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_columns_are_aligned_without_trailing_blanks() {
        let mut table =
            Table::new([("JOB", Align::Left), ("DONE", Align::Right), ("ERROR", Align::Left)]);
        table.row([plain("a"), plain("1000"), plain("")]);
        table.row([plain("löng"), plain("7"), ("bad".to_owned(), Look::Bad)]);
        assert_eq!(
            table.text(Paint::new(false)),
            "JOB   DONE  ERROR\na     1000\nlöng     7  bad\n"
        );
        let coloured = table.text(Paint::new(true));
        assert!(coloured.contains("löng     7  \u{1b}[31mbad\u{1b}[0m\n"), "{coloured:?}");
    }

    #[test]
    fn times_and_durations_are_human_readable() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(10_000_000);
        let before = |seconds: u64| ago(now - Duration::from_secs(seconds), now);
        let said = [2, 59, 60, 3599, 7200, 200_000].map(before);
        assert_eq!(said, ["just now", "59 s ago", "1 min ago", "59 min ago", "2 h ago", "2 d ago"]);
        let after = |seconds: u64| ago(now + Duration::from_secs(seconds), now);
        let said = [45, 90, 3599, 7200, 19_800, 86_380, 93_600, 604_795, 601_500].map(after);
        assert_eq!(
            said,
            [
                "in 45 s",
                "in 2 min",
                "in 1 h",
                "in 2 h",
                "in 5 h 30 min",
                "in 1 d",
                "in 1 d 2 h",
                "in 7 d",
                "in 6 d 23 h"
            ]
        );
        assert_eq!([counted(1, "task"), counted(0, "task")], ["1 task", "0 tasks"]);
        let lasts = [530, 12_400, 200_000, 7_500_000].map(|ms| lasting(Duration::from_millis(ms)));
        assert_eq!(lasts, ["0.53 s", "12.4 s", "3 min 20 s", "2 h 5 min"]);
    }

    #[test]
    fn long_text_is_cut_at_a_character_boundary() {
        assert_eq!(one_line("a\n  b", 9), "a b");
        assert_eq!(one_line("äöü", 2), "äö…");
    }
}
