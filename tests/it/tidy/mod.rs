//! House rules that a machine can check: the English of comments and documents, the names of types,
//! the length of lines and files, the modules that files belong to, the arrows between crates and
//! between the modules of a crate, the files that documents name, and the types of what comes in.
//!
//! These tests read the working tree. They start no server and take seconds.

mod dependencies;
mod documents;
mod input_types;
mod lengths;
mod names;
mod prose;
mod sources;
