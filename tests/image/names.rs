//! Names by DNS, as a pod has it, from a binary that has glibc built in and no library to load.
//!
//! Resolvers ask port 53, so the test starts itself again in a network namespace of its own, where every port is free.

use std::{
    env, fs,
    net::UdpSocket,
    process::Command,
    sync::{Arc, Mutex},
};

use crate::{
    built::{Image, image_to_run, unpacked},
    contained::Container,
    stage::{Identity, Stage},
    support::{process::is_installed, session},
};

const INSIDE: &str = "IMAGE_TEST_IS_IN_ITS_OWN_NETWORK";
const NAME: &str = "payapi.ingo.test";
/// As the kubelet writes it: a name with fewer than five dots is first looked for in the cluster.
const RESOLV_CONF: &str = "nameserver 127.0.0.1\n\
    search default.svc.cluster.local svc.cluster.local cluster.local\n\
    options ndots:5\n";

#[test]
#[ignore = "needs buildah, iproute2 and root"]
fn names_are_resolved_by_dns_without_a_library_to_load() {
    if env::var_os(INSIDE).is_none() {
        again_in_a_network_of_its_own();
        return;
    }
    let image = unpacked();
    let asked = answer_dns();
    let stage = Stage::new();
    let front = stage.front(Identity {
        names: vec![NAME],
        ..Identity::default()
    });
    let authority = fs::read_to_string(&front.authority).unwrap();
    let serving = Container::to(&image, &front.url(NAME))
        .file("etc/hosts", "127.0.0.1 localhost\n")
        .file("etc/resolv.conf", RESOLV_CONF)
        .file("etc/ssl/certs/ca-certificates.crt", authority)
        .serve();
    let answer = serving.post(session("by-dns"));
    assert_eq!(
        answer.status,
        200,
        "{}\n{}",
        answer.text(),
        serving.output()
    );
    let asked = asked.lock().unwrap().clone();
    let searched = format!("{NAME}.default.svc.cluster.local");
    assert!(asked.contains(&searched), "{asked:?}");
    assert!(asked.iter().any(|name| name == NAME), "{asked:?}");

    // And a name that is nowhere is told as such.
    let serving = Container::to(&image, "https://nowhere.ingo.test")
        .file("etc/hosts", "127.0.0.1 localhost\n")
        .file("etc/resolv.conf", RESOLV_CONF)
        .serve();
    let problem = serving
        .post(session("nowhere"))
        .is_problem(502, "upstream_unreachable", "no");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("nowhere.ingo.test"), "{detail}");
}

fn again_in_a_network_of_its_own() {
    if image_to_run().is_none() {
        return;
    }
    let enter = "ip link set lo up && exec \"$@\"";
    if !is_installed("unshare", &["--net", "sh", "-c", "ip link set lo up"]) {
        eprintln!("SKIPPED: a network namespace needs root and ip (apt-get install iproute2)");
        return;
    }
    let done = Command::new("unshare")
        .args(["--net", "sh", "-c", enter, "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--include-ignored", "--nocapture"])
        .arg("names::names_are_resolved_by_dns_without_a_library_to_load")
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}\n{complaint}");
    assert!(said.contains("1 passed"), "{said}");
}

/// Answers on 127.0.0.1:53 until this process ends: an address for [`NAME`], and that there is no other name. Gives the
/// names that were asked for.
fn answer_dns() -> Arc<Mutex<Vec<String>>> {
    let socket = UdpSocket::bind("127.0.0.1:53").expect("the port is free in this network");
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let noted = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let (name, answer) = reply(&buffer[..length]);
            noted.lock().unwrap().push(name);
            let _ = socket.send_to(&answer, from);
        }
    });
    asked
}

/// The name that a query asks for, and its answer (RFC 1035 §4.1).
fn reply(query: &[u8]) -> (String, Vec<u8>) {
    const HEAD: usize = 12;
    let mut at = HEAD;
    let mut labels = Vec::new();
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    let name = labels.join(".");
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let question = &query[HEAD..at + 5];
    const A: u16 = 1;
    let known = name == NAME;
    let answers = u8::from(known && kind == A);
    // A response, recursion available; NXDOMAIN for any other name.
    let mut answer = vec![query[0], query[1], 0x81, if known { 0x80 } else { 0x83 }];
    answer.extend([0, 1, 0, answers, 0, 0, 0, 0]);
    answer.extend(question);
    if answers == 1 {
        // The name of the question, A, IN, for a minute, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    (name, answer)
}
