//! How many files, and so connections, this process may open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one: the usual soft limit of 1,024 is there for programs that use `select`. Answers what
/// may be opened now, `None` where the system does not say.
pub fn raise_open_files() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let raised = soft >= hard || setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    Some(if raised { soft.max(hard) } else { soft })
}
