"""`tls`, `threads` and `openloop`: what a request costs over TLS, with two workers, and at half of what a proxy can do."""
import http.client
import os
import re
import ssl
import statistics
import subprocess

import load
import machine
import proxies
import report
from processes import Failed, free_port, nanoseconds, spent_since
from verifier import Verifier

# nginx's own default: an upstream that keeps connections for ever would hide what a handshake costs.
KEEPALIVE_REQUESTS = 1000


def verified(run, chosen, sizes):
    verifier = Verifier()
    for proxy in chosen:
        if proxy.signs:
            verifier.check(run, proxy, sizes)


def cpu(run, options, process, port, size, on=None):
    """CPU µs per request, and requests, of one round without an error."""
    before = nanoseconds(process.pid)
    result = load.wrk(run, port, size, options.seconds, options.connections, on)
    if result['errors']:
        raise Failed(f'{process.name} answered {result["errors"]} errors: it is not reported')
    return spent_since(before, process.pid) / result['requests'] * 1e6, result['requests']


def certificate(run):
    """A certificate of `localhost` in files of this path and .pem, .key; and that of the authority that vouches for it."""
    path, authority = run.path('certificate'), run.path('authority')
    curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
    made = (['-subj', '/CN=compare', '-addext', 'keyUsage=critical,keyCertSign', '-keyout', f'{authority}.key', '-out', f'{authority}.pem'],
            ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-addext', 'basicConstraints=critical,CA:FALSE',
             '-CA', f'{authority}.pem', '-CAkey', f'{authority}.key', '-keyout', f'{path}.key', '-out', f'{path}.pem'])
    for asked in made:
        done = subprocess.run(['openssl', 'req', '-x509', *curve, *asked], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise Failed(f'openssl made no certificate:\n{done.stderr}')
    return path, f'{authority}.pem'


def connections(port, secure):
    """Connections and requests that the upstream has counted so far, by its stub_status."""
    if secure:
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Our own upstream on loopback; the proxies verify its certificate, this count needs not.
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection('127.0.0.1', port, timeout=10, context=trusting)
    else:
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=10)
    connection.request('GET', '/counted')
    told = connection.getresponse().read().decode()
    connection.close()
    accepted, _, requests = map(int, re.search(r'(\d+) (\d+) (\d+)', told).groups())
    return accepted, requests


def tls(run, options):
    """Cost in that of plain, share of requests on a connection that was there, share of handshakes that were resumed."""
    described = machine.describe(proxies.binaries(options))
    chosen = [proxy for proxy in proxies.chosen(options) if not isinstance(proxy, proxies.Custom)]
    size = options.bodies[0]
    verified(run, chosen, [size])
    served, authority = certificate(run)
    plain = proxies.upstream(run, KEEPALIVE_REQUESTS)
    secure = proxies.upstream(run, KEEPALIVE_REQUESTS, served)
    values = {'what': 'tls', 'machine': described, 'bytes': size, 'rounds': options.rounds, 'seconds': options.seconds,
              'keepalive_requests': KEEPALIVE_REQUESTS, 'proxies': {}}
    for proxy in chosen:
        ports = free_port(), free_port()
        processes = proxy.start(run, ports[0], plain), proxy.start(run, ports[1], secure, ca=authority)
        for port in ports:
            load.wrk(run, port, size, 1, options.connections)
        with open(run.path('logs/connections.log'), 'r+', encoding='ascii') as log:
            log.truncate(0)
        before = connections(secure, True)
        costs = [[], []]
        for _ in range(options.rounds):
            for which in (0, 1):
                costs[which].append(cpu(run, options, processes[which], ports[which], size)[0])
        # What counts is a connection and a request itself, the first time.
        accepted, requests = (b - a - 1 for a, b in zip(before, connections(secure, True)))
        with open(run.path('logs/connections.log'), encoding='ascii') as log:
            handshakes = [line.split() for line in log if line.startswith('TLS')]
        for process in processes:
            run.stop(process)
        run.shorten_logs()
        resumed = sum(line[1] == 'r' for line in handshakes) / len(handshakes) if handshakes else None
        values['proxies'][proxy.name] = {
            'plain': statistics.median(costs[0]), 'tls': statistics.median(costs[1]),
            'ratio': statistics.median(b / a for a, b in zip(*costs)), 'reused': 1 - accepted / requests, 'requests': requests,
            'handshakes': len(handshakes), 'resumed': resumed, 'protocol': handshakes[0][0] if handshakes else None}
        print(f'{proxy.name}: done', flush=True)
    rows = [[name, report.number(row['plain'], 1), report.number(row['tls'], 1), report.number(row['ratio'], 2),
             f'{100 * row["reused"]:.2f} %', f'{row["handshakes"]:,}',
             '–' if row['resumed'] is None else f'{100 * row["resumed"]:.1f} %', row['protocol'] or '–']
            for name, row in values['proxies'].items()]
    columns = ['proxy', 'plain, CPU µs/request', 'TLS, CPU µs/request', 'ratio', 'on a connection that was there',
               'handshakes', 'of them resumed', 'protocol']
    text = f'An upstream that closes each connection after {KEEPALIVE_REQUESTS:,} requests, {size:,} bytes.\n\n'
    report.write(options, 'tls', report.machine(described) + '\n\n' + text + report.table(columns, rows), values)


