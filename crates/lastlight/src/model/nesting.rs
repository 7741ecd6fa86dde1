//! How deep JSON is nested. What is nested deeper than [`DEEPEST_NESTING`] is refused where it
//! comes in: readers stop at some depth (this app's at 128, .NET's at 64), and a message, an answer
//! or a stage's summary that holds it is deeper still.

/// Objects and arrays within each other, the outermost one included.
pub const DEEPEST_NESTING: usize = 64;

/// How many objects and arrays of JSON text stand within each other at the deepest place. Text that
/// is not JSON gets some number: reading it says what is wrong.
pub fn nesting(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => {
                            bytes.next();
                        }
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::nesting;

    #[test]
    fn brackets_count_outside_of_text_alone() {
        for (json, depth) in [
            ("", 0),
            ("1", 0),
            ("{}", 1),
            ("[[], {}, [[]]]", 3),
            (r#"{"a": "[[[[", "b\"[": [1]}"#, 2),
            (r#"{"a\\": [[1]]}"#, 3),
            ("]]][[", 2),
            ("\"[[", 0),
        ] {
            assert_eq!(nesting(json), depth, "{json}");
        }
        assert_eq!(nesting(&"[".repeat(1_000_000)), 1_000_000);
    }
}
