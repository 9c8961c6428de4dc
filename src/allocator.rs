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

/// Memory that is free when this ends is back with the system after the second look: mimalloc waits a second before it gives any.
const LOOKS_EVERY: Duration = Duration::from_secs(5);

/// Has what this thread freed go back to the system, for as long as this runs. To be run once on each thread that serves.
pub(crate) async fn give_back() {
    let mut looks = interval(LOOKS_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        // SAFETY: it may be called at any time and from any thread; it touches what is free and nothing that is in use.
        unsafe { libmimalloc_sys::mi_collect(false) };
    }
}
