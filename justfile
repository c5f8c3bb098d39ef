# The daily tasks. `just` lists them.

_default:
    @just --list --unsorted

# Serve a temporary ledger with a small realistic prison
run *args:
    cargo run --release -- demo {{ args }}

# Run the tests: all of them, or those whose name has a word
test *args:
    cargo test --workspace -- {{ args }}

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

# Check licences, sources and bans of the dependencies (needs cargo-deny)
deny:
    cargo deny --workspace check bans licenses sources

# Run everything that must hold before a change goes in
ci:
    .ci/run
