//! The server `kurrentdb-stand-in`. Everything is in the library, so that the tests can build it too.

fn main() -> anyhow::Result<()> {
    kurrentdb_stand_in::main()
}
