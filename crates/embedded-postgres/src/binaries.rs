//! Finds the Postgres server programs of a machine, and chooses among them.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;

/// The oldest major version that is supported.
pub(crate) const MAJOR_VERSION_MIN: u32 = 14;

/// The usual directories of server programs, with one `*` for the version: Debian and Ubuntu, the
/// Postgres project's RPMs, Alpine, Arch and others, Homebrew on either kind of Mac, Postgres.app.
const USUAL_PLACES: [&str; 7] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/usr/local/pgsql*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// A directory with `postgres` and `initdb` of one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Binaries {
    /// Major version, e.g. 15.
    pub(crate) major_version: u32,
    /// The directory.
    pub(crate) dir: PathBuf,
}

impl fmt::Display for Binaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.major_version, self.dir.display())
    }
}

impl Binaries {
    /// The server itself.
    pub(crate) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    /// The program that makes a cluster.
    pub(crate) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }

    /// The programs in a directory, if both exist and the server prints its version.
    fn in_dir(dir: &Path) -> Option<Self> {
        let dir = dir.canonicalize().ok()?;
        // A directory in PATH often holds a link to a program in another directory.
        let dir = dir.join("postgres").canonicalize().ok()?.parent()?.to_owned();
        if !dir.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(dir.join("postgres")).arg("--version").stdin(Stdio::null()).output().ok()?;
        let major_version = major_version(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { major_version, dir })
    }
}

/// The server programs that a cluster needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionNeed {
    /// Programs of this major version, which wrote the data.
    Version(u32),
    /// The newest programs, since there is no data yet.
    Newest,
}

impl VersionNeed {
    fn newest_of(self, found: &BTreeSet<Binaries>) -> Option<&Binaries> {
        found.iter().rfind(|binaries| match self {
            Self::Version(version) => binaries.major_version == version,
            Self::Newest => binaries.major_version >= MAJOR_VERSION_MIN,
        })
    }
}

/// The server programs in the directory that the operator named.
pub(crate) fn check_dir(dir: &Path, need: VersionNeed) -> anyhow::Result<Binaries> {
    // The operator may name the server program itself instead.
    let holder = if dir.is_file() { dir.parent().unwrap_or(dir) } else { dir };
    let found = Binaries::in_dir(holder).with_context(|| {
        format!(
            "--postgres-bin (LEDGER_POSTGRES_BIN) names {}, where there are no Postgres server programs `postgres` and \
             `initdb`: name the directory that holds them",
            dir.display()
        )
    })?;
    let found = BTreeSet::from([found]);
    need.newest_of(&found).cloned().with_context(|| describe_missing(need, &found))
}

/// Finds the suitable server programs on this machine and in `more_dirs`. The error is a sentence
/// that says what is missing and how to install it.
pub(crate) fn find(more_dirs: &[PathBuf], need: VersionNeed) -> Result<Binaries, String> {
    let found: BTreeSet<Binaries> =
        candidate_dirs().iter().chain(more_dirs).filter_map(|dir| Binaries::in_dir(dir)).collect();
    need.newest_of(&found).cloned().ok_or_else(|| describe_missing(need, &found))
}

fn describe_missing(need: VersionNeed, found: &BTreeSet<Binaries>) -> String {
    match need {
        VersionNeed::Version(version) => format!(
            "the data was written by Postgres {version}, and this machine has {}: install the server of version \
             {version} (Debian: `apt-get install postgresql-{version}`), or name its directory with --postgres-bin",
            list(found),
        ),
        VersionNeed::Newest => format!(
            "the ledger needs the programs of a Postgres server, version {MAJOR_VERSION_MIN} or later, and this machine \
             has {}: install them (Debian and Ubuntu: `apt-get install postgresql`; Fedora: `dnf install \
             postgresql-server`; macOS: `brew install postgresql@17`), name their directory with --postgres-bin, or use \
             servers of your own with --event-store and --views",
            list(found),
        ),
    }
}

fn list(found: &BTreeSet<Binaries>) -> String {
    if found.is_empty() {
        return "none".to_owned();
    }
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn candidate_dirs() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    dirs.extend(USUAL_PLACES.iter().flat_map(|place| expand_pattern(place)));
    if let Ok(output) = Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).output() {
        dirs.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    dirs.retain(|dir| dir.join("postgres").exists());
    dirs
}

/// The paths that a pattern with one `*` matches.
fn expand_pattern(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![PathBuf::from(pattern)] };
    let Some((parent, prefix)) = before.rsplit_once('/') else { return Vec::new() };
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .map(|name| PathBuf::from(format!("{parent}/{name}{after}")))
        .collect()
}

/// The major version in the output of `postgres --version`, such as
/// `postgres (PostgreSQL) 15.19 (Debian 15.19-0+deb12u1)`.
fn major_version(printed: &str) -> Option<u32> {
    let version = printed.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_the_servers_output() {
        for (printed, version) in [
            ("postgres (PostgreSQL) 15.19 (Debian 15.19-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 17.2\n", Some(17)),
            ("postgres (PostgreSQL) 18beta1\n", Some(18)),
            ("", None),
        ] {
            assert_eq!(major_version(printed), version, "{printed}");
        }
    }

    #[test]
    fn data_is_served_by_its_own_version_and_new_data_by_the_newest() {
        let binaries = |major_version: u32| Binaries { major_version, dir: PathBuf::from(format!("/{major_version}")) };
        let found = BTreeSet::from([binaries(9), binaries(15), binaries(17)]);
        let chosen = |need: VersionNeed| need.newest_of(&found).map(|binaries| binaries.major_version);
        assert_eq!(chosen(VersionNeed::Newest), Some(17));
        assert_eq!(chosen(VersionNeed::Version(15)), Some(15));
        assert_eq!(chosen(VersionNeed::Version(16)), None);
        assert_eq!(VersionNeed::Newest.newest_of(&BTreeSet::from([binaries(9)])), None, "too old");
        assert!(describe_missing(VersionNeed::Version(16), &found).contains("9 in /9, 15 in /15, 17 in /17"));
    }

    #[test]
    fn a_directory_without_server_programs_is_refused_by_name() {
        let error = check_dir(Path::new("/nonexistent"), VersionNeed::Newest).expect_err("no programs there");
        assert!(error.to_string().contains("/nonexistent"), "{error}");
    }
}
