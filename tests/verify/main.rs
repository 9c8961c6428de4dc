//! The `verify` command through the real binary, against signers that are not ours: `tests/broken_signers/*.py`.
//!
//! Each script differs from `correct.py` in one classic mistake. The same requests are shown to the command as raw
//! HTTP, as `curl -v` prints them and as HAR. Needs python3; without it the tests say so loudly and pass.

mod formats;
mod refusals;
mod run;
mod signers;
mod snapshots;
