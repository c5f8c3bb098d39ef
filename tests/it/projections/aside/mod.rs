//! Cases and prisons whose rows Postgres refuses: they are put aside, and the rest goes on.
//!
//! Constraints that the tests add imitate a mistake in the program: no row of a sound program is
//! refused. They are added to the serving views and to every schema of views that is made later.

mod answers;
mod builds;
mod follow;
mod goes_on;
mod one_position;
mod stops;

use domain::{
    officer::CommunityManager,
    prisoner::{Command, EntryVoided},
};
use projector::ProjectorSettings;
use sqlx::{AssertSqlSafe, PgPool};

use crate::support::{
    projections::execute,
    random_ledger::{RandomLedger, tier},
};

/// The name of a COM or a POM, or the note of an allocation, with which Postgres refuses the row.
const REFUSED: &str = "Refused, Rows";

/// The name of a COM with which Postgres gets each period twice.
const DOUBLED: &str = "Doubled, Rows";

/// The name of a COM whose rows meet a full disk while the table `public.full` exists.
const FULL_DISK: &str = "Full, Disk";

/// The name of a COM whose rows wait for the advisory lock 7.
const WAITING: &str = "Waiting, Rows";

/// Makes Postgres refuse rows in schemas of views that are made later.
const REFUSE_LATER: &str = "
    CREATE FUNCTION public.mistake() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.com_name = 'Full, Disk' AND to_regclass('public.full') IS NOT NULL THEN
            RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full';
        ELSIF NEW.com_name = 'Waiting, Rows' THEN
            PERFORM pg_advisory_xact_lock_shared(7);
        ELSIF NEW.com_name = 'Doubled, Rows' AND pg_trigger_depth() = 1 THEN
            EXECUTE format('INSERT INTO %I.case_period SELECT ($1).*', TG_TABLE_SCHEMA) USING NEW;
        END IF;
        RETURN NULL;
    END $$;
    CREATE FUNCTION public.make_mistakes(made regclass) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT refused CHECK (%s <> ''Refused, Rows'')', made,
                       CASE (SELECT relname FROM pg_class WHERE oid = made)
                       WHEN 'case_period' THEN 'com_name' WHEN 'allocation' THEN 'note' ELSE 'name' END);
        IF (SELECT relname FROM pg_class WHERE oid = made) = 'case_period' THEN
            EXECUTE format('CREATE TRIGGER mistake AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION public.mistake()',
                           made);
        END IF;
    END $$;
    CREATE FUNCTION public.on_table() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM public.make_mistakes(oid) FROM pg_event_trigger_ddl_commands() JOIN pg_class ON oid = objid
          WHERE relpersistence = 'p' AND relname IN ('case_period', 'allocation', 'pom_period');
    END $$;
    CREATE EVENT TRIGGER mistakes ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
        EXECUTE FUNCTION public.on_table()";

/// Makes Postgres refuse rows from now on.
async fn refuse(pool: &PgPool) {
    execute(pool, REFUSE_LATER).await;
    for table in ["case_period", "allocation", "pom_period"] {
        execute(pool, &format!("SELECT public.make_mistakes('views.{table}')")).await;
    }
}

/// Makes Postgres take all rows again, as a version of the program does that has no such mistake.
async fn mend(pool: &PgPool) {
    execute(pool, "DROP EVENT TRIGGER mistakes; DROP TRIGGER mistake ON views.case_period").await;
    for table in ["case_period", "allocation", "pom_period"] {
        execute(pool, &format!("ALTER TABLE views.{table} DROP CONSTRAINT refused")).await;
    }
}

/// Settings that follow every event; only a stop is followed by a rebuild.
fn batches_of(batch_events_max: usize) -> ProjectorSettings {
    ProjectorSettings { batch_events_max, rebuild_events_min: u64::MAX }
}

fn com(name: &str) -> Command {
    Command::AssignCommunityManager(CommunityManager { name: name.to_owned(), email: None, team: None, ldu: None })
}

fn void(revision: u64) -> Command {
    Command::Void(EntryVoided { revision, reason: "made in error".to_owned() })
}

/// Records a case with a COM of this name. Returns the position of the event that names the COM.
async fn case_with_com(ledger: &mut RandomLedger, number: &str, name: &str) -> u64 {
    assert!(ledger.case(number, 1, tier("B", Some("LEI"))).await);
    assert!(ledger.case(number, 2, com(name)).await);
    ledger.log.head().await.expect("the head")
}

/// The streams aside in a schema, each with the position and the type of the event that is named.
async fn streams_aside(pool: &PgPool, schema: &str) -> Vec<(String, i64, String)> {
    let sql = format!("SELECT stream, position, event_type FROM {schema}.stream_aside ORDER BY stream");
    sqlx::query_as(AssertSqlSafe(sql)).fetch_all(pool).await.expect("the streams aside")
}

/// The stream aside of a case whose COM is refused.
fn case_aside(number: &str, position: u64) -> (String, i64, String) {
    (format!("prisoner-{number}"), position.cast_signed(), "CommunityManagerAssigned".to_owned())
}
