//! Route templates: `jobs/submit/{job_type}`, `{id:int}`, `{rest?}`.

/// Whether `path`, without the prefix, fits `template`; more literal segments make a better fit.
pub(super) fn fit(template: &str, path: &str) -> Option<usize> {
    let mut literals = 0;
    let mut segments = path.trim_matches('/').split('/').filter(|segment| !segment.is_empty());
    for part in template.trim_matches('/').split('/').filter(|part| !part.is_empty()) {
        let parameter = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        match (parameter, segments.next()) {
            (Some(parameter), None) if parameter.ends_with('?') => {}
            (Some(_), Some(_)) => {}
            (None, Some(segment)) if segment.eq_ignore_ascii_case(part) => literals += 1,
            _ => return None,
        }
    }
    segments.next().is_none().then_some(literals)
}

/// The parameters of a path that fits.
pub(super) fn parameters(template: &str, path: &str) -> Vec<(String, String)> {
    let names = template.trim_matches('/').split('/');
    let values = path.trim_matches('/').split('/');
    names
        .zip(values)
        .filter_map(|(part, value)| {
            let name = part.strip_prefix('{')?.strip_suffix('}')?.trim_end_matches('?');
            let name = name.split(':').next()?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_fit_their_paths_only() {
        assert_eq!(fit("jobs/submit/{job_type}", "/jobs/submit/hello_world"), Some(2));
        assert_eq!(fit("jobs/submit/{job_type}", "/jobs/submit"), None);
        assert_eq!(fit("jobs/submit/{job_type}", "/jobs/submit/a/b"), None);
        assert_eq!(fit("db/jobs/{id?}", "/db/jobs"), Some(2));
        assert_eq!(fit("Health", "/health"), Some(1));
        assert_eq!(
            parameters("a/{x:int}/{y?}", "/a/1/2"),
            [("x".into(), "1".into()), ("y".into(), "2".into())]
        );
    }
}
