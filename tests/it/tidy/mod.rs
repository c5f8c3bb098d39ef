//! House rules that a machine can check: the English of comments and documents, the length of
//! lines and files, and the arrows between crates and between the modules of a crate.
//!
//! These tests read the working tree. They start no server and take seconds.

mod dependencies;
mod documents;
mod layout;
mod prose;
mod sources;
