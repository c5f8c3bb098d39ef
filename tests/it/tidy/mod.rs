//! House rules that a machine can check: the English of comments and documents, the names of types,
//! the length of lines and files, the arrows between crates and between the modules of a crate, and
//! the files that documents name.
//!
//! These tests read the working tree. They start no server and take seconds.

mod dependencies;
mod documents;
mod layout;
mod names;
mod prose;
mod sources;
