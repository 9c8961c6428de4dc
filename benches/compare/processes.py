"""Processes that are started, watched and, whatever happens to this one, ended."""
import atexit
import ctypes
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

PR_SET_PDEATHSIG = 1
PR_SET_TIMERSLACK = 29
PREFIX = 'ingo-signing-proxy-compare-'
LIBC = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """What a person is told, and the end of the run."""


def cores():
    """Which cores the proxy has, the upstream, and the load generator: of their own where there are enough."""
    all_of_them = sorted(os.sched_getaffinity(0))
    if len(all_of_them) < 2:
        raise Failed('two cores are needed: one for the proxy, one for the upstream and the load')
    if len(all_of_them) < 4:
        return {all_of_them[0]}, {all_of_them[1]}, {all_of_them[1]}
    return {all_of_them[0]}, {all_of_them[1]}, {all_of_them[2]}


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def open_many_files():
    """Thousands of connections are as many files, here and in what is started from here."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def remove_remains():
    """The directories of runs that were killed and could not remove theirs."""
    for name in os.listdir(tempfile.gettempdir()):
        said = re.fullmatch(PREFIX + r'(\d+)-\w+', name)
        if said and not os.path.exists(f'/proc/{said.group(1)}'):
            shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)


class Run:
    """A directory for everything that is written, and the processes that write there. Both are gone when it is left."""

    def __init__(self, minutes):
        remove_remains()
        self.folder = tempfile.mkdtemp(prefix=f'{PREFIX}{os.getpid()}-')
        # nginx's workers are another user, who may go through and not look around.
        os.chmod(self.folder, 0o711)
        for name in ('logs', 'secret', 'temporary'):
            os.mkdir(f'{self.folder}/{name}', 0o700)
        self.processes = []
        self.minutes = minutes

    def __enter__(self):
        atexit.register(self.end)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: sys.exit(128 + number))
        signal.signal(signal.SIGALRM, self.too_long)
        signal.setitimer(signal.ITIMER_REAL, self.minutes * 60)
        return self

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.end()

    def too_long(self, *_):
        raise Failed(f'not done after {self.minutes} minutes; give it more with --minutes')

    def path(self, name):
        return f'{self.folder}/{name}'

    def end(self):
        for process in reversed(self.processes):
            stop(process)
        self.processes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name, command, on, environment=None, port=None, first=False):
        """Starts `command` on the cores `on`; with a port, when that is listened on. Its output is a file in logs/. `first`: before all else there."""
        started = time.monotonic()
        with open(self.path(f'logs/{name}.log'), 'ab') as out, open(self.path(f'{name}.stderr'), 'ab') as err:
            try:
                process = subprocess.Popen(
                    command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, start_new_session=True,
                    env=environment if environment is not None else clean_environment(), preexec_fn=lambda: prepare(on, precise=first, first=first))
            except OSError as error:
                raise Failed(f'{command[0]}: {error.strerror}') from error
        process.name = name
        self.processes.append(process)
        while port is not None:
            try:
                socket.create_connection(('127.0.0.1', port), 0.2).close()
                break
            except OSError:
                pass
            if process.poll() is not None or time.monotonic() - started > 20:
                with open(self.path(f'{name}.stderr'), encoding='utf-8', errors='replace') as file:
                    raise Failed(f'{name} did not start: {" ".join(command)}\n{file.read()[-2000:]}')
            time.sleep(0.001)
        process.start_ms = (time.monotonic() - started) * 1e3
        return process

    def stop(self, process):
        stop(process)
        self.processes.remove(process)

    def shorten_logs(self):
        """Access logs would fill a disk. They are appended to, so that they can be cut."""
        for name in os.listdir(self.path('logs')):
            if not name.startswith('connections'):
                os.truncate(self.path(f'logs/{name}'), 0)


def may_be_first():
    """Whether a process of ours may run before all others of its core: root may."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    os.sched_setscheduler(0, *before)
    return True


def prepare(on, precise=False, first=False):
    """In the child, before it becomes the program: its cores, its timers, and its end with ours, even where we are killed."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if precise:
        LIBC.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    os.sched_setaffinity(0, on)
    if first:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def clean_environment():
    """Nothing of ours that would configure a proxy."""
    proxies = {'http_proxy', 'https_proxy', 'all_proxy', 'no_proxy', 'rust_log'}
    return {name: value for name, value in os.environ.items()
            if name.lower() not in proxies and not name.startswith('INGO_PROXY_')}


def stop(process):
    """Ends a process, and those that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(5)
            break
        except subprocess.TimeoutExpired:
            pass


def tree(pid):
    """The process and its descendants."""
    found, waiting = [], [pid]
    while waiting:
        process = waiting.pop()
        found.append(process)
        for thread in threads(process):
            try:
                with open(f'/proc/{process}/task/{thread}/children', encoding='ascii') as file:
                    waiting += map(int, file.read().split())
            except OSError:
                pass
    return found


def threads(process):
    try:
        return os.listdir(f'/proc/{process}/task')
    except OSError:
        return []


def nanoseconds(pid):
    """The processor time of each thread of a tree, by thread."""
    spent = {}
    for process in tree(pid):
        for thread in threads(process):
            try:
                with open(f'/proc/{process}/task/{thread}/schedstat', encoding='ascii') as file:
                    spent[thread] = int(file.read().split()[0])
            except OSError:
                pass
    return spent


def spent_since(before, pid):
    """Seconds of processor time since `before`. What a thread spent that has ended meanwhile is not known."""
    return sum(now - before.get(thread, 0) for thread, now in nanoseconds(pid).items()) / 1e9


def memory(pid):
    """Resident MiB of a tree: `rss` counts shared pages in each process, `pss` each page once (root may ask for any)."""
    rss, pss = 0, 0
    for process in tree(pid):
        for path, pattern in ((f'/proc/{process}/status', r'VmRSS:\s+(\d+)'),
                              (f'/proc/{process}/smaps_rollup', r'\nPss:\s+(\d+)')):
            try:
                with open(path, encoding='ascii') as file:
                    found = re.search(pattern, file.read())
            except OSError:
                if 'smaps' in path:
                    pss = None
                continue
            if found and 'smaps' not in path:
                rss += int(found.group(1))
            elif found and pss is not None:
                pss += int(found.group(1))
    return {'rss': rss / 1024, 'pss': None if pss is None else pss / 1024}
