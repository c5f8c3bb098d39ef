//! Tools that write to a log whose schema an earlier version of the program made.

mod log_in_postgres {
    use crate::{
        program::import_undo::{Desk, TWO_CASES, lines, outcomes},
        support::{TestDatabase, database, topology::require_log_in_postgres},
    };

    /// Makes the log one that has yet to get the last migration, which can be run twice.
    async fn take_back_last_migration(database: &TestDatabase) {
        let sql = "DELETE FROM log.migration WHERE version = (SELECT max(version) FROM log.migration)";
        sqlx::query(sql).execute(&database.pool).await.expect("take a migration back");
    }

    async fn migrations(database: &TestDatabase) -> i64 {
        let sql = "SELECT count(*) FROM log.migration";
        sqlx::query_scalar(sql).fetch_one(&database.pool).await.expect("the migrations")
    }

    #[tokio::test]
    async fn an_undo_and_the_changes_of_a_sheet_bring_the_log_up_to_date_and_a_dry_run_does_not() {
        require_log_in_postgres();
        let database = database().await;
        let desk = Desk::at(&database);
        desk.import(TWO_CASES, &[]).await;
        let newest = migrations(&database).await;

        take_back_last_migration(&database).await;
        let moved = TWO_CASES.replace("\"Shah, Priya\",485928", "\"Novak, Jan\",485929");
        let run = desk.import(&moved, &["--apply", "2020-01-06"]).await;
        assert_eq!(migrations(&database).await, newest);

        take_back_last_migration(&database).await;
        let dry = lines(&desk.tool(&["import", "undo", &run, "--dry-run", "--json"]).await);
        assert_eq!(outcomes(&dry), ["A0001BC 2 would-void", "485929 would-become-inactive"]);
        assert_eq!(migrations(&database).await, newest - 1, "a tool that only reads leaves the log as it is");
        assert_eq!(outcomes(&desk.undo(&run).await), ["A0001BC 2 voided", "485929 inactive"]);
        assert_eq!(migrations(&database).await, newest);
    }
}
