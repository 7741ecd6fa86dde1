//! Converts the formats of database connections to a URL: URLs, the ADO.NET format
//! (`Host=…;Database=…`) and the libpq format (`host=… dbname=…`); the Azure portal offers all
//! three. Does not check whether the values are usable. No message contains a value, since any may
//! be the password.

use url::Url;

/// Converts a database connection to a URL.
///
/// # Errors
/// The problem, as a sentence without its subject, the setting.
pub(super) fn url_of(text: &str) -> Result<Url, String> {
    if text.contains("{your") {
        return Err(
            "still contains a placeholder of the portal, such as {your_password}".to_owned()
        );
    }
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        // The error names the part of the URL and does not contain the URL itself.
        return Url::parse(text).map_err(|error| format!("cannot be parsed: {error}"));
    }
    let begins_with_key = text.split_once('=').is_some_and(|(key, _)| is_key(key.trim()));
    if !begins_with_key {
        return Err("does not start with postgresql:// (its value is a secret)".to_owned());
    }
    let pairs = match is_libpq(text) {
        true => libpq(text)?,
        false => ado(text)?,
    };
    let mut url =
        Url::parse("postgresql:///").map_err(|error| format!("cannot be parsed: {error}"))?;
    url.query_pairs_mut().extend_pairs(pairs);
    Ok(url)
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, ' ' | '_'))
}

/// libpq separates parameters by whitespace, ADO.NET by semicolons, and a password may contain
/// both.
fn is_libpq(text: &str) -> bool {
    let first = text.split(';').next().unwrap_or_default();
    // There may be whitespace around the equals sign.
    let joined = first.split('=').map(str::trim).collect::<Vec<_>>().join("=");
    let mut words = joined.split_whitespace();
    first.len() == text.len() || (words.clone().count() > 1 && words.all(|word| word.contains('=')))
}

/// Parses `host=… dbname='…'`; a backslash escapes the next character.
fn libpq(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let wrong =
            |what| format!("cannot be parsed: its parameter number {} {what}", pairs.len() + 1);
        let (key, after) = rest.split_once('=').ok_or_else(|| wrong("has no ="))?;
        let key = key.trim().to_owned();
        if !is_key(&key) || key.contains(' ') {
            return Err(wrong("has no name before its ="));
        }
        let after = after.trim_start();
        let (quoted, after) = match after.strip_prefix('\'') {
            Some(after) => (true, after),
            None => (false, after),
        };
        let (mut value, mut end, mut closed) = (String::new(), after.len(), !quoted);
        let mut characters = after.char_indices();
        while let Some((place, c)) = characters.next() {
            match c {
                '\\' => value.extend(characters.next().map(|(_, c)| c)),
                '\'' if quoted => {
                    (end, closed) = (place + 1, true);
                    break;
                }
                c if !quoted && c.is_whitespace() => {
                    end = place;
                    break;
                }
                c => value.push(c),
            }
        }
        if !closed {
            return Err(wrong("has a quote that is not closed"));
        }
        pairs.push((key, value));
        rest = after[end..].trim_start();
    }
    Ok(pairs)
}

/// Parses `Host=…;Database=…`; a value with a semicolon is in quotes, which are doubled within it.
fn ado(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let separators = [';', ' ', '\t', '\r', '\n'];
    let mut rest = text.trim_start_matches(separators);
    while !rest.is_empty() {
        let wrong = |what| format!("cannot be parsed: its part number {} {what}", pairs.len() + 1);
        let (key, after) = rest.split_once('=').ok_or_else(|| wrong("has no ="))?;
        if !is_key(key.trim()) {
            return Err(wrong("has no name before its ="));
        }
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, after) = match quote {
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim_end().to_owned(), &after[end..])
            }
            Some(quote) => {
                let doubled = format!("{quote}{quote}");
                let (mut from, inner) = (0, &after[1..]);
                let end = loop {
                    let at = inner[from..]
                        .find(quote)
                        .ok_or_else(|| wrong("has a quote that is not closed"))?;
                    match inner[from + at..].starts_with(&doubled) {
                        true => from += at + 2,
                        false => break from + at,
                    }
                };
                let after = inner[end + 1..].trim_start();
                if !after.is_empty() && !after.starts_with(';') {
                    return Err(wrong("continues after its closing quote"));
                }
                (inner[..end].replace(&doubled, &quote.to_string()), after)
            }
        };
        let (key, value) = named_as_libpq(key.trim(), value);
        pairs.push((key, value));
        rest = after.trim_start_matches(separators);
    }
    Ok(pairs)
}

/// Converts Npgsql's names and modes to those of libpq. A name that libpq does not have is kept,
/// and causes a warning as unknown.
fn named_as_libpq(key: &str, value: String) -> (String, String) {
    let key = key.to_ascii_lowercase();
    let name = match key.replace([' ', '_'], "").as_str() {
        "host" | "server" => "host",
        "port" => "port",
        "database" | "db" => "dbname",
        "username" | "userid" | "user" | "uid" => "user",
        "password" | "pwd" | "psw" => "password",
        "rootcertificate" => "sslrootcert",
        "applicationname" => "application_name",
        "sslmode" => {
            let mode = match value.to_ascii_lowercase().as_str() {
                "verifyca" => "verify-ca".to_owned(),
                "verifyfull" => "verify-full".to_owned(),
                other => other.to_owned(),
            };
            return ("sslmode".to_owned(), mode);
        }
        _ => return (key.replace(' ', "_"), value),
    };
    (name.to_owned(), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        url_of(text).unwrap().query_pairs().into_owned().collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_formats_of_the_portal_are_parsed() {
        let expected = pairs(&[
            ("host", "db.postgres.database.azure.com"),
            ("dbname", "jobs"),
            ("port", "6432"),
            ("user", "app"),
            ("password", "p;w' x=\\"),
            ("sslmode", "require"),
        ]);
        for text in [
            r#"Server=db.postgres.database.azure.com;Database=jobs;Port=6432;User Id=app;Password="p;w' x=\";Ssl Mode=Require;"#,
            r"Host=db.postgres.database.azure.com; Database=jobs; Port=6432; Username=app; Password='p;w'' x=\'; SslMode=require",
            r"host=db.postgres.database.azure.com dbname=jobs port=6432 user=app password='p;w\' x=\\' sslmode=require",
            r"host = db.postgres.database.azure.com dbname=jobs port=6432 user=app password=p;w\'\ x=\\ sslmode=require",
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn parse_errors_do_not_contain_values() {
        for (text, words) in [
            ("mysql://u:hunter2@h/d", "does not start with postgresql://"),
            ("hunter2", "does not start with postgresql://"),
            ("Host=h;hunter2", "part number 2 has no ="),
            ("Host=h;Password=\"hunter2", "part number 2 has a quote that is not closed"),
            ("Host=h;Password=\"hunter2\"x", "part number 2 continues after its closing quote"),
            ("host=h password='hunter2", "parameter number 2 has a quote that is not closed"),
            ("host=h hunter2", "parameter number 2 has no ="),
            ("Host=h;Database=d;Password={your_password}", "placeholder"),
        ] {
            let problem = url_of(text).unwrap_err();
            assert!(problem.contains(words) && !problem.contains("hunter2"), "{text}: {problem}");
        }
    }
}
