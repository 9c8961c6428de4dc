"""Load generators: wrk (closed loop: each connection waits for its answer), load/ (alone in turns; open loop: requests come when they come) and oha."""
import json
import os
import shutil
import subprocess

from processes import Failed, clean_environment, cores, may_be_first, prepare
from verifier import TARGET, body

SCRIPT = '''
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open("%s", "rb")
wrk.body = file:read("*a")
file:close()
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('RESULT {"requests":%%d,"us":%%d,"p50":%%d,"p99":%%d,"errors":%%d}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99), e.status + e.read + e.write + e.connect + e.timeout))
end
'''


def output(command, seconds, on=None, precise=False):
    """What a load generator prints; nothing outlives it. `precise`: its sleeps end when they should."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False,
                              env=clean_environment(), preexec_fn=lambda: prepare(on or cores()[2], precise))
    except subprocess.TimeoutExpired as error:
        raise Failed(f'{command[0]} did not end {seconds + 30} s after its start') from error
    if done.returncode != 0:
        raise Failed(f'{" ".join(command)} failed:\n{done.stdout}{done.stderr}')
    return done.stdout


def posted(run, size):
    """The file that holds a body of `size` bytes, for a load generator to post."""
    file = run.path(f'body-{size}')
    if not os.path.exists(file):
        with open(file, 'wb') as written:
            written.write(body(size))
    return file


def wrk(run, port, size, seconds, connections, on=None):
    """Requests, µs, p50 and p99 in µs, and errors, of a closed loop."""
    script = run.path(f'post-{size}.lua')
    with open(script, 'w', encoding='utf-8') as file:
        file.write(SCRIPT % posted(run, size))
    seconds = max(1, round(seconds))
    said = output(['wrk', '-t1', f'-c{connections}', f'-d{seconds}s', '--latency', '-s', script,
                   f'http://127.0.0.1:{port}{TARGET}'], seconds, on)
    results = [line for line in said.splitlines() if line.startswith('RESULT ')]
    if not results:
        raise Failed(f'wrk told no result:\n{said}')
    result = json.loads(results[0][7:])
    if result['requests'] == 0:
        raise Failed(f'nothing was answered on port {port}')
    return result


def compiled(run):
    """The program that load/ is."""
    program = run.path('load')
    if not os.path.exists(program):
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'load', 'main.rs')
        done = subprocess.run(['rustc', '--edition', '2024', '-O', source, '-o', program], capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise Failed(f'the load generator was not compiled:\n{done.stderr}')
    return program


def told(run, arguments, seconds):
    """What load/ tells."""
    return json.loads(output([compiled(run), *map(str, arguments)], seconds, precise=True))


def witnesses(run):
    """Starts one for each core that is measured on. The files in which they say when it stood still; none where we may not."""
    if not may_be_first():
        return []
    measured_on = sorted(set().union(*cores()))
    for core in measured_on:
        run.start(f'stood-still-{core}', [compiled(run), 'witness'], {core}, first=True)
    return [run.path(f'logs/stood-still-{core}.log') for core in measured_on]


def open_loop(run, port, upstream, size, seconds, connections, rate, arrivals, seed, witnessed):
    """p50 and p99 in µs of an open loop, each counted from when the request was due; and the share that was due when the machine stood still. An error ends it."""
    return told(run, ['open', port, upstream, TARGET, posted(run, size), rate, seconds, connections, arrivals, seed, *witnessed], seconds)


def alone(run, ports, size, seconds):
    """By port: p50 in µs of one caller on one connection, what that is more than at the first port, and errors. A few requests at each in turn."""
    by_port = told(run, ['alone', TARGET, posted(run, size), seconds, *ports], seconds)
    return {port: by_port[str(port)] for port in ports}


def oha_program():
    """Where oha is, or None."""
    from proxies import ROOT
    target = os.environ.get('CARGO_TARGET_DIR', os.path.join(ROOT, 'target'))
    return shutil.which('oha', path=f'{target}/tools/bin:{os.environ.get("PATH", "")}')


def oha(run, port, size, seconds, connections, rate):
    """p50 and p99 in µs of an open loop, each counted from when the request should have been sent. An error ends it."""
    program = oha_program()
    if not program:
        raise Failed('the open loop needs oha; install it with: cargo install --locked --root target/tools oha')
    said = json.loads(output(
        [program, '--no-tui', '--output-format', 'json', '-z', f'{seconds}s', '-c', str(connections), '-q', str(rate),
         '--latency-correction', '-m', 'POST', '-T', 'application/json', '-D', posted(run, size),
         f'http://127.0.0.1:{port}{TARGET}'], seconds))
    statuses = said['statusCodeDistribution']
    # What was under way when time was up is no error.
    errors = {what: count for what, count in said['errorDistribution'].items() if 'deadline' not in what}
    answered = sum(statuses.values())
    failed = sum(errors.values()) + answered - statuses.get('200', 0)
    if failed:
        raise Failed(f'port {port}: oha counted {failed} errors: {errors or statuses}')
    return {'requests': answered, 'asked': rate, 'rps': answered / said['summary']['total'], 'late_p99': 0, 'left_out': 0,
            'p50': said['latencyPercentiles']['p50'] * 1e6, 'p99': said['latencyPercentiles']['p99'] * 1e6}
