//! The W3C `traceparent` (<https://www.w3.org/TR/trace-context/>) of a job in a distributed trace:
//! read from the caller, stored with the job, and written into its messages.
//!
//! It is a hint like everything else in a message: an invalid one is ignored and never an error.

use std::fmt::{self, Debug, Display};

use serde::{Serialize, Serializer};
use uuid::Uuid;

/// A `traceparent` of version 00: trace id, span id, flags. Stored as text, so that writing it is a
/// copy.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent([u8; TraceParent::LENGTH]);

impl TraceParent {
    /// Length in characters, which are ASCII, and so in bytes.
    pub const LENGTH: usize = 55;

    /// Parses one as the recommendation says: lower-case hex, ids that are not all zero. A version
    /// after 00 may have more fields after the flags; they are ignored. Anything else is `None`.
    pub fn read(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let head: &[u8; Self::LENGTH] = bytes.first_chunk()?;
        let has_dashes = [2, 35, 52].into_iter().all(|place| head[place] == b'-');
        let fields = [&head[0..2], &head[3..35], &head[36..52], &head[53..55]];
        let is_hex = |field: &[u8]| field.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        let is_zero = |field: &[u8]| field.iter().all(|c| *c == b'0');
        let [version, trace_id, span_id, flags] = fields;
        if !has_dashes || !fields.into_iter().all(is_hex) || is_zero(trace_id) || is_zero(span_id) {
            return None;
        }
        let ends_well = match version {
            b"ff" => false,
            b"00" => bytes.len() == Self::LENGTH,
            _ => bytes.get(Self::LENGTH).is_none_or(|next| *next == b'-'),
        };
        if !ends_well {
            return None;
        }
        let flags = u8::from_str_radix(std::str::from_utf8(flags).ok()?, 16).ok()?;
        let mut parent = *head;
        parent[..2].copy_from_slice(b"00");
        // Keep "sampled" and "the trace id is random"; other flags must not be propagated.
        parent[53] = b'0';
        parent[54] = b'0' + (flags & 0b11);
        Some(Self(parent))
    }

    /// Creates one for a new trace that is not sampled.
    pub fn generate() -> Self {
        let [trace_id, span_id] =
            [Uuid::new_v4(), Uuid::new_v4()].map(|id| id.simple().to_string());
        // Neither is zero: both contain the UUID's version.
        Self::read(&format!("00-{trace_id}-{}-00", &span_id[8..24]))
            .unwrap_or(Self(*Self::FALLBACK))
    }

    const FALLBACK: &[u8; Self::LENGTH] =
        b"00-00000000000000000000000000000001-0000000000000001-00";

    /// The value of the header.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The trace id, 32 hex digits.
    pub fn trace_id(&self) -> &str {
        &self.as_str()[3..35]
    }

    /// The span id, 16 hex digits.
    pub fn span_id(&self) -> &str {
        &self.as_str()[36..52]
    }

    /// Whether the caller records the trace.
    pub fn is_sampled(&self) -> bool {
        (self.0[54] - b'0') & 1 == 1
    }
}

impl Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for TraceParent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_parsed_per_recommendation() {
        let parent = TraceParent::read(GOOD).unwrap();
        assert_eq!(parent.as_str(), GOOD);
        assert_eq!(parent.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.span_id(), "00f067aa0ba902b7");
        assert!(parent.is_sampled());
        assert!(!TraceParent::read(&GOOD.replace("-01", "-00")).unwrap().is_sampled());
    }

    #[test]
    fn extra_fields_of_later_versions_are_ignored() {
        for later in [
            GOOD.replacen("00-", "cc-", 1),
            format!("{}-what-comes-later", GOOD.replacen("00-", "cc-", 1)),
        ] {
            assert_eq!(TraceParent::read(&later).unwrap().as_str(), GOOD, "{later}");
        }
        assert_eq!(
            TraceParent::read(&GOOD.replace("-01", "-ff")).unwrap().as_str(),
            GOOD.replace("-01", "-03")
        );
    }

    #[test]
    fn an_invalid_traceparent_is_none() {
        for bad in [
            String::new(),
            GOOD[..54].to_owned(),
            format!("{GOOD}-more"),
            format!("{GOOD} "),
            GOOD.replacen("00-", "ff-", 1),
            GOOD.to_uppercase(),
            GOOD.replace('-', "_"),
            format!("{}.", GOOD.replacen("00-", "cc-", 1)),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace("4bf9", "4bg9"),
            "ü".repeat(30),
        ] {
            assert_eq!(TraceParent::read(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn generated_traces_are_unique_and_unsampled() {
        let (one, other) = (TraceParent::generate(), TraceParent::generate());
        assert_ne!(one.trace_id(), other.trace_id());
        assert_eq!(TraceParent::read(one.as_str()), Some(one));
        assert!(!one.is_sampled());
    }

    proptest! {
        #[test]
        fn a_parsed_traceparent_parses_to_itself(text in ".{0,70}") {
            if let Some(parent) = TraceParent::read(&text) {
                prop_assert_eq!(TraceParent::read(parent.as_str()), Some(parent));
            }
        }

        #[test]
        fn every_valid_traceparent_round_trips(trace in 1u128.., span in 1u64.., flags in 0u8..=3) {
            let text = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
            prop_assert_eq!(TraceParent::read(&text).map(|parent| parent.to_string()), Some(text));
        }
    }
}
