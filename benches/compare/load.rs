//! The loads that wrk does not make: one that comes when it comes, and one alone at several ports in turns.
//!
//! `load open PORT TARGET BODY_FILE RATE SECONDS CONNECTIONS even|poisson SEED`, for `compare openloop`: requests begin when they are due,
//! whether or not earlier ones were answered, and each is counted from when it was due (a closed loop asks less while it waits, and so hides
//! the worst: coordinated omission). oha and h2load send what is due in handfuls, 32 at once or all of a millisecond, so that what they measure
//! is how long a handful takes. Here each connection has a thread, which takes the next request that is due, sleeps until then by the
//! kernel's fine timers, and posts. So two cores are enough: nothing spins. Started with a timer slack of a nanosecond, as `load.py` does:
//! otherwise Linux has each sleep last up to 50 µs longer.
//!
//! `load alone TARGET BODY_FILE SECONDS DIRECT_PORT PORT…`, for `compare speed`: what a caller waits who is alone, on one connection to each
//! port, a few requests at each in turn. A machine that is slower for some seconds is so for all of them; a second at each would have the
//! proxies compared by what else the machine did.
//!
//! One line of JSON is the answer.

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
    match arguments.split_first() {
        Some((what, rest)) if what == "open" => open_loop(rest),
        Some((what, rest)) if what == "alone" => alone(rest),
        _ => Err("load open …, or load alone …".into()),
    }
}

fn open_loop(arguments: &[String]) -> Result<String, String> {
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
            "load open PORT TARGET BODY_FILE RATE SECONDS CONNECTIONS even|poisson SEED".into(),
        );
    };
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
    let request = request(target, body)?;
    let streams: Vec<TcpStream> = (0..number(connections)? as usize)
        .map(|_| connected(port))
        .collect::<Result<_, _>>()?;
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

/// What is posted to one port by somebody who is alone.
struct Alone<'a> {
    port: &'a str,
    stream: TcpStream,
    /// Of each turn, the median of what its requests took.
    turns: Vec<f64>,
    errors: usize,
}

/// Answers the median over all turns of what a turn's median request took at each port, and of by how much it took longer than at the
/// first port in the same turn.
fn alone(arguments: &[String]) -> Result<String, String> {
    /// Requests of a turn: so few that a turn at each port is over within some tens of milliseconds.
    const TURN: usize = 40;
    /// Of these, the first ones, which find the caches as another proxy left them.
    const NOT_COUNTED: usize = 2;
    let [target, body, seconds, _direct, ..] = arguments else {
        return Err("load alone TARGET BODY_FILE SECONDS DIRECT_PORT PORT…".into());
    };
    let request = request(target, body)?;
    let mut asked = Vec::new();
    for port in &arguments[3..] {
        asked.push(Alone {
            port,
            stream: connected(port)?,
            turns: Vec::new(),
            errors: 0,
        });
    }
    let ends = Instant::now() + Duration::from_secs_f64(number(seconds)?);
    while Instant::now() < ends {
        for one in asked.iter_mut().filter(|one| one.errors == 0) {
            let mut took = Vec::new();
            for _ in 0..TURN {
                let began = Instant::now();
                if one.stream.write_all(&request).is_err() || !is_answered(&mut one.stream) {
                    one.errors += 1;
                    break;
                }
                took.push(began.elapsed().as_secs_f64() * 1e6);
            }
            if took.len() == TURN {
                one.turns.push(median(&mut took[NOT_COUNTED..]));
            }
        }
        if asked[0].errors > 0 {
            return Err(format!("port {}: not answered with 200", asked[0].port));
        }
        // Whoever comes before a port does so in every other turn only.
        asked[1..].reverse();
    }
    let direct = asked[0].turns.clone();
    let told: Vec<String> = (asked.iter_mut())
        .map(|one| {
            let mut added: Vec<f64> = one.turns.iter().zip(&direct).map(|(a, b)| a - b).collect();
            let (p50, added) = (median(&mut one.turns), median(&mut added));
            format!(
                r#""{}":{{"p50":{p50:.1},"added":{added:.1},"errors":{}}}"#,
                one.port, one.errors
            )
        })
        .collect();
    Ok(format!("{{{}}}", told.join(",")))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn number(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|n| *n > 0.0);
    number.ok_or_else(|| format!("{text} is no number above zero"))
}

/// A request that posts the body that is in a file.
fn request(target: &str, body: &str) -> Result<Vec<u8>, String> {
    let body = fs::read(body).map_err(|error| format!("{body}: {error}"))?;
    let mut request = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    Ok(request)
}

fn connected(port: &str) -> Result<TcpStream, String> {
    let open = || {
        let stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    open().map_err(|error: std::io::Error| format!("port {port}: {error}"))
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
