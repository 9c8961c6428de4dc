//! Holds the proxy to the table: each cell is run with the real binary against an upstream that counts bytes.
//!
//! A cell is run twice: the fault meets every attempt, and it meets the first alone. What the upstream received is checked to
//! the byte, by a verifier that shares no code with the proxy.

use std::{thread, time::Duration};

use crate::{
    counting::{self, Arrival, Counting},
    support::{Answer, Builder, Client, Post, Proxy, Recorded, SECRET, USERNAME, tls::Identity},
    table::{Arrives, Attempts, Cell, Fault, Gets, Kind, ROWS, Row},
};

/// A route, and what is posted to it.
#[derive(Clone, Copy, Debug)]
struct Column {
    route: &'static str,
    path: &'static str,
    kind: Kind,
    body: &'static str,
}

/// White space that no JSON library would write, so that bytes that were written anew show.
const COLUMNS: [Column; 4] = [
    Column {
        route: "create_session",
        path: crate::support::SESSIONS,
        kind: Kind::Recognised,
        body: "{\t\"participant_unique_id1\" : \"p-1\",\r\n\"recipient_information\":{ }}",
    },
    Column {
        route: "verify",
        path: "/gateway/verify",
        kind: Kind::Recognised,
        body: "{ \"participant_unique_id1\": \"p-1\"\t,\"amount\":1.50}\n",
    },
    Column {
        route: "process",
        path: "/gateway/process",
        kind: Kind::Money,
        body: "{\"participant_unique_id1\":\"p-1\" , \"amount\" : 1e2 }",
    },
    Column {
        route: "debit",
        path: "/gateway/v12/debit/process",
        kind: Kind::Money,
        body: "{\"participant_unique_ids\":[\"p-1\",  \"p-2\"]}  ",
    },
];

const DANGER: Column = Column {
    kind: Kind::Danger,
    ..COLUMNS[2]
};

/// How many attempts the fault meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meets {
    Every,
    First,
}

/// A date may be older than the first byte that it was signed for by the time a request takes to be written, and dates have
/// whole seconds.
const FRESH: Duration = Duration::from_secs(2);

/// How long a caller on a money route is ready to wait where nothing comes, in seconds.
const IMPATIENCE: &str = "1";

/// Runs the cells of a row; fails with all that is wrong in them.
pub fn hold(name: &str) {
    let row = ROWS.iter().find(|(n, _)| *n == name).expect("a row").1;
    let runs = COLUMNS
        .into_iter()
        .flat_map(|column| modes(row).map(move |meets| (row, column, meets)));
    run_all(runs);
}

/// The whole column at once, because each repeat of a money call waits 4 s.
#[test]
fn with_danger_repeat_after_write_money_is_repeated_as_the_table_says() {
    let runs = ROWS
        .iter()
        .flat_map(|(_, row)| modes(*row).map(|meets| (*row, DANGER, meets)));
    run_all(runs);
}

fn modes(row: Row) -> impl Iterator<Item = Meets> {
    let every = (row.fault != Fault::DeadPooled).then_some(Meets::Every);
    // A name that resolves after all would need a name server.
    let first = (row.fault.recurs() && row.fault != Fault::Resolve).then_some(Meets::First);
    let only = (row.fault == Fault::DeadPooled).then_some(Meets::First);
    [every, first, only].into_iter().flatten()
}

