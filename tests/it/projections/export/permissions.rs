//! Who may read an export, and what it replaces.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
};

use super::{directory, export, export_to, path};
use crate::support::projections::{assert_failure, projected_ledger};

#[track_caller]
fn check_mode(path: &Path, mode: u32) {
    let found = fs::metadata(path).expect("a file").mode() & 0o777;
    assert_eq!(found, mode, "{} has {found:04o}", path.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_for_its_owner_unless_told_otherwise() {
    let (database, _ledger, _) = projected_ledger().await;
    let directory = directory();
    let [file, all, months] = ["it.csv", "all", "months"].map(|name| directory.path().join(name));
    let partition = ["--partition", "month"];
    let month = || fs::read_dir(&months).expect("months").next().expect("a month").expect("a month").path();

    export_to(&database, "case_period", &file, &[]).await;
    export_to(&database, "all", &all, &[]).await;
    export_to(&database, "log", &months, &partition).await;
    check_mode(&file, 0o600);
    check_mode(&all, 0o700);
    check_mode(&all.join("prison.parquet"), 0o600);
    check_mode(&months, 0o700);
    check_mode(&month(), 0o700);
    check_mode(&month().join("events.parquet"), 0o600);

    // The next export leaves the mode that somebody gave.
    fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("change the mode");
    fs::set_permissions(&months, Permissions::from_mode(0o750)).expect("change the mode");
    export_to(&database, "case_period", &file, &[]).await;
    export_to(&database, "log", &months, &[&partition[..], &["--mode", "0640"]].concat()).await;
    check_mode(&file, 0o644);
    check_mode(&months, 0o750);
    check_mode(&month(), 0o750);
    check_mode(&month().join("events.parquet"), 0o640);

    for wrong in ["0400", "0200", "1777", "rw-r-----", "-1"] {
        let ran = export(&database, &["prison", "--output", path(&file), &format!("--mode={wrong}")]).await;
        assert!(ran.status.code() == Some(2) && ran.stderr.contains("e.g. 0640"), "{wrong}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_follows_no_symbolic_link() {
    let (database, _ledger, _) = projected_ledger().await;
    let directory = directory();
    let [other, file_link, empty, directory_link, dangling] =
        ["other.csv", "link.csv", "empty", "all", "dangling.csv"].map(|name| directory.path().join(name));
    fs::write(&other, "another's file").expect("write a file");
    fs::create_dir(&empty).expect("make a directory");
    symlink(&other, &file_link).expect("make a link");
    symlink(&empty, &directory_link).expect("make a link");
    symlink(directory.path().join("nowhere.csv"), &dangling).expect("make a link");
    for (what, output) in [("prison", &file_link), ("prison", &dangling), ("all", &directory_link)] {
        let refused = export(&database, &[what, "--output", path(output)]).await;
        assert_failure(&refused, &["is a symbolic link", path(output)]);
    }
    assert_eq!(fs::read_to_string(&other).expect("the file"), "another's file");
    assert!(fs::read_dir(&empty).expect("the directory").next().is_none());
    // A stream that is reached by a link is nobody's file.
    let sent = export(&database, &["prison", "--format", "csv", "--output", "/dev/stdout"]).await;
    assert!(sent.status.success() && sent.stdout.contains("prison_code"), "{sent:?}");
}
