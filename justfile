# The daily tasks. `just` lists them.

_default:
    @just --list --unsorted

# Serve a temporary ledger with a small realistic prison
run *args:
    cargo run --release -- demo {{ args }}

# Run the tests: all of them, or those whose name has a word
test *args:
    tests/run -- {{ args }}

# Run the tests of the program against its services apart: topology services or services-postgres
test-services topology="services":
    LEDGER_TESTS_TOPOLOGY={{ topology }} cargo test -p tests --test it -- --skip single_program:: \
        {{ if topology == "services" { "--skip log_in_postgres::" } else { "" } }}

# Check format and lints, warnings being errors
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Measure commands and questions over HTTP beside pgbench
bench *args:
    cargo run --release -p bench -- {{ args }}

# Build the documentation of the code
doc *args:
    cargo doc --workspace --no-deps {{ args }}

# Check licences, sources, bans and known faults of the dependencies
deny:
    .ci/deny

# Run everything that must hold before a change goes in
ci:
    .ci/run

# Fuzz each target for a minute, or for other seconds, on the stable toolchain (needs cargo-fuzz)
fuzz seconds="60":
    #!/usr/bin/env bash
    set -euo pipefail
    targets=$(cargo fuzz list)
    for target in $targets; do
        mkdir -p "fuzz/corpus/$target"
        seeds="fuzz/seeds/$target"
        if [ "$target" = spreadsheets ]; then seeds=tests/data/spreadsheets; fi
        cargo fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "$seeds" -- -max_total_time={{ seconds }}
    done

# Write the bill of materials (SBOM, CycloneDX) to target/allocation-ledger.cdx.json (needs cargo-cyclonedx)
sbom:
    #!/usr/bin/env bash
    set -euo pipefail
    # It writes a file for each crate of the workspace, with the folder of the checkout in it.
    written=allocation-ledger-sbom
    remove() { find crates tests -name "$written.json" -delete; }
    trap remove EXIT
    cargo cyclonedx --quiet --format json --spec-version 1.5 --override-filename "$written"
    mkdir -p target
    sed "s|path+file://$PWD|path+file://|g" "crates/allocation-ledger/$written.json" >target/allocation-ledger.cdx.json