fn run_all(runs: impl Iterator<Item = (Row, Column, Meets)>) {
    let mut wrong = Vec::new();
    thread::scope(|scope| {
        let running: Vec<_> = runs
            .map(|(row, column, meets)| {
                let cell = format!("{:?}, {}, meets {meets:?}", row.fault, column.route);
                (cell, scope.spawn(move || Run::of(row, column, meets)))
            })
            .collect();
        for (cell, run) in running {
            match run.join() {
                Ok(faults) => wrong.extend(faults.iter().map(|f| format!("{cell}: {f}"))),
                Err(_) => wrong.push(format!("{cell}: see the panic above")),
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One cell, met once or always.
struct Run {
    row: Row,
    column: Column,
    meets: Meets,
    cell: Cell,
    wrong: Vec<String>,
}

impl Run {
    fn of(row: Row, column: Column, meets: Meets) -> Vec<String> {
        let mut run = Self {
            row,
            column,
            meets,
            cell: row.cell(column.kind),
            wrong: Vec::new(),
        };
        run.run();
        run.wrong
    }

    fn run(&mut self) {
        let (upstream, builder) = self.setting();
        let proxy = builder.yaml_more(&self.yaml(&upstream)).start();
        let mut client = proxy.client();
        if self.pooled() {
            let first = client.post(&self.post());
            self.equal("the first on the pooled connection", first.status, 200);
            if self.row.fault == Fault::ClosedIdle {
                upstream.close_connections();
                upstream.wait_for_no_connection();
            }
        }
        let before = upstream.arrivals().len();
        let answer = self.ask(&proxy, &mut client, &upstream);
        let arrivals = upstream.arrivals().split_off(before);
        self.caller_got(&answer);
        self.upstream_received(&arrivals, &answer, &upstream);
        self.logged(&proxy, &answer);
        self.journalled(&proxy);

        upstream.heal();
        let next = match self.row.fault {
            // The name will never resolve: another route goes elsewhere.
            Fault::Resolve => client.post(&Post::new("{}").to("/gateway/v4/notify")),
            _ => client.post(&self.post()),
        };
        self.equal("the next exchange's status", next.status, 200);
        self.equal("the next exchange's attempts", attempts(&next), 1);
    }

    /// The upstream, and a proxy that leads there.
    fn setting(&self) -> (Counting, Setting) {
        let (fault, every) = (self.row.fault, self.meets == Meets::Every);
        match fault {
            Fault::Resolve => {
                let upstream = Counting::scripted(|_, _| None);
                let mut setting = Setting::to(&upstream.url());
                // The flag would speak for every route.
                setting.builder = setting.builder.upstream(None);
                (upstream, setting)
            }
            Fault::Refused => {
                let upstream = Counting::refusing(|_, _| None);
                let setting = Setting::to(&upstream.url());
                (upstream, setting)
            }
            Fault::Tls => {
                let identity = Identity::of(&["127.0.0.1"]);
                let failing = if every { usize::MAX } else { 1 };
                let upstream = Counting::over_tls(&identity, failing);
                let setting = Setting::trusting(&identity, &upstream.url());
                (upstream, setting)
            }
            _ => {
                let upstream = Counting::scripted(move |count, number| {
                    let met = match fault {
                        Fault::ClosedIdle => false,
                        Fault::DeadPooled => number == 1,
                        _ => every || count == 0,
                    };
                    met.then_some(fault)
                });
                let setting = Setting::to(&upstream.url());
                (upstream, setting)
            }
        }
    }

    fn yaml(&self, upstream: &Counting) -> String {
        let route = self.column.route;
        let patient = self.refused_first();
        let mut yaml = format!(
            "repeats:\n  backoff_base: {}\ncircuit_breaker:\n  failures: 0\nroutes:\n  {route}:\n    enabled: true\n    attempts: {}\n",
            if patient { "100ms" } else { "1ms" },
            self.allowed(),
        );
        if self.moves_money() {
            // In the directory in which the proxy runs.
            yaml.insert_str(0, "journal:\n  file: journal\n  fsync: false\n");
        }
        if self.column.kind == Kind::Danger {
            yaml.push_str("    danger_repeat_after_write: true\n");
        }
        if self.row.fault == Fault::Stall && self.column.kind == Kind::Recognised {
            yaml.push_str("    attempt_timeout: 700ms\n");
        }
        if self.row.fault == Fault::Resolve {
            let url = upstream.url();
            // RFC 6761 §6.4: no such name will ever exist.
            yaml.push_str("    url: https://nowhere.invalid\n");
            if route != "create_session" {
                yaml.push_str("  create_session:\n    enabled: false\n");
            }
            yaml.push_str(&format!(
                "  notify_v4:\n    enabled: true\n    url: {url}\n"
            ));
        }
        yaml
    }

    /// How many attempts the route may make.
    fn allowed(&self) -> u32 {
        match self.column.kind {
            _ if self.refused_first() => 10,
            Kind::Recognised | Kind::Money => 3,
            // Each repeat waits 4 s.
            Kind::Danger => 2,
        }
    }

    /// When the upstream begins to listen cannot be timed to the attempt.
    fn refused_first(&self) -> bool {
        self.row.fault == Fault::Refused && self.meets == Meets::First
    }

    fn pooled(&self) -> bool {
        matches!(self.row.fault, Fault::DeadPooled | Fault::ClosedIdle)
    }

    fn post(&self) -> Post {
        let post = Post::new(self.column.body).to(self.column.path);
        // An attempt may not be given less than the 60 s for which Ingo may hold a call that moves money.
        match self.row.fault == Fault::Stall && self.moves_money() {
            true => post.header("Ingo-Proxy-Timeout", IMPATIENCE),
            false => post,
        }
    }

    fn ask(&self, proxy: &Proxy, client: &mut Client, upstream: &Counting) -> Answer {
        client.send(&self.post().bytes());
        if self.refused_first() {
            proxy.metrics_become(|m| m.sum("ingo_proxy_attempts_total", &[]) >= 1.0);
            upstream.listen();
        }
        client.answer("POST")
    }

    /// Whether a repeat makes good what the first attempt met.
    fn is_made_good(&self) -> bool {
        self.meets == Meets::First && self.cell.attempts == Attempts::All
    }

    fn expected_attempts(&self) -> u32 {
        match self.cell.attempts {
            Attempts::One => 1,
            Attempts::All if self.is_made_good() => 2,
            Attempts::All => self.allowed(),
        }
    }

    fn caller_got(&mut self, answer: &Answer) {
        if self.refused_first() {
            let made = attempts(answer);
            self.check((2..=10).contains(&made), || format!("{made} attempts"));
        } else {
            self.equal("attempts", attempts(answer), self.expected_attempts());
        }
        let gets = match self.is_made_good() {
            true => Gets::Success,
            false => self.cell.answer,
        };
        match gets {
            Gets::Success => {
                self.equal("status", answer.status, 200);
                self.equal("body", answer.text(), counting::body(Some(100)));
            }
            Gets::IngosLast => {
                let (status, body) = match self.row.fault {
                    Fault::Status(status, _) => (status, counting::body(None)),
                    Fault::BodyStatus(status) => (200, counting::body(Some(status))),
                    other => panic!("{other:?} brings no answer"),
                };
                self.equal("status", answer.status, status);
                self.equal("body", answer.text(), body);
                if let Fault::Status(_, Some(seconds)) = self.row.fault {
                    let told = answer.header("retry-after").map(str::to_owned);
                    self.equal("Retry-After", told, Some(seconds.to_string()));
                }
            }
            Gets::Problem(status, code, sent) => {
                self.equal("status", answer.status, status);
                if answer.header("content-type") != Some("application/problem+json") {
                    self.wrong.push(format!("no problem: {}", answer.text()));
                    return;
                }
                let problem = answer.problem();
                self.equal("code", problem["code"].as_str(), Some(code));
                self.equal("sent", problem["sent"].as_str(), Some(sent));
                let detail = problem["detail"].to_string();
                let told = match (sent, self.column.route) {
                    ("no", _) => "nothing was sent",
                    (_, "process") => "assume success",
                    (_, "debit") => "assume failure",
                    (_, "create_session") => "same Idempotency-Key",
                    _ => "same identifying value",
                };
                self.check(detail.contains(told), || {
                    format!("{told} is not told: {detail}")
                });
            }
        }
    }

    fn upstream_received(&mut self, arrivals: &[Arrival], answer: &Answer, upstream: &Counting) {
        let made = match self.cell.arrives {
            Arrives::Nothing if self.is_made_good() => 1,
            Arrives::Nothing => 0,
            _ => self.expected_attempts(),
        };
        self.equal("requests received", arrivals.len(), made as usize);
        if self.row.fault == Fault::Tls {
            let connections = u32::try_from(upstream.connections()).expect("few");
            self.equal("TLS handshakes", connections, attempts(answer));
        }
        let key = answer.header("idempotency-key").unwrap_or_default();
        let last = arrivals.len().saturating_sub(1);
        let least = self.least_pause();
        for pair in arrivals.windows(2) {
            let pause = pair[1].at.duration_since(pair[0].at);
            self.check(pause.as_ref().is_ok_and(|pause| *pause >= least), || {
                format!("{pause:?} between attempts, at least {least:?}")
            });
        }
        let mut date_before = None;
        for (index, arrival) in arrivals.iter().enumerate() {
            let whole = index == last && self.is_made_good() || self.cell.arrives == Arrives::Whole;
            if !whole && self.cell.arrives == Arrives::Unread {
                self.equal("bytes read", arrival.head.len() + arrival.body.len(), 0);
                continue;
            }
            self.equal("the request is whole", arrival.whole, whole);
            if whole {
                self.equal(
                    "the body",
                    &arrival.body,
                    &self.column.body.as_bytes().to_vec(),
                );
            } else {
                self.equal("bytes read after the head", arrival.body.len(), 0);
            }
            let recorded = Recorded {
                connection: arrival.connection,
                number: arrival.number,
                head: arrival.head.clone(),
                body: self.column.body.into(),
            };
            let signature = recorded.signature(SECRET, USERNAME, arrival.at);
            self.check(signature.is_ok(), || {
                format!("attempt {index}: {signature:?}")
            });
            let target = recorded.target().to_vec();
            self.equal("the target", target, self.column.path.as_bytes().to_vec());
            self.equal(
                "the key",
                recorded.header("idempotency-key"),
                Some(key.to_owned()),
            );
            let date = recorded.header("x-date").expect("it was verified");
            let date = httpdate::parse_http_date(&date).expect("it was verified");
            let age = arrival.at.duration_since(date);
            self.check(age.as_ref().is_ok_and(|age| *age <= FRESH), || {
                format!("attempt {index} arrived {age:?} after its date")
            });
            if let Fault::Status(_, Some(_)) = self.row.fault {
                self.check(date_before < Some(date), || {
                    "the date was not renewed".to_owned()
                });
            }
            date_before = Some(date);
        }
    }

    /// What lies at least between two attempts.
    fn least_pause(&self) -> Duration {
        match self.row.fault {
            _ if self.column.kind == Kind::Danger => Duration::from_secs(4),
            Fault::Status(_, Some(seconds)) => Duration::from_secs(seconds),
            Fault::BodyStatus(104) => Duration::from_millis(500),
            _ => Duration::ZERO,
        }
    }

    fn logged(&mut self, proxy: &Proxy, answer: &Answer) {
        let lines = proxy.access_lines(if self.pooled() { 2 } else { 1 });
        let line = lines.last().expect("there is one");
        self.equal(
            "attempts in the log",
            &line["attempts"],
            &attempts(answer).into(),
        );
        let written = self.is_made_good() || self.cell.arrives != Arrives::Nothing;
        let sent = if written { "maybe" } else { "no" };
        self.equal("sent in the log", &line["sent"], &sent.into());
    }

    /// What stays open in the journal is what was written and never answered.
    fn journalled(&mut self, proxy: &Proxy) {
        if !self.moves_money() {
            return;
        }
        let unanswered = matches!(self.cell.answer, Gets::Problem(_, _, "maybe"));
        let open = f64::from(u8::from(unanswered && !self.is_made_good()));
        proxy.metrics_become(|m| m.sum("ingo_proxy_journal_unresolved", &[]) == open);
    }

    fn moves_money(&self) -> bool {
        self.column.kind != Kind::Recognised
    }

    fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(otherwise());
        }
    }

    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, is: T, expected: T) {
        self.check(is == expected, || {
            format!("{what}: {is:?}, not {expected:?}")
        });
    }
}

/// How many attempts `Proxy-Status` tells of.
pub fn attempts(answer: &Answer) -> u32 {
    let status = answer.header("proxy-status").unwrap_or_default();
    let after = status.split("attempts=").nth(1).unwrap_or_default();
    let number = after.split(';').next().unwrap_or_default();
    number
        .parse()
        .unwrap_or_else(|_| panic!("no attempts in {status:?}"))
}

/// A proxy to be started, whose `upstream` section is written last.
struct Setting {
    builder: Builder,
    upstream: String,
}

impl Setting {
    fn to(url: &str) -> Self {
        Self {
            builder: Proxy::to_url(url).repeating(),
            upstream: String::new(),
        }
    }

    fn trusting(identity: &Identity, url: &str) -> Self {
        let setting = Self::to(url);
        let file = setting.builder.directory().join("authority.pem");
        std::fs::write(&file, &identity.authority).expect("a temporary directory");
        Self {
            upstream: format!("  ca_file: {}\n", file.display()),
            ..setting
        }
    }

    fn yaml_more(self, yaml: &str) -> Builder {
        let upstream = self.upstream;
        let yaml = format!("{yaml}upstream:\n  connect_timeout: 2s\n{upstream}");
        self.builder.yaml(&yaml)
    }
}
