//! The canonical JSON of parameters: byte for byte the output of Python's `json.dumps(parameters,
//! sort_keys=True)`, because a job's id is its hash (PYTHON_APP.md, "Ids").

use std::fmt::{self, Write};

use serde_json::{Map, Number, Value};

/// An integer that fits neither `i64` nor `u64`. Parsed as a float, it would hash to another job
/// id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{literal} is out of range: whole numbers from -9223372036854775808 to 18446744073709551615 are allowed"
)]
pub struct WideInteger {
    /// The number as it was written, truncated.
    pub literal: String,
}

/// Writes `value` as Python would.
///
/// # Errors
/// Only errors of `out` itself; a `String` and a hasher never fail.
pub fn write_canonical(value: &Value, out: &mut impl Write) -> fmt::Result {
    match value {
        Value::Null => out.write_str("null"),
        Value::Bool(true) => out.write_str("true"),
        Value::Bool(false) => out.write_str("false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.write_char('[')?;
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.write_str(", ")?;
                }
                write_canonical(item, out)?;
            }
            out.write_char(']')
        }
        Value::Object(fields) => write_canonical_object(fields, out),
    }
}

/// Writes an object as Python would: keys in the order of their code points.
///
/// # Errors
/// Only errors of `out` itself.
pub fn write_canonical_object(fields: &Map<String, Value>, out: &mut impl Write) -> fmt::Result {
    // The order of UTF-8 bytes is the order of code points, which is Python's.
    let mut keys: Vec<&String> = fields.keys().collect();
    keys.sort_unstable();
    out.write_char('{')?;
    for (place, key) in keys.into_iter().enumerate() {
        if place > 0 {
            out.write_str(", ")?;
        }
        write_text(key, out)?;
        out.write_str(": ")?;
        match fields.get(key) {
            Some(value) => write_canonical(value, out)?,
            None => out.write_str("null")?,
        }
    }
    out.write_char('}')
}

fn write_number(number: &Number, out: &mut impl Write) -> fmt::Result {
    if let Some(integer) = number.as_i64() {
        return write!(out, "{integer}");
    }
    if let Some(integer) = number.as_u64() {
        return write!(out, "{integer}");
    }
    match number.as_f64() {
        Some(float) => write_float(float, out),
        None => write!(out, "{number}"),
    }
}

/// Python's `repr(float)`: the shortest digits that parse to the same float; with an exponent below
/// 1e-4 and from 1e16.
fn write_float(float: f64, out: &mut impl Write) -> fmt::Result {
    if float == 0.0 {
        return out.write_str(if float.is_sign_negative() { "-0.0" } else { "0.0" });
    }
    // Rust prints the same shortest digits, in its own notation: 1.2345e-7.
    let scientific = format!("{float:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return out.write_str(&scientific);
    };
    let power: i32 = exponent.parse().map_err(|_| fmt::Error)?;
    if (-4..16).contains(&power) {
        let plain = float.to_string();
        out.write_str(&plain)?;
        return if plain.contains('.') { Ok(()) } else { out.write_str(".0") };
    }
    let sign = if power < 0 { '-' } else { '+' };
    write!(out, "{digits}e{sign}{:02}", power.unsigned_abs())
}

fn write_text(text: &str, out: &mut impl Write) -> fmt::Result {
    out.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\u{8}' => out.write_str("\\b")?,
            '\u{c}' => out.write_str("\\f")?,
            // Python escapes everything but printable ASCII, so DEL too.
            ' '..='~' => out.write_char(character)?,
            _ => {
                let mut units = [0_u16; 2];
                for unit in character.encode_utf16(&mut units) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
    }
    out.write_char('"')
}

/// Rejects JSON text with an integer literal that would silently become a float when parsed.
///
/// # Errors
/// The first such literal. Text that is not JSON passes: parsing it reports the error.
pub fn reject_wide_integers(json: &str) -> Result<(), WideInteger> {
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = after_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let end = at + bytes[at..].iter().take_while(|byte| is_of_number(**byte)).count();
                let literal = &json[at..end];
                let is_integer = !literal.contains(['.', 'e', 'E']);
                if is_integer && literal.parse::<i64>().is_err() && literal.parse::<u64>().is_err()
                {
                    return Err(WideInteger { literal: literal.chars().take(40).collect() });
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    Ok(())
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')
}

/// The position after the string that starts at `start`.
fn after_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> String {
        let mut text = String::new();
        write_canonical(&serde_json::from_str(json).unwrap(), &mut text).unwrap();
        text
    }

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        for (json, python) in [
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("1.5e300", "1.5e+300"),
            ("5e-324", "5e-324"),
            ("123456789.125", "123456789.125"),
            ("-0.0", "-0.0"),
            ("3", "3"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
        ] {
            assert_eq!(canonical(json), python, "{json}");
        }
    }

    #[test]
    fn text_outside_ascii_is_escaped_as_utf_16() {
        assert_eq!(
            canonical(r#""é\u007f\u0001\b\f🌍""#),
            "\"\\u00e9\\u007f\\u0001\\b\\f\\ud83c\\udf0d\""
        );
    }

    #[test]
    fn an_integer_too_wide_for_64_bits_is_rejected() {
        assert!(
            reject_wide_integers(r#"{"a": [1, -5, 2.5, 1e30, "99999999999999999999"]}"#).is_ok()
        );
        let wide = reject_wide_integers(r#"{"a\"": 99999999999999999999}"#).unwrap_err();
        assert_eq!(wide.literal, "99999999999999999999");
        assert!(reject_wide_integers("-9223372036854775809").is_err());
    }
}