def threads(run, options):
    """CPU per request with two workers in that with one, on the same cores."""
    described = machine.describe(proxies.binaries(options))
    chosen = proxies.chosen(options)
    size = options.bodies[0]
    verified(run, chosen, [size])
    every = sorted(os.sched_getaffinity(0))
    # On fewer than four cores the load has to share them with the workers, with one as with two.
    on, others = (set(every), set(every)) if len(every) < 4 else (set(every[:2]), set(every[2:]))
    upstream = proxies.upstream(run)
    values = {'what': 'threads', 'machine': described, 'bytes': size, 'rounds': options.rounds, 'proxies': {}}
    for proxy in chosen:
        ports = free_port(), free_port()
        processes = [proxy.start(run, port, upstream, threads=count, on=on) for count, port in zip((1, 2), ports)]
        for port in ports:
            load.wrk(run, port, size, 1, options.connections, others)
        costs = [[], []]
        for _ in range(options.rounds):
            for which in (0, 1):
                costs[which].append(cpu(run, options, processes[which], ports[which], size, others)[0])
        for process in processes:
            run.stop(process)
        run.shorten_logs()
        values['proxies'][proxy.name] = {'one': statistics.median(costs[0]), 'two': statistics.median(costs[1]),
                                         'ratio': statistics.median(b / a for a, b in zip(*costs))}
        print(f'{proxy.name}: done', flush=True)
    rows = [[name, report.number(row['one'], 1), report.number(row['two'], 1), report.number(row['ratio'], 2)]
            for name, row in values['proxies'].items()]
    text = report.table(['proxy', 'one worker, CPU µs/request', 'two workers, CPU µs/request', 'ratio'], rows)
    report.write(options, 'threads', report.machine(described) + '\n\n' + text, values)


def arriving(run, options, port, upstream, size, rate, arrivals, seed, witnessed):
    """One round of an open loop."""
    if arrivals == 'oha':
        return load.oha(run, port, size, options.seconds, options.connections, rate)
    return load.open_loop(run, port, upstream, size, options.seconds, options.connections, rate, arrivals, seed, witnessed)


def compared(run, options, name, ports, size, rate, arrivals, turn, may, witnessed):
    """One round of an open loop without a proxy (at its upstream, the first port) and through it, and how often it was made again, of `may` times.

    Where the load did not keep the rate without a proxy, the machine stood still: such a round is made again, and told of. What a proxy
    does not keep up with is its own, and counted from when it was due."""
    for failed in range(may + 1):
        # Others of this turn get the same arrivals.
        seed = turn + options.rounds * failed
        pair = [arriving(run, options, port, ports[0], size, rate, arrivals, seed, witnessed) for port in ports]
        direct, _ = pair
        if direct['rps'] >= 0.97 * direct['asked']:
            return pair, failed
        print(f'{name}, {arrivals}: the load did not keep {rate} requests/s without a proxy, again', flush=True)
    raise Failed(f'{name}, {arrivals}: the load did not keep {rate} requests/s in more than the {options.rounds} rounds asked for; '
                 f'the last: {direct}')


