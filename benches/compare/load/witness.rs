//! When a core stood still, because a hypervisor had given it to somebody else.

use std::{
    fs, thread,
    time::{Duration, Instant, SystemTime},
};

/// A time at which a core stood still.
pub(crate) struct Stall {
    from: SystemTime,
    to: SystemTime,
}

impl Stall {
    /// Whether what is due then may wait for it: while it lasts, or after it, for what it left undone. A proxy with half its time to spare
    /// has made up for it after as long again; it is given twice that. Asked of when a request is due and never of how long it took, so
    /// that no proxy's own slowness is left out.
    pub(crate) fn is_felt_at(&self, due: SystemTime) -> bool {
        const BESIDE: Duration = Duration::from_millis(1);
        let lasted = self.to.duration_since(self.from).unwrap_or_default();
        due + BESIDE >= self.from && due <= self.to + 2 * lasted + BESIDE
    }
}

/// Prints, until it is ended, when its core stood still, in nanoseconds since 1970 from when to when: whoever runs before everything else
/// there and is woken late was not kept waiting by another process.
pub(crate) fn witness() -> ! {
    /// How often it looks: what is shorter may go unseen.
    const EVERY: Duration = Duration::from_micros(500);
    /// A wake-up out of a virtual processor's sleep takes up to 100 µs.
    const LATE: Duration = Duration::from_micros(200);
    loop {
        let began = Instant::now();
        thread::sleep(EVERY);
        let lasted = began.elapsed();
        if lasted > EVERY + LATE {
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            println!("{} {}", (now - lasted).as_nanos(), now.as_nanos());
        }
    }
}

/// What a witness wrote.
pub(crate) fn stalls(file: &str) -> Result<Vec<Stall>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let at = |nanoseconds: &str| {
        let since = Duration::from_nanos(nanoseconds.parse().ok()?);
        Some(SystemTime::UNIX_EPOCH + since)
    };
    let stall = |line: &str| {
        let (from, to) = line.split_once(' ')?;
        let (from, to) = (at(from)?, at(to)?);
        Some(Stall { from, to })
    };
    let told = text.lines().map(stall);
    told.collect::<Option<_>>()
        .ok_or_else(|| format!("{file}: a line is no two times"))
}
