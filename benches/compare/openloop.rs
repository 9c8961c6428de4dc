//! The load of `compare openloop`: requests begin when they are due, whether or not earlier ones were answered, and each is counted from
//! when it was due (a closed loop asks less while it waits, and so hides the worst: coordinated omission).
//!
//! oha and h2load send what is due in handfuls, 32 at once or all of a millisecond, so that what they measure is how long a handful
//! takes. Here each connection has a thread, which takes the next request that is due, sleeps until then by the kernel's fine timers, and
//! posts. So two cores are enough: nothing spins.
//!
//! `openloop PORT TARGET BODY_FILE RATE SECONDS CONNECTIONS even|poisson`; one line of JSON is the answer. Started with a timer slack of a
//! nanosecond, as `load.py` does: otherwise Linux has each sleep last up to 50 µs longer.

#![allow(clippy::print_stderr, reason = "it is a program for a terminal")]

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Of a run, the share at the beginning that is not counted.
const WARMING_UP: usize = 10;

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, String> {
    let [port, target, body, rate, seconds, connections, arrivals] = arguments else {
        return Err("openloop PORT TARGET BODY_FILE RATE SECONDS CONNECTIONS even|poisson".into());
    };
    let number = |text: &String| {
        let number = text.parse::<f64>().ok().filter(|n| *n > 0.0);
        number.ok_or_else(|| format!("{text} is no number above zero"))
    };
    let body = fs::read(body).map_err(|error| format!("{body}: {error}"))?;
    let (rate, seconds) = (number(rate)?, number(seconds)?);
    let due = match arrivals.as_str() {
        "even" => schedule(rate, seconds, || 1.0),
        "poisson" => {
            let mut random = Random(1);
            schedule(rate, seconds, move || -(1.0 - random.unit()).ln())
        }
        other => return Err(format!("{other} is neither even nor poisson")),
    };
    let mut request = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    let open = || {
        let stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let streams: Vec<TcpStream> = (0..number(connections)? as usize)
        .map(|_| open())
        .collect::<std::io::Result<_>>()
        .map_err(|error| format!("port {port}: {error}"))?;
    // All threads are there before the first is due.
    let began = Instant::now() + Duration::from_millis(50);
    let next = AtomicUsize::new(0);
    let told: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (streams.into_iter())
            .map(|stream| scope.spawn(|| post(stream, &request, &due, &next, began)))
            .collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let mut latencies = Vec::new();
    let (mut errors, mut last) = (0, began);
    for one in told {
        let one = one.map_err(|_panic| "a thread ended")?;
        errors += usize::from(one.failed);
        last = one.ended.max(last);
        let counted = one
            .latencies
            .into_iter()
            .filter(|(at, _)| *at >= due.len() / WARMING_UP);
        latencies.extend(counted.map(|(_, latency)| latency));
    }
    latencies.sort_unstable();
    let at = |percent: usize| {
        let latency = latencies.get(latencies.len() * percent / 100);
        latency.map_or(0.0, |l| l.as_secs_f64() * 1e6)
    };
    Ok(format!(
        r#"{{"requests":{},"rps":{:.1},"p50":{:.1},"p99":{:.1},"errors":{errors}}}"#,
        latencies.len(),
        due.len() as f64 / (last - began).as_secs_f64(),
        at(50),
        at(99),
    ))
}

/// When each request is due, from the beginning: at `rate` for `seconds`, `gap` apart in means.
fn schedule(rate: f64, seconds: f64, mut gap: impl FnMut() -> f64) -> Vec<Duration> {
    let mut now = 0.0;
    let due = std::iter::from_fn(|| {
        now += gap() / rate;
        (now < seconds).then(|| Duration::from_secs_f64(now))
    });
    due.collect()
}

/// What one connection has to tell.
struct Told {
    /// Which request, and how long after it was due its answer was there.
    latencies: Vec<(usize, Duration)>,
    /// Whether it ended with anything but an answer of 200.
    failed: bool,
    ended: Instant,
}

/// Posts over one connection whatever is due next, until nothing is.
fn post(
    mut stream: TcpStream,
    request: &[u8],
    due: &[Duration],
    next: &AtomicUsize,
    began: Instant,
) -> Told {
    let mut told = Told {
        latencies: Vec::new(),
        failed: false,
        ended: began,
    };
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(after) = due.get(at) else {
            return told;
        };
        let begins = began + *after;
        thread::sleep(begins.saturating_duration_since(Instant::now()));
        if stream.write_all(request).is_err() || !is_answered(&mut stream) {
            told.failed = true;
            return told;
        }
        told.ended = Instant::now();
        told.latencies.push((at, told.ended - begins));
    }
}

/// Reads one answer whole; whether it is a 200.
fn is_answered(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 8192];
    let mut read = 0;
    loop {
        match stream.read(&mut buffer[read..]) {
            Ok(0) | Err(_) => return false,
            Ok(more) => read += more,
        }
        let Some(head) = buffer[..read].windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.and_then(|l| l.trim().parse().ok()).unwrap_or(0);
        if read >= head + 4 + length {
            return text.starts_with("http/1.1 200");
        }
    }
}

/// SplitMix64: the same arrivals in each run.
struct Random(u64);

impl Random {
    /// From 0 to less than 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
