//! The configuration taken anew while exchanges run.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    stage::{Ingo, Load, Mounted, USERNAME, become_true, body, lines_with, readyz, succeeds},
    support::{Gate, PATIENCE, Post, Proxy, Reply, SESSIONS, Upstream},
};

const SECRET: &str = "a-secret-for-the-reload";

/// A directory with a configuration and the secret that it names.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new(rest: &str, url: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Self { directory };
        fs::write(files.path("secret"), SECRET).unwrap();
        fs::write(files.config(), files.text(rest, url)).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("proxy.yaml")
    }

    /// A configuration with everything that is needed, and `rest`.
    fn text(&self, rest: &str, url: &str) -> String {
        let secret = self.path("secret");
        format!(
            "log_format: json\n\
             listeners: {{proxy: {{address: \"127.0.0.1:0\"}}, health: {{address: \"127.0.0.1:0\"}}}}\n\
             credentials: {{username: {USERNAME}, secret_file: {}}}\n\
             upstream:\n  url: {url}\n{rest}",
            secret.display()
        )
    }

    /// Replaces the configuration in one step.
    fn replace(&self, rest: &str, url: &str) {
        fs::write(self.path(".new"), self.text(rest, url)).unwrap();
        fs::rename(self.path(".new"), self.config()).unwrap();
    }
}

/// A proxy that knows nothing but its configuration file.
fn proxy(config: &Path) -> Proxy {
    Proxy::to_url("")
        .upstream(None)
        .listen(None)
        .health(None)
        .username(None)
        .secret_file(None)
        .argument("--config")
        .argument(config)
        .repeating()
        .env("RUST_LOG", "info,ingo_signing_proxy::access=off")
        .admin()
        .start()
}

fn reloads(proxy: &Proxy) -> usize {
    lines_with(proxy, "\"configuration reloaded\"")
}

fn refusals(proxy: &Proxy) -> usize {
    lines_with(proxy, "the configuration was not reloaded")
}

/// Sends SIGHUP and waits until the configuration has been taken.
fn reload(proxy: &Proxy) {
    let before = reloads(proxy);
    proxy.signal("HUP");
    become_true("the configuration is taken", PATIENCE, || {
        reloads(proxy) > before
    });
}

/// Sends SIGHUP and waits until the configuration has been refused.
fn reload_refused(proxy: &Proxy) -> String {
    let before = refusals(proxy);
    proxy.signal("HUP");
    become_true("the configuration is refused", PATIENCE, || {
        refusals(proxy) > before
    });
    let output = String::from_utf8_lossy(&proxy.output()).into_owned();
    let mut lines = output.lines().rev();
    let line = lines.find(|line| line.contains("the configuration was not reloaded"));
    line.unwrap().to_owned()
}

fn last_successful(proxy: &Proxy) -> f64 {
    proxy
        .metrics()
        .sum("ingo_proxy_config_last_reload_successful", &[])
}

