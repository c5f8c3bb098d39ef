//! The pages for people, in a real browser and by requests.

mod browser;
mod requests;
