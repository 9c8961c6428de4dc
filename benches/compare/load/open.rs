//! Callers whose requests begin when they are due, and the upstream behind the proxy, on one thread.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Write as _},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant, SystemTime},
};

use super::{
    connected,
    messages::{Messages, is_success},
    number, request,
    witness::stalls,
};

/// Of a run, the share at the beginning that is not counted.
const WARMING_UP: usize = 10;

pub(crate) fn open_loop(arguments: &[String]) -> Result<String, String> {
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

/// When each request is due, from the beginning: at `rate` for `seconds`, `gap` apart in means.
fn schedule(rate: f64, seconds: f64, mut gap: impl FnMut() -> f64) -> Vec<Duration> {
    let mut now = 0.0;
    let due = std::iter::from_fn(|| {
        now += gap() / rate;
        (now < seconds).then(|| Duration::from_secs_f64(now))
    });
    due.collect()
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
