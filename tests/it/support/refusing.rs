//! A proxy of which every request of a test must be refused, with the check that nothing of them went upstream.

use serde_json::Value;

use super::{Answer, Client, Post, Proxy, Reply, Upstream, json_of, wire};

/// A proxy, and the upstream that must hear nothing from it.
pub struct Refusing {
    upstream: Upstream,
    /// The proxy.
    pub proxy: Proxy,
}

impl Refusing {
    /// With everything as it is by default.
    pub fn start() -> Self {
        Self::configured("")
    }

    /// With a configuration file of this content.
    pub fn configured(yaml: &str) -> Self {
        let upstream = Upstream::answering(Reply::json("{}"));
        let proxy = Proxy::to(&upstream).yaml(yaml).start();
        Self { upstream, proxy }
    }

    /// Sends exact bytes on a connection of their own; the answer must be this problem.
    pub fn refuses(&self, bytes: &[u8], status: u16, code: &str) -> (Client, Answer, Value) {
        let mut client = self.proxy.client();
        // A proxy may answer and close before it has read all.
        let _ = client.try_send(bytes);
        let method = bytes.split(|b| *b == b' ').next().unwrap_or_default();
        let answer = client.answer(&String::from_utf8_lossy(method));
        let problem = answer.is_problem(status, code, "no");
        (client, answer, problem)
    }

    /// Framing that cannot be trusted: 400, and whatever follows on the connection is never taken for a request.
    pub fn distrusts(&self, bytes: &[u8]) {
        let smuggled = Post::new("{}").bytes();
        // Behind the whole request, and behind its head alone, where its body would stand.
        let mut all = vec![[bytes, &smuggled].concat()];
        if let Some(end) = wire::find(bytes, b"\r\n\r\n") {
            all.push([&bytes[..end + 4], &smuggled].concat());
        }
        for bytes in all {
            let (mut client, _, _) = self.refuses(&bytes, 400, "bad_request");
            client.is_closed();
        }
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.upstream.received_nothing();
        // The proxy lives on, and what it sends up next is the first that arrives.
        let answer = self.proxy.post(&Post::new(json_of(100)));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(self.upstream.only_request().body, json_of(100));
    }
}