#[test]
fn under_load_a_good_a_bad_and_a_half_written_configuration_lose_no_exchange() {
    let ingo = Ingo::accepting(&[(USERNAME, SECRET)]);
    let files = Files::new("", &ingo.url());
    let proxy = proxy(&files.config());
    let load = Load::on(&proxy);
    load.passes(1);
    assert_eq!(last_successful(&proxy), 1.0);

    for round in 1..=5 {
        // Good: other bounds, other time-outs, so that everything that can be made anew is.
        files.replace(
            &format!(
                "  connect_timeout: {round}s\nlimits: {{body_bytes: {round}KiB, exchanges_in_flight: {}}}\n",
                500 + round
            ),
            &ingo.url(),
        );
        reload(&proxy);
        load.passes(1);
        assert_eq!(last_successful(&proxy), 1.0);
        let config = proxy.admin("/config").text();
        assert!(
            config.contains(&format!("body_bytes: {round}KiB")),
            "{config}"
        );

        // Bad: mistakes, all of them told.
        files.replace(
            "limits: {body_bytes: 0, queue_length: many}\nnonsense: 1\n",
            &ingo.url(),
        );
        let said = reload_refused(&proxy);
        for part in [
            "limits.body_bytes",
            "limits.queue_length",
            "nonsense",
            "stays in use",
        ] {
            assert!(said.contains(part), "{said}");
        }
        load.passes(1);
        assert_eq!(last_successful(&proxy), 0.0);
        assert!(readyz(&proxy).contains("warning: the configuration was not reloaded"));
        let config = proxy.admin("/config").text();
        assert!(
            config.contains(&format!("body_bytes: {round}KiB")),
            "{config}"
        );

        // Half written: whoever writes holds the file open, so that it is waited for, whole lines or not.
        let whole = files.text(
            "limits: {body_bytes: 9KiB}\nrepeats: {budget: 1}\n",
            &ingo.url(),
        );
        let at = whole.find("repeats").unwrap();
        let mut writing = fs::File::create(files.config()).unwrap();
        writing.write_all(&whole.as_bytes()[..at]).unwrap();
        let before = (reloads(&proxy), refusals(&proxy));
        proxy.signal("HUP");
        load.passes(3);
        assert_eq!((reloads(&proxy), refusals(&proxy)), before, "it waits");
        writing.write_all(&whole.as_bytes()[at..]).unwrap();
        drop(writing);
        become_true("the whole one is taken", PATIENCE, || {
            reloads(&proxy) > before.0
        });
        let config = proxy.admin("/config").text();
        assert!(
            config.contains("body_bytes: 9KiB") && config.contains("budget: 1 "),
            "{config}"
        );
        assert_eq!(readyz(&proxy), "ok\n");
    }
    load.end("fifteen reloads, a third of them refused");
}

#[test]
fn an_exchange_in_flight_keeps_what_it_began_with() {
    let gate = Gate::closed();
    let held = gate.clone();
    let former = Upstream::scripted(move |_| Reply::session("from the former").held_by(&held));
    let new = Upstream::answering(Reply::session("from the new"));
    let files = Files::new("", &former.url());
    let proxy = proxy(&files.config());
    let mut waiting = proxy.client();
    waiting.send(&Post::new(body("one")).bytes());
    former.wait_for(1);

    files.replace("routes: {create_session: {attempts: 1}}\n", &new.url());
    reload(&proxy);
    let answer = proxy.post(&Post::new(body("two")));
    assert!(answer.text().contains("from the new"), "{}", answer.text());
    gate.open();
    let answer = waiting.answer("POST");
    assert!(
        answer.text().contains("from the former"),
        "{}",
        answer.text()
    );

    // Its connection lives on, and what comes over it next goes by the new configuration.
    let answer = waiting.post(&Post::new(body("three")));
    assert!(answer.text().contains("from the new"), "{}", answer.text());
    let upstreams = proxy.metrics().text().to_owned();
    assert!(
        !upstreams.contains(&former.address().to_string()),
        "nothing is told of an upstream that is there no longer:\n{upstreams}"
    );
}

#[test]
fn a_secret_that_a_reload_replaced_is_told_as_just_replaced_and_one_that_it_kept_is_not() {
    let ingo = Ingo::accepting(&[(USERNAME, "another-secret-entirely")]);
    let files = Files::new("", &ingo.url());
    let proxy = proxy(&files.config());
    let finding = |id: &str| {
        let answer = proxy.post(&Post::new(body(id)));
        let status = answer.header("proxy-status").unwrap();
        let finding = status.split("diagnosis=").nth(1);
        finding.unwrap_or("none").to_owned()
    };
    assert_eq!(finding("one"), "signature_mismatch");

    let at = files.path("secret").display().to_string();
    let moved = |name: &str| {
        let path = files.path(name).display().to_string();
        let text = files.text("", &ingo.url()).replace(&at, &path);
        fs::write(files.config(), text).unwrap();
        reload(&proxy);
    };
    fs::write(files.path("elsewhere"), SECRET).unwrap();
    moved("elsewhere");
    assert_eq!(finding("two"), "signature_mismatch", "it is the same one");
    // Nor is it another one where it signs in another way.
    let same = files.path("elsewhere").display().to_string();
    let order = "x-date request-line content-type content-sha512 content-length";
    let text = files.text("", &ingo.url()).replace(
        &format!("{at}}}"),
        &format!("{same}, signed_headers: {order}}}"),
    );
    fs::write(files.config(), text).unwrap();
    reload(&proxy);
    assert_eq!(
        finding("other"),
        "signature_mismatch",
        "it is still the same one"
    );
    fs::write(files.path("new"), "tomorrows-secret").unwrap();
    moved("new");
    assert_eq!(finding("three"), "credential_rotated");
    fs::write(files.path("elsewhere"), "tomorrows-secret").unwrap();
    moved("elsewhere");
    assert_eq!(finding("four"), "credential_rotated", "it still is");
}

