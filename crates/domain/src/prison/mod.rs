//! A prison: its roster of POMs, its move onto OMiC, and the POM contacts that are still in NOMIS.

mod event;

pub use event::*;
