//! The integration service logs in with the rights of its roles, and no more.

use sqlx::AssertSqlSafe;

use super::{RECEIVED, movement};
use crate::support::{
    Program, bare_database,
    estate::{Estate, QUEUE},
    run,
    whole_log::read_stored,
};

#[tokio::test]
async fn the_rights_of_its_roles_are_enough_to_record_and_to_park() {
    let Some(estate) = Estate::start().await else { return };
    let database = bare_database().await;
    let ran = run(&["prepare", "--event-store", &database.url, "--views", &database.url]).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    let login = format!("{}_integration", database.name);
    let made =
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE ROLE {login} LOGIN IN ROLE ledger_append, ledger_integrate")));
    made.execute(&database.pool).await.expect("make a login");
    let url = database.url_for(&login);
    let arguments = ["--role", "integration", "--domain-events-queue", QUEUE, "--event-store", &url, "--views", &url];
    let program = Program::start_in(&estate.environment(), &arguments).await.into_ready().await;
    estate.publish(&movement(RECEIVED, "A1111AA", "LEI", "NEW_ADMISSION", 2)).await;
    estate.send("no notification").await;
    estate.wait_until_taken_in().await;
    let events = read_stored(&*database.log().await).await;
    assert_eq!(events.iter().map(|event| event.entry.event.type_name()).collect::<Vec<_>>(), ["Received"]);
    let parked = program.client().get("/integration/parked").await;
    assert_eq!(parked.body.as_array().map(Vec::len), Some(1), "{}", parked.text);
    let log = program.log();
    assert!(!log.contains("ERROR") && !log.contains("waiting for the parked messages"), "{log}");
    assert!(program.stop().await.success());
}
