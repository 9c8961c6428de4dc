//! What systemd is told of the proxy's life, where it asks for it by `NOTIFY_SOCKET` (sd_notify(3)).
//!
//! Invariant: that it cannot be told is a warning and nothing worse, and nobody waits long for it.

use std::{env, io, time::Duration};

use sd_notify::NotifyState;
use tokio::{task::spawn_blocking, time::timeout};

/// Systemd takes what it is told at once. A socket that nobody empties would hold up whoever writes to it.
const AT_MOST: Duration = Duration::from_secs(1);

/// Every listener is bound and answers; also, that a reload is over, whatever came of it.
pub(super) async fn ready() {
    tell("READY=1", || sd_notify::notify(&[NotifyState::Ready])).await;
}

/// The configuration is about to be taken anew.
pub(super) async fn reloading() {
    // Without the time, `Type=notify-reload` would take the next READY=1 for an older one.
    let telling = || {
        let now = NotifyState::monotonic_usec_now()?;
        sd_notify::notify(&[NotifyState::Reloading, now])
    };
    tell("RELOADING=1", telling).await;
}

/// Nothing new is taken any more, or will not be in a while.
pub(super) async fn stopping() {
    tell("STOPPING=1", || sd_notify::notify(&[NotifyState::Stopping])).await;
}

async fn tell(what: &str, telling: impl FnOnce() -> io::Result<()> + Send + 'static) {
    if env::var_os("NOTIFY_SOCKET").is_none_or(|socket| socket.is_empty()) {
        return;
    }
    let why = match timeout(AT_MOST, spawn_blocking(telling)).await {
        Ok(Ok(Ok(()))) => return,
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(failed)) => failed.to_string(),
        Err(_elapsed) => "nobody reads it".to_owned(),
    };
    tracing::warn!(
        "cannot write {what} to the socket that NOTIFY_SOCKET names: {why}; without READY=1 systemd ends a service of Type=notify, so mend that, or have the unit say Type=exec"
    );
}
