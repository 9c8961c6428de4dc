//! Sockets that callers connect to: binding, bounding and guarding them.
//!
//! A socket is bound before anything runs, so that a taken port is one clear line and not a process that listens nowhere.
//! TLS for callers is made here as well, so that its certificates can change. Nothing here knows HTTP beyond where a request
//! begins and ends.

mod bind;
mod connection;
mod files;
mod serve;
mod wire;

pub(crate) use self::bind::bind_tcp;
pub use self::{
    bind::{BindError, Bound, BoundAddress, bind},
    connection::{Fault, Guarded},
    files::raise_open_files,
    serve::{ConnectionLimits, Deaf, H2_STREAMS, Listening, Refusal},
};
