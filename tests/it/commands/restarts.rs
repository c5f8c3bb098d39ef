//! Restarts of a command service: the policies go on from the snapshot of their index, and read the
//! whole log where the snapshot is doubted.

mod log_in_postgres;

use bytes::Bytes;
use command::{Service, policies, policies::SNAPSHOT};
use domain::Stream;
use event_log::{ExpectedRevision, PAGE_EVENTS_MAX, SharedLog, Snapshot};
use futures::{FutureExt as _, future::join_all};
use serde_json::json;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::support::{
    TestDatabase,
    builders::{new_event, pom_inactive},
    commands::service_on,
    controlled_log::ControlledLog,
    eventually,
    ledger::{Ledger, NOVAK, OKAFOR, SHAH, serve_commands},
};

/// The policies of a command service in this process.
struct RunningPolicies {
    service: Service,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl RunningPolicies {
    fn start(log: SharedLog) -> Self {
        let service = service_on(log);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(policies::run(service.clone(), async { drop(stopped.await) }.boxed()));
        Self { service, stop, task }
    }

    async fn until_caught_up(self) -> Self {
        eventually("policies that follow the log", async || self.service.is_caught_up().then_some(())).await;
        self
    }

    async fn stop(self) {
        self.stop.send(()).expect("policies that run");
        self.task.await.expect("no panic");
    }
}

/// Starts the policies on a log, stops them when they have caught up, and returns the position from
/// which they read it.
async fn restart(log: &SharedLog) -> u64 {
    let log = ControlledLog::new(log);
    RunningPolicies::start(log.shared()).until_caught_up().await.stop().await;
    match log.followed_after()[..] {
        [after] => after,
        ref other => panic!("followed after {other:?}"),
    }
}

/// The database of a ledger in which SHAH and NOVAK hold a case each. No program runs.
async fn stopped_ledger() -> TestDatabase {
    let ledger = Ledger::start().await;
    ledger.case("A0001AA", SHAH).await;
    ledger.case("B0001BB", NOVAK).await;
    stop(ledger).await
}

/// Stops the program, and leaves a snapshot of all events.
async fn stop(ledger: Ledger) -> TestDatabase {
    assert!(ledger.program.stop().await.success());
    let log = ledger.database.log().await;
    // The program may end before it has read the last event, and no end waits long for a snapshot.
    eventually("a snapshot of all events", async || {
        restart(&log).await;
        is_saved_to_head(&log).await.then_some(())
    })
    .await;
    ledger.database
}

async fn is_saved_to_head(log: &SharedLog) -> bool {
    let saved = log.load_snapshot(SNAPSHOT).await.expect("load");
    saved.map(|saved| saved.position) == Some(log.head().await.expect("the head"))
}

/// Puts a snapshot in the place of the kept one, also one of an earlier position.
async fn replace_snapshot(log: &SharedLog, by: &Snapshot) {
    // One from beyond the log's end gives way to any.
    let beyond = Snapshot { position: by.position + 1_000_000_000, ..by.clone() };
    for snapshot in [&beyond, by] {
        // A service that has just ended may be saving its own.
        eventually("a saved snapshot", async || {
            log.save_snapshot(SNAPSHOT, snapshot).await.expect("save").then_some(())
        })
        .await;
    }
}

/// Makes SHAH inactive, without a service that could end the role.
async fn make_inactive(log: &SharedLog) {
    let stream: Stream = "prison-LEI".parse().expect("a stream");
    let last = log.read_stream(&stream, 0, 100).await.expect("read").pop().expect("an event");
    let event = new_event(&pom_inactive(SHAH));
    log.append(&stream, ExpectedRevision::Exact(last.revision), vec![event]).await.expect("append");
}

/// The type of the last event of SHAH's case.
async fn last_type(log: &SharedLog) -> String {
    let stream: Stream = "prisoner-A0001AA".parse().expect("a stream");
    log.read_stream(&stream, 0, 100).await.expect("read").pop().expect("an event").type_name
}

async fn wait_until_role_has_ended(log: &SharedLog) {
    eventually("the end of the role", async || (last_type(log).await == "Deallocated").then_some(())).await;
}

async fn snapshot(log: &SharedLog) -> Snapshot {
    log.load_snapshot(SNAPSHOT).await.expect("load").expect("a snapshot")
}

#[tokio::test]
async fn a_restarted_service_reads_what_came_after_its_snapshot() {
    let database = stopped_ledger().await;
    let log = database.log().await;
    let head = log.head().await.expect("the head");
    assert_eq!((snapshot(&log).await.position, restart(&log).await), (head, head));

    // An event after the snapshot concerns a role before it.
    make_inactive(&log).await;
    let controlled = ControlledLog::new(&log);
    let running = RunningPolicies::start(controlled.shared());
    wait_until_role_has_ended(&log).await;
    running.until_caught_up().await.stop().await;
    assert_eq!(controlled.followed_after(), [head]);

    // A service that takes commands meanwhile knows every case, too.
    let ledger = Ledger { program: serve_commands(&database).await, database };
    let all = json!({
        "fromStaffId": NOVAK, "toStaffId": OKAFOR, "reason": "Leaving", "overrideReasons": ["NO_STAFF"],
    });
    let moved = ledger.client().post("/prisons/LEI/reallocations", &all).await;
    assert_eq!(moved.body["accepted"][0]["prisonerNumber"], json!("B0001BB"), "{}", moved.text);
}

/// The event store refuses the end of the role, so the policy is at work when the service ends.
#[tokio::test]
async fn an_obligation_under_way_when_a_service_ends_is_discharged_by_the_next() {
    let database = stopped_ledger().await;
    let log = database.log().await;
    make_inactive(&log).await;
    // Without a snapshot to go on from, the service saves one as soon as it has read the log.
    replace_snapshot(&log, &altered(&log, 0).await).await;
    let refusing = ControlledLog::new(&log);
    refusing.refuse_appends();
    let running = RunningPolicies::start(refusing.shared());
    eventually("a policy at work", async || (refusing.refused_appends() > 0).then_some(())).await;
    eventually("a snapshot", async || is_saved_to_head(&log).await.then_some(())).await;
    running.stop().await;
    let head = log.head().await.expect("the head");

    let controlled = ControlledLog::new(&log);
    let running = RunningPolicies::start(controlled.shared());
    wait_until_role_has_ended(&log).await;
    assert_eq!(controlled.followed_after(), [head], "the event that caused it is not read again");
    running.stop().await;
}

/// The event store answers no append before many of them are in flight.
#[tokio::test]
async fn the_roles_of_an_inactive_pom_end_many_at_a_time() {
    const CASES: usize = 100;
    let ledger = Ledger::start().await;
    let numbers: Vec<String> = (0..CASES).map(|index| format!("A{index:04}AA")).collect();
    join_all(numbers.iter().map(|number| ledger.case(number, SHAH))).await;
    let database = stop(ledger).await;
    let log = database.log().await;
    make_inactive(&log).await;
    let waiting = ControlledLog::new(&log);
    waiting.let_appends_wait(true);
    let running = RunningPolicies::start(waiting.shared());
    eventually("many ends of roles in flight", async || (waiting.waiting_appends() > 48).then_some(())).await;
    waiting.let_appends_wait(false);
    eventually("the end of each role, once", async || {
        let events = log.read_all(0, PAGE_EVENTS_MAX).await.expect("read");
        let ended = events.iter().filter(|event| event.type_name == "Deallocated").count();
        assert!(ended <= CASES, "{ended} ends of {CASES} roles");
        (ended == CASES).then_some(())
    })
    .await;
    running.stop().await;
}

/// Puts a snapshot in the place of a good one, and checks that it is passed over: the policies read
/// the whole log, do what they must, and leave a good snapshot behind.
async fn check_passed_over(doubted: impl AsyncFnOnce(&SharedLog) -> Snapshot) {
    let database = stopped_ledger().await;
    let log = database.log().await;
    let doubted = doubted(&log).await;
    replace_snapshot(&log, &doubted).await;
    make_inactive(&log).await;
    let controlled = ControlledLog::new(&log);
    let running = RunningPolicies::start(controlled.shared());
    wait_until_role_has_ended(&log).await;
    eventually("another snapshot", async || (snapshot(&log).await != doubted).then_some(())).await;
    running.until_caught_up().await.stop().await;
    assert_eq!(controlled.followed_after(), [0]);
    let saved = snapshot(&log).await;
    assert_eq!(restart(&log).await, saved.position);
    assert!(saved.position > 0);
}

/// The good snapshot of a log with a byte changed.
async fn altered(log: &SharedLog, place: usize) -> Snapshot {
    let good = snapshot(log).await;
    let mut content = good.content.to_vec();
    content[place] ^= 1;
    Snapshot { content: content.into(), ..good }
}

#[tokio::test]
async fn a_snapshot_in_another_format_is_passed_over() {
    check_passed_over(async |log| altered(log, 0).await).await;
}

#[tokio::test]
async fn a_snapshot_whose_bytes_have_changed_is_passed_over() {
    check_passed_over(async |log| altered(log, 20).await).await;
}

#[tokio::test]
async fn an_empty_snapshot_is_passed_over() {
    check_passed_over(async |log| Snapshot { content: Bytes::new(), ..snapshot(log).await }).await;
}

#[tokio::test]
async fn a_snapshot_kept_as_one_of_another_position_is_passed_over() {
    check_passed_over(async |log| {
        let good = snapshot(log).await;
        Snapshot { position: good.position + 1_000_000_000, ..good }
    })
    .await;
}

/// The other log has as many events, and so the same positions in Postgres.
#[tokio::test]
async fn a_snapshot_of_another_log_is_passed_over() {
    let other = stopped_ledger().await;
    check_passed_over(async |_| snapshot(&other.log().await).await).await;
}

/// As after a log was put back from an earlier backup, and its snapshot was not.
#[tokio::test]
async fn a_snapshot_of_a_longer_log_is_passed_over() {
    let ledger = Ledger::start().await;
    for index in 0..10 {
        ledger.case(&format!("A{index:04}CC"), NOVAK).await;
    }
    let longer = stop(ledger).await;
    check_passed_over(async |_| snapshot(&longer.log().await).await).await;
}

#[tokio::test]
async fn policies_work_while_the_event_store_refuses_snapshots() {
    let database = stopped_ledger().await;
    let log = database.log().await;
    make_inactive(&log).await;
    let refusing = ControlledLog::new(&log);
    refusing.refuse_snapshots();
    let running = RunningPolicies::start(refusing.shared());
    wait_until_role_has_ended(&log).await;
    running.stop().await;
    assert_eq!(refusing.followed_after(), [0]);
}
