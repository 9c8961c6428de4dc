//! The load of `compare openloop`: requests begin when they are due, whether or not earlier ones were answered, and each is counted from
//! when it was due (a closed loop asks less while it waits, and so hides the worst: coordinated omission).
//!
//! oha and h2load send what is due in handfuls, 32 at once or all of a millisecond, so that what they measure is how long a handful
//! takes. Here each connection has a thread, which takes the next request that is due, sleeps until then by the kernel's fine timers, and
//! posts. So two cores are enough: nothing spins.
//!
//! `openloop PORT TARGET BODY_FILE RATE SECONDS CONNECTIONS even|poisson SEED`; one line of JSON is the answer. Started with a timer slack of a
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
    let [
        port,
        target,
        body,
        rate,
        seconds,
        connections,
        arrivals,
        seed,
    ] = arguments
    else {
        return Err(
            "openloop PORT TARGET BODY_FILE RATE SECONDS CONNECTIONS even|poisson SEED".into(),
        );
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
            let seed = seed
                .parse()
                .map_err(|_| format!("{seed} is no whole number"))?;
            let mut random = Random(seed);
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
    let (mut latencies, mut late) = (Vec::new(), Vec::new());
    let (mut errors, mut last) = (0, began);
    for one in told {
        let one = one.map_err(|_panic| "a thread ended")?;
        errors += usize::from(one.failed);
        last = one.ended.max(last);
        let counted = one
            .posted
            .into_iter()
            .filter(|posted| posted.at >= due.len() / WARMING_UP);
        for posted in counted {
            latencies.push(posted.answered);
            late.extend(posted.began_late);
        }
    }
    if latencies.is_empty() {
        return Err(format!("port {port}: nothing was answered with 200"));
    }
    latencies.sort_unstable();
    late.sort_unstable();
    let at = |sorted: &[Duration], percent: usize| {
        let found = sorted.get(sorted.len() * percent / 100);
        found.map_or(0.0, |found| found.as_secs_f64() * 1e6)
    };
    Ok(format!(
        r#"{{"requests":{},"asked":{:.1},"rps":{:.1},"p50":{:.1},"p99":{:.1},"late_p99":{:.1},"errors":{errors}}}"#,
        latencies.len(),
        due.len() as f64 / seconds,
        due.len() as f64 / (last - began).as_secs_f64(),
        at(&latencies, 50),
        at(&latencies, 99),
        at(&late, 99),
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
    posted: Vec<Posted>,
    /// Whether it ended with anything but an answer of 200.
    failed: bool,
    ended: Instant,
}

/// What became of one request.
struct Posted {
    /// Which one.
    at: usize,
    /// How long after it was due its answer was there.
    answered: Duration,
    /// How long after it was due it was begun, where a connection was free by then: that is the generator's own fault.
    began_late: Option<Duration>,
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
        posted: Vec::new(),
        failed: false,
        ended: began,
    };
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(after) = due.get(at) else {
            return told;
        };
        let begins = began + *after;
        let early = begins.saturating_duration_since(Instant::now());
        thread::sleep(early);
        let began_late = (!early.is_zero()).then(|| begins.elapsed());
        if stream.write_all(request).is_err() || !is_answered(&mut stream) {
            told.failed = true;
            return told;
        }
        told.ended = Instant::now();
        told.posted.push(Posted {
            at,
            answered: told.ended - begins,
            began_late,
        });
    }
}

/// Reads one answer whole; whether it is a 200.
fn is_answered(stream: &mut TcpStream) -> bool {
    let mut buffer = vec![0; 8192];
    let mut read = 0;
    loop {
        if read == buffer.len() {
            buffer.resize(2 * read, 0);
        }
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
        // What is framed otherwise is no answer of the upstream that all are measured against.
        let Some(length) = length.and_then(|l| l.trim().parse::<usize>().ok()) else {
            return false;
        };
        if read >= head + 4 + length {
            return text.starts_with("http/1.1 200");
        }
    }
}

/// SplitMix64: of one seed the same arrivals, whoever is measured.
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