def openloop(run, options):
    """The p99 that a proxy adds at half of what it can do, where requests come when they come."""
    described = machine.describe(proxies.binaries(options))
    if 'oha' in options.arrivals:
        if not load.oha_program():
            raise Failed('the arrivals oha need oha; install it with: cargo install --locked --root target/tools oha')
        described['oha'] = machine.said([load.oha_program(), '--version'], r'oha (\S+)')
    chosen = proxies.chosen(options)
    size = options.bodies[0]
    verified(run, chosen, [size])
    values = {'what': 'openloop', 'machine': described, 'bytes': size, 'rounds': options.rounds, 'proxies': {}}
    # What can be done at all is asked by wrk, with nginx as the upstream, and oha needs it too; load/ answers its own requests.
    upstream, own_upstream = proxies.upstream(run), free_port()
    ports, own_ports = ({proxy.name: free_port() for proxy in chosen} for _ in range(2))
    started = [proxy.start(run, taken[proxy.name], behind)
               for behind, taken in ((upstream, ports), (own_upstream, own_ports)) for proxy in chosen]
    full = {proxy.name: [] for proxy in chosen}
    for port in ports.values():
        load.wrk(run, port, size, 1, options.connections)
    for _ in range(options.rounds):
        for name, port in ports.items():
            result = load.wrk(run, port, size, options.seconds, options.connections)
            if result['errors']:
                raise Failed(f'{name} answered {result["errors"]} errors: it is not reported')
            full[name].append(result['requests'] / result['us'] * 1e6)
        run.shorten_logs()
    rates = {name: round(statistics.median(found) / 2) for name, found in full.items()}
    rounds = {(name, arrivals): [] for name in ports for arrivals in options.arrivals}
    again = dict.fromkeys(rounds, 0)
    witnessed = load.witnesses(run)
    if not witnessed:
        print('only root may tell when the machine stood still: nothing is left out', flush=True)
    for turn in range(options.rounds):
        for (name, arrivals), pairs in rounds.items():
            may = options.rounds - again[name, arrivals]
            pair_of_ports = (upstream, ports[name]) if arrivals == 'oha' else (own_upstream, own_ports[name])
            pair, failed = compared(run, options, name, pair_of_ports, size, rates[name], arrivals, turn, may, witnessed)
            pairs.append(pair)
            again[name, arrivals] += failed
        run.shorten_logs()
    for process in started:
        run.stop(process)
    rows = []
    for (name, arrivals), pairs in rounds.items():
        row = {'rate': rates[name], 'p50': statistics.median(p['p50'] for _, p in pairs), 'p99': statistics.median(p['p99'] for _, p in pairs),
               'direct_p99': statistics.median(d['p99'] for d, _ in pairs),
               'added_p50': statistics.median(p['p50'] - d['p50'] for d, p in pairs),
               'added_p99': statistics.median(p['p99'] - d['p99'] for d, p in pairs),
               'late_p99': statistics.median(p['late_p99'] for _, p in pairs), 'again': again[name, arrivals],
               'left_out': statistics.mean(one['left_out'] for pair in pairs for one in pair),
               'each_added_p99': [p['p99'] - d['p99'] for d, p in pairs]}
        values['proxies'].setdefault(name, {})[arrivals] = row
        rows.append([name, arrivals, *(report.number(row[key]) for key in ('rate', 'late_p99', 'p50', 'p99', 'direct_p99', 'added_p50', 'added_p99', 'again')),
                     f'{100 * row["left_out"]:.1f} %'])
    columns = ['proxy', 'arrivals', 'requests/s', 'begun late p99 µs', 'p50 µs', 'p99 µs', 'direct p99 µs', 'added p50 µs', 'added p99 µs',
               'rounds made again', 'due while the machine stood still']
    report.write(options, 'openloop', report.machine(described) + '\n\n' + report.table(columns, rows), values)
