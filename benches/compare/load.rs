//! The loads that wrk does not make: one that comes when it comes, and one alone at several ports in turns.
//!
//! `load open PORT UPSTREAM_PORT TARGET BODY_FILE RATE SECONDS CONNECTIONS even|poisson SEED`, for `compare openloop`: requests begin when they
//! are due, whether or not earlier ones were answered, and each is counted from when it was due (a closed loop asks less while it waits, and
//! so hides the worst: coordinated omission). oha and h2load send what is due in handfuls, 32 at once or all of a millisecond, so that what
//! they measure is how long a handful takes. Here one thread does everything but the proxy's part: it posts what is due, answers as the
//! upstream, reads what comes back, and never sleeps. Were there a thread to be woken on its core for each of those, what is measured would
//! mostly be how they wait for each other.
//!
//! `load alone TARGET BODY_FILE SECONDS DIRECT_PORT PORT…`, for `compare speed`: what a caller waits who is alone, on one connection to each
//! port, a few requests at each in turn. A machine that is slower for some seconds is so for all of them; a second at each would have the
//! proxies compared by what else the machine did.
//!
//! `load witness`, for `compare openloop`, on each core that is measured on and before everything else that runs there: a line for each time
//! at which the core stood still, because a hypervisor had given it to somebody else. `load open … SEED WITNESSED_FILE…` leaves out what was
//! due then, whichever way it went. Started with a timer slack of a nanosecond, as `load.py` does: otherwise Linux has each sleep last up to
//! 50 µs longer.
//!
//! One line of JSON is the answer of the others.

#![allow(clippy::print_stderr, reason = "it is a program for a terminal")]

use std::{
    collections::VecDeque,
    env, fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::ExitCode,
    thread,
    time::{Duration, Instant, SystemTime},
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
        Some((what, [])) if what == "witness" => witness(),
        _ => Err("load open …, load alone …, or load witness".into()),
    }
}

