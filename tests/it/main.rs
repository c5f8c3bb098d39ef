//! The program tested from outside, as its users meet it. One program of tests: each part is a module.

mod embedded_postgres;
mod support;
