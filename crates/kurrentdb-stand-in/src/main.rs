//! The server `kurrentdb-stand-in`. The code is in the library, so that the tests can build it too.

fn main() -> anyhow::Result<()> {
    kurrentdb_stand_in::main()
}
