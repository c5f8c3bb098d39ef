//! The program itself: how it serves, its tools, and the data that they read and write.

mod dictionary;
mod embedded_postgres;
mod generate;
mod help;
mod history;
mod import;
mod observability;
mod openapi;
mod replay;
mod routes;
mod serve;
