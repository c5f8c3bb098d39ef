//! The turns of imports and undos, which are locks in Postgres.

mod log_in_postgres {
    use sqlx::{Connection as _, PgConnection};

    use crate::{
        program::import_undo::{Desk, TWO_CASES, outcomes},
        support::{database, eventually, topology::require_log_in_postgres},
    };

    /// Takes the turn of an import into a prison, or ends it.
    async fn turn(holder: &mut PgConnection, function: &'static str, prison: &str) {
        sqlx::query(function)
            .bind(format!("allocation-ledger import {prison}"))
            .execute(holder)
            .await
            .expect("the turn of an import");
    }

    const TAKE: &str = "SELECT pg_advisory_lock(hashtextextended($1, 0))";
    const END: &str = "SELECT pg_advisory_unlock(hashtextextended($1, 0))";

    #[tokio::test]
    async fn an_undo_waits_for_imports_into_its_prison_and_for_none_into_those_that_persons_went_to() {
        require_log_in_postgres();
        let database = database().await;
        let desk = Desk::at(&database);
        let stays = "A0003BC,C,\"Shah, Priya\",485928,PRO,01/07/2019\n";
        desk.import(&format!("{TWO_CASES}{stays}"), &[]).await;
        let transfers =
            ["--transferred", "A0001BC=MDI@2020-01-02", "--transferred", "A0002BC=WWI@2020-01-03"].as_slice();
        let run = desk.import(stays, &[&["--apply", "2020-01-06"], transfers].concat()).await;

        let options = database.pool.connect_options();
        let mut holder = PgConnection::connect_with(&options).await.expect("a connection");
        for prison in ["LEI", "MDI", "WWI"] {
            turn(&mut holder, TAKE, prison).await;
        }
        let end_own_turn = async {
            let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            eventually("an undo that waits", async || {
                let count: i64 = sqlx::query_scalar(waiting).fetch_one(&mut holder).await.expect("the locks");
                (count == 1).then_some(())
            })
            .await;
            turn(&mut holder, END, "LEI").await;
        };
        let (undone, ()) = tokio::join!(desk.undo(&run), end_own_turn);
        assert_eq!(outcomes(&undone), ["A0001BC 2 voided", "A0002BC 2 voided"]);
        for prison in ["MDI", "WWI"] {
            turn(&mut holder, END, prison).await;
        }
    }
}
