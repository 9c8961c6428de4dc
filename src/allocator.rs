//! What the allocator is asked for beyond memory.
//!
//! It keeps what was freed for whoever asks next, thread by thread, and looks at what could go back to the system while it is asked.
//! After a rush nobody asks: what the rush took would stay until the next one.

#![allow(
    unsafe_code,
    reason = "mimalloc's functions are bound as those of any C library"
)]

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// Most of what is free goes back with the second look, because mimalloc waits a second before it gives any; it keeps the last page of
/// each size for some looks more.
const LOOKS_EVERY: Duration = Duration::from_secs(5);

/// Has what this thread freed go back to the system, for as long as this runs. To be run once on each runtime of a single thread; on one of
/// several it looks at whichever runs it just then.
pub(crate) async fn give_back() {
    let mut looks = interval(LOOKS_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        // SAFETY: it may be called at any time and from any thread; it touches what is free and nothing that is in use.
        unsafe { libmimalloc_sys::mi_collect(false) };
    }
}
