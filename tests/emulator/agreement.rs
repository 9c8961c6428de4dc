//! The emulator and an independent verifier judge 10,000 random requests, right ones and wrong ones in two dozen ways.
//!
//! Nothing is random twice: the numbers follow from a fixed seed, and a disagreement names the request.

use std::{io::Write as _, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};
use tokio::io::AsyncWriteExt as _;

use crate::{
    client::{Client, NAMES, SECRET, SESSIONS, USERNAME, builder, mac, now},
    judge::accepts,
};

const REQUESTS: u64 = 10_000;
const CONNECTIONS: u64 = 8;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// The ways in which a request is made. `Right` ones differ among themselves in everything that may differ.
const WAYS: [&str; 28] = [
    "right",
    "another secret",
    "secret with a newline",
    "text with a newline",
    "lines joined by CRLF",
    "digest in hex",
    "base64 of the hex signature",
    "signature in hex",
    "signature in URL-safe base64",
    "signature cut off",
    "SHA-256 in Content-sha512",
    "base64 of the hex digest",
    "body changed after signing",
    "body with a newline more",
    "target changed after signing",
    "query left out",
    "target encoded again",
    "date off",
    "date of another form",
    "another algorithm",
    "another username",
    "a name left out of the list",
    "a name in another case",
    "a header left out",
    "a header twice",
    "chunked",
    "another media type",
    "Authorization in another form",
];

fn order(random: &mut Random) -> Vec<String> {
    let mut names: Vec<String> = NAMES.split(' ').map(str::to_owned).collect();
    for index in (1..names.len()).rev() {
        names.swap(index, random.below(index + 1));
    }
    if random.below(4) == 0 {
        names.push(random.one(&["host", "accept", "absent"]).to_owned());
    }
    names
}

fn target(random: &mut Random) -> String {
    let path = random.one(&[
        "/gateway/verify",
        "/gateway/process",
        SESSIONS,
        "/api/v4/accounts",
        "/unknown",
        "/gateway/v12/debit/process",
    ]);
    match random.below(3) {
        0 => path.to_owned(),
        1 => format!("{path}?a=%2F{}&b=c%20d", random.number()),
        _ => format!("{path}?n={}", random.number()),
    }
}

