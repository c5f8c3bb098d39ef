//! The sign-on: which tokens are valid, where the keys come from, and what each role may do.

mod in_browser;
mod jobs;
mod keys;
mod logged_callers;
mod matrix;
mod prisons;
mod token_tool;
mod tokens;
mod who;
