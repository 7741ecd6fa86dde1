//! The nesting depth of JSON. Input nested deeper than [`DEEPEST_NESTING`] is rejected: parsers
//! have a maximum depth (128 in this app, 64 in .NET), and a message, a response or a stage's
//! summary that contains the input is nested deeper still.

/// Maximum number of nested objects and arrays, including the outermost one.
pub const DEEPEST_NESTING: usize = 64;

/// The maximum nesting depth of objects and arrays in JSON text. For text that is not JSON the
/// number is meaningless: parsing it reports the error.
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
    fn only_brackets_outside_strings_count() {
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