fn body(random: &mut Random) -> Vec<u8> {
    let mut body = Vec::new();
    match random.below(8) {
        0 => {}
        1 => body.extend((0..random.below(3000)).map(|_| random.number() as u8)),
        2 => body.extend_from_slice("{\"n\":\"Zoë 🦀\"}\n".as_bytes()),
        _ => write!(
            body,
            r#"{{"participant_unique_id1":"{}"}}"#,
            random.number()
        )
        .expect("memory"),
    }
    body
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of one request, made in the given way.
fn request(way: &str, random: &mut Random) -> Vec<u8> {
    let (mut target, mut body) = (target(random), body(random));
    let names = order(random);
    let skew = random.below(601) as i64 - 300;
    let off = random.one(&[-100_000, -3600, -302, -301, 301, 302, 3600]);
    let skew = if way == "date off" { off } else { skew };
    let at = if skew < 0 {
        now() - Duration::from_secs(skew.unsigned_abs())
    } else {
        now() + Duration::from_secs(skew.unsigned_abs())
    };
    let mut date = httpdate::fmt_http_date(at);
    if way == "date of another form" {
        date = random
            .one(&[
                "2020-01-17T19:59:29Z",
                "Friday, 17-Jan-20 19:59:29 GMT",
                "Fri Jan 17 19:59:29 2020",
                "1579291169",
                "",
            ])
            .to_owned();
    }
    let digest = match way {
        "digest in hex" => hex(&Sha512::digest(&body)),
        "base64 of the hex digest" => STANDARD.encode(hex(&Sha512::digest(&body))),
        "SHA-256 in Content-sha512" => STANDARD.encode(Sha256::digest(&body)),
        _ => STANDARD.encode(Sha512::digest(&body)),
    };
    let media_type = if way == "another media type" {
        random.one(&[
            "application/json; charset=utf-8",
            "text/plain",
            "Application/JSON",
            "application/problem+json",
        ])
    } else {
        "application/json"
    };
    let mut algorithm = if random.below(5) == 0 {
        "hmac-sha256"
    } else {
        "hmac-sha512"
    };
    let mut headers = vec![
        ("Host".to_owned(), "127.0.0.1".to_owned()),
        ("X-Date".to_owned(), date),
        ("Content-Type".to_owned(), media_type.to_owned()),
        ("Content-sha512".to_owned(), digest),
        ("Content-Length".to_owned(), body.len().to_string()),
    ];
    if random.below(2) == 0 {
        headers.push(("Accept".to_owned(), "*/*".to_owned()));
    }

    let signed_target = match way {
        "query left out" => target.split('?').next().unwrap_or_default().to_owned(),
        "target encoded again" => target.replace('%', "%25").replace('=', "%3D"),
        _ => target.clone(),
    };
    let lines: Vec<String> = names
        .iter()
        .map(|name| match name.as_str() {
            "request-line" => format!("POST {signed_target} HTTP/1.1"),
            name => {
                let value = headers
                    .iter()
                    .find(|(other, _)| other.eq_ignore_ascii_case(name));
                value.map_or(format!("{name}:"), |(_, value)| format!("{name}: {value}"))
            }
        })
        .collect();
    let mut text = lines.join(if way == "lines joined by CRLF" {
        "\r\n"
    } else {
        "\n"
    });
    if way == "text with a newline" {
        text.push('\n');
    }
    let secret = match way {
        "another secret" => b"not the one".to_vec(),
        "secret with a newline" => [SECRET, b"\n"].concat(),
        _ => SECRET.to_vec(),
    };
    let mac = if algorithm == "hmac-sha512" {
        mac(&secret, text.as_bytes())
    } else {
        let mac = Hmac::<Sha256>::new_from_slice(&secret).expect("any length");
        mac.chain_update(&text).finalize().into_bytes().to_vec()
    };
    let mut signature = match way {
        "base64 of the hex signature" => STANDARD.encode(hex(&mac)),
        "signature in hex" => hex(&mac),
        "signature in URL-safe base64" => STANDARD.encode(&mac).replace('+', "-").replace('/', "_"),
        _ => STANDARD.encode(&mac),
    };
    if way == "signature cut off" {
        signature.truncate(random.below(signature.len()));
    }
    if way == "another algorithm" {
        let other = [
            "hmac-sha1",
            "HMAC-SHA512",
            "md5",
            "hmac-sha384",
            "",
            "hmac-sha256",
            "hmac-sha512",
        ];
        algorithm = random.one(&other);
    }
    let username = match way {
        "another username" => random.one(&["Acme", "acme2", "", "other"]),
        _ => USERNAME,
    };
    let mut list = names.join(" ");
    let required: Vec<&str> = NAMES.split(' ').collect();
    match way {
        "a name left out of the list" => {
            let left_out = random.one(&required);
            list = names
                .iter()
                .filter(|it| *it != left_out)
                .cloned()
                .collect::<Vec<_>>()
                .join(" ");
        }
        "a name in another case" => {
            let name = random.one(&required);
            list = list.replace(name, &name.to_uppercase());
        }
        _ => {}
    }
    let mut authorization = format!(
        r#"hmac username="{username}", algorithm="{algorithm}", headers="{list}", signature="{signature}""#
    );
    if way == "Authorization in another form" {
        let (from, to) = random.one(&[
            ("hmac ", "HMAC "),
            ("hmac ", "Bearer "),
            ("hmac ", ""),
            (", ", ","),
            ("headers=", "request_headers="),
            ("username=", "keyId="),
            ("\"", ""),
            ("signature=", "sig="),
            ("algorithm=\"", "algorithm= \""),
        ]);
        authorization = authorization.replace(from, to);
    }
    headers.push(("Authorization".to_owned(), authorization));

    // The body's length stays, or the rest of the connection would mean something else.
    match way {
        "body changed after signing" if !body.is_empty() => {
            let at = random.below(body.len());
            body[at] ^= 1 << random.below(8);
        }
        "body with a newline more" => {
            body.push(b'\n');
            headers[4].1 = body.len().to_string();
        }
        "target changed after signing" => target.push_str("&x"),
        "a header left out" => {
            // Without a length there is no body to send.
            let index = 1 + random.below(headers.len() - 1);
            if headers[index].0 == "Content-Length" {
                body.clear();
            }
            headers.remove(index);
        }
        "a header twice" => {
            let index = 1 + random.below(headers.len() - 1);
            let again = headers[index].clone();
            headers.insert(random.below(headers.len() + 1), again);
        }
        "chunked" => {
            let index = headers
                .iter()
                .position(|(name, _)| name == "Content-Length");
            if random.below(2) == 0 {
                headers.remove(index.expect("it is there"));
            }
            headers.push(("Transfer-Encoding".to_owned(), "chunked".to_owned()));
            body = match body.len() {
                0 => b"0\r\n\r\n".to_vec(),
                length => [
                    format!("{length:x}\r\n").as_bytes(),
                    &body,
                    b"\r\n0\r\n\r\n",
                ]
                .concat(),
            };
        }
        _ => {}
    }
    // What may differ: the order of headers, the case of their names, the space around values.
    if random.below(2) == 0 {
        headers.reverse();
    }
    let mut bytes = format!("POST {target} HTTP/1.1\r\n").into_bytes();
    for (name, value) in headers {
        let name = if random.below(3) == 0 {
            name.to_lowercase()
        } else {
            name
        };
        let space = random.one(&["", " ", " ", "  ", "\t"]);
        let after = random.one(&["", "", "", " "]);
        write!(bytes, "{name}:{space}{value}{after}\r\n").expect("memory");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_emulator_agrees_with_an_independent_verifier_on_10_000_requests() {
    // Errors of the service come with 200, so that 401 can only be the door's.
    let emulator = builder()
        .error_status(200)
        .ledger_entries(REQUESTS as usize)
        .start()
        .await
        .expect("a free port");
    let address = emulator.addresses().gateway;
    let mut tasks = tokio::task::JoinSet::new();
    for connection in 0..CONNECTIONS {
        tasks.spawn(async move {
            let mut random = Random(connection);
            let mut client = Client::connect(address).await;
            let (mut accepted, mut by_way) = (0, [[0_u32; 2]; WAYS.len()]);
            for number in 0..REQUESTS / CONNECTIONS {
                // Every fourth is right.
                let way = if random.below(4) == 0 {
                    0
                } else {
                    random.below(WAYS.len())
                };
                let bytes = request(WAYS[way], &mut random);
                client.stream.write_all(&bytes).await.expect("sent");
                let answer = client.answer().await.expect("an answer");
                let ours = accepts(&bytes, now());
                let theirs = answer.status != 401;
                assert_ne!(answer.status, 400, "{}: {number}", WAYS[way]);
                assert_eq!(
                    ours,
                    theirs,
                    "{}, connection {connection}, request {number}:\n{}",
                    WAYS[way],
                    String::from_utf8_lossy(&bytes)
                );
                accepted += u64::from(ours);
                by_way[way][usize::from(ours)] += 1;
                if answer.header("connection") == Some("close") {
                    client = Client::connect(address).await;
                }
            }
            (accepted, by_way)
        });
    }
    let (mut accepted, mut by_way) = (0, [[0_u32; 2]; WAYS.len()]);
    while let Some(task) = tasks.join_next().await {
        let (more, ways) = task.expect("they agree");
        accepted += more;
        for (sum, counts) in by_way.iter_mut().zip(ways) {
            *sum = [sum[0] + counts[0], sum[1] + counts[1]];
        }
    }
    for (way, [refused, accepted]) in WAYS.iter().zip(by_way) {
        assert!(refused + accepted > 50, "{way}: {refused} and {accepted}");
        // What is right is accepted; each of the other ways breaks at least some of its requests.
        assert_eq!(
            refused == 0,
            *way == "right",
            "{way}: {refused} and {accepted}"
        );
    }
    let ledger = emulator.ledger();
    let verified = ledger.iter().filter(|it| it.verified == Some(true)).count();
    assert_eq!((ledger.len() as u64, verified as u64), (REQUESTS, accepted));
}