#[test]
fn of_what_changed_those_keys_are_told_that_somebody_wrote() {
    let ingo = Ingo::accepting(&[(USERNAME, SECRET)]);
    let files = Files::new("limits: {body_bytes: 2KiB}\n", &ingo.url());
    let proxy = proxy(&files.config());
    // Time-outs of the route follow, and with them how long the process may take to end.
    files.replace("routes: {process: {enabled: true}}\n", &ingo.url());
    reload(&proxy);
    let output = String::from_utf8_lossy(&proxy.output()).into_owned();
    let told = "\"changed\":\"routes.process.enabled, limits.body_bytes\"";
    assert!(output.contains(told), "{output}");
}

#[test]
fn a_route_is_switched_off_and_on_again_without_a_restart() {
    let ingo = Ingo::accepting(&[(USERNAME, SECRET)]);
    let files = Files::new("", &ingo.url());
    let proxy = proxy(&files.config());
    assert!(succeeds(&proxy));
    files.replace("routes: {create_session: {disabled: true}}\n", &ingo.url());
    reload(&proxy);
    let answer = proxy.post(&Post::new(body("one")).to(SESSIONS));
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("route_disabled"));
    files.replace("", &ingo.url());
    reload(&proxy);
    assert!(succeeds(&proxy));
    assert_eq!(
        lines_with(&proxy, "\"changed\":\"routes.create_session.disabled\""),
        2,
        "what changed is named"
    );
}

#[test]
fn what_needs_a_restart_is_named_and_nothing_else_of_that_configuration_is_applied() {
    let ingo = Ingo::accepting(&[(USERNAME, SECRET)]);
    let files = Files::new("", &ingo.url());
    let proxy = proxy(&files.config());
    files.replace(
        "threads: 7\nlimits: {buffered_bytes: 32MiB, body_bytes: 3KiB}\n",
        &ingo.url(),
    );
    let said = reload_refused(&proxy);
    assert!(
        said.contains("what changes threads, limits.buffered_bytes needs a restart"),
        "{said}"
    );
    let config = proxy.admin("/config").text();
    assert!(config.contains("body_bytes: 1MiB"), "{config}");
    assert_eq!(last_successful(&proxy), 0.0);
    assert!(succeeds(&proxy));
}

#[test]
fn a_secret_that_a_new_configuration_names_and_that_is_not_there_refuses_it() {
    let ingo = Ingo::accepting(&[(USERNAME, SECRET), ("other", "another-secret")]);
    let files = Files::new("", &ingo.url());
    let proxy = proxy(&files.config());
    let elsewhere = files.path("elsewhere");
    let text = files
        .text("", &ingo.url())
        .replace("acme", "other")
        .replace(
            &*files.path("secret").to_string_lossy(),
            &elsewhere.to_string_lossy(),
        );
    fs::write(files.config(), &text).unwrap();
    let said = reload_refused(&proxy);
    assert!(said.contains("elsewhere does not exist"), "{said}");
    assert!(succeeds(&proxy));
    fs::write(&elsewhere, "another-secret").unwrap();
    reload(&proxy);
    assert!(succeeds(&proxy));
    assert_eq!(ingo.emulator.signed(), [1, 1], "each signed what it should");
    // The new file is watched, the former no longer.
    ingo.accept(&[("other", "a-third-secret")]);
    fs::write(&elsewhere, "a-third-secret").unwrap();
    become_true("the new one is taken", PATIENCE, || succeeds(&proxy));
}

