//! Exchanges with the same `Idempotency-Key` at the same time, and keys that are derived from what is asked.

use std::{
    collections::HashSet,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use crate::{
    cells::attempts,
    ingo::Ingo,
    support::{
        Answer, Gate, PATIENCE, Post, Proxy, Reply, SECRET, SESSIONS, USERNAME, Upstream, contains,
        proxy::Builder, session,
    },
};

/// Answers each request with a URL of its own, when `gate` is open.
fn one_url_each(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    let count = AtomicUsize::new(0);
    Upstream::scripted(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let body = format!(r#"{{"status":101,"data":{{"authorized_url":"https://u/{number}"}}}}"#);
        Reply::json(body).held_by(&gate)
    })
}

/// Posts `post` so many times at once, and opens the gate when `refused` of them were answered. Gives all answers.
fn at_once(proxy: &Proxy, posts: Vec<Post>, refused: usize, gate: &Gate) -> Vec<Answer> {
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let count = posts.len();
        for post in posts {
            let tell = tell.clone();
            scope.spawn(move || tell.send(proxy.post(&post)));
        }
        let mut answers = Vec::new();
        for answered in 0..count {
            if answered == refused {
                gate.open();
            }
            answers.push(told.recv_timeout(PATIENCE).expect("everyone is answered"));
        }
        answers
    })
}

#[test]
fn followers_of_a_key_make_their_own_attempts_one_after_the_other_and_are_bounded() {
    const CALLERS: usize = 14;
    let gate = Gate::closed();
    let upstream = one_url_each(&gate);
    let yaml = "threads: 1\nlimits:\n  followers_per_key: 3\n";
    let proxy = Proxy::to(&upstream).repeating().yaml(yaml).start();
    let post = Post::new(session("p")).header("Idempotency-Key", "k");
    // One is served and three wait: ten are refused while the first has no answer.
    let answers = at_once(&proxy, vec![post; CALLERS], CALLERS - 4, &gate);
    let (well, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
    assert_eq!((well.len(), refused.len()), (4, CALLERS - 4));
    for answer in refused {
        answer.is_problem(503, "overloaded", "no");
        assert!(answer.header("retry-after").is_some());
    }
    let urls: HashSet<_> = well
        .iter()
        .map(|a| a.json()["data"]["authorized_url"].to_string())
        .collect();
    assert_eq!(urls.len(), 4, "each has a URL of its own");
    let requests = upstream.requests();
    assert_eq!(requests.len(), 4);
    // One after the other: whoever comes next finds the connection free again.
    assert_eq!(upstream.connections(), 1);
    for recorded in requests {
        recorded.verify(SECRET, USERNAME);
        assert_eq!(recorded.header("idempotency-key").as_deref(), Some("k"));
    }
}

#[test]
fn followers_get_the_session_of_the_first_and_a_fresh_url_each() {
    let ingo = Ingo::start();
    let proxy = ingo.proxy().start();
    let post = Post::new(session("p")).header("Idempotency-Key", "k");
    let answers = at_once(&proxy, vec![post; 20], 0, &Gate::closed());
    let mut statuses = Vec::new();
    let (mut sessions, mut urls) = (HashSet::new(), HashSet::new());
    for answer in &answers {
        let json = answer.json();
        statuses.push(json["status"].as_u64().expect("a status"));
        sessions.insert(json["data"]["session_identifier"].to_string());
        urls.insert(json["data"]["authorized_url"].to_string());
        assert_eq!(attempts(answer), 1);
    }
    statuses.sort_unstable();
    assert_eq!(statuses[..2], [100, 101]);
    assert_eq!((sessions.len(), urls.len()), (1, answers.len()));
}

#[test]
fn other_keys_and_other_routes_do_not_wait() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::scripted(move |request| {
        let reply = Reply::session("p");
        let first = contains(request.request_line(), SESSIONS.as_bytes())
            && request.header("idempotency-key").as_deref() == Some("k");
        if first { reply.held_by(&held) } else { reply }
    });
    let proxy = Proxy::to(&upstream)
        .argument("--routes=create_session,verify")
        .start();
    let mut first = proxy.client();
    first.send(
        &Post::new(session("p"))
            .header("Idempotency-Key", "k")
            .bytes(),
    );
    proxy.metrics_become(|m| m.sum("ingo_proxy_exchanges_in_flight", &[]) == 1.0);
    let others = [
        Post::new(session("p")),
        Post::new(session("p")).header("Idempotency-Key", "K"),
        Post::new(session("p"))
            .to("/gateway/verify")
            .header("Idempotency-Key", "k"),
    ];
    for post in others {
        assert_eq!(proxy.post(&post).status, 200);
    }
    gate.open();
    assert_eq!(first.answer("POST").status, 200);
}

