//! Generated documents that are checked in, so that a review shows what a change does to them.

use std::{
    env, fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

/// The path of a document in `docs/`.
pub fn document(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

/// Asserts that a document in `docs/` has this text, and shows the difference otherwise.
///
/// Where the environment variable `update` is set, writes the document instead.
#[track_caller]
pub fn assert_checked_in(name: &str, text: &str, update: &str) {
    let path = document(name);
    if env::var_os(update).is_some() {
        fs::write(&path, text).expect("write the document");
        return;
    }
    let is_same = fs::read_to_string(&path).is_ok_and(|checked_in| checked_in == text);
    assert!(is_same, "docs/{name} is out of date; set {update}=1 to update it:\n{}", difference(&path, text));
}

/// The lines in which a file differs from a text, as `diff` shows them.
fn difference(path: &PathBuf, text: &str) -> String {
    let diff = Command::new("diff")
        .args(["--unified=2", "--new-file"])
        .arg(path)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut diff = diff.expect("start diff");
    let mut input = diff.stdin.take().expect("its input");
    let text = text.to_owned();
    // On a thread of its own: `diff` may print before it has read everything.
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = diff.wait_with_output().expect("wait for diff");
    writer.join().expect("a thread").expect("write to diff");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
