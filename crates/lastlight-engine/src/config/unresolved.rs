//! Detects references, to Key Vault or App Configuration, that the platform did not resolve: the
//! setting's value is then the reference itself.

/// The problem and its remedy if `text`, a setting's value, is an unresolved reference.
pub fn unresolved(text: &str) -> Option<(String, &'static str)> {
    let rest = |prefix: &str| {
        let begins = text.get(..prefix.len())?.eq_ignore_ascii_case(prefix);
        begins.then(|| &text[prefix.len()..])
    };
    if let Some(reference) = rest("@Microsoft.KeyVault") {
        return Some((
            format!("is a Key Vault reference that was not resolved{}", named(reference)),
            "The app's identity lacks the permission to read the secret (the role Key Vault Secrets User), the vault's \
             firewall blocks the app, or the reference is wrong: the portal shows the cause beside the setting. Fix that and \
             restart the app. Outside Azure references are not resolved: set the value itself.",
        ));
    }
    rest("@Microsoft.AppConfiguration").map(|_| {
        (
            "is an App Configuration reference that was not resolved".to_owned(),
            "The app's identity lacks the permission to read the store (the role App Configuration Data Reader), or the \
             reference is wrong: the portal shows the cause beside the setting. Fix that and restart the app. Outside Azure \
             references are not resolved: set the value itself.",
        )
    })
}

/// Names the vault and the secret, if both are plain names; anything else may be a pasted secret
/// and is not repeated.
fn named(reference: &str) -> String {
    let reference = reference.trim_matches(['(', ')', ' ']);
    let part = |name: &str| {
        reference.split(';').find_map(|part| {
            let (key, value) = part.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let by_uri = part("SecretUri").and_then(|uri| {
        let (vault, path) = uri.strip_prefix("https://")?.split_once('/')?;
        Some((vault.split('.').next()?, path.strip_prefix("secrets/")?.split('/').next()?))
    });
    let is_name = |text: &&str| {
        !text.is_empty()
            && text.len() <= 127
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    match by_uri.or_else(|| Some((part("VaultName")?, part("SecretName")?))) {
        Some((vault, secret)) if [vault, secret].iter().all(is_name) => {
            format!(" (secret {secret:?} of vault {vault:?})")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_apart_from_values() {
        for text in [
            "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/db-url/0123)",
            "@microsoft.keyvault(VaultName=v;SecretName=db-url)",
        ] {
            let (problem, _) = unresolved(text).unwrap();
            assert!(problem.ends_with(r#"(secret "db-url" of vault "v")"#), "{problem}");
        }
        let (problem, _) = unresolved("@Microsoft.KeyVault(postgresql://u:hunter2@h/d)").unwrap();
        assert!(!problem.contains("hunter2"), "{problem}");
        assert!(unresolved("@Microsoft.AppConfiguration(Endpoint=https://x; Key=k)").is_some());
        assert!(
            unresolved("postgresql://u@h/d").is_none()
                && unresolved("@").is_none()
                && unresolved("ä").is_none()
        );
    }
}
