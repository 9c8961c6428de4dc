//! The faults that are armed, and which request each of them takes.
//!
//! One request has at most one fault. The one armed first goes first, except that what acts before a request is read
//! cannot wait for what acts later. Which requests a share takes follows from its seed and their order alone.

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    fault::{Extent, Fault, FaultError},
    kind::FaultKind,
};

/// More would be a mistake in a test.
const MAX_ARMED: usize = 64;

/// The armed faults.
#[derive(Debug)]
pub(super) struct Faults {
    armed: Mutex<List>,
    /// Told whenever the faults are cleared.
    clearings: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct List {
    faults: Vec<Armed>,
    serial: u64,
}

#[derive(Debug)]
struct Armed {
    id: u64,
    fault: Fault,
    applied: u64,
    draws: u64,
}

impl Faults {
    pub(super) fn new() -> Self {
        Self {
            armed: Mutex::default(),
            clearings: watch::Sender::new(0),
        }
    }

    /// Arms a fault and answers its number.
    pub(super) fn arm(&self, fault: Fault) -> Result<u64, FaultError> {
        let mut list = self.armed.lock();
        if list.faults.len() >= MAX_ARMED {
            return Err(FaultError(format!(
                "at most {MAX_ARMED} faults can be armed"
            )));
        }
        list.serial += 1;
        let id = list.serial;
        list.faults.push(Armed {
            id,
            fault,
            applied: 0,
            draws: 0,
        });
        Ok(id)
    }

    /// Disarms all of them, ends every wait, and answers how many there were.
    pub(super) fn clear(&self) -> usize {
        let count = std::mem::take(&mut self.armed.lock().faults).len();
        self.clearings.send_modify(|clearings| *clearings += 1);
        count
    }

    /// Waits for the next [`Faults::clear`] after this call.
    pub(super) fn cleared(&self) -> impl Future<Output = ()> + use<> {
        let mut clearings = self.clearings.subscribe();
        async move {
            // An error means that the emulator is gone: nothing is to be waited for.
            let _cleared = clearings.changed().await;
        }
    }

    /// The fault for a request of which nothing has been read.
    pub(super) fn take_before_reading(&self) -> Option<Fault> {
        self.take(|fault| fault.kind == FaultKind::ResetBeforeReading)
    }

    /// The fault for a request whose head was read.
    pub(super) fn take_for(&self, path: &[u8]) -> Option<Fault> {
        self.take(|fault| fault.kind != FaultKind::ResetBeforeReading && fault.matches(path))
    }

    fn take(&self, fits: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let faults = &mut self.armed.lock().faults;
        let at = faults
            .iter_mut()
            .position(|it| fits(&it.fault) && it.draw())?;
        let armed = &mut faults[at];
        let fault = armed.fault.clone();
        armed.applied += 1;
        if let Extent::Next(left) = &mut armed.fault.extent {
            *left -= 1;
            if *left == 0 {
                faults.remove(at);
            }
        }
        Some(fault)
    }

    /// What is armed, for `GET /faults`.
    pub(super) fn list(&self) -> Value {
        let list = self.armed.lock();
        let shown = list.faults.iter().map(|armed| {
            let mut json = armed.fault.to_json();
            json["id"] = armed.id.into();
            json["applied"] = armed.applied.into();
            json
        });
        json!({"faults": shown.collect::<Vec<_>>()})
    }
}

impl Armed {
    /// Whether this fault wants the request in hand.
    fn draw(&mut self) -> bool {
        let Extent::Share(share, seed) = self.fault.extent else {
            return true;
        };
        self.draws += 1;
        // 53 bits are what a float between 0 and 1 holds.
        let drawn = (split_mix(seed, self.draws) >> 11) as f64 / (1_u64 << 53) as f64;
        drawn < share
    }
}

/// The number at `index` of SplitMix64 from `seed` (Steele, Lea, Flood 2014): even and repeatable, not secret.
fn split_mix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armed(specs: &[&str]) -> Faults {
        let faults = Faults::new();
        for spec in specs {
            faults.arm(spec.parse().expect("a fault")).expect("room");
        }
        faults
    }

    fn taken(faults: &Faults, path: &str) -> Option<&'static str> {
        let fault = faults.take_for(path.as_bytes());
        fault.map(|fault| fault.kind.as_str())
    }

    #[test]
    fn the_next_requests_are_counted_down() {
        let faults = armed(&["xml,next=2", "delay"]);
        let kinds: Vec<_> = (0..4).map(|_| taken(&faults, "/")).collect();
        assert_eq!(kinds, [Some("xml"), Some("xml"), Some("delay"), None]);
    }

    #[test]
    fn a_path_takes_its_own_requests_only() {
        let faults = armed(&["xml,path=/a", "delay,until=cleared"]);
        assert_eq!(taken(&faults, "/b"), Some("delay"));
        assert_eq!(taken(&faults, "/a"), Some("xml"));
        assert_eq!(taken(&faults, "/a"), Some("delay"));
        assert_eq!(faults.clear(), 1);
        assert_eq!(taken(&faults, "/a"), None);
    }

    #[test]
    fn what_acts_before_reading_is_taken_before_reading() {
        let faults = armed(&["xml", "reset_before_reading"]);
        assert!(faults.take_before_reading().is_some());
        assert!(faults.take_before_reading().is_none());
        assert_eq!(taken(&faults, "/"), Some("xml"));
    }

    #[test]
    fn a_share_is_about_that_share_and_the_same_each_time() {
        let drawn = |spec: &str| {
            let faults = armed(&[spec]);
            (0..1000)
                .map(|_| taken(&faults, "/").is_some())
                .collect::<Vec<_>>()
        };
        let one = drawn("xml,share=0.2,seed=1");
        let count = one.iter().filter(|taken| **taken).count();
        assert!((150..250).contains(&count), "{count}");
        assert_eq!(one, drawn("xml,share=0.2,seed=1"));
        assert_ne!(one, drawn("xml,share=0.2,seed=2"));
        assert!(drawn("xml,share=1").iter().all(|taken| *taken));
    }

    #[test]
    fn there_is_a_limit_to_faults() {
        let faults = armed(&["xml,until=cleared"; MAX_ARMED]);
        assert!(faults.arm("xml".parse().expect("a fault")).is_err());
    }
}
