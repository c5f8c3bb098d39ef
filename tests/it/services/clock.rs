//! A clock that is set back an hour under a command service at work.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tempfile::TempDir;

use super::{
    cluster::{Cluster, Part},
    load::{Load, read},
};
use crate::support::ledger::recorded;

/// The clock of one process, which can be set.
struct Clock {
    directory: TempDir,
}

impl Clock {
    /// Builds what gives a process a clock of its own. Whoever can build the program has a C compiler, which it needs, too.
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        let clock = Self { directory };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/services/clock.c");
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(clock.library()).arg(source).status();
        assert!(built.expect("run the C compiler").success());
        clock.set(TimeDelta::zero());
        clock
    }

    /// Sets it so far from this machine's.
    fn set(&self, to_the_side: TimeDelta) {
        // In place: the process has the file before its eyes.
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(self.file()).expect("a file");
        file.write_all_at(&to_the_side.num_seconds().to_ne_bytes(), 0).expect("set the clock");
    }

    fn library(&self) -> PathBuf {
        self.directory.path().join("clock.so")
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("seconds")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_is_set_back_an_hour_on_one_command_service() {
    let clock = Clock::new();
    let (library, file) = (clock.library(), clock.file());
    let environment = [("LD_PRELOAD", library.to_str().expect("UTF-8")), ("CLOCK_FILE", file.to_str().expect("UTF-8"))];
    let mut cluster = Cluster::start().await;
    let wrong = Part::Command(0);
    cluster.kill(wrong);
    cluster.start_part_with(wrong, &environment).await;
    cluster.ready().await;
    let load = Load::start(&cluster.takers, 100);
    load.acknowledged(100).await;
    clock.set(TimeDelta::hours(-1));
    load.acknowledged(200).await;

    // What the other service has recorded a moment ago has happened for this one, too.
    let (right, wrong) = (cluster.part(Part::Command(1)).client(), cluster.part(wrong).client());
    let tier = |tier: &str| json!({"tier": tier, "source": "DELIUS"});
    for number in ["B0001AA", "B0002AA"] {
        let path = format!("/prisoners/{number}/tier");
        for (client, value) in [(right, "A"), (wrong, "B2"), (right, "C1"), (wrong, "D")] {
            recorded(&client.post(&path, &tier(value)).await);
        }
    }
    // Alone, it is an hour behind, and what it records is not: the log does not go back.
    let alone = wrong.post("/prisoners/B0003AA/tier", &tier("A")).await;
    let event = &recorded(&alone).body["events"][0];
    let ago = |member: &str| -> TimeDelta {
        Utc::now() - event[member].as_str().expect("a time").parse::<DateTime<Utc>>().expect("a time")
    };
    assert!(ago("recordedAt") < TimeDelta::minutes(1), "{event}");
    assert!(ago("effectiveAt") > TimeDelta::minutes(59), "the clock was set back: {event}");

    load.acknowledged(100).await;
    clock.set(TimeDelta::zero());
    load.acknowledged(100).await;
    let events = read(&cluster.log().await).await;
    for number in ["B0001AA", "B0002AA"] {
        let of_case = events.iter().filter(|event| event.stream.to_string().ends_with(number));
        let times: Vec<_> = of_case.map(|event| (event.entry.effective_at, event.entry.recorded_at)).collect();
        assert_eq!(times.len(), 4);
        assert!(times.is_sorted(), "{number}: {times:?}");
        assert!(times.iter().map(|(_, recorded_at)| recorded_at).is_sorted(), "{number}: {times:?}");
    }
    load.finish(&cluster).await;
}
