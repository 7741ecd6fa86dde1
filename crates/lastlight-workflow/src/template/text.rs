//! Which texts are templates.

/// What a text in a mapping of parameters is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text<'a> {
    /// A literal without any sign of a template.
    Plain,
    /// One expression, without its braces.
    Template(&'a str),
    /// A literal that contains a template, but is more than that: probably not meant.
    Mixed,
    /// It has a statement: `{% … %}`.
    Statement,
}

/// What a text is.
pub(crate) fn kind_of(text: &str) -> Text<'_> {
    let trimmed = text.trim();
    if trimmed.starts_with("{%") || (text.contains("{{") && text.contains("{%")) {
        return Text::Statement;
    }
    match trimmed.strip_prefix("{{").and_then(inside) {
        // `{{-` and `-}}` are those of Jinja that remove blanks around.
        Some(inside) => {
            let inside = inside.strip_prefix(['-', '+']).unwrap_or(inside);
            Text::Template(inside.strip_suffix('-').unwrap_or(inside).trim())
        }
        None if text.contains("{{") => Text::Mixed,
        None => Text::Plain,
    }
}

/// The expression before the braces that end it, if they are the end of the text.
fn inside(rest: &str) -> Option<&str> {
    let mut quote = None;
    let mut depth = 0_usize;
    let mut characters = rest.char_indices();
    while let Some((place, character)) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => {
                characters.next();
            }
            (Some(open), character) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '{') => depth += 1,
            (None, '}') if depth > 0 => depth -= 1,
            (None, '}') if rest[place..].starts_with("}}") => {
                return (place + 2 == rest.len()).then_some(&rest[..place]);
            }
            (None, _) => {}
        }
    }
    // A quote that is not closed is a problem of the expression.
    quote.and(rest.strip_suffix("}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_all_of_its_text() {
        for template in ["{{ item }}", "{{item}}", " {{ item }}\n", "{{- item -}}"] {
            assert_eq!(kind_of(template), Text::Template("item"), "{template}");
        }
        assert_eq!(kind_of("{{ {'a': {'b': 1}} }}"), Text::Template("{'a': {'b': 1}}"));
        assert_eq!(kind_of("{{ '}}' ~ \"a'}}\" }}"), Text::Template("'}}' ~ \"a'}}\""));
        assert_eq!(kind_of("{{ 'open }}"), Text::Template("'open"));
        assert_eq!(kind_of("{{}}"), Text::Template(""));
    }

    #[test]
    fn other_texts_are_literals() {
        for plain in ["approved", "{ a }", "}}", "{%5"] {
            let expected = if plain == "{%5" { Text::Statement } else { Text::Plain };
            assert_eq!(kind_of(plain), expected, "{plain}");
        }
        for mixed in ["tile-{{ index }}", "{{ a }}{{ b }}", "{{ a", "{{ a }} and more"] {
            assert_eq!(kind_of(mixed), Text::Mixed, "{mixed}");
        }
        assert_eq!(kind_of("{% if a %}{{ b }}{% endif %}"), Text::Statement);
    }
}
