//! Writes Prometheus' text format, version 0.0.4. Knows no metric by name.
//!
//! Without a client library: values are read where they are stored, so a library's counters would
//! only be copies, and its histogram takes a lock where ours takes none.

use std::fmt::{Display, Write};

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only increases, until the process restarts.
    Counter,
    /// Goes up and down.
    Gauge,
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The text written so far.
#[derive(Debug, Default)]
pub(super) struct PrometheusText {
    text: String,
    /// A label that is added to every sample.
    shared: Option<(&'static str, String)>,
}

/// A metric's labels, by name.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl PrometheusText {
    /// Adds this label to every sample from here on.
    pub(super) fn share(&mut self, name: &'static str, value: &str) {
        self.shared = Some((name, value.to_owned()));
    }

    /// Starts a metric; its samples follow immediately.
    pub(super) fn metric(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &'static str,
    ) -> Samples<'_> {
        let kind = kind.name();
        // Writing to a String does not fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Samples {
            text: &mut self.text,
            shared: self.shared.as_ref().map(|(name, value)| (*name, value.as_str())),
            name,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// The samples of one metric.
#[derive(Debug)]
pub(super) struct Samples<'a> {
    text: &'a mut String,
    shared: Option<(&'static str, &'a str)>,
    name: &'static str,
}

impl Samples<'_> {
    pub(super) fn value(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// Writes a histogram: for each bound, the number of samples up to it; then the number of all
    /// samples and their sum.
    pub(super) fn histogram<Bound: Display>(
        &mut self,
        labels: Labels<'_>,
        at_most: &[(Bound, u64)],
        count: u64,
        sum: impl Display,
    ) {
        for (bound, count) in at_most {
            self.line("_bucket", labels, Some(&bound.to_string()), count);
        }
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        let labels = self.shared.into_iter().chain(labels.iter().copied()).chain(bound);
        let mut before = '{';
        for (name, value) in labels {
            self.text.push(before);
            before = ',';
            self.text.push_str(name);
            self.text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_histograms_complete() {
        let mut text = PrometheusText::default();
        text.metric("odd", Kind::Gauge, "Odd labels.").value(&[("a", "x\"\\\n"), ("b", "{}")], 1.5);
        text.share("process", "p");
        text.metric("sizes", Kind::Histogram, "Sizes.").histogram(&[], &[(1, 2), (2, 5)], 6, 8);
        insta::assert_snapshot!(text.into_text(), @r#"
        # HELP odd Odd labels.
        # TYPE odd gauge
        odd{a="x\"\\\n",b="{}"} 1.5
        # HELP sizes Sizes.
        # TYPE sizes histogram
        sizes_bucket{process="p",le="1"} 2
        sizes_bucket{process="p",le="2"} 5
        sizes_bucket{process="p",le="+Inf"} 6
        sizes_sum{process="p"} 8
        sizes_count{process="p"} 6
        "#);
    }
}