#[test]
fn every_signal_is_heard_also_one_that_comes_while_the_last_is_dealt_with() {
    let ingo = Ingo::accepting(&[(USERNAME, SECRET)]);
    let files = Files::new("", &ingo.url());
    let proxy = proxy(&files.config());
    for round in 1..=8 {
        let before = reloads(&proxy);
        // A new secret file makes the first one long enough to be met.
        let secret = files.path(&format!("secret-{round}"));
        fs::write(&secret, SECRET).unwrap();
        let with = |size: usize| {
            files
                .text(&format!("limits: {{body_bytes: {size}}}\n"), &ingo.url())
                .replace(
                    &*files.path("secret").to_string_lossy(),
                    &secret.to_string_lossy(),
                )
        };
        fs::write(files.path(".new"), with(1_000 + round)).unwrap();
        fs::rename(files.path(".new"), files.config()).unwrap();
        proxy.signal("HUP");
        become_true("the first is dealt with", PATIENCE, || {
            lines_with(&proxy, "told to reload") > 2 * (round - 1)
        });
        // At another moment of it each time.
        thread::park_timeout(Duration::from_millis(60 * round as u64));
        fs::write(files.path(".new"), with(2_000 + round)).unwrap();
        fs::rename(files.path(".new"), files.config()).unwrap();
        proxy.signal("HUP");
        become_true("the second is in use", PATIENCE, || {
            let config = proxy.admin("/config").text();
            config.contains(&format!("body_bytes: {}", 2_000 + round))
        });
        become_true("it is said", PATIENCE, || reloads(&proxy) > before);
    }
}

#[test]
fn a_secret_that_is_a_pipe_or_still_being_written_refuses_a_reload_and_the_next_is_heard() {
    let ingo = Ingo::accepting(&[(USERNAME, SECRET)]);
    let files = Files::new("", &ingo.url());
    let proxy = proxy(&files.config());
    let pipe = files.path("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let text = files.text("", &ingo.url()).replace(
        &*files.path("secret").to_string_lossy(),
        &pipe.to_string_lossy(),
    );
    fs::write(files.config(), &text).unwrap();
    let said = reload_refused(&proxy);
    assert!(said.contains("is no regular file"), "{said}");
    files.replace("limits: {body_bytes: 5KiB}\n", &ingo.url());
    reload(&proxy);
    assert!(succeeds(&proxy));
}

#[test]
fn a_fifo_in_place_of_the_configuration_refuses_a_reload_and_the_next_is_heard() {
    let upstream = Upstream::answering(Reply::session("p"));
    let files = Files::new("", &upstream.url());
    let proxy = proxy(&files.config());
    fs::remove_file(files.config()).unwrap();
    let made = Command::new("mkfifo").arg(files.config()).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo failed");
    let refused = reload_refused(&proxy);
    assert!(refused.contains("is no regular file"), "{refused}");
    files.replace("", &upstream.url());
    reload(&proxy);
}

#[test]
fn what_stays_refused_is_not_said_at_each_look() {
    let ingo = Ingo::accepting(&[(USERNAME, SECRET)]);
    let files = Files::new("", &ingo.url());
    let with = |rest: &str| format!("reload_on_change: true\n{}", files.text(rest, &ingo.url()));
    fs::write(files.config(), with("")).unwrap();
    let proxy = proxy(&files.config());
    let missing = with("shutdown_limit: 1s\n").replace("/secret}", "/missing}");
    assert!(missing.contains("missing"));
    fs::write(files.config(), missing).unwrap();
    become_true("it is refused", PATIENCE, || refusals(&proxy) == 1);
    // Many looks at another file later.
    for _ in 0..3 {
        fs::write(files.path("secret"), "").unwrap();
        become_true("it is looked at", PATIENCE, || {
            readyz(&proxy).contains("is empty")
        });
        fs::write(files.path("secret"), SECRET).unwrap();
        become_true("it is looked at", PATIENCE, || {
            !readyz(&proxy).contains("is empty")
        });
    }
    assert_eq!(refusals(&proxy), 1);
    assert_eq!(
        lines_with(&proxy, "shutdown_limit"),
        0,
        "nobody is warned of what is not in use"
    );
}

