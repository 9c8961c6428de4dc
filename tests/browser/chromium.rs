//! Debian's Chromium without a window, told what to do over the DevTools protocol through two pipes: no port, no driver.
//!
//! <https://chromedevtools.github.io/devtools-protocol/>: JSON messages, each ended by a zero byte.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A browser has more to do than a proxy; on a busy machine much more.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page. It is killed when dropped.
pub struct Chromium {
    child: Child,
    commands: File,
    messages: Receiver<Value>,
    last: u64,
    session: String,
    events: Vec<Value>,
    _profile: TempDir,
}

impl Chromium {
    /// Starts it.
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("a temporary directory");
        let [commands, answers] = ["commands", "answers"].map(|name| profile.path().join(name));
        let made = Command::new("mkfifo").args([&commands, &answers]).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo failed");
        let child = Command::new("sh")
            // The protocol's pipes are its file descriptors 3 and 4.
            .args([
                "-c",
                r#"in=$1 out=$2; shift 2; exec chromium "$@" 3<"$in" 4>"$out""#,
                "sh",
            ])
            .args([&commands, &answers])
            .args([
                "--headless",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--no-proxy-server",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh should start");
        let commands = OpenOptions::new()
            .write(true)
            .open(commands)
            .expect("a pipe that is being opened");
        let answers = File::open(answers).expect("a pipe that is being opened");
        let (send, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("messages are JSON");
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let mut chromium = Self {
            child,
            commands,
            messages,
            last: 0,
            session: String::new(),
            events: Vec::new(),
            _profile: profile,
        };
        let target = chromium.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = chromium.call(
            "Target.attachToTarget",
            json!({"targetId": target["targetId"], "flatten": true}),
        );
        attached["sessionId"]
            .as_str()
            .expect("a session")
            .clone_into(&mut chromium.session);
        for domain in ["Page", "Runtime", "Log", "Network", "DOM", "Accessibility"] {
            chromium.call(&format!("{domain}.enable"), json!({}));
        }
        chromium
    }

    /// Calls a method and gives its result.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut command = json!({"id": self.last, "method": method, "params": parameters});
        if !self.session.is_empty() {
            command["sessionId"] = self.session.clone().into();
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands
            .write_all(&bytes)
            .expect("chromium should be installed and running");
        let id = self.last;
        let answer = self.message(|message| message["id"] == id);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Waits for an event that has come since the last call of this, or will come.
    pub fn event(&mut self, method: &str) -> Value {
        if let Some(at) = self.events.iter().position(|e| e["method"] == method) {
            return self.events.remove(at);
        }
        self.message(|message| message["method"] == method)
    }

    fn message(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = self
                .messages
                .recv_timeout(left)
                .expect("chromium should be installed and answer in time");
            if is_it(&message) {
                return message;
            }
            if message["method"].is_string() {
                self.events.push(message);
            }
        }
    }

    /// Opens `url` as somebody who typed it.
    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.event("Page.loadEventFired");
    }

    /// What an expression is, once it is there, as JSON.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let result = self.call(
            "Runtime.evaluate",
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true}),
        );
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {result}"
        );
        result["result"]["value"].clone()
    }

    /// What an expression is, as text.
    pub fn text(&mut self, expression: &str) -> String {
        let value = self.evaluate(expression);
        value
            .as_str()
            .unwrap_or_else(|| panic!("{expression}: {value}"))
            .to_owned()
    }

    /// Waits until an expression is true; it is looked at whenever the document changes.
    pub fn becomes(&mut self, expression: &str) {
        self.evaluate(&format!(
            "new Promise(done => {{
                const look = () => ({expression}) && (done(), true);
                if (!look()) new MutationObserver((_, o) => look() && o.disconnect())
                    .observe(document, {{subtree: true, childList: true, characterData: true, attributes: true}});
            }})"
        ));
    }

    /// Lets so many milliseconds pass for the page, at once, but for what it fetches.
    pub fn pass(&mut self, milliseconds: u32) {
        self.call(
            "Emulation.setVirtualTimePolicy",
            json!({"policy": "pauseIfNetworkFetchesPending", "budget": milliseconds}),
        );
        self.event("Emulation.virtualTimeBudgetExpired");
    }

    /// A window so wide, and what its user prefers.
    pub fn window(&mut self, width: u32, scheme: &str, motion: &str) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false}),
        );
        self.call(
            "Emulation.setEmulatedMedia",
            json!({"features": [
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": motion},
            ]}),
        );
    }

    /// Presses and releases a key.
    pub fn press(&mut self, key: &str, code: u32, text: &str) {
        for kind in ["keyDown", "keyUp"] {
            let mut event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// A picture of the whole page.
    pub fn picture(&mut self) -> Vec<u8> {
        let taken = self.call(
            "Page.captureScreenshot",
            json!({"format": "png", "captureBeyondViewport": true}),
        );
        let data = taken["data"].as_str().expect("a picture");
        STANDARD.decode(data).expect("base64")
    }

    /// The addresses that were asked for since this was last called.
    pub fn requested(&mut self) -> Vec<String> {
        let requests = self
            .events
            .extract_if(.., |event| event["method"] == "Network.requestWillBeSent");
        requests
            .map(|event| {
                event["params"]["request"]["url"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    }

    /// The HTTP statuses that `url` was answered with since this was last called.
    pub fn statuses(&mut self, url: &str) -> Vec<u64> {
        let answers = self.events.extract_if(.., |event| {
            event["method"] == "Network.responseReceived"
                && event["params"]["response"]["url"] == url
        });
        answers
            .filter_map(|event| event["params"]["response"]["status"].as_u64())
            .collect()
    }

    /// Panics where the page broke its own policy, threw an exception or wrote to the console.
    pub fn is_content(&mut self) {
        let loud = [
            "Log.entryAdded",
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
        ];
        let complaints: Vec<_> = self
            .events
            .extract_if(.., |event| loud.iter().any(|name| event["method"] == *name))
            .collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
