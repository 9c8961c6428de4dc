//! Memory with two bounds, in entries and in age: what the emulator remembers of keys, sessions and transactions.
//!
//! Whatever a client sends, no more than `capacity` entries are held; the oldest goes first, and what is too old is not
//! found any more, whether it has gone yet or not.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    time::{Duration, SystemTime},
};

/// A map that forgets.
#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    capacity: usize,
    lifetime: Duration,
    entries: HashMap<K, Slot<V>>,
    /// Keys in the order in which they were put in; one that was put in again stands in it twice, and the older mention
    /// is told by its serial.
    order: VecDeque<(K, u64)>,
    serial: u64,
}

#[derive(Debug)]
struct Slot<V> {
    value: V,
    since: SystemTime,
    serial: u64,
}

impl<K: Clone + Eq + Hash, V> Bounded<K, V> {
    pub(super) fn new(capacity: usize, lifetime: Duration) -> Self {
        Self {
            capacity: capacity.max(1),
            lifetime,
            entries: HashMap::new(),
            order: VecDeque::new(),
            serial: 0,
        }
    }

    /// Puts `value` in as of `now`; what stood there before is replaced, and its age with it.
    pub(super) fn put(&mut self, key: K, value: V, now: SystemTime) {
        self.serial += 1;
        let serial = self.serial;
        self.order.push_back((key.clone(), serial));
        self.entries.insert(
            key,
            Slot {
                value,
                since: now,
                serial,
            },
        );
        while let Some((oldest, serial)) = self.order.front() {
            let slot = self
                .entries
                .get(oldest)
                .filter(|slot| slot.serial == *serial);
            let gone = slot.is_none_or(|slot| self.is_too_old(slot, now));
            if !gone && self.entries.len() <= self.capacity {
                break;
            }
            if slot.is_some() {
                self.entries.remove(oldest);
            }
            self.order.pop_front();
        }
    }

    /// The live entry under `key`.
    pub(super) fn find(&mut self, key: &K, now: SystemTime) -> Option<&mut V> {
        if self.is_too_old(self.entries.get(key)?, now) {
            return None;
        }
        self.entries.get_mut(key).map(|slot| &mut slot.value)
    }

    /// Every live entry.
    pub(super) fn live(&self, now: SystemTime) -> impl Iterator<Item = &V> {
        self.entries
            .values()
            .filter(move |slot| !self.is_too_old(slot, now))
            .map(|slot| &slot.value)
    }

    /// A clock that was set back makes nothing older.
    fn is_too_old(&self, slot: &Slot<V>, now: SystemTime) -> bool {
        now.duration_since(slot.since)
            .is_ok_and(|age| age >= self.lifetime)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut store = Bounded::new(2, Duration::from_secs(60));
        for key in 0..5 {
            store.put(key, key * 10, at(0));
        }
        assert_eq!(store.live(at(0)).count(), 2);
        assert_eq!(store.find(&2, at(0)), None);
        assert_eq!(store.find(&4, at(0)), Some(&mut 40));
    }

    #[test]
    fn nothing_outlives_its_time() {
        let mut store = Bounded::new(9, Duration::from_secs(60));
        store.put("a", 1, at(0));
        assert_eq!(store.find(&"a", at(59)), Some(&mut 1));
        assert_eq!(store.find(&"a", at(60)), None);
        store.put("b", 2, at(60));
        assert_eq!(store.entries.len(), 1);
    }

    #[test]
    fn what_is_put_in_again_is_new_and_counts_once() {
        let mut store = Bounded::new(2, Duration::from_secs(60));
        for second in 0..100 {
            store.put("a", second, at(second));
        }
        store.put("b", 0, at(100));
        assert_eq!(store.find(&"a", at(100)), Some(&mut 99));
        assert!(store.order.len() <= 62, "{}", store.order.len());
        store.put("c", 0, at(101));
        assert_eq!(store.find(&"a", at(101)), None);
        assert_eq!(store.find(&"b", at(101)), Some(&mut 0));
    }

    #[test]
    fn a_clock_that_is_set_back_harms_nothing() {
        let mut store = Bounded::new(2, Duration::from_secs(60));
        store.put("a", 1, at(1000));
        assert_eq!(store.find(&"a", at(0)), Some(&mut 1));
    }
}