fn open_loop(arguments: &[String]) -> Result<String, String> {
    let [
        port,
        upstream,
        target,
        body,
        rate,
        seconds,
        connections,
        arrivals,
        seed,
        witnessed @ ..,
    ] = arguments
    else {
        return Err(
            "load open PORT UPSTREAM_PORT TARGET BODY_FILE RATE SECONDS CONNECTIONS even|poisson SEED WITNESSED_FILE…".into(),
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
    let mut upstream = Upstream::new(upstream)?;
    let streams: Vec<TcpStream> = (0..number(connections)? as usize)
        .map(|_| connected(port))
        .collect::<Result<_, _>>()?;
    let request = request(target, body)?;
    let mut callers = Callers::new(streams, &request, &due)?;
    let began_by_clock = SystemTime::now();
    while !callers.is_done() {
        upstream.serve()?;
        callers.ask()?;
    }
    let posted = callers.posted;
    let last = posted.iter().map(|posted| posted.answered).max();
    let mut stood_still = Vec::new();
    for file in witnessed {
        stood_still.extend(stalls(file)?);
    }
    let (mut latencies, mut late) = (Vec::new(), Vec::new());
    let mut left_out = 0;
    let counted = posted
        .iter()
        .filter(|posted| posted.at >= due.len() / WARMING_UP);
    for posted in counted {
        let due = due[posted.at];
        if stood_still
            .iter()
            .any(|stall| stall.is_felt_at(began_by_clock + due))
        {
            left_out += 1;
            continue;
        }
        latencies.push(posted.answered - due);
        late.extend(posted.begun_late);
    }
    if latencies.is_empty() {
        return Err(format!("port {port}: the machine stood still all the time"));
    }
    latencies.sort_unstable();
    late.sort_unstable();
    let at = |sorted: &[Duration], percent: usize| {
        let found = sorted.get(sorted.len() * percent / 100);
        found.map_or(0.0, |found| found.as_secs_f64() * 1e6)
    };
    Ok(format!(
        r#"{{"requests":{},"asked":{:.1},"rps":{:.1},"p50":{:.1},"p99":{:.1},"late_p99":{:.1},"left_out":{:.4}}}"#,
        latencies.len(),
        due.len() as f64 / seconds,
        due.len() as f64 / last.unwrap_or_default().as_secs_f64(),
        at(&latencies, 50),
        at(&latencies, 99),
        at(&late, 99),
        left_out as f64 / (left_out + latencies.len()) as f64,
    ))
}

/// What answers behind the proxy, as long as it is asked to [`Upstream::serve`].
struct Upstream {
    listener: TcpListener,
    connections: Vec<Messages>,
    answer: String,
}

impl Upstream {
    /// That of peers/upstream.conf.
    const BODY: &str = r#"{"status":100,"client_message":"Success","data":{"session_identifier":"7830227a-ba47-4d28-9416-cad41a446db7","authorized_url":"https://iip-webplugin-uat.ingo.money/session/7830227a-ba47-4d28-9416-cad41a446db7?t=637126733246949906&h=rpSb","authorized_url_expiration_utc":"2099-12-10T20:14:19.763941Z","participant_unique_id1":"1f271ff6","participant_unique_id2":""},"time":0.8}"#;

    fn new(port: &str) -> Result<Self, String> {
        let listen = || {
            let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = listen().map_err(|error: std::io::Error| format!("port {port}: {error}"))?;
        Ok(Self {
            listener,
            connections: Vec::new(),
            answer: format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
                Self::BODY.len(),
                Self::BODY
            ),
        })
    }

    /// Takes who is there, and answers what is there. A proxy may close a connection between two requests; what it gives up amid one, its
    /// caller hears of.
    fn serve(&mut self) -> Result<(), String> {
        if let Ok((stream, _)) = self.listener.accept() {
            self.connections.push(Messages::looked_at(stream)?);
        }
        self.connections
            .retain_mut(|connection| match connection.received() {
                Ok(None) => true,
                Ok(Some(_)) => (connection.stream)
                    .write_all(self.answer.as_bytes())
                    .is_ok(),
                Err(_) => false,
            });
        Ok(())
    }
}

/// Who posts to the proxy, each over a connection of its own.
struct Callers<'a> {
    began: Instant,
    request: &'a [u8],
    /// When each request is due, since the beginning.
    due: &'a [Duration],
    next: usize,
    /// Whether the next was due already while every connection had one to wait for.
    is_held: bool,
    free: VecDeque<Messages>,
    waiting: VecDeque<Waiting>,
    posted: Vec<Posted>,
}

/// One request that is under way.
struct Waiting {
    by: Messages,
    sent: usize,
    at: usize,
    begun_late: Option<Duration>,
}

/// What became of one request.
struct Posted {
    /// Which one.
    at: usize,
    /// When its answer was there, since the beginning.
    answered: Duration,
    /// How long after it was due it was begun, where a connection was free by then: that is the generator's own fault.
    begun_late: Option<Duration>,
}

impl<'a> Callers<'a> {
    fn new(
        streams: Vec<TcpStream>,
        request: &'a [u8],
        due: &'a [Duration],
    ) -> Result<Self, String> {
        Ok(Self {
            free: (streams.into_iter())
                .map(Messages::looked_at)
                .collect::<Result<_, _>>()?,
            waiting: VecDeque::new(),
            posted: Vec::with_capacity(due.len()),
            next: 0,
            is_held: false,
            due,
            request,
            began: Instant::now(),
        })
    }

    fn is_done(&self) -> bool {
        self.posted.len() == self.due.len()
    }

    /// Begins what is due and takes what is answered.
    fn ask(&mut self) -> Result<(), String> {
        /// Nothing is waited for longer.
        const PATIENCE: Duration = Duration::from_secs(10);
        while let Some(due) = self.due.get(self.next)
            && let Some(late) = self.began.elapsed().checked_sub(*due)
        {
            let Some(by) = self.free.pop_front() else {
                self.is_held = true;
                break;
            };
            self.waiting.push_back(Waiting {
                by,
                sent: 0,
                at: self.next,
                begun_late: (!self.is_held).then_some(late),
            });
            self.is_held = false;
            self.next += 1;
        }
        for _ in 0..self.waiting.len() {
            let Some(mut one) = self.waiting.pop_front() else {
                break;
            };
            one.send(self.request)?;
            let answer = one.by.received();
            match answer.map_err(|why| format!("a request was not answered: {why}"))? {
                Some(first) if is_success(&first) => {
                    self.posted.push(Posted {
                        at: one.at,
                        answered: self.began.elapsed(),
                        begun_late: one.begun_late,
                    });
                    self.free.push_back(one.by);
                }
                Some(other) => return Err(format!("a request was answered: {other}")),
                None if self.began.elapsed() > self.due[one.at] + PATIENCE => {
                    return Err(format!("a request was not answered within {PATIENCE:?}"));
                }
                None => self.waiting.push_back(one),
            }
        }
        Ok(())
    }
}

impl Waiting {
    /// Sends as much of what is not yet sent as is taken.
    fn send(&mut self, request: &[u8]) -> Result<(), String> {
        if self.sent == request.len() {
            return Ok(());
        }
        match self.by.stream.write(&request[self.sent..]) {
            Ok(more) => self.sent += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(format!("a request was not sent: {error}")),
        }
        Ok(())
    }
}

/// A time at which a core stood still.
struct Stall {
    from: SystemTime,
    to: SystemTime,
}

impl Stall {
    /// Whether what is due then may wait for it: while it lasts, or after it, for what it left undone. A proxy with half its time to spare
    /// has made up for it after as long again; it is given twice that. Asked of when a request is due and never of how long it took, so
    /// that no proxy's own slowness is left out.
    fn is_felt_at(&self, due: SystemTime) -> bool {
        const BESIDE: Duration = Duration::from_millis(1);
        let lasted = self.to.duration_since(self.from).unwrap_or_default();
        due + BESIDE >= self.from && due <= self.to + 2 * lasted + BESIDE
    }
}

/// Prints, until it is ended, when its core stood still, in nanoseconds since 1970 from when to when: whoever runs before everything else
/// there and is woken late was not kept waiting by another process.
fn witness() -> ! {
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
fn stalls(file: &str) -> Result<Vec<Stall>, String> {
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

/// What is posted to one port by somebody who is alone.
struct Alone<'a> {
    port: &'a str,
    by: Messages,
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
            by: Messages::over(connected(port)?),
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
                if one.by.stream.write_all(&request).is_err() || !one.by.is_answered() {
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

/// A connection over which one message after the other comes, each with its length told in its head.
struct Messages {
    stream: TcpStream,
    buffer: Vec<u8>,
    read: usize,
}

impl Messages {
    fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: vec![0; 8192],
            read: 0,
        }
    }

    /// One that is looked at rather than waited for.
    fn looked_at(stream: TcpStream) -> Result<Self, String> {
        let set = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_nonblocking(true));
        set.map_err(|error| format!("a connection: {error}"))?;
        Ok(Self::over(stream))
    }

    /// Reads once. The first line of a message that has now come whole.
    fn received(&mut self) -> Result<Option<String>, String> {
        if self.read == self.buffer.len() {
            self.buffer.resize(2 * self.read, 0);
        }
        match self.stream.read(&mut self.buffer[self.read..]) {
            Ok(0) => return Err("the connection was closed".into()),
            Ok(more) => self.read += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.to_string()),
        }
        let read = &self.buffer[..self.read];
        let Some(head) = read.windows(4).position(|w| w == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        // What is framed otherwise comes from nobody that is measured here.
        let length = lines
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|length| length.trim().parse::<usize>().ok())
            .ok_or_else(|| format!("a message without Content-Length: {first}"))?;
        if read.len() < head + 4 + length {
            return Ok(None);
        }
        self.read = 0;
        Ok(Some(first.into()))
    }

    /// Waits for an answer; whether it is a 200.
    fn is_answered(&mut self) -> bool {
        loop {
            match self.received() {
                Ok(None) => {}
                Ok(Some(first)) => return is_success(&first),
                Err(_) => return false,
            }
        }
    }
}

fn is_success(first_line: &str) -> bool {
    first_line.starts_with("http/1.1 200")
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