#[test]
fn where_money_moves_a_key_in_flight_is_refused_at_once() {
    for path in ["/gateway/process", "/gateway/v12/debit/process"] {
        let gate = Gate::closed();
        let upstream = one_url_each(&gate);
        let proxy = Proxy::to(&upstream)
            .argument("--routes=process,debit")
            .start();
        let post = Post::new(session("p"))
            .to(path)
            .header("Idempotency-Key", "k");
        let answers = at_once(&proxy, vec![post.clone(); 5], 4, &gate);
        let refused: Vec<_> = answers.iter().filter(|a| a.status != 200).collect();
        assert_eq!(refused.len(), 4);
        for answer in refused {
            answer.is_problem(409, "in_flight", "no");
        }
        upstream.only_request();
        assert_eq!(proxy.post(&post).status, 200, "the key is free again");
    }
}

#[test]
fn whether_a_repeat_is_the_same_request_is_ingos_to_say() {
    let ingo = Ingo::start();
    let proxy = ingo.proxy().start();
    let post = |id| Post::new(session(id)).header("Idempotency-Key", "k");
    assert_eq!(proxy.post(&post("p")).json()["status"], 100);
    let other = proxy.post(&post("q"));
    assert_eq!(other.json()["status"], 13723, "{}", other.text());
    assert_eq!(attempts(&other), 1);
}

/// A proxy that derives keys with this secret.
fn deriving(ingo: &Ingo, secret: &[u8]) -> Builder {
    let builder = ingo.proxy();
    let file = builder.directory().join("idempotency");
    std::fs::write(&file, secret).expect("a temporary directory can be written to");
    let yaml = format!(
        "idempotency:\n  policy: derive\n  secret_file: {}\n",
        file.display()
    );
    builder.yaml(&yaml)
}

fn key(answer: &Answer) -> String {
    answer.header("idempotency-key").expect("a key").to_owned()
}

#[test]
fn a_derived_key_makes_a_second_post_of_the_same_bytes_the_same_session_on_every_replica() {
    let ingo = Ingo::start();
    let proxy = deriving(&ingo, b"never-changes-3a5c").start();
    let post = Post::new(session("p"));
    let (first, second) = (proxy.post(&post), proxy.post(&post));
    assert_eq!(first.json()["status"], 100);
    assert_eq!(second.json()["status"], 101);
    let id = |a: &Answer| a.json()["data"]["session_identifier"].clone();
    assert_eq!(id(&first), id(&second));
    assert_eq!(key(&first), key(&second));
    // RFC 9562 §5.8: the version stands in the 13th hexadecimal digit.
    assert_eq!(key(&first).chars().nth(14), Some('8'), "{}", key(&first));

    let replica = deriving(&ingo, b"never-changes-3a5c").start();
    let third = replica.post(&post);
    assert_eq!(third.json()["status"], 101);
    assert_eq!((id(&third), key(&third)), (id(&first), key(&first)));

    let stranger = deriving(&ingo, b"another-secret-77d1").start();
    assert_ne!(key(&stranger.post(&post)), key(&first));
    for printed in [proxy.output(), replica.output()] {
        assert!(!contains(&printed, b"never-changes-3a5c"));
    }
}

#[test]
fn a_derived_key_differs_with_every_byte_and_gives_way_to_the_callers_own() {
    let ingo = Ingo::start();
    let proxy = deriving(&ingo, b"never-changes-3a5c").start();
    let bodies = [
        r#"{"participant_unique_id1":"p","recipient_information":{}}"#,
        r#"{"participant_unique_id1":"q","recipient_information":{}}"#,
        r#"{"participant_unique_id1":"p","recipient_information":{} }"#,
    ];
    let keys: HashSet<_> = bodies
        .iter()
        .map(|b| key(&proxy.post(&Post::new(*b))))
        .collect();
    assert_eq!(keys.len(), bodies.len());
    let own = proxy.post(&Post::new(bodies[0]).header("Idempotency-Key", "mine"));
    assert_eq!(key(&own), "mine");
    assert_eq!(own.json()["status"], 100, "another session");
}

#[test]
fn identical_posts_with_a_derived_key_at_once_are_one_session() {
    let ingo = Ingo::start();
    let proxy = deriving(&ingo, b"never-changes-3a5c").start();
    let posts = vec![Post::new(session("p")); 10];
    let answers = at_once(&proxy, posts, 0, &Gate::closed());
    let firsts = answers.iter().filter(|a| a.json()["status"] == 100);
    assert_eq!(firsts.count(), 1);
    assert_eq!(ingo.counts()["created"], 1);
}
