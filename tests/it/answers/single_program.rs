//! Questions to one program while its embedded Postgres is killed.

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde_json::json;

use crate::support::{DataDir, Program, eventually, ledger::assert_recorded, topology::require_single_program};

/// Kills the server under a running program and checks that its answers say so until it recovers.
#[tokio::test]
async fn an_outage_of_postgres_is_a_503_with_retry_after_and_ends_by_itself() {
    require_single_program();
    let dir = DataDir::new();
    let program = Program::serve(dir.path()).await;
    let client = program.client();
    let tier = json!({"tier": "B2", "source": "DELIUS", "effectiveAt": "2026-01-05T09:00:00Z"});
    assert_recorded(&client.post("/prisoners/A1234BC/tier", &tier).await);
    let paths =
        ["/prisoners/A1234BC/responsibility", "/prisoners/A1234BC/history", "/prisons/LEI/poms", "/projections"];
    let answers = async || {
        for path in paths {
            let answer = client.get(path).await;
            match answer.status.as_u16() {
                200 => {}
                // The views may not have reached the case yet.
                404 => assert_eq!(answer.body["code"], "prisoner-unknown", "{}", answer.text),
                503 => {
                    assert!(answer.header("retry-after").is_some(), "{answer:?}");
                    return None;
                }
                _ => panic!("{path}: {answer:?}"),
            }
        }
        Some(())
    };
    eventually("answers", answers).await;
    let pid_file = dir.path().join("postgres/postmaster.pid");
    let postmaster = || -> Option<i32> { std::fs::read_to_string(&pid_file).ok()?.lines().next()?.parse().ok() };
    let killed = postmaster().expect("a server");
    signal::kill(Pid::from_raw(killed), Signal::SIGKILL).expect("kill Postgres");
    eventually("another server", async || {
        let _ = answers().await;
        postmaster().filter(|pid| *pid != killed)
    })
    .await;
    eventually("answers by another server", answers).await;
    // Connections from before the outage must answer too.
    for _ in 0..30 {
        for path in paths {
            assert_eq!(client.get(path).await.status, 200, "{path}");
        }
    }
    assert!(program.stop().await.success());
}
