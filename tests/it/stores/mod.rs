//! The event stores, the test server for one of them, and copies from one store to another.

mod copy;
mod kurrentdb;
mod postgres;
mod stand_in;
