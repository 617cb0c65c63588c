//! Reading what the API server has stored without ever failing, whatever users have written into it.
//!
//! Nothing here knows a kind or a client.

pub mod json;
pub mod object;
pub mod text;
