//! Who a caller is, and what the caller may do: bearer tokens (JWT) as HMPPS Auth issues them, the
//! keys that they are signed with (JWKS), and the roles that they name.
//!
//! | question | module |
//! |---|---|
//! | is this token valid, and whose is it? | [`SignOn`] |
//! | who is the caller? | [`Caller`] |
//! | which roles give which rights? | [`RoleMap`], [`Right`] |
//! | which prisons are a caller's? | [`PrisonSource`]: a file ([`PrisonFile`]), a service ([`CaseloadService`]) |
//! | where do the keys come from? | [`KeySource`]: a file ([`KeySet`]) or a server ([`KeyServer`]) |
//! | which cryptography? | `cryptography` |
//! | which servers may be asked, and by which client? | [`check_server_address`], [`server_client`] |
//! | how does a person sign on in a browser? | [`CodeFlow`] |
//! | how is a token made to try things out? | [`LocalKey`] |
//!
//! It promises that a [`Caller`] exists only where a key of the sign-on has signed the token, and
//! that no part of a token chooses how the token is verified but its `kid`.
//!
//! It knows neither routes nor prisoners: `http-api` asks it, and says what a route needs.

mod caller;
mod caseloads;
mod code_flow;
mod cryptography;
mod key_server;
mod key_set;
mod local_key;
mod prison_file;
mod prison_source;
mod right;
mod server;
mod verify;

pub use caller::Caller;
pub use caseloads::{CaseloadError, CaseloadService};
pub use code_flow::{BegunSignIn, CodeFlow, CodeFlowClient, CodeFlowError, CodeFlowServer, Secret, TokenPair};
pub use key_server::{KeyServer, KeyTimes};
pub use key_set::{KeyError, KeySet};
pub use local_key::{LocalKey, LocalKeyError, TokenClaims};
pub use prison_file::{PrisonFile, PrisonFileError};
pub use prison_source::PrisonSource;
pub use right::{Right, RightRoles, Rights, RoleMap, RoleMapError};
pub use server::{check_server_address, server_client};
pub use verify::{CLOCK_SKEW, KeySource, SignOn, TokenRefusal};
