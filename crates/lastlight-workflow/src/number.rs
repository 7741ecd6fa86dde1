//! The numbers of nodes.

use std::{fmt, num::NonZeroU8};

use serde::Serialize;

/// A node's number: its place in the topological order, from 1 to 100. The same file always gives
/// the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct NodeNumber(NonZeroU8);

impl NodeNumber {
    /// The number, 1 to 100.
    pub fn get(self) -> u8 {
        self.0.get()
    }

    /// The number; `None` unless it is from 1 to 100.
    pub fn new(number: usize) -> Option<Self> {
        let number = u8::try_from(number).ok().filter(|number| *number <= 100)?;
        NonZeroU8::new(number).map(Self)
    }
}

impl fmt::Display for NodeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
