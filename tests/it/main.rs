//! The program tested from outside, as its users meet it. One program of tests; its folders are
//! features.

mod access_log;
mod answers;
mod commands;
mod integration;
mod pages;
mod past;
mod program;
mod projections;
mod services;
mod sign_on;
mod stores;
mod support;
mod tidy;
mod uploads;