#[test]
fn a_credential_that_became_current_stays_so_where_the_configuration_of_credentials_is_as_before() {
    let ingo = Ingo::accepting(&[("acme-next", "next-secret")]);
    let files = Files::new("", &ingo.url());
    let next = files.path("next");
    fs::write(&next, "next-secret").unwrap();
    let text = |rest: &str| {
        let text = files.text(rest, &ingo.url());
        let more = format!(
            "credentials: {{next_username: acme-next, next_secret_file: {}, ",
            next.display()
        );
        text.replace("credentials: {", &more)
    };
    fs::write(files.config(), text("")).unwrap();
    let proxy = proxy(&files.config());
    assert!(succeeds(&proxy));
    let signed = ingo.emulator.received();
    assert_eq!(signed, 2, "the first was refused");
    fs::write(files.config(), text("limits: {body_bytes: 2KiB}\n")).unwrap();
    reload(&proxy);
    assert!(succeeds(&proxy));
    assert_eq!(ingo.emulator.received(), signed + 1, "nothing was refused");
}

#[test]
fn where_it_is_switched_on_a_mounted_configuration_is_taken_when_it_changes() {
    let ingo = Ingo::accepting(&[(USERNAME, SECRET)]);
    let files = Files::new("", &ingo.url());
    let text = |rest: &str| files.text(rest, &ingo.url());
    let with = |rest: &str| format!("reload_on_change: true\n{}", text(rest));
    let mut mounted = Mounted::new(&[("proxy.yaml", &with(""))]);
    let proxy = proxy(&mounted.path("proxy.yaml"));
    assert!(succeeds(&proxy));
    for round in 1..=3 {
        mounted.swap(&[(
            "proxy.yaml",
            &with(&format!("limits: {{body_bytes: {round}KiB}}\n")),
        )]);
        become_true("it is taken", PATIENCE, || reloads(&proxy) == round);
        assert!(
            proxy
                .admin("/config")
                .text()
                .contains(&format!("body_bytes: {round}KiB"))
        );
    }
    mounted.swap(&[("proxy.yaml", "limits: [")]);
    become_true("it is refused", PATIENCE, || last_successful(&proxy) == 0.0);
    become_true("it is said", PATIENCE, || refusals(&proxy) == 1);
    mounted.swap(&[("proxy.yaml", &with("limits: {body_bytes: 3KiB}\n"))]);
    become_true("it says again what is in use", PATIENCE, || {
        last_successful(&proxy) == 1.0
    });
    assert_eq!(reloads(&proxy), 3, "there was nothing to take");
    assert!(succeeds(&proxy));
}

#[test]
fn where_it_is_not_switched_on_a_change_waits_for_the_signal() {
    let ingo = Ingo::accepting(&[(USERNAME, SECRET)]);
    let files = Files::new("", &ingo.url());
    let proxy = proxy(&files.config());
    files.replace("routes: {create_session: {disabled: true}}\n", &ingo.url());
    // The secret's file is looked at meanwhile, on a thread that is as slow as the configuration's.
    fs::write(files.path("secret"), "").unwrap();
    become_true("time has passed", PATIENCE, || {
        readyz(&proxy).contains("is empty")
    });
    assert!(succeeds(&proxy));
    assert_eq!(reloads(&proxy), 0);
    fs::write(files.path("secret"), SECRET).unwrap();
    reload(&proxy);
    assert!(!succeeds(&proxy));
}

#[test]
fn without_a_file_there_is_nothing_to_take_and_nothing_breaks() {
    let ingo = Ingo::accepting(&[(USERNAME, SECRET)]);
    let proxy = Proxy::to_url(&ingo.url())
        .secret_file(Some(SECRET.as_bytes()))
        .admin()
        .start();
    reload(&proxy);
    assert_eq!(lines_with(&proxy, "\"changed\":\"\""), 1);
    assert!(succeeds(&proxy));
}

#[test]
fn a_route_that_moves_money_and_is_enabled_by_a_reload_has_its_journal() {
    let ingo = Ingo::accepting(&[(USERNAME, SECRET)]);
    let files = Files::new("", &ingo.url());
    let journal = files.path("journal");
    let with = |rest: &str| format!("journal: {{file: {}}}\n{rest}", journal.display());
    files.replace(&with(""), &ingo.url());
    let proxy = proxy(&files.config());
    assert!(!journal.exists(), "nothing to write down yet");
    files.replace(&with("routes: {process: {enabled: true}}\n"), &ingo.url());
    reload(&proxy);
    let payment = r#"{"participant_unique_id1":"pay-1","amount":100}"#;
    let answer = proxy.post(&Post::new(payment).to("/gateway/process"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(fs::read_to_string(&journal).unwrap().contains("pay-1"));
}
