//! One integration-test program.
