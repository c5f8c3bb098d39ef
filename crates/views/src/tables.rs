//! The tables, one file each: its columns, and the rule that fills them.

pub mod allocation;
pub mod case_period;
pub mod case_prison;
pub mod control_entry;
pub mod nomis_contact;
pub mod pom_period;
pub mod prison;
pub mod prisoner_case;
pub mod reception;
