//! One exchange at a time per `Idempotency-Key`.
//!
//! Two exchanges with the same key at once would race at Ingo. Followers wait and then make their own attempts, one after the
//! other, so that each gets its own fresh `authorized_url`: that is a one-time bearer capability and is never shared. Only keys
//! that could meet again are kept here, and only while they are in flight: memory is bounded by the exchanges in flight.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ingo::Route;

/// What makes two keys the same. Tenant and caller join it with the gateway; a route has one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub(super) route: Route,
    pub(super) key: String,
}

/// The keys in flight.
#[derive(Debug)]
pub(crate) struct Keys {
    lines: Mutex<HashMap<Scope, Line>>,
}

/// Who uses one key: one is served, the others stand behind it, first come first served.
#[derive(Debug)]
struct Line {
    turn: Arc<Semaphore>,
    members: usize,
}

/// A place in a key's line; left when dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    keys: &'a Keys,
    scope: Scope,
    turn: Arc<Semaphore>,
}

/// The key is in flight and no more may wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InFlight;

impl Keys {
    /// An empty table.
    pub(crate) fn new() -> Self {
        Self {
            lines: Mutex::new(HashMap::new()),
        }
    }

    /// Joins the line of a key, in which `followers` may wait behind the one that is served.
    pub(super) fn join(&self, scope: Scope, followers: usize) -> Result<Place<'_>, InFlight> {
        let mut lines = self.lock();
        let turn = match lines.entry(scope.clone()) {
            Entry::Vacant(free) => free
                .insert(Line {
                    turn: Arc::new(Semaphore::new(1)),
                    members: 1,
                })
                .turn
                .clone(),
            Entry::Occupied(mut line) if line.get().members <= followers => {
                line.get_mut().members += 1;
                line.get().turn.clone()
            }
            Entry::Occupied(_) => return Err(InFlight),
        };
        Ok(Place {
            keys: self,
            scope,
            turn,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Scope, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// The turn, if nobody has it.
    pub(super) fn turn_now(&self) -> Option<OwnedSemaphorePermit> {
        self.turn.clone().try_acquire_owned().ok()
    }

    /// Waits for the turn. Whoever drops this future has left the queue and keeps the place.
    pub(super) async fn turn(&self) -> OwnedSemaphorePermit {
        self.turn
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore of a line is never closed")
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = self.keys.lock();
        if let Entry::Occupied(mut line) = lines.entry(self.scope.clone()) {
            line.get_mut().members -= 1;
            if line.get().members == 0 {
                line.remove();
            }
        }
        // A burst must not keep its memory for ever.
        if lines.is_empty() && lines.capacity() > 4096 {
            lines.shrink_to(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn scope(key: &str) -> Scope {
        Scope {
            route: Route::CreateSession,
            key: key.to_owned(),
        }
    }

    #[tokio::test]
    async fn followers_take_their_turns_one_after_the_other_and_the_line_ends_empty() {
        let keys = Keys::new();
        let first = keys.join(scope("k"), 2).expect("the first");
        let second = keys.join(scope("k"), 2).expect("a follower");
        let third = keys.join(scope("k"), 2).expect("a follower");
        assert_eq!(
            keys.join(scope("k"), 2).err(),
            Some(InFlight),
            "two may wait"
        );
        let turn = first.turn().await;
        assert!(second.turn().now_or_never().is_none());
        drop((turn, first));
        let turn = second.turn().await;
        drop((turn, second));
        drop(third.turn().await);
        drop(third);
        assert!(keys.lock().is_empty());
    }

    #[test]
    fn where_waiting_is_not_offered_a_second_is_refused_at_once() {
        let keys = Keys::new();
        let first = keys.join(scope("k"), 0).expect("the first");
        assert_eq!(keys.join(scope("k"), 0).err(), Some(InFlight));
        assert!(keys.join(scope("other"), 0).is_ok());
        drop(first);
        assert!(keys.join(scope("k"), 0).is_ok());
    }

    /// Names the process of its own in which the table is measured, so that no other test's memory is counted.
    const ALONE: &str = "KEYS_MEASURED_ALONE";
    const KEYS: usize = 100_000;

    /// What this process holds in memory, in bytes.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").expect("a Linux host");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kib = line.and_then(|l| l.trim().strip_suffix(" kB")?.parse().ok());
        1024 * kib.unwrap_or(0_usize)
    }

    #[test]
    fn a_hundred_thousand_keys_in_flight_take_a_few_hundred_bytes_each_and_give_them_back() {
        let me = std::env::current_exe().expect("this test");
        let measured = std::process::Command::new(me)
            .args(["--exact", "exchange::keys::tests::the_table_is_measured"])
            .args(["--nocapture"])
            .env(ALONE, "yes")
            .output()
            .expect("this test again");
        let told = String::from_utf8_lossy(&measured.stdout).into_owned();
        let bytes = told
            .lines()
            .find_map(|l| l.strip_prefix("bytes per key: ")?.parse::<usize>().ok());
        let bytes = bytes.unwrap_or_else(|| panic!("it was not measured: {told}"));
        println!("{bytes} bytes per key at {KEYS} keys in flight");
        assert!((100..1024).contains(&bytes), "{bytes} bytes per key");
    }

    /// Not a test of its own: what the test above starts this binary for.
    #[test]
    fn the_table_is_measured() {
        if std::env::var_os(ALONE).is_none() {
            return;
        }
        let keys = Keys::new();
        let mut places = Vec::with_capacity(KEYS);
        let names = (0..KEYS).map(|n| format!("{n:036}"));
        let before = resident();
        places.extend(names.map(|name| keys.join(scope(&name), 64).expect("the first")));
        let during = resident();
        println!("\nbytes per key: {}", (during - before) / KEYS);
        assert_eq!(keys.lock().len(), KEYS);
        drop(places);
        assert_eq!(
            keys.lock().capacity(),
            0,
            "a burst must not keep its memory"
        );
    }
}
