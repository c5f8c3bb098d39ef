//! The user that the server runs as.
//!
//! Postgres refuses to run as root. A program that runs as root starts the server as the user that
//! made the cluster, and makes a new cluster as `postgres`, or as `nobody` if there is no such
//! user. That user is given the server's own directories and nothing else. Any other program runs
//! the server as its own user.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, Permissions},
    os::unix::{
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use nix::unistd::{Uid, User};

/// The users that root may start a server as, in order of preference.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The user that the server runs as.
#[derive(Debug, Clone)]
pub(crate) enum Account {
    /// The user that the program runs as.
    Own,
    /// Another user, since the program runs as root.
    Other {
        /// The user's name, for messages.
        name: String,
        uid: u32,
        gid: u32,
    },
}

impl Account {
    /// Chooses the user for a cluster, which need not exist yet.
    pub(crate) fn for_server(cluster_dir: &Path) -> anyhow::Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self::Own);
        }
        match fs::metadata(cluster_dir) {
            // Root serves a cluster that another user made.
            Ok(metadata) if metadata.uid() != 0 => {
                let (uid, gid) = (metadata.uid(), metadata.gid());
                let user = User::from_uid(Uid::from_raw(uid)).with_context(|| format!("look up the user {uid}"))?;
                return Ok(Self::Other { name: user.map_or_else(|| uid.to_string(), |user| user.name), uid, gid });
            }
            _ => {}
        }
        for name in UNPRIVILEGED {
            if let Some(user) = User::from_name(name).with_context(|| format!("look up the user {name}"))? {
                return Ok(Self::Other { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() });
            }
        }
        bail!(
            "Postgres refuses to run as root, and this machine has no user `postgres` or `nobody` to run it as: \
             make one (`useradd --system postgres`), or start the program as another user than root"
        )
    }

    /// A command that runs as this user, in a process group of its own. A signal that a terminal
    /// sends to the program (Ctrl-C) must not reach the server, which the program stops itself.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").process_group(0).env("LC_ALL", "C").stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            // `PGDATA`, `PGPORT` and similar variables would override the settings of the cluster.
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        if let Self::Other { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// Makes a directory that only this user may enter, or checks that an existing one is private.
    pub(crate) fn make_private_dir(&self, dir: &Path) -> anyhow::Result<()> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => {
                if let Self::Other { uid, gid, .. } = self {
                    chown(dir, Some(*uid), Some(*gid))
                        .with_context(|| format!("give the directory {} to the user of Postgres", dir.display()))?;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("make the directory {}", dir.display())),
        }
        let metadata = fs::symlink_metadata(dir).with_context(|| format!("look at the directory {}", dir.display()))?;
        if !metadata.is_dir() || metadata.uid() != self.uid() || metadata.mode() & 0o077 != 0 {
            bail!(
                "{} must be a directory that belongs to the user {} and that only this user may enter (mode 0700), and \
                 it is not: correct its owner and mode, start the program as the user who made it, or choose another \
                 data directory with --data-dir",
                dir.display(),
                self.name(),
            );
        }
        Ok(())
    }

    /// Makes sure that this user can reach the data directory, so that a first start fails with a
    /// clear sentence instead of in the middle of the server's own start. If the data directory is
    /// closed to the user, it is opened for passage. The directories above it are left as they are.
    pub(crate) fn make_reachable(&self, data_dir: &Path) -> anyhow::Result<()> {
        let mut ancestors: Vec<&Path> = data_dir.ancestors().skip(1).collect();
        ancestors.reverse();
        for ancestor in ancestors {
            if !self.reaches(ancestor)? {
                bail!(
                    "the user `{}`, as whom Postgres runs, may not enter {}: choose a data directory elsewhere with \
                     --data-dir, or let that user through (`chmod o+x {}`)",
                    self.name(),
                    ancestor.display(),
                    ancestor.display(),
                );
            }
        }
        if self.reaches(data_dir)? {
            return Ok(());
        }
        let mode = fs::metadata(data_dir).with_context(|| format!("look at {}", data_dir.display()))?.mode();
        fs::set_permissions(data_dir, Permissions::from_mode(mode & 0o7777 | 0o001))
            .with_context(|| format!("let the user `{}` pass through {}", self.name(), data_dir.display()))?;
        tracing::info!("let the user `{}` pass through {}", self.name(), data_dir.display());
        Ok(())
    }

    fn reaches(&self, dir: &Path) -> anyhow::Result<bool> {
        let reached = self
            .command("/bin/sh")
            .args(["-c", "cd \"$1\"", "sh"])
            .arg(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .with_context(|| format!("run /bin/sh as the user `{}`", self.name()))?;
        Ok(reached.success())
    }

    fn uid(&self) -> u32 {
        match self {
            Self::Own => Uid::effective().as_raw(),
            Self::Other { uid, .. } => *uid,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Own => match User::from_uid(Uid::effective()) {
                Ok(Some(user)) => user.name,
                Ok(None) | Err(_) => Uid::effective().to_string(),
            },
            Self::Other { name, .. } => name.clone(),
        }
    }
}
